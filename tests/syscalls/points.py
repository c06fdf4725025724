"""The moments of a mail's life at which its process is killed: before each system call that somebody else can see."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """Before a call.

    Arguments:
        call: its name and what it is made on: `sendto relay`.
        number: its how manieth since the mail was put on the queue, from 1.
    """

    call: str
    number: int

    @property
    def target(self) -> str:
        """What it is made on."""
        return self.call.partition(" ")[2]

    def __str__(self) -> str:
        return f"{self.call} #{self.number}"


def points(lives: Sequence[Sequence[str]]) -> list[Point]:
    """Every point that all of these lives came to, each given by its calls.

    No two have quite the same: the service looks for other work meanwhile, and what it waits for comes when it comes.
    """
    least = reduce(and_, map(Counter, lives))
    return [Point(call, number) for call in sorted(least) for number in range(1, least[call] + 1)]


def window(whole: Iterable[Point]) -> set[Point]:
    """Before the relay's reply to the message is read: the one moment that excuses a second copy; none if unsent."""
    return set(sorted(point for point in whole if point.call == "recvfrom relay")[-1:])


def sample(whole: Iterable[Point], count: int, rng: random.Random, always: Iterable[Point] = ()) -> list[Point]:
    """That many, in random order: one of each kind of call in turn, for most are calls to the queue.

    Arguments:
        always: these in any case.
    """
    by_call: dict[str, list[Point]] = {}
    for point in sorted(set(whole).difference(always)):
        by_call.setdefault(point.call, []).append(point)
    kinds = list(by_call.values())
    rng.shuffle(kinds)
    for kind in kinds:
        rng.shuffle(kind)
    chosen = list(always)
    while kinds and len(chosen) < count:
        chosen += [kind.pop() for kind in kinds][: count - len(chosen)]
        kinds = [kind for kind in kinds if kind]
    rng.shuffle(chosen)
    return chosen
