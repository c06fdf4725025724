"""Reading what producers wrote, from real directories with real symbolic links, FIFOs and sockets."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailculator.address import Address
from mailculator.errors import PayloadError, PayloadUnavailable
from mailculator.message import Attachment
from mailculator.payload import AttachmentRef, Payload
from mailculator.pipelines import files
from tests.support.payloads import read_attachments

PLENTY = 10_000_000


def mail(*paths: str) -> Payload:
    someone = Address("", "a", "b.com")
    refs = tuple(AttachmentRef(path, f"{number}.pdf") for number, path in enumerate(paths))
    return Payload("", someone, someone, someone, "s", None, "body", refs, ())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base directory with two attachments, a secret beside it."""
    base = tmp_path / "att"
    (base / "2026").mkdir(parents=True)
    (base / "2026" / "a.pdf").write_bytes(b"A" * 100)
    (base / "b.pdf").write_bytes(b"")
    (tmp_path / "att-secret").mkdir()
    (tmp_path / "att-secret" / "x").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    return base


def refusal(base: Path | None, *paths: str, limit: int = PLENTY) -> str:
    with pytest.raises(PayloadError) as looked:
        files.check_attachments(mail(*paths), base, limit)
    with pytest.raises(PayloadError) as read:
        read_attachments(mail(*paths), base, limit)
    assert str(looked.value) == str(read.value)
    return looked.value.code


def trouble(base: Path | None, *paths: str) -> PayloadUnavailable:
    with pytest.raises(PayloadUnavailable) as looked:
        files.check_attachments(mail(*paths), base, PLENTY)
    return looked.value


def fail_opening(monkeypatch: pytest.MonkeyPatch, name: str, code: int) -> None:
    """Opening what has this name fails as a broken share does; root could not be refused otherwise."""
    genuine = os.open

    def broken(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).name == name:
            raise OSError(code, os.strerror(code), str(path))
        return genuine(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", broken)


def fail_reading(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def broken(fd: int, length: int) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "read", broken)


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    def opened() -> set[Path]:
        return set(Path("/proc/self/fd").iterdir())

    before = len(opened())
    yield
    assert len(opened()) == before


class TestPayload:
    def test_it_is_read_whole(self, tmp_path: Path) -> None:
        (tmp_path / "p.json").write_bytes(b"{}" * 3_000_000)
        assert files.read_payload(str(tmp_path / "p.json")) == b"{}" * 3_000_000

    def test_bad_input_1_it_is_missing(self, tmp_path: Path) -> None:
        (tmp_path / "other.json").touch()
        with pytest.raises(PayloadUnavailable, match=r"^payload_missing: ") as caught:
            files.read_payload(str(tmp_path / "p.json"))
        assert (caught.value.missing, caught.value.shared) == (True, False)
        assert str(tmp_path) not in caught.value.detail

    @pytest.mark.parametrize("directory", [".", "gone"])
    def test_bad_input_1_its_directory_is_empty_or_gone(self, tmp_path: Path, directory: str) -> None:
        with pytest.raises(PayloadUnavailable) as caught:
            files.read_payload(str(tmp_path / directory / "p.json"))
        assert (caught.value.missing, caught.value.shared) == (True, True)

    def test_bad_input_1_a_parent_is_a_file_or_a_name_too_long(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for path in ("file/p.json", "x" * 256):
            with pytest.raises(PayloadUnavailable) as caught:
                files.read_payload(str(tmp_path / path))
            assert (caught.value.missing, caught.value.shared) == (True, False)

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
    def test_bad_input_2_it_cannot_be_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        (tmp_path / "p.json").write_bytes(b"{}")
        fail_opening(monkeypatch, "p.json", code)
        with pytest.raises(PayloadUnavailable, match=errno.errorcode[code]) as caught:
            files.read_payload(str(tmp_path / "p.json"))
        assert (caught.value.missing, caught.value.shared) == (False, False)
        assert str(tmp_path) not in caught.value.detail

    def test_bad_input_2_it_cannot_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "p.json").write_bytes(b"{}")
        fail_reading(monkeypatch, errno.EIO)
        with pytest.raises(PayloadUnavailable, match="EIO") as caught:
            files.read_payload(str(tmp_path / "p.json"))
        assert not caught.value.missing

    def test_bad_input_11_it_is_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "p.json"
        path.write_bytes(b"x" * 100)
        assert len(files.read_payload(str(path), limit=100)) == 100
        with pytest.raises(PayloadError, match=r"^payload_size: "):
            files.read_payload(str(path), limit=99)
        os.truncate(path, 3 << 30)  # sparse: were it read, this test would not fit into memory
        with pytest.raises(PayloadError, match=r"^payload_size: "):
            files.read_payload(str(path))

    def test_bad_input_11_a_file_that_hides_its_size_is_bounded_too(self) -> None:
        assert Path("/proc/self/status").stat().st_size == 0
        with pytest.raises(PayloadError, match=r"^payload_size: "):
            files.read_payload("/proc/self/status", limit=100)

    @pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "device", "loop", "link to a directory"])
    def test_bad_input_11_it_is_no_regular_file(self, tmp_path: Path, kind: str) -> None:
        path = str(make(tmp_path / "odd", kind))
        with pytest.raises(PayloadError, match=r"^payload_not_regular: "):
            files.read_payload(path)

    def test_bad_input_11_a_link_to_a_regular_file_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "real.json").write_bytes(b"{}")
        (tmp_path / "p.json").symlink_to("real.json")
        assert files.read_payload(str(tmp_path / "p.json")) == b"{}"

    @pytest.mark.parametrize("path", ["/tmp/a\x00b", "/tmp/\ud800"])
    def test_the_path_is_none(self, path: str) -> None:
        with pytest.raises(PayloadError, match=r"^payload_path: "):
            files.read_payload(path)


def make(path: Path, kind: str) -> Path:
    """Something at `path` that is no regular file."""
    match kind:
        case "fifo":
            os.mkfifo(path)  # opened without O_NONBLOCK, it would wait for a writer for ever
        case "directory":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "device":
            return Path("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "link to a directory":
            path.symlink_to(path.parent)
    return path


class TestAttachments:
    def test_they_are_read_in_order(self, base: Path) -> None:
        payload = mail("/2026/a.pdf", "b.pdf", "//2026/./../2026/a.pdf")
        first = Attachment("0.pdf", b"A" * 100)
        # bad input 37: an empty one is accepted
        expected = (first, Attachment("1.pdf", b""), Attachment("2.pdf", b"A" * 100))
        assert read_attachments(payload, base, PLENTY) == expected
        assert files.check_attachments(payload, base, PLENTY) == len("body") + 156 + 156

    @pytest.mark.parametrize("path", ["../secret", "/../secret", "/2026/../../secret", "..", "/", "", "a\x00"])
    def test_bad_input_35_g10_nothing_outside_the_base(self, base: Path, path: str) -> None:
        assert refusal(base, path) == "attachment_path"

    @pytest.mark.parametrize("path", ["-secret/x", "/-secret/x", "%2e%2e/secret", "/att-secret/x", "/etc/passwd"])
    def test_bad_input_35_g10_what_looks_outside_stays_beneath(self, base: Path, path: str) -> None:
        error = trouble(base, path)
        assert (error.missing, error.shared) == (True, False)
        assert error.detail.startswith("attachment_missing: attachments[0]: ")

    @pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "2026/a.pdf", "nowhere"])
    def test_bad_input_36_g10_a_symbolic_link(self, base: Path, target: str) -> None:
        (base / "link.pdf").symlink_to(target)
        assert refusal(base, "/link.pdf") == "attachment_not_regular"

    @pytest.mark.parametrize("target", ["..", "/", "2026"])
    def test_bad_input_36_g10_a_symbolic_link_on_the_way(self, base: Path, target: str) -> None:
        (base / "way").symlink_to(target)
        assert refusal(base, "/way/secret") == "attachment_not_regular"
        assert refusal(base, "/way/2026/a.pdf") == "attachment_not_regular"

    def test_bad_input_36_g10_a_directory_swapped_for_a_link_after_it_was_looked_at(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (base.parent / "outside").mkdir()
        (base.parent / "outside" / "a.pdf").write_bytes(b"S" * 100)

        def swap(*_: object) -> int:
            (base / "2026").rename(base / "old")
            (base / "2026").symlink_to("../outside")
            return 0

        monkeypatch.setattr(files, "check_size", swap)  # what stands between the look and the reading
        with pytest.raises(PayloadError, match=r"^attachment_not_regular: "):
            read_attachments(mail("/2026/a.pdf"), base, PLENTY)

    def test_bad_input_36_a_hard_link(self, base: Path) -> None:
        os.link(base.parent / "secret", base / "hard.pdf")
        assert refusal(base, "/hard.pdf") == "attachment_not_regular"

    @pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "loop"])
    def test_bad_input_36_no_regular_file(self, base: Path, kind: str) -> None:
        make(base / "odd", kind)
        assert refusal(base, "/odd") == "attachment_not_regular"

    def test_the_base_itself_may_be_a_link(self, base: Path) -> None:
        (base.parent / "mount").symlink_to(base)
        assert len(read_attachments(mail("/2026/a.pdf"), base.parent / "mount", PLENTY)) == 1

    @pytest.mark.parametrize("path", ["/no.pdf", "/no/a.pdf", "/b.pdf/a.pdf"])
    def test_bad_input_37_missing(self, base: Path, path: str) -> None:
        error = trouble(base, "/2026/a.pdf", path)
        assert (error.missing, error.shared) == (True, False)
        assert error.detail == "attachment_missing: attachments[1]: the file is not there"

    def test_bad_input_1_the_base_is_empty_gone_or_no_directory(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").touch()
        for name in ("empty", "gone", "file"):
            assert trouble(tmp_path / name, "/a.pdf").shared

    def test_without_a_base_no_mail_is_to_blame(self) -> None:
        error = trouble(None, "/a.pdf")
        assert (error.missing, error.shared) == (False, False)
        assert "ATTACHMENTS_BASE_PATH" in error.detail
        assert read_attachments(mail(), None, PLENTY) == ()

    @pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
    @pytest.mark.parametrize("name", ["2026", "a.pdf"])
    def test_bad_input_2_the_share_has_trouble(
        self, base: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
    ) -> None:
        fail_opening(monkeypatch, name, code)
        error = trouble(base, "/2026/a.pdf")
        assert (error.missing, error.shared) == (False, False)
        assert errno.errorcode[code] in error.detail

    def test_bad_input_2_reading_fails(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fail_reading(monkeypatch, errno.EIO)
        with pytest.raises(PayloadUnavailable, match="EIO"):
            read_attachments(mail("/2026/a.pdf"), base, PLENTY)

    @pytest.mark.parametrize("change", [b"A" * 101, b"A" * 99, b""])
    def test_bad_input_37_grown_or_shrunk(self, base: Path, monkeypatch: pytest.MonkeyPatch, change: bytes) -> None:
        def meanwhile(*_: object) -> int:
            (base / "2026" / "a.pdf").write_bytes(change)
            return 0

        monkeypatch.setattr(files, "check_size", meanwhile)
        with pytest.raises(PayloadError, match=r"^attachment_changed: "):
            read_attachments(mail("/2026/a.pdf"), base, PLENTY)

    def test_bad_input_38_too_large_is_seen_before_anything_is_read(
        self, base: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (base / "huge.pdf").open("wb") as file:
            file.truncate(3 << 30)
        fail_reading(monkeypatch, errno.EIO)
        assert refusal(base, "/2026/a.pdf", "/huge.pdf") == "size"

    def test_bad_input_38_the_sum_counts(self, base: Path) -> None:
        limit = len("body") + 3 * 156
        assert files.check_attachments(mail(*["/2026/a.pdf"] * 3), base, limit) == limit
        assert refusal(base, *["/2026/a.pdf"] * 4, limit=limit) == "size"


def test_a_payload_that_comes_in_pieces_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.json").write_bytes(b"0123456789")
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, count: read(fd, min(count, 4)))  # as a share may give it
    assert files.read_payload(str(tmp_path / "p.json")) == b"0123456789"


class TestPrepared:
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Path:
        storage = tmp_path / "eml"
        storage.mkdir()
        (storage / "a.eml").write_bytes(b"To: a@b.com\r\n\r\n")
        (tmp_path / "outside.eml").touch()
        return storage

    @pytest.mark.parametrize("form", ["a.eml", "./a.eml", "{}/a.eml"])
    def test_relative_or_absolute(self, storage: Path, form: str) -> None:
        assert files.read_prepared(form.format(storage), storage, PLENTY) == b"To: a@b.com\r\n\r\n"

    def test_the_storage_may_be_named_by_either_of_its_names(self, storage: Path) -> None:
        mount = storage.parent / "mount"
        mount.symlink_to(storage)
        for path in (mount / "a.eml", storage / "a.eml"):
            assert files.read_prepared(str(path), mount, PLENTY)

    @pytest.mark.parametrize(
        "form", ["../outside.eml", "{}/../outside.eml", "{}/../eml/../outside.eml", "{}-x/a.eml", "/etc/passwd"]
    )
    def test_nothing_outside(self, storage: Path, form: str) -> None:
        with pytest.raises(PayloadError, match=r"^eml_path: "):
            files.read_prepared(form.format(storage), storage, PLENTY)

    def test_odd_missing_and_large_ones(self, storage: Path) -> None:
        (storage / "link.eml").symlink_to("../outside.eml")
        with pytest.raises(PayloadError, match=r"^eml_not_regular: "):
            files.read_prepared("link.eml", storage, PLENTY)
        with pytest.raises(PayloadError, match=r"^eml_size: "):
            files.read_prepared("a.eml", storage, 3)
        with pytest.raises(PayloadUnavailable, match=r"^eml_missing: ") as caught:
            files.read_prepared("no.eml", storage, PLENTY)
        assert (caught.value.missing, caught.value.shared) == (True, False)

    def test_without_a_storage_no_mail_is_to_blame(self, storage: Path) -> None:
        with pytest.raises(PayloadUnavailable, match="EML_STORAGE_PATH") as caught:
            files.read_prepared(str(storage / "a.eml"), None, PLENTY)
        assert (caught.value.missing, caught.value.shared) == (False, False)
