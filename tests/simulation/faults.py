"""What goes wrong in a world, and when: all of it drawn from the seed before the world begins, or as it goes."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SPELLS = ("store", "cut off", "relay", "callback", "share", "disk")
"""What may be away for a while: the store for all or for one replica, and so on."""
LONGEST_SPELL = 150.0
BLOWS = ("kill", "kill", "kill", "machine", "freeze", "freeze", "drain")
"""What may befall a replica; the more often it stands here, the more often it does."""
MOST_BLOWS = 3
"""In one world, with those who are cut off from the store: a mail that is in the hands of four processes one after the
other as they are struck counts as what they died of, and is set aside. That is as it should be, and would be called a
fault."""

RATES = {
    "store error": 0.04,
    "store lost": 0.04,
    "store slow": 0.04,
    "connect": 0.1,
    "greylisted": 0.25,
    "throttled": 0.1,
    "cut before": 0.08,
    "cut after": 0.06,
    "cut unheard": 0.06,
    "hang before": 0.03,
    "hang after": 0.04,
    "deferred after": 0.1,
    "callback 503": 0.2,
    "callback 404": 0.1,
    "callback 409": 0.1,
    "callback unheard": 0.1,
    "callback away": 0.1,
    "disk slow": 0.02,
    "disk error": 0.004,
    "share": 0.03,
}
"""How often each goes wrong in a world that has much of it."""


@dataclass(frozen=True, slots=True)
class Spell:
    """Something is away.

    Arguments:
        replica: for whom; "" for all.
        hangs: whoever asks gets no answer, rather than a refusal.
    """

    what: str
    since: float
    until: float
    replica: str
    hangs: bool


@dataclass(frozen=True, slots=True)
class Blow:
    """Something befalls a replica.

    Arguments:
        steps: of its own that it still takes after that moment.
        seconds: until it goes on, or is started again.
        hunts: it waits until the replica has claimed mail to send, though not for ever.
    """

    what: str
    at: float
    replica: str
    steps: int
    seconds: float
    hunts: bool


@dataclass
class Weather:
    """All of it.

    Arguments:
        rng: for what is drawn as the world goes.
        now: the world's time.
        until: when everything is well again, for good.
        on_fault: told the name of everything that goes wrong.
    """

    rng: random.Random
    now: Callable[[], float]
    until: float
    on_fault: Callable[[str], None]
    rates: dict[str, float] = field(default_factory=dict)
    spells: Sequence[Spell] = ()
    blows: Sequence[Blow] = ()

    def draw(self, replicas: Sequence[str]) -> None:
        """What this world is to meet."""
        rng = self.rng
        self.rates = {what: rng.choice((0.0, 0.0, rng.random(), 1.0)) * most for what, most in RATES.items()}
        self.spells = [self._spell(replicas) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        self.blows = sorted(
            (self._blow(replicas) for _ in range(rng.choice((0, 1, 2, 3, 3)))), key=lambda blow: blow.at
        )[: max(0, MOST_BLOWS - sum(spell.what == "cut off" for spell in self.spells))]

    def _spell(self, replicas: Sequence[str]) -> Spell:
        rng = self.rng
        what = rng.choice(SPELLS)
        since = rng.uniform(0.0, 0.7 * self.until)
        until = min(self.until, since + rng.choice((5.0, 40.0, LONGEST_SPELL)) * rng.uniform(0.3, 1.0))
        for_one = what == "cut off" or (what == "disk" and rng.random() < 0.5)
        return Spell(what, since, until, rng.choice(replicas) if for_one else "", rng.random() < 0.5)

    def _blow(self, replicas: Sequence[str]) -> Blow:
        rng = self.rng
        what = rng.choice(BLOWS)
        at = rng.uniform(0.0, 0.45 * self.until)
        most = min(220.0, self.until - at)
        seconds = rng.uniform(0.5 * most, most) if what == "freeze" else rng.uniform(0.0, min(60.0, most))
        steps = rng.choice((0, 1, 3, 9, 20, 40, 80, 150))
        return Blow(what, at, rng.choice(replicas), steps, seconds, rng.random() < 0.8)

    def strikes(self, what: str) -> bool:
        """Whether it goes wrong this time."""
        rate = self.rates[what]
        if not rate or self.now() >= self.until or self.rng.random() >= rate:
            return False
        self.on_fault(what)
        return True

    def spell(self, what: str, replica: str = "") -> Spell | None:
        """What is going on of that kind, for that replica."""
        now = self.now()
        for one in self.spells:
            if one.what == what and one.since <= now < one.until and one.replica in ("", replica):
                return one
        return None

    def disk(self, replica: str) -> int | None:
        """The error that its disk has for a replica now."""
        if spell := self.spell("disk", replica):
            return errno.EIO if spell.hangs else errno.ENOSPC
        return errno.EIO if self.strikes("disk error") else None

    def disk_pause(self) -> float:
        """Seconds that the disk takes."""
        return self.rng.uniform(1.0, 15.0) if self.strikes("disk slow") else self.rng.uniform(0.0005, 0.004)
