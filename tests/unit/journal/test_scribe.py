"""How long marks gather: by a clock that only the disk and the pauses move."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn, cast

import pytest

from mailculator.journal.scribe import GATHER_LIMIT, GATHER_SHARE, Scribe, Waiter
from mailculator.journal.segments import Segments


class Desk:
    """A scribe whose every write takes `seconds`. What is in `meanwhile` is put while marks gather."""

    def __init__(self, seconds: float) -> None:
        self.written: list[bytes] = []
        self.pauses: list[float] = []
        self.meanwhile: list[Waiter] = []
        self.deaths: list[tuple[Sequence[Waiter], BaseException]] = []
        self._seconds = seconds
        self._now = 100.0
        self.scribe = Scribe(
            cast(Segments, self),
            on_written=self._answer,
            on_started=lambda failure: None,
            on_died=lambda *news: self.deaths.append(news),
            now=lambda: self._now,
            pause=self._pause,
        )

    def write(self, data: bytes, *, durable: bool) -> None:
        """As Segments."""
        self._now += self._seconds
        self.written.append(data)

    def close(self) -> None:
        """As Segments."""

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        while self.meanwhile:
            self.scribe.put(self.meanwhile.pop(0))

    def _answer(self, group: Sequence[Waiter], failure: Exception | None) -> None:
        for waiter in group:
            if waiter.future is not None:
                waiter.future.set_result(None)


def mark(record: bytes) -> Waiter:
    return Waiter(record, durable=True, future=asyncio.get_running_loop().create_future())


async def written(desk: Desk, first: Waiter) -> None:
    """All of it."""
    futures = [waiter.future for waiter in (first, *desk.meanwhile) if waiter.future is not None]
    desk.scribe.put(first)
    await asyncio.gather(*futures)
    await desk.scribe.end()


async def test_what_gathers_after_a_write_shares_the_next() -> None:
    desk = Desk(1 / 512)
    desk.meanwhile = [mark(b"second"), mark(b" third"), mark(b" fourth")]
    await written(desk, mark(b"first"))
    assert desk.written == [b"first", b"second third fourth"]


@pytest.mark.parametrize(("seconds", "gather"), [(1 / 512, 1 / 512), (0.5, GATHER_LIMIT), (-0.5, 0.0)])
async def test_marks_gather_for_as_long_as_the_write_took_and_no_longer_than_that(
    seconds: float, gather: float
) -> None:
    desk = Desk(seconds)
    await written(desk, mark(b"first"))
    assert desk.pauses == [gather]


async def test_what_dies_between_two_writes_hands_back_what_it_will_not_write() -> None:
    """As time.sleep once did, where somebody faked the machine's time."""
    desk = Desk(1 / 512)
    desk.meanwhile = [mark(b"second"), mark(b"third")]
    later, error = desk.meanwhile.copy(), OSError("Invalid argument")

    def fail(seconds: float) -> NoReturn:
        desk._pause(seconds)
        raise error

    desk.scribe._let_pass = fail
    first = mark(b"first")
    desk.scribe.put(first)
    await desk.scribe.end()
    assert first.future is not None
    assert first.future.done()
    assert desk.written == [b"first"]
    assert desk.deaths == [(later, error)]


async def test_marks_gather_for_longer_where_several_had_waited() -> None:
    desk = Desk(1 / 1024)
    desk.meanwhile = [mark(b"second"), mark(b" third")]
    await written(desk, mark(b"first"))
    assert desk.pauses == [1 / 1024, GATHER_SHARE / 1024]


async def test_marks_that_nobody_waits_for_make_no_mail_wait() -> None:
    desk = Desk(1 / 1024)
    desk.meanwhile = [mark(b"second"), Waiter(b" third", durable=False, future=None)]
    await written(desk, mark(b"first"))
    assert desk.pauses == [1 / 1024, 1 / 1024]
