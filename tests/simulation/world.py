"""One world: replicas, a queue, a relay and whatever befalls them, from a seed to the verdict.

Not varied by the seed: the order in which asyncio runs what is ready within one process, the time that computing takes
(none), and what Python itself does. The segments' trimming, the watchdog and the web server are not part of it.
"""

from __future__ import annotations

import asyncio
import random
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mailculator import lifecycle
from mailculator.config import Settings
from mailculator.model import NewEmail, Status
from mailculator.retry import Backoff
from mailculator.timing import Timing
from tests.chaos.verdict import Pause, Verdict, judge
from tests.simulation.books import Struck, account
from tests.simulation.chronicle import EPOCH, Chronicle, milliseconds
from tests.simulation.disk import Share
from tests.simulation.faults import Blow, Weather
from tests.simulation.loop import VirtualLoop
from tests.simulation.peers import Peers
from tests.simulation.queues import Queue
from tests.simulation.replica import Ground, Incarnation
from tests.simulation.rows import Entry
from tests.simulation.surroundings import draw_mails, in_place

TIMING = replace(
    Timing(),
    check_every=10.0,
    smtp_command=60.0,
    smtp_dot=120.0,
    relay_backoff=Backoff(base=15.0, cap=60.0),
    callback_backoff=Backoff(base=2.0, cap=60.0),
    payload_backoff=Backoff(base=5.0, cap=60.0),
)
"""As in life, but that nobody has to wait for half an hour once all is well, and that a quiet queue costs less."""
PROMISED = 2 * TIMING.lease + TIMING.rescue_every
"""Seconds after which nothing stands in a working status of the dead."""
PATIENCE = PROMISED + 600.0
"""Seconds after which everything has ended, once all is well: what was put off as the last thing that went wrong has
some tries to make, and what may have killed its process is handled alone, one after the other."""
HUNT = 30.0
"""Seconds for which a blow waits for mail that is about to be sent."""
TRANSIT = 1.0
"""Seconds for which a claim may be on its way to who made it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one world.

    Arguments:
        faults: what does not hold, in words.
        digest: of its history.
        seconds: of its own time.
        recovered: seconds from the moment when all was well to the end of the last mail.
        counted: how often each kind of thing happened.
        last: lines of its history.
    """

    seed: int
    mails: int
    faults: tuple[str, ...]
    verdict: Verdict
    digest: str
    seconds: float
    recovered: float
    counted: dict[str, int]
    last: tuple[str, ...]


class World:
    """Everything that a seed makes."""

    def __init__(self, seed: int, mails: int, *, keep: int | None = None) -> None:
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.loop = loop = VirtualLoop(random.Random(rng.getrandbits(64)))
        self.chronicle = Chronicle(loop.time) if keep is None else Chronicle(loop.time, keep=keep)
        self.until = rng.uniform(120.0, 300.0)
        self.weather = Weather(random.Random(rng.getrandbits(64)), loop.time, self.until, self._befalls)
        self.queue = Queue(
            lambda: EPOCH + loop.time(),
            lambda: uuid.UUID(int=rng.getrandbits(128)).hex,
            on_claim=self._claimed,
            on_rescue=self._rescued,
        )
        disk_skew = rng.choice((0.0, rng.uniform(-3e4, 3e4)))
        self.share = Share(lambda: EPOCH + loop.time() + disk_skew)
        self.peers = Peers(loop, self.weather, self.chronicle)
        self.names = [f"replica-{number}" for number in range(1, rng.choice((1, 2, 2, 3, 3, 4)) + 1)]
        self.promised = draw_mails(rng, mails)
        settings = Settings(
            pipeline_interval=rng.choice((2.0, 5.0, 15.0)),
            batch_size=rng.choice((3, 20, 500)),
            smtp_connections=rng.choice((1, 5, 20)),
            callback_connections=rng.choice((2, 20)),
            smtp_rate=rng.choice((0, 0, 5)),
            smtp_from="bounce@mta.example",
            smtp_host="relay.example",
        )
        self.ground = Ground(
            loop=loop,
            rng=rng,
            settings=settings,
            timing=TIMING,
            queue=self.queue,
            share=self.share,
            weather=self.weather,
            peers=self.peers,
            chronicle=self.chronicle,
            renews_together=rng.random() < 0.7,
        )
        self.running: dict[str, Incarnation] = {}
        self.everyone: list[Incarnation] = []
        self.struck = Struck()
        self.complaints: list[str] = []
        self.hunted: dict[str, Blow] = {}
        self.weather.draw(self.names)
        for spell in self.weather.spells:
            self.chronicle.write("spell", spell.replica or "all", f"{spell.what} {spell.since:.3f} {spell.until:.3f}")

    # From its beginning to its end.

    def run(self) -> Outcome:
        """All of it. Errors: none but of the simulation itself."""
        with in_place(self.loop, self.rng, self.weather, self.share):
            try:
                self.loop.run_until_complete(self._live())
                books = account(self)
                verdict = judge(books)
            finally:
                for one in self.everyone:
                    one.process.kill()
                self.loop.close()
        faults = [f"{name}: {line}" for name, lines in verdict.faults.items() for line in lines]
        faults += self.complaints + [line for one in self.everyone for line in one.complaints] + self.loop.failures
        ended = self.loop.time()
        counted = dict(self.chronicle.counted)
        counted["steps"] = sum(one.process.steps for one in self.everyone)
        for one in self.everyone:
            self.chronicle.write("steps", one.process.name, one.process.steps)
        return Outcome(
            self.seed,
            len(self.promised),
            tuple(faults),
            verdict,
            self.chronicle.digest(),
            ended,
            max(0.0, ended - self.until),
            counted,
            tuple(self.chronicle.last),
        )

    async def _live(self) -> None:
        for name in self.names:
            self._start(name)
        ids = list(self.promised)
        while ids:
            count = self.rng.randint(1, 20)
            group, ids = ids[:count], ids[count:]
            self._at(self.rng.uniform(0.0, 0.5 * self.until), self._enqueue, group)
        for blow in self.weather.blows:
            self._at(blow.at, self._strike, blow)
        looked = False
        while True:
            await asyncio.sleep(TRANSIT)
            now = self.loop.time()
            if not looked and now >= self.until + PROMISED:
                looked = True
                self._look_for_the_dead(now)
            if (now >= self.until and not self._unfinished()) or now > self.until + PATIENCE:
                return

    def _at(self, when: float, callback: Any, *args: Any) -> None:
        self.loop.call_at(when, callback, *args, context=self.loop.world.context)

    def _unfinished(self) -> bool:
        if len(self.queue.entries) < len(self.promised):
            return True
        return any(self.queue._standing[status] for status in (*lifecycle.WAITING, *lifecycle.WORKING))

    def _enqueue(self, ids: list[str]) -> None:
        self.queue.enqueue([NewEmail(one, self.promised[one][1]) for one in ids])

    # What befalls it.

    def _befalls(self, what: str) -> None:
        self.chronicle.write("fault", what)

    def _start(self, name: str) -> None:
        number = 1 + sum(one.replica == name for one in self.everyone)
        one = self.running[name] = Incarnation(self.ground, name, number)
        self.everyone.append(one)
        self.chronicle.write("start", one.process.name)
        one.start()

    def _strike(self, blow: Blow) -> None:
        if blow.hunts and blow.replica not in self.hunted:
            self.hunted[blow.replica] = blow
            self._at(self.loop.time() + HUNT, self._give_up, blow)
        else:
            self._strike_now(blow)

    def _give_up(self, blow: Blow) -> None:
        if self.hunted.get(blow.replica) is blow:
            del self.hunted[blow.replica]
            self._strike_now(blow)

    def _strike_now(self, blow: Blow) -> None:
        one = self.running.get(blow.replica)
        if one is None or not one.process.alive or one.process.frozen or one.process.fuse is not None:
            return
        what = {"kill": self._kill, "machine": self._kill, "freeze": self._freeze, "drain": self._drain}[blow.what]
        one.process.light(blow.steps, lambda: what(one, blow))

    def _kill(self, one: Incarnation, blow: Blow) -> None:
        self.chronicle.write(blow.what, one.process.name, one.process.steps)
        self.struck.ended.add(one.id)
        one.disk.tear(one.unwritten, self.weather.rng)
        one.process.kill()
        if blow.what == "machine":
            self.share.lose(one.process, self.weather.rng)
        self._again(one, blow)

    def _again(self, one: Incarnation, blow: Blow) -> None:
        self._at(max(self.loop.time(), min(self.until, self.loop.time() + blow.seconds)), self._start, one.replica)

    def _freeze(self, one: Incarnation, blow: Blow) -> None:
        self.chronicle.write("freeze", one.process.name, one.process.steps)
        since, one.process.frozen = self.loop.time(), True

        def thaw() -> None:
            self.chronicle.write("thaw", one.process.name)
            one.process.thaw()
            # Computing takes no time here: what it does as it goes on bears the moment of its going on.
            until = milliseconds(self.loop.time()) - 1
            pause = Pause(one.id, one.process.name, milliseconds(since), until)
            self.struck.pauses.append(pause)

        self._at(max(since, min(self.until, since + blow.seconds)), thaw)

    def _drain(self, one: Incarnation, blow: Blow) -> None:
        self.chronicle.write("drain", one.process.name, one.process.steps)
        began = self.loop.time()
        self.struck.ended.add(one.id)

        def drained() -> None:
            seconds = self.loop.time() - began
            self.chronicle.write("drained", one.process.name, f"{seconds:.3f}")
            stood = any(pause.incarnation == one.id for pause in self.struck.pauses) or one.process.frozen
            if not stood and seconds > self.ground.settings.shutdown_grace + 6.0:
                self.complaints.append(f"{one.process.name} took {seconds:.1f} s to end")
            self._at(self.loop.time(), one.process.kill)
            self._again(one, blow)

        one.drain(drained)

    # What must never be.

    def _claimed(self, entry: Entry) -> None:
        self.chronicle.write("claim", entry.holder or "", f"{entry.id} {entry.version}")
        if entry.status is Status.PROCESSING and (blow := self.hunted.pop(entry.holder or "", None)):
            self._strike_now(blow)
        for one, email in self._believers(entry.id):
            if email.claim_token not in entry.closed and email.claim_token != entry.token:
                self.complaints.append(
                    f"I9: {entry.id} is claimed by {entry.holder} at version {entry.version}, "
                    f"and {one.process.name} holds it at {email.version}"
                )

    def _rescued(self, entry: Entry) -> None:
        for one, email in self._believers(entry.id):
            if email.claim_token == entry.token:
                self.complaints.append(f"I9: {entry.id} is taken from {one.process.name} before its lease has run out")

    def _believers(self, email_id: str) -> Iterator[tuple[Incarnation, Any]]:
        """Who believes to hold an email, and under which claim."""
        for one in self.running.values():
            held = one.lease_of(email_id) if one.process.alive else None
            if held is not None and held[1].holds():
                yield one, held[0]

    def _look_for_the_dead(self, now: float) -> None:
        for status in lifecycle.WORKING:
            for entry in self.queue._standing[status].values():
                held = any(email.claim_token == entry.token for _, email in self._believers(entry.id))
                if not held and entry.versions[entry.version].at < EPOCH + now - TRANSIT:
                    who = f"{entry.holder}, who is dead, {PROMISED:g} s after all was well"
                    self.complaints.append(f"{entry.id} stands in {status} of {who}")


def simulate(seed: int, mails: int) -> Outcome:
    """The world of a seed."""
    try:
        return World(seed, mails).run()
    except Exception as error:
        error.add_note(f"seed {seed}: the simulation itself has failed: {traceback.format_exception_only(error)[-1]}")
        raise
