"""Looking: one email, its history, counts and pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from mailculator.errors import StoreRejected
from mailculator.lifecycle import STAGES, TERMINAL, is_of_unknown_outcome
from mailculator.model import HistoryEntry, Row, Status, StatusCount
from mailculator.stores.dynamodb import layout, notes
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.errors import NAME
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.index import entries
from mailculator.stores.dynamodb.record import Poisoned, Record, parse
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.table import BATCH_KEYS
from mailculator.stores.sought import Sought

GET = "get"
COUNT = "count"
PAGE = "page"
GUARD = "guard"
ACCEPTED = str(Status.ACCEPTED)
SWEEP_PAGE = 500
"""Records in a page of a pass: a megabyte at once would hold up the loop while it is parsed."""
INBOX_COUNTED = 10_000
"""Of the inbox, so many are counted, or read for a page, at the most: beyond that it is a past, and no backlog."""
INBOX_ASKED = 25
"""Of the inbox, so many are asked when they came: the oldest of 25 is rarely much younger than the oldest of all."""


async def find(session: Session, op: str, email_id: str) -> Record | None:
    """An email's record, its id in either case. Errors: StoreRejected for one that nobody can read."""
    for spelling in dict.fromkeys([email_id, email_id.lower(), email_id.upper()]):
        item = await session.table.get(op, layout.meta_key(spelling))
        if item is not None:
            try:
                return parse(item)
            except Poisoned as error:
                raise StoreRejected(NAME, op, f"{error.email_id}: {error.why}") from error
    return None


async def history(session: Session, email_id: str) -> list[HistoryEntry]:
    """Its history, oldest first: its birth, what other programs recorded, which has no time, and our lines."""
    record = await find(session, GET, email_id)
    if record is None:
        return []
    born = HistoryEntry(ACCEPTED, None, "created by its producer", record.created_at)
    full = await notes.read(session, record.id)
    lines = [_in_full(line, full.get(notes.of_line(line))) for line in record.lines]
    page = await session.table.query(GET, Where("{Id} = :id", {"id": record.id}), consistent=True)
    known = {ACCEPTED, layout.META, *(line.status for line in lines)}
    others = [
        HistoryEntry(item[layout.STATUS], None, "recorded by another program, at a time unknown", record.created_at)
        for item in page.items
        if item[layout.STATUS] not in known
    ]
    folded = record.item.get(layout.HISTORY_FOLDED)
    older = [HistoryEntry(ACCEPTED, None, f"{folded} older lines are not kept", record.created_at)] if folded else []
    # What we have put on the queue ourselves says so, as long as its oldest lines are kept.
    told = bool(lines) and lines[0].version is None and lines[0].status == ACCEPTED
    return [*([] if told else [born]), *others, *older, *lines]


def _in_full(line: HistoryEntry, note: str | None) -> HistoryEntry:
    return line if note is None else replace(line, reason=note)


async def standing(session: Session, ids: Sequence[str]) -> Mapping[str, Status]:
    """Where these emails stand; ids that are not here are left out. Errors: StoreError."""
    found: dict[str, Status] = {}
    for item in await session.table.get_many(GUARD, [layout.meta_key(email_id) for email_id in dict.fromkeys(ids)]):
        try:
            found[item[layout.ID]] = parse(item).status
        except Poisoned:
            continue  # nobody will ever send it
    return found


async def counts(session: Session, *, terminal: bool, inbox: bool) -> Mapping[Status, StatusCount]:
    """Emails per status, by the indexes: as of a moment ago.

    Arguments:
        terminal: with a pass over the whole table.
        inbox: new emails that nobody has taken up yet are counted, too.
    """
    asked = [status for status in Status if status not in TERMINAL]
    found = {status: _Tally() for status in asked}
    keys = [key for stage in STAGES for key in layout.stage_keys(stage)] + layout.parked_keys()
    for part in sound(await each(keys, lambda key: entries(session, COUNT, key))):
        for entry in part:
            if entry.get(layout.STATE) in found:
                found[Status(entry[layout.STATE])].add(entry)
    now = session.now()
    counted = {status: tally.count(now) for status, tally in found.items()}
    if inbox:
        accepted, new = counted[Status.ACCEPTED], await _inbox(session)
        counted[Status.ACCEPTED] = StatusCount(
            accepted.count + new.count, accepted.parked, max(accepted.oldest_age, new.oldest_age)
        )
    if terminal:
        counted |= await _terminal(session)
    return counted


class _Tally:
    def __init__(self) -> None:
        self.all = 0
        self.parked = 0
        self.due: int | None = None

    def add(self, entry: Item) -> None:
        self.all += 1
        if str(entry[layout.WORK_KEY]).startswith(layout.PARKED_KEY):
            self.parked += 1
        else:
            self.due = min(entry[layout.DUE_AT], entry[layout.DUE_AT] if self.due is None else self.due)

    def count(self, now: float) -> StatusCount:
        age = 0.0 if self.due is None else max(0.0, now - float(self.due) / 1000)
        return StatusCount(self.all, self.parked, age)


async def _inbox_ids(
    session: Session, op: str, *, after: str | None = None, limit: int | None = None
) -> AsyncIterator[list[str]]:
    """Ids in the inbox, in their order and page by page; no more than about INBOX_COUNTED.

    Arguments:
        after: only those behind this id.
        limit: of one page.
    """
    start: Item | None = None if after is None else {layout.STATUS: ACCEPTED, layout.ID: after}
    where = Where("{Status} = :accepted", {"accepted": ACCEPTED})
    seen = 0
    while seen < INBOX_COUNTED:
        page = await session.table.query(op, where, index=layout.STATUS_INDEX, limit=limit, after=start)
        if page.items:
            yield [item[layout.ID] for item in page.items]
        seen += len(page.items)
        start = page.after
        if start is None:
            return


async def _inbox(session: Session) -> StatusCount:
    """New emails that wait to be taken up. What was taken up a moment ago may be counted twice.

    Their records there tell no time, so some of the emails' own are asked, in the order of their ids, which is none.
    """
    ids = [email_id async for part in _inbox_ids(session, COUNT) for email_id in part]
    asked = [layout.meta_key(email_id) for email_id in ids[:INBOX_ASKED]]
    found = await session.table.get_many(COUNT, asked, consistent=False)
    return StatusCount(len(ids), oldest_age=max((_waited(item, session.now()) for item in found), default=0.0))


def _waited(item: Item, now: float) -> float:
    """Seconds since an email came; 0 for one that is known by now, and told of elsewhere."""
    try:
        record = parse(item)
    except Poisoned:
        return 0.0
    if record.adopted or record.status is not Status.ACCEPTED:
        return 0.0
    return max(0.0, now - record.created_at.timestamp())


async def _terminal(session: Session) -> Mapping[Status, StatusCount]:
    totals = dict.fromkeys(sorted(TERMINAL), 0)
    async for item in all_records(session, COUNT):
        attributes = item.get(layout.ATTRIBUTES)
        latest = attributes.get(layout.LATEST) if isinstance(attributes, dict) else None
        if isinstance(latest, str) and latest in totals:
            totals[Status(latest)] += 1
    return {status: StatusCount(count) for status, count in totals.items()}


async def all_records(
    session: Session, op: str, *, after: str | None = None, only: Where | None = None
) -> AsyncIterator[Item]:
    """Every email's record, in the order of ids.

    Arguments:
        after: only those behind this id.
        only: only those for which this holds. What it leaves out is paid for all the same, but not sent.
    """
    start: Item | None = None if after is None else {layout.STATUS: layout.META, layout.ID: after}
    while True:
        page = await session.table.query(
            op,
            Where("{Status} = :meta", {"meta": layout.META}),
            index=layout.STATUS_INDEX,
            limit=SWEEP_PAGE if only is None else None,
            after=start,
            only=only,
        )
        for item in page.items:
            yield item
        start = page.after
        if start is None:
            return


def _is_active(sought: Sought) -> bool:
    """Whether they all stand in the work index. Of a domain or of unknown outcome, and of no status, only those that do
    are told: the others would be looked for in the whole table."""
    if sought.status is None:
        return bool(sought.parked or sought.unknown or sought.domain)
    return sought.status not in TERMINAL


def _keys(sought: Sought) -> list[str]:
    """Where in the work index they stand."""
    keys = layout.parked_keys() if sought.parked is not False else []
    if sought.parked:
        return keys
    among = frozenset(Status) if sought.among is None else sought.among
    stages = [stage for stage in STAGES if among & {stage.waiting, stage.working}]
    return [*keys, *(key for stage in stages for key in layout.stage_keys(stage))]


def may_be_new(sought: Sought) -> bool:
    """Whether emails that nobody has taken up yet may be among them: those have no domain and no error, and nobody has
    parked them."""
    return sought.status is Status.ACCEPTED and not (sought.parked or sought.unknown or sought.domain)


def _row(item: Item, sought: Sought) -> Row | None:
    """The email, if it is one of them."""
    try:
        row = parse(item).row()
    except Poisoned:
        return None
    fits = (
        (sought.among is None or row.status in sought.among)
        and sought.domain in (None, row.recipient_domain)
        and sought.parked in (None, row.parked)
        and (not sought.unknown or is_of_unknown_outcome(row))
    )
    return row if fits else None


async def page(session: Session, sought: Sought, limit: int, *, inbox: bool) -> list[Row]:
    """Emails in the order of their ids. Active ones by the indexes, others by a pass over the table.

    Arguments:
        inbox: some may lie in the inbox alone: `may_be_new`, and the inbox is what the service takes them from.
    """
    if limit <= 0:
        return []
    if _is_active(sought):
        return await _active_page(session, sought, limit, inbox=inbox)
    rows: list[Row] = []
    only = None if sought.domain is None else Where("{Domain} = :domain", {"domain": sought.domain})
    async for item in all_records(session, PAGE, after=sought.after, only=only):
        if (row := _row(item, sought)) is not None:
            rows.append(row)
        if len(rows) >= limit:
            break
    return rows


async def _active_page(session: Session, sought: Sought, limit: int, *, inbox: bool) -> list[Row]:
    """The index has no domains and no errors: the emails themselves are read for these, in the order of their ids,
    until there are enough."""
    width = limit if sought.domain is None and not sought.unknown else BATCH_KEYS
    rows: list[Row] = []
    async for ids in _active_ids(session, sought, width, inbox=inbox):
        items = await session.table.get_many(PAGE, [layout.meta_key(email_id) for email_id in ids])
        rows += sorted((row for item in items if (row := _row(item, sought)) is not None), key=lambda row: row.id)
        if len(rows) >= limit:
            break
    return rows[:limit]


async def _active_ids(session: Session, sought: Sought, width: int, *, inbox: bool) -> AsyncIterator[list[str]]:
    """Ids of emails that may be of a page, in their order, about `width` at a time."""
    found = [one for part in sound(await each(_keys(sought), lambda key: entries(session, PAGE, key))) for one in part]
    among = sought.among
    ids = sorted(
        entry[layout.ID]
        for entry in found
        if (among is None or entry.get(layout.STATE) in among) and entry[layout.ID] > (sought.after or "")
    )
    if inbox:
        async for new in _inbox_ids(session, PAGE, after=sought.after, limit=width):
            # One that was taken up a moment ago may stand in both.
            yield sorted({*new, *(one for one in ids if one <= new[-1])})
            ids = [one for one in ids if one > new[-1]]
    for start in range(0, len(ids), width):
        yield ids[start : start + width]
