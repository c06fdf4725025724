"""Lanes side by side, most of whose time is waiting, and the points that are shared out among them."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field

from tests.chaos.record import Proof, percentile
from tests.chaos.verdict import Kind, Verdict
from tests.syscalls.lane import Lane, Strike
from tests.syscalls.points import Point, points, sample, window

AMOUNT = "MAILCULATOR_TEST_SYSCALLS"
SEED = "MAILCULATOR_TEST_SYSCALLS_SEED"
POINTS, ALL = 40, "all"
"""Of all stores together where the environment asks for nothing else, and its word for every one."""
SHARES = {"mysql": 0.5, "sqlite": 0.4, "dynamodb": 0.1}
PART = {"mysql": 1.0, "sqlite": 1.0, "dynamodb": 0.1}
"""What a store gets of all of its points, if all are asked for: moto takes too long for more."""
REFUSED = 0.2
"""How many of the mails, or of the points of such a mail's life, are of mail that the relay refuses."""
STORES = {"mysql": "MariaDB", "sqlite": "SQLite", "dynamodb": "DynamoDB (moto)"}
TARGETS = {
    "store": "at the queue",
    "journal": "at the journal",
    "relay": "at the relay",
    "callback": "at the callback",
    "file": "at payload and attachment",
    "log": "at the log",
    "wait": "waiting",
}
Work = list[tuple[Point, Kind]]


def new_seed() -> int:
    """The one that the environment names, or any."""
    return int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))


@dataclass
class Campaign:
    """One store's points.

    Arguments:
        seed: of which points are taken, and in which order.
        whole: every point of each kind's life, once lives have been watched.
    """

    store: str
    lanes: Sequence[Lane]
    seed: int = field(default_factory=new_seed)
    whole: dict[Kind, list[Point]] = field(default_factory=dict)

    async def run(self) -> Proof:
        """Watch lives, strike at their points, hold the books against each other. AssertionError with the seed."""
        begun = time.monotonic()
        with self._explained():
            async with AsyncExitStack() as stack:
                for lane in self.lanes:
                    await stack.enter_async_context(lane.open())
                await self._watch()
                left = iter(self._work())
                async with asyncio.TaskGroup() as group:
                    for lane in self.lanes:
                        group.create_task(_follow(lane, left))
            judged = [await lane.judged() for lane in self.lanes]
            proof = self._proof([verdict for verdict, _ in judged], sum(count for _, count in judged), begun)
            proof.keep()
            for lane, (verdict, _) in zip(self.lanes, judged, strict=True):
                assert not verdict.faults, self._story(verdict, lane)
        return proof

    @property
    def strikes(self) -> list[Strike]:
        return [strike for lane in self.lanes for strike in lane.strikes]

    @property
    def missed(self) -> list[Point]:
        """Points that no life came to."""
        return [point for lane in self.lanes for point in lane.missed]

    async def _watch(self) -> None:
        """Whole lives, one of each kind in each lane: the first ever in its process, with every connection to make."""
        for kind in (Kind.VALID, Kind.REFUSED):
            lives = await asyncio.gather(*(lane.live(kind) for lane in self.lanes))
            self.whole[kind] = points([life.calls for life in lives])

    def _work(self) -> Work:
        rng = random.Random(self.seed)
        valid, refused = self.whole[Kind.VALID], self.whole[Kind.REFUSED]
        asked = os.environ.get(AMOUNT, str(POINTS))
        if asked == ALL:
            counts = round(PART[self.store] * len(valid)), round(PART[self.store] * REFUSED * len(refused))
        else:
            share = max(2, round(int(asked) * SHARES[self.store]))
            counts = share - round(share * REFUSED), round(share * REFUSED)
        work = [(point, Kind.VALID) for point in sample(valid, counts[0], rng, window(valid))]
        work += [(point, Kind.REFUSED) for point in sample(refused, counts[1], rng)]
        rng.shuffle(work)
        return work

    def _proof(self, verdicts: Sequence[Verdict], windows: int, begun: float) -> Proof:
        targets = Counter(strike.point.target for strike in self.strikes)
        recovered = [strike.recovered for strike in self.strikes]
        figures: dict[str, int | float | str] = {
            "points of a life": len(self.whole[Kind.VALID]),
            "struck": len(self.strikes),
            "not met": len(self.missed),
            **{name: targets[target] for target, name in TARGETS.items()},
            "between dot and reply": windows,
            "lost": sum(len(one.lost) for one in verdicts),
            "stuck": sum(len(one.stuck) for one in verdicts),
            "falsely final": sum(len(one.falsely_final) for one in verdicts),
            "set aside": sum(len(one.set_aside) for one in verdicts),
            "second copy in the window": sum(len(one.doubled_in_window) for one in verdicts),
            "second copy elsewhere": sum(len(one.doubled_outside) for one in verdicts),
            "other faults": sum(len(one.broken) for one in verdicts),
            "ended after p50 / p99": f"{percentile(recovered, 0.5)} s / {percentile(recovered, 0.99)} s",
        }
        return Proof.of("system calls", STORES[self.store], (self.seed,), time.monotonic() - begun, figures)

    def _story(self, verdict: Verdict, lane: Lane) -> Mapping[str, object]:
        """What does not hold, and where the processes were struck that such mail was in the hands of."""
        told = " ".join(line for lines in verdict.faults.values() for line in lines)
        struck = [f"{strike.email_id}: before {strike.point}" for strike in lane.strikes if strike.email_id in told]
        return {**{name: (len(lines), lines[:5]) for name, lines in verdict.faults.items()}, "struck": struck[:10]}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Add to whatever fails how it can be had again: the same points, the machine's own timing aside."""
        try:
            yield
        except BaseException as error:
            amount = os.environ.get(AMOUNT, POINTS)
            again = f"{AMOUNT}={amount} {SEED}={self.seed} .venv/bin/pytest -m '' tests/syscalls -k {self.store}"
            error.add_note(f"seed {self.seed}; again: {again}")
            raise


async def _follow(lane: Lane, left: Iterator[tuple[Point, Kind]]) -> None:
    for point, kind in left:
        await lane.strike(point, kind)
