"""Beside an older consumer: its only lock is that a record named for the working status may be put once.

So a claim of ours puts that record, in one transaction with the email's own, and a step back takes it away, as the
producer's requeue does.
"""

from __future__ import annotations

from mailculator.lifecycle import STAGE_BY_WORKING, Stage
from mailculator.model import Status
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.expression import Update, Where
from mailculator.stores.dynamodb.index import entries
from mailculator.stores.dynamodb.record import Record
from mailculator.stores.dynamodb.session import Session
from mailculator.stores.dynamodb.table import Delete, Put

OP = "claim"


async def claim(session: Session, update: Update, record: Record, stage: Stage) -> Item:
    """Claim, and put the record that keeps the older consumer away. Returns the email's record.

    Errors: Refused; Conflict, when somebody else is claiming it at this moment.
    """
    lock = Put(
        {
            layout.ID: record.id,
            layout.STATUS: str(stage.working),
            layout.ATTRIBUTES: {},
            layout.TTL: record.expires if record.expires is not None else layout.FAR,
        },
        Where("attribute_not_exists({Id})"),
    )
    await session.table.transact(OP, update, [lock], before=record.item, retry_conflict=False)
    return update.change.apply(record.item)


def locks(record: Record) -> list[Delete]:
    """What a step back of a working record must take away with it."""
    if record.status not in STAGE_BY_WORKING:
        return []
    return [_lock(record.id, record.status)]


def all_locks(email_id: str) -> list[Delete]:
    """What sending anew must take away: a status can be entered once only, to an older consumer."""
    return [_lock(email_id, status) for status in Status if status is not Status.ACCEPTED]


def _lock(email_id: str, status: Status) -> Delete:
    return Delete({layout.ID: email_id, layout.STATUS: str(status)})


async def obstacle(session: Session) -> str | None:
    """Why an older consumer must not work on this table now: it fails READY mail that has no EML file.

    Errors: StoreError.
    """
    stage = layout.stage_of(Status.READY)
    assert stage is not None  # noqa: S101  # READY is no terminal status
    for key in layout.stage_keys(stage):
        found = await entries(session, "control", key)
        keys = [layout.meta_key(one[layout.ID]) for one in found if one.get(layout.STATE) == str(Status.READY)]
        for item in await session.table.get_many("control", keys):
            attributes = item.get(layout.ATTRIBUTES)
            if isinstance(attributes, dict) and not attributes.get(layout.EML):
                return (
                    f"{item[layout.ID]} is READY without an EML file, and an older consumer would fail it: let this "
                    "service send what it has prepared first, with MAILCULATOR_DYNAMODB_PEER_CONSUMER=false"
                )
    return None
