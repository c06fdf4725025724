"""enqueue: payload files, put on a queue."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailculator.cli import output
from mailculator.cli.service import Json
from mailculator.cli.stores import StoreName, StoreOption, load_one, opened

if TYPE_CHECKING:
    from mailculator.model import NewEmail

PATH_LIMIT = 500
"""Characters that the queue keeps of a payload file's path."""


def enqueue(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Payload files, as the service can read them.")],
    store: StoreOption = None,
    ttl: Annotated[
        int, typer.Option(min=0, help="Seconds after which it is not sent any more; 0 = never.", metavar="SECONDS")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Put payload files on a queue.

    An id that is there already is reported, and is no error. A file that is refused leads to exit code 1; the others
    are put on the queue all the same.
    """
    raise typer.Exit(output.run(_enqueue(store, files, ttl, as_json=as_json)))


async def _enqueue(store: StoreName | None, files: list[Path], ttl: int, *, as_json: bool) -> int:
    settings, name = load_one(store)
    expires = int(time.time()) + ttl if ttl else None
    results: list[dict[str, Any]] = [{"file": str(file)} for file in files]
    entries: list[tuple[int, NewEmail]] = []
    for number, file in enumerate(files):
        try:
            entries.append((number, _new_email(file, expires)))
        except (OSError, ValueError) as error:
            results[number] |= {"result": "refused", "detail": getattr(error, "strerror", None) or str(error)}
    # Also when nothing is left to put on it: a queue that cannot be used is told first.
    async with opened(settings, name) as queue:
        answers = await queue.enqueue([entry for _, entry in entries])
    for (number, entry), answer in zip(entries, answers, strict=True):
        results[number] = {"file": entry.payload_file_path, "id": entry.id, "result": answer.value}
    if as_json:
        output.document(results)
    else:
        output.table(
            ("result", "id", "file", "detail"),
            [(one["result"], one.get("id"), one["file"], one.get("detail")) for one in results],
        )
    return output.OK if len(entries) == len(files) else output.FAILURE


def _new_email(file: Path, ttl: int | None) -> NewEmail:
    """The queue's entry for a payload file. Errors: OSError, ValueError in words."""
    from mailculator import payload
    from mailculator.errors import PayloadError, PayloadUnavailable
    from mailculator.model import NewEmail
    from mailculator.pipelines import files

    # Not resolved: the service may reach the same name by other ways than this machine's links.
    path = str(file.absolute())
    if len(path) > PATH_LIMIT:
        raise ValueError(f"its path is longer than the {PATH_LIMIT} characters that the queue keeps")
    if not path.isprintable():
        raise ValueError("its path holds what is no printable UTF-8")
    file.stat()  # in the file system's own words
    try:
        found = payload.parse(files.read_payload(path))
    except (PayloadError, PayloadUnavailable) as error:
        raise ValueError(str(error)) from error
    return NewEmail(found.id.lower(), path, ttl)
