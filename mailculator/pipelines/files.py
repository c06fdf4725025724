"""Reading payloads, attachments and prepared EML files. Synchronous: call it in a thread.

What a path leads to is judged on the open file (fstat), never on the name, and every open has O_NONBLOCK, so that a
FIFO neither blocks nor is mistaken for a file. Attachments are opened part by part from the base directory, no part
of the way being a symbolic link: so nothing can be slipped in between a check and the open, and `..` has no say.
Trouble of the file system is PayloadUnavailable; only what the producer wrote can be PayloadError.
"""

from __future__ import annotations

import codecs
import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mailculator.errors import PayloadError, PayloadUnavailable
from mailculator.message import is_text
from mailculator.message_stream import PIECE, AttachmentFile
from mailculator.payload import PAYLOAD_LIMIT, AttachmentRef, Payload, check_size

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK = 1 << 20

# ENOTDIR: a parent is a file; ENAMETOOLONG: no file can have this name. Neither is there, whatever the share does.
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})
# Sockets and devices without a driver refuse to be opened at all; ELOOP is a symbolic link, or a ring of them.
_ODD = frozenset({errno.ENXIO, errno.ENODEV, errno.ELOOP, errno.EISDIR})


def read_payload(path: str, limit: int = PAYLOAD_LIMIT) -> bytes:
    """The payload file's bytes.

    Payload files have no configured root (the row names the path), so a symbolic link is followed; what counts is
    that a regular file stands at its end.

    Arguments:
        limit: bytes.
    Errors: PayloadError payload_size, payload_not_regular, payload_path; PayloadUnavailable, `shared` when the
    directory it should be in is gone or empty.
    """
    try:
        return _read_payload(path, limit)
    except ValueError as error:
        raise PayloadError("payload_path", "payload: the path holds a character that no path can") from error
    except FileNotFoundError as error:
        raise _missing("payload", shared=_is_gone(Path(path).parent)) from error
    except OSError as error:
        raise _trouble("payload", error) from error


def read_prepared(eml_file_path: str, eml_storage_path: Path | None, limit: int) -> bytes:
    """The bytes of a message that the older consumer prepared.

    A relative path is joined to `eml_storage_path`, an absolute one must lie beneath it; no symbolic link is followed
    below it.

    Arguments:
        eml_storage_path: EML_STORAGE_PATH. Without one no mail is to blame: such mail is tried until there is one.
        limit: bytes.
    Errors: PayloadError eml_path, eml_not_regular, eml_size, eml_changed; PayloadUnavailable.
    """
    with _open_prepared(eml_file_path, eml_storage_path) as fd:
        return _read_exactly(fd, _prepared_size(fd, limit), "eml")


def measure_prepared(eml_file_path: str, eml_storage_path: Path | None, limit: int) -> int:
    """The size in bytes of what `read_prepared` would read. Errors: the same."""
    with _open_prepared(eml_file_path, eml_storage_path) as fd:
        return _prepared_size(fd, limit)


def check_attachments(payload: Payload, base: Path | None, limit: int) -> int:
    """Look at every attachment without reading any; returns about how many bytes the message will have.

    Arguments:
        base: ATTACHMENTS_BASE_PATH. Without one no mail is to blame: such mail is tried until there is one.
        limit: bytes of a message.
    Errors: PayloadError attachment_path, attachment_not_regular, size; PayloadUnavailable.
    """
    return check_size(payload, _sizes(payload.attachments, base), limit)


def open_attachments(payload: Payload, base: Path | None, limit: int) -> tuple[AttachmentFile, ...]:
    """Every attachment as one that is read when the message leaves; () where there is none.

    No file stays open: each reading opens it anew, with all checks. Only text/* is read here, in pieces, to learn
    whether it is UTF-8.

    Arguments and errors: as `check_attachments`. Reading raises what this raises, PayloadError size excepted, and
    PayloadError attachment_changed when a file grows or shrinks meanwhile.
    """
    if not payload.attachments:
        return ()
    sizes = _sizes(payload.attachments, base)
    check_size(payload, sizes, limit)
    return tuple(
        _attachment_file(ref, base, size, f"attachments[{index}]")
        for index, (ref, size) in enumerate(zip(payload.attachments, sizes, strict=True))
    )


def _attachment_file(ref: AttachmentRef, base: Path | None, size: int, field: str) -> AttachmentFile:
    def read() -> Generator[bytes, None, None]:
        return _read_pieces(ref, base, size, field)

    return AttachmentFile(ref.name, size, is_utf8=is_text(ref.name) and _is_utf8(read()), read=read)


def _read_pieces(ref: AttachmentRef, base: Path | None, size: int, field: str) -> Generator[bytes, None, None]:
    with _open_beneath(base, ref.path, field) as fd:
        for start in range(0, size, PIECE):
            yield _read_exactly(fd, min(PIECE, size - start), field, is_last=start + PIECE >= size)
        if not size:
            _read_exactly(fd, 0, field)


def _is_utf8(pieces: Generator[bytes, None, None]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with closing(pieces):
            for piece in pieces:
                decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _read_payload(path: str, limit: int) -> bytes:
    fd = os.open(path, _READ)
    try:
        size = _require_regular(fd, "payload").st_size
        # Some file systems do not know a file's size (procfs says 0), so the count is what decides: where one octet
        # more was asked for than came, and what came is what fstat told, there is no more.
        content = os.read(fd, min(size, limit, _CHUNK) + 1) if size <= limit else b""
        if content and len(content) != size:
            content += _read_at_most(fd, limit + 1 - len(content))
    finally:
        os.close(fd)
    if max(size, len(content)) > limit:
        raise PayloadError("payload_size", f"payload: larger than {limit} bytes")
    return content


@contextmanager
def _open_prepared(path: str, base: Path | None) -> Iterator[int]:
    if base is None:
        raise PayloadUnavailable("eml: EML_STORAGE_PATH is not set")
    with _open_beneath(base, _relative(path, base), "eml") as fd:
        yield fd


def _prepared_size(fd: int, limit: int) -> int:
    size = os.fstat(fd).st_size
    if size > limit:
        raise PayloadError("eml_size", f"eml: {size} bytes; the limit is {limit}")
    return size


def _sizes(refs: Sequence[AttachmentRef], base: Path | None) -> list[int]:
    sizes = []
    for index, ref in enumerate(refs):
        with _open_beneath(base, ref.path, f"attachments[{index}]") as fd:
            sizes.append(os.fstat(fd).st_size)
    return sizes


@contextmanager
def _open_beneath(base: Path | None, path: str, field: str) -> Iterator[int]:
    """An open regular file below `base`: the parts of `path` are followed one by one, none being a symbolic link."""
    if base is None:
        raise PayloadUnavailable(f"{field}: ATTACHMENTS_BASE_PATH is not set")
    parts = _normalise(path, field)
    directory = _open_base(base, field)
    with _mapped(field):
        try:
            for part in parts[:-1]:
                below = _open_part(part, _DIRECTORY, directory, field)
                os.close(directory)
                directory = below
            fd = _open_part(parts[-1], _READ, directory, field)
        except FileNotFoundError as error:
            raise _missing(field, shared=_is_gone(base)) from error
        finally:
            os.close(directory)
        with _closing(fd):
            if _require_regular(fd, field).st_nlink > 1:
                raise PayloadError(_code(field, "not_regular"), f"{field}: is a hard link to another file")
            yield fd


def _open_base(base: Path, field: str) -> int:
    try:
        return os.open(base, _DIRECTORY)
    except OSError as error:
        raise PayloadUnavailable(f"{field}: the base directory: {_words(error)}", shared=True) from error


def _open_part(part: str, flags: int, directory: int, field: str) -> int:
    try:
        return os.open(part, flags | os.O_NOFOLLOW, dir_fd=directory)
    except NotADirectoryError:
        # With O_DIRECTORY the kernel says ENOTDIR of a symbolic link, too.
        if stat.S_ISLNK(os.stat(part, dir_fd=directory, follow_symlinks=False).st_mode):
            raise PayloadError(_code(field, "not_regular"), f"{field}: leads through a symbolic link") from None
        raise


def _normalise(path: str, field: str) -> list[str]:
    """The parts of `base + path`, `..` and doubled slashes resolved. A leading slash is the producers' habit."""
    if "\x00" in path:
        raise PayloadError(_code(field, "path"), f"{field}: holds NUL")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise PayloadError(_code(field, "path"), f"{field}: leads out of the base directory")
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    if not parts:
        raise PayloadError(_code(field, "path"), f"{field}: does not name a file")
    return parts


def _relative(path: str, base: Path) -> str:
    for root in (base, base.resolve()):
        if path.startswith(f"{root}/"):
            return path[len(str(root)) :]
    if path.startswith("/"):
        raise PayloadError("eml_path", "eml: not beneath EML_STORAGE_PATH")
    return path


def _require_regular(fd: int, field: str) -> os.stat_result:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise PayloadError(_code(field, "not_regular"), f"{field}: is no regular file")
    return status


def _read_exactly(fd: int, size: int, field: str, *, is_last: bool = True) -> bytes:
    content = _read_at_most(fd, size + is_last)  # one octet more, to see a file that has grown
    if len(content) != size:
        raise PayloadError(_code(field, "changed"), f"{field}: grew or shrank while it was read")
    return content


def _read_at_most(fd: int, limit: int) -> bytes:
    content = bytearray()
    while chunk := os.read(fd, min(_CHUNK, limit - len(content))):
        content += chunk
    return bytes(content)


def _is_gone(directory: str | Path) -> bool:
    """Whether a directory is missing or empty, as a share is that is not mounted."""
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False


@contextmanager
def _mapped(field: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _trouble(field, error) from error


@contextmanager
def _closing(fd: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(fd)


def _trouble(field: str, error: OSError) -> PayloadError | PayloadUnavailable:
    if error.errno in _MISSING:
        return _missing(field)
    if error.errno in _ODD:
        return PayloadError(_code(field, "not_regular"), f"{field}: is no regular file")
    return PayloadUnavailable(f"{field}: {_words(error)}")


def _missing(field: str, *, shared: bool = False) -> PayloadUnavailable:
    return PayloadUnavailable(f"{_code(field, 'missing')}: {field}: the file is not there", missing=True, shared=shared)


def _code(field: str, what: str) -> str:
    return f"{'attachment' if field.startswith('attachments[') else field}_{what}"


def _words(error: OSError) -> str:
    name = errno.errorcode.get(error.errno or 0, "unknown")
    return f"{os.strerror(error.errno or 0)} ({name})"
