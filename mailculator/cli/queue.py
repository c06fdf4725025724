"""queue summary|list|show, enqueue, requeue, release."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mailculator.cli import listing, output
from mailculator.cli.service import Json
from mailculator.cli.stores import StoreName, StoreOption, load, load_one, opened

if TYPE_CHECKING:
    from mailculator.model import HistoryEntry, NewEmail, Row, Status
    from mailculator.stores.base import Steered

application = typer.Typer(help="Look at the queue: summary, list, show.", no_args_is_help=True, rich_markup_mode=None)

Ids = Annotated[list[str], typer.Argument(help="Ids of emails.", metavar="ID")]
Why = Annotated[str, typer.Option("--why", help="The reason, kept in the history.", metavar="TEXT")]
Who = Annotated[
    str, typer.Option("--as", help="Who asks, kept in the history. Default: the user at the keyboard.", metavar="NAME")
]

REQUEUE_TTL = 7 * 86400.0
"""Seconds that an email past its ttl gets anew when it is requeued."""
PATH_LIMIT = 500
"""Characters that the queue keeps of a payload file's path."""


@application.command("summary")
def summary(store: StoreOption = None, as_json: Json = False) -> None:
    """Count the emails in each status.

    Shows how many of them are parked, too, and for how long the oldest has been due.
    """
    output.run(_summary(store, as_json=as_json))


@application.command("list")
def list_(
    status: Annotated[
        str, typer.Option(help="Only this status, as sent or CALLING-SENT-CALLBACK.", metavar="STATUS")
    ] = "",
    parked: Annotated[bool, typer.Option("--parked", help="Only what is set aside.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Only mail that the relay may have: its reply was lost.")
    ] = False,
    after: Annotated[
        str, typer.Option(help="Only ids behind this one: the last of the page before.", metavar="ID")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Emails at the most.", metavar="N")] = 50,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """List emails in the order of their ids, page by page."""
    wanted = listing.Wanted(_status(status), parked, unknown, after, limit)
    output.run(_list(store, wanted, as_json=as_json))


@application.command("show")
def show(
    email_id: Annotated[str, typer.Argument(help="Id of an email.", metavar="ID")],
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Show one email with its history."""
    output.run(_show(store, email_id, as_json=as_json))


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


def requeue(ids: Ids, why: Why, who: Who = "", store: StoreOption = None, as_json: Json = False) -> None:
    """Start terminal or failed emails anew.

    INVALID ones start from intake, FAILED ones from sending, sent ones from the callback alone. Exit code 1 when one of
    them is not there or cannot be started anew.
    """
    raise typer.Exit(output.run(_steer("requeue", store, ids, who, why, as_json=as_json)))


def release(ids: Ids, why: Why, who: Who = "", store: StoreOption = None, as_json: Json = False) -> None:
    """Let parked emails go on.

    They are due at once, and their tries are counted anew. Exit code 1 when one of them is not there or not parked.
    """
    raise typer.Exit(output.run(_steer("release", store, ids, who, why, as_json=as_json)))


async def _summary(store: StoreName | None, *, as_json: bool) -> None:
    settings, names = load(store)
    found = {}
    for name in names:
        async with opened(settings, name) as queue:
            found[name] = await queue.counts(terminal=True)
    if as_json:
        output.document(
            {
                name: {
                    status: {"count": one.count, "parked": one.parked, "oldest_age_s": round(one.oldest_age, 1)}
                    for status, one in counts.items()
                }
                for name, counts in found.items()
            }
        )
        return
    rows = [
        (name, status, one.count, one.parked or "", output.duration(one.oldest_age) if one.oldest_age else "")
        for name, counts in found.items()
        for status, one in counts.items()
    ]
    output.table(("store", "status", "emails", "parked", "oldest due for"), rows)


async def _list(store: StoreName | None, wanted: listing.Wanted, *, as_json: bool) -> None:
    settings, name = load_one(store)
    async with opened(settings, name) as queue:
        rows = await listing.rows(queue, wanted)
    if as_json:
        output.document([_row(row) for row in rows])
        return
    if not rows:
        print("no such emails" if wanted.narrow else "no emails")
        return
    output.table(
        ("id", "status", "tries", "updated", "last error or reason"),
        [
            (
                row.id,
                f"{row.status} (parked)" if row.parked else row.status,
                row.attempts,
                row.updated_at,
                row.last_error or row.reason,
            )
            for row in rows
        ],
    )
    if len(rows) == wanted.limit:
        print(output.clean(f"next page: --after {rows[-1].id}"), file=sys.stderr)


async def _show(store: StoreName | None, email_id: str, *, as_json: bool) -> None:
    settings, names = load(store)
    found: dict[str, tuple[Row, list[HistoryEntry]]] = {}
    for name in names:
        async with opened(settings, name) as queue:
            row = await queue.get(email_id)
            if row is not None:
                found[name] = (row, await queue.history(email_id))
    if not found:
        output.fail(f"{email_id}: no such email in {', '.join(names)}")
    if as_json:
        output.document(
            {name: {**_row(row), "history": [_entry(one) for one in past]} for name, (row, past) in found.items()}
        )
        return
    for name, (row, past) in found.items():
        shown = {"store": name, **{key: value for key, value in _row(row).items() if value not in (None, "")}}
        output.table(("email", row.id), [item for item in shown.items() if item[0] != "id"])
        print()
        lines = [(one.created_at, one.version, one.status, one.reason) for one in past]
        output.table(("when", "version", "status", "note"), lines)


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


async def _steer(verb: str, store: StoreName | None, ids: list[str], who: str, why: str, *, as_json: bool) -> int:
    from mailculator.lifecycle import clean
    from mailculator.stores.base import Steered

    if not clean(why):
        raise output.misused("--why", "say why; the history keeps it")
    settings, name = load_one(store)
    asker = clean(who) or output.operator()
    async with opened(settings, name) as queue:
        if verb == "requeue":
            answers = await queue.requeue(ids, who=asker, why=clean(why), ttl_extension=REQUEUE_TTL)
        else:
            answers = await queue.release(ids, who=asker, why=clean(why))
    told = [_told(verb, answer) for answer in answers]
    if as_json:
        output.document([{"id": one, "result": word} for one, word in zip(ids, told, strict=True)])
    else:
        output.table(("id", "result"), zip(ids, told, strict=True))
    return output.OK if all(answer is Steered.DONE for answer in answers) else output.FAILURE


def _told(verb: str, answer: Steered) -> str:
    from mailculator.stores.base import Steered

    if answer is Steered.DONE:
        return f"{verb}d"
    if answer is Steered.MISSING:
        return "no such email"
    return "not parked" if verb == "release" else "neither terminal nor failed: nothing to start anew"


def _status(text: str) -> Status | None:
    from mailculator.model import Status

    if not text:
        return None
    try:
        return Status(text.strip().upper().replace("_", "-"))
    except ValueError:
        raise output.misused("--status", f"must be one of {', '.join(Status)} (got {text!r})") from None


def _row(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__ if name != "claim_token"}


def _entry(entry: HistoryEntry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__slots__}
