"""The benchmark of large attachments: what it sees of loop, leases and memory, and what it holds that against."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import attachments
from benchmarks.attachments import Seen, attach, resident
from benchmarks.mail_parts import write_letters
from benchmarks.watched_service import TICK, Heartbeats, Pulse


class Loop:
    """A clock, and the one timer that is set on it."""

    def __init__(self) -> None:
        self.now = 100.0
        self._timers: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def later(self, _seconds: float, call: Callable[[], None]) -> None:
        self._timers.append(call)

    def turn(self, seconds: float) -> None:
        self.now += seconds
        due, self._timers = self._timers, []
        for call in due:
            call()


def test_the_longest_stalls_are_kept() -> None:
    loop = Loop()
    pulse = Pulse(loop.time, loop.later)
    loop.turn(9.0)  # before the watch
    pulse.toggle()
    for seconds in (TICK, 0.032, TICK, 0.102, *(TICK,) * 30):
        loop.turn(seconds)
    pulse.toggle()
    loop.turn(9.0)  # and after it
    assert pulse.stalls[-2:] == pytest.approx([0.03, 0.1])
    assert len(pulse.stalls) == 20
    assert max(pulse.stalls[:-2]) < 0.001


def test_a_renewal_is_held_against_the_end_of_the_one_before() -> None:
    loop = Loop()
    beats = Heartbeats(loop.time)
    for pause in (0.0, 5.0, 5.5, 2.0):  # the last one was asked for by a sender
        loop.turn(pause)
        beats.began(1, 5.0)
        loop.turn(0.25)
        beats.ended(1)
    assert beats.late == pytest.approx([0.0, 0.5, 0.0])


def test_every_letter_gets_the_attachment(tmp_path: Path) -> None:
    letters = write_letters(tmp_path / "letters", 2)
    attach(letters, tmp_path / "files", 1000)
    for letter in letters:
        [path] = json.loads(letter.path.read_text(encoding="utf-8"))["attachments"]
        assert (tmp_path / "files" / path.lstrip("/")).stat().st_size == 1000


def test_memory_is_read_from_the_kernel() -> None:
    now, peak = resident(os.getpid()), resident(os.getpid(), "VmHWM")
    assert 5 < now <= peak


def test_what_misses_its_target_is_named() -> None:
    good = Seen(10.0, 300.0, [250.0, 280.0, 300.0], [0.001, 0.02], [0.0, 0.3])
    bad = Seen(10.0, 2400.0, [2000.0], [0.02, 0.4], [7.0])
    assert attachments.failures({"SQLite": good}) == []
    assert len(attachments.failures({"SQLite": good, "MariaDB": bad})) == 3
    assert "| SQLite | 10.0 | 300 MB | 280 MB | 20 ms | 1 ms | 2 | 0.30 s |" in attachments.table({"SQLite": good})
