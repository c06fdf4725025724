"""What is due, as the work index and this process's own writes tell it.

An index is a hint: it may lag behind the table, and other replicas read it too. The condition of the claim decides.
Reading it is what an idle queue costs, so that what one look has found serves the next claims of that second as well,
and an email that this process has just brought to the next stage is handed on without a look.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import dataclass

from mailculator.lifecycle import WORKING, Stage
from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.expression import Where
from mailculator.stores.dynamodb.record import Record
from mailculator.stores.dynamodb.session import Session, each, sound
from mailculator.stores.dynamodb.sightings import Sightings

POLL = "poll"
LOOK_EVERY = 1.0
"""Seconds for which a look at the index serves a busy stage."""
HANDED_ON = 2.0
"""Seconds for which a look that saw all there was spares another one, for an email that this process has handed on."""
LAG = 10.0
"""Seconds for which we remember what we wrote, since an index may tell of it that late."""
REMEMBERED = 50_000
PAGE = 500
_WORKING = frozenset(str(status) for status in WORKING)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An email that seems to be due.

    Arguments:
        due: epoch milliseconds.
    """

    id: str
    version: int
    due: int


class WorkIndex:
    """One process's view of what is due.

    Arguments:
        rng: picks among what several replicas see.
    """

    def __init__(self, session: Session, sightings: Sightings, rng: random.Random) -> None:
        self._rng = rng
        self._session = session
        self._sightings = sightings
        self._hints: dict[str, dict[str, Candidate]] = {}
        self._looked: dict[str, float] = {}
        self._saw_all: set[str] = set()
        self._beyond: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def hand_on(self, stage: Stage, candidate: Candidate) -> None:
        """An email that has just come to a stage."""
        hints = self._hints.setdefault(stage.name, {})
        if len(hints) < REMEMBERED:
            hints[candidate.id] = candidate

    def met(self, record: Record | None) -> None:
        """A record that has just been taken over: handed on, if it waits for a stage."""
        stage = None if record is None else layout.stage_of(record.status)
        if record is not None and stage is not None and record.status is stage.waiting:
            self.hand_on(stage, Candidate(record.id, record.version, record.item[layout.DUE_AT]))

    def wrote(self, email_id: str, version: int) -> None:
        """An email is known to have that version: older news of it is no news."""
        now = self._session.monotonic()
        self._beyond[email_id] = (version, now)
        self._beyond.move_to_end(email_id)
        while self._beyond and next(iter(self._beyond.values()))[1] < now - LAG:
            self._beyond.popitem(last=False)

    def holds(self, email_id: str, version: int) -> None:
        """This process has claimed it."""
        self.wrote(email_id, version)
        self._sightings.mine.add(email_id)

    async def due(self, stage: Stage, limit: int) -> list[Candidate]:
        """Up to `limit` emails that seem to be due, the oldest first. Errors: StoreError."""
        hints = self._hints.setdefault(stage.name, {})
        looked = self._session.monotonic() - self._looked.get(stage.name, float("-inf"))
        # Else a quiet queue would look twice for every email at every stage: when it comes, and whether it is the last.
        spared = looked < HANDED_ON and bool(hints) and self.saw_all(stage)
        if not spared and (looked >= LOOK_EVERY or len(hints) < limit):
            await self._look(stage, limit, hints)
        oldest = sorted(hints.values(), key=_by_due)
        if self._sightings.others:
            # Replicas that all tried the very oldest would be in each other's way, at a unit a try.
            oldest = sorted(self._rng.sample(oldest[: 2 * limit], min(limit, len(oldest))), key=_by_due)
        taken = oldest[:limit]
        for candidate in taken:
            del hints[candidate.id]
        return [one for one in taken if not self._is_old(one.id, one.version)]

    def saw_all(self, stage: Stage) -> bool:
        """Whether the last look left nothing behind."""
        return stage.name in self._saw_all

    async def _look(self, stage: Stage, limit: int, hints: dict[str, Candidate]) -> None:
        self._looked[stage.name] = self._session.monotonic()
        self._saw_all.discard(stage.name)
        now = round(self._session.latest() * 1000)

        async def read(key: str) -> tuple[list[Candidate], bool]:
            return await self._read(key, str(stage.waiting), now, limit)

        answers = sound(await each(layout.stage_keys(stage), read))
        for found, _ in answers:
            for candidate in found:
                if not self._is_old(candidate.id, candidate.version):
                    hints.setdefault(candidate.id, candidate)
        if all(complete for _, complete in answers):
            self._saw_all.add(stage.name)

    async def _read(self, key: str, waiting: str, now: int, limit: int) -> tuple[list[Candidate], bool]:
        """Due entries of one key, the oldest first, and whether they are all. What is held stands among them, and is
        worth seeing, too."""
        found: list[Candidate] = []
        held: set[str] = set()
        after: Item | None = None
        while True:
            page = await self._session.table.query(
                POLL,
                Where("{WorkKey} = :key AND {DueAt} <= :now", {"key": key, "now": now}),
                index=layout.WORK_INDEX,
                limit=min(PAGE, max(2 * limit, 20)),
                after=after,
            )
            for entry in page.items:
                if entry.get(layout.STATE) in _WORKING:
                    self._sightings.see(entry)
                    held.add(entry[layout.ID])
                elif entry.get(layout.STATE) == waiting:
                    found.append(Candidate(entry[layout.ID], _version(entry), entry[layout.DUE_AT]))
            after = page.after
            if after is None:
                self._sightings.looked_through(key, held)
                return found, True
            if len(found) >= limit:
                return found, False

    def _is_old(self, email_id: str, version: int) -> bool:
        known = self._beyond.get(email_id)
        return known is not None and version < known[0] and known[1] >= self._session.monotonic() - LAG


async def entries(session: Session, op: str, key: str, *, most: int | None = None) -> list[Item]:
    """Every entry of a key, due or not; `most` of them at the most, to the next whole page. Errors: StoreError."""
    found: list[Item] = []
    after: Item | None = None
    while True:
        page = await session.table.query(
            op, Where("{WorkKey} = :key", {"key": key}), index=layout.WORK_INDEX, after=after
        )
        found += page.items
        after = page.after
        if after is None or (most is not None and len(found) >= most):
            return found


def _by_due(candidate: Candidate) -> tuple[int, str]:
    return candidate.due, candidate.id


def _version(entry: Item) -> int:
    version = entry.get(layout.VERSION, 1)
    return version if isinstance(version, int) else 0
