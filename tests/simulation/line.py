"""What lies between a replica and the queue: calls arrive late, are refused, are applied and not answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from tests.simulation.faults import Weather
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.store import away

T = TypeVar("T")
LATE = 10.0
"""Seconds after its client has given up, at the most, in which a server may still do what it was asked for."""


class FaultyLine:
    """Of one process.

    Arguments:
        timeout: seconds after which a call is given up.
    """

    def __init__(self, loop: VirtualLoop, process: Process, replica: str, weather: Weather, timeout: float) -> None:
        self._loop = loop
        self._process = process
        self._replica = replica
        self._weather = weather
        self._timeout = timeout

    def ask(self, op: str, apply: Callable[[], T]) -> asyncio.Future[T]:
        """Have it done. Nothing of a process that is dead leaves it."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if not self._process.alive:
            return answer
        weather = self._weather
        spell = weather.spell("store") or weather.spell("cut off", self._replica)
        travel = weather.rng.uniform(0.0005, 0.01)
        if spell is not None:
            self._refuse(answer, self._timeout if spell.hangs else travel, op, "away")
        elif weather.strikes("store error"):
            self._refuse(answer, travel, op, "refused")
        elif weather.strikes("store lost"):
            self._at(travel, self._apply, apply, None)
            self._refuse(answer, weather.rng.choice((2 * travel, self._timeout)), op, "no reply")
        elif weather.strikes("store slow"):
            pause = weather.rng.uniform(0.0, self._timeout + LATE)
            self._at(pause, self._apply, apply, answer)
            self._refuse(answer, self._timeout, op, "timed out")
        else:
            self._at(travel, self._apply, apply, answer)
        return answer

    def _refuse(self, answer: asyncio.Future[Any], after: float, op: str, why: str) -> None:
        self._at(after, _refuse, answer, away(op, why))

    def _at(self, after: float, callback: Callable[..., object], *args: object) -> None:
        self._loop.call_later(after, callback, *args, context=self._loop.world.context)

    def _apply(self, apply: Callable[[], T], answer: asyncio.Future[T] | None) -> None:
        result = apply()
        if answer is not None and not answer.done():
            answer.set_result(result)


def _refuse(answer: asyncio.Future[Any], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
