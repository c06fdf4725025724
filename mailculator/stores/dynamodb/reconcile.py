"""Records that another program has written last: taken over as they stand, or recognised as what must not happen.

A record without our copies of status and time is one we meet for the first time. Where the copies differ from what
stands, somebody has written since: a step back from a working status is the producer's requeue, which is obeyed.
Anything else is a consumer that works on the same table without our knowing: counted, and soon our claims stop.
"""

from __future__ import annotations

from mailculator.lifecycle import STAGE_BY_WORKING
from mailculator.model import Status
from mailculator.stores.dynamodb import repairs
from mailculator.stores.dynamodb.control import Control
from mailculator.stores.dynamodb.record import Record, parse
from mailculator.stores.dynamodb.session import Session
from mailculator.stores.dynamodb.table import Refused

OP = "repair"


class Reconciler:
    """Brings records into step."""

    def __init__(self, session: Session, control: Control) -> None:
        self._session = session
        self._control = control
        self._met: set[str] = set()

    async def bring_in(self, record: Record) -> Record | None:
        """Take over what stands there; None when it changed meanwhile, and somebody will meet it again.

        Errors: StoreError; Poisoned.
        """
        note = _note(record)
        try:
            _, after = await self._session.table.update(OP, repairs.sync(record, at=self._session.now(), note=note))
        except Refused:
            return None
        if not record.adopted:
            self._session.notice("adopted", record.id)
            await self._control.producer_wrote()
        elif is_requeue(record):
            self._session.notice("producer_requeue", record.id, f"{record.state} -> {record.status}")
            await self._control.producer_wrote()
        elif not self._session.peer:
            # Counted once for each such write: from here on the record is in step again.
            await self._control.foreign(record.id, f"{record.id} {record.state} -> {record.status}")
        return parse(after)

    def meet(self, email_id: str) -> None:
        """A holder has found that its record was written by another program: the next rescue takes it over."""
        self._met.add(email_id)

    def out_of_step(self) -> list[str]:
        """Ids that were met since the last time this was asked."""
        met, self._met = sorted(self._met), set()
        return met


def is_requeue(record: Record) -> bool:
    """A step back from a working status."""
    try:
        stage = STAGE_BY_WORKING.get(Status(record.state or ""))
    except ValueError:
        return False
    return stage is not None and record.status is stage.waiting


def _note(record: Record) -> str | None:
    if not record.adopted:
        return None
    return "requeued by its producer" if is_requeue(record) else "moved by another program"
