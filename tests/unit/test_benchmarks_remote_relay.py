from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks import remote_relay
from benchmarks.far_proxy import carry


def test_the_ratio_is_of_rounds_of_the_same_turn() -> None:
    rates = {remote_relay.OURS: [300.0, 100.0, 410.0], remote_relay.THEIRS: [150.0, 50.0, 100.0]}
    assert remote_relay.ratio(rates) == 2.0
    assert "| mailculator | 300 | 100 … 410 | 2.00 | at least 1.8 |" in remote_relay.table(rates)


def test_both_hand_over_mail_of_about_four_kilobytes() -> None:
    assert 3500 < len(remote_relay.message(1)) < 4500


class Ends:
    """A writer that remembers when it was given what."""

    def __init__(self) -> None:
        self.said: list[tuple[float, bytes]] = []
        self.closed = False

    def write(self, piece: bytes) -> None:
        self.said.append((asyncio.get_running_loop().time(), piece))

    async def drain(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True


async def test_what_is_carried_comes_late_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []

    async def no_wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("benchmarks.far_proxy.asyncio.sleep", no_wait)
    reader, ends = asyncio.StreamReader(), Ends()
    reader.feed_data(b"first ")
    reader.feed_data(b"second")
    reader.feed_eof()
    before = time.monotonic()
    await carry(reader, ends, 3600.0)  # type: ignore[arg-type]  # what it uses of a StreamWriter
    assert b"".join(piece for _, piece in ends.said) == b"first second"
    assert ends.closed
    assert all(3600.0 - (time.monotonic() - before) - 1 < seconds <= 3600.0 for seconds in waited)
