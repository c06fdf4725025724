"""The benchmark of a deep queue: what it makes of rounds and of rows read, and what it holds that against."""

from __future__ import annotations

import pytest

from benchmarks import deep_queue, depth, verb_costs
from benchmarks.depth import Depth, Round
from benchmarks.verb_costs import CLAIM, Cost


def rounds(*rates: float) -> list[Round]:
    return [Round(1000, 1000 / rate, cpu=0.5, server_cpu=0.25, pages=4500) for rate in rates]


def deep(claim: float, *rates: float, beside: tuple[float, ...] = (100.0, 200.0, 400.0)) -> Depth:
    costs = {CLAIM: Cost(claim, 0.0123), "counts": Cost(1_000_000, 0.5)}
    return Depth("deep", 4.25, rounds(*rates), rounds(*beside), costs)


SHALLOW = deep(1500.0, 100.0, 200.0, 400.0)


def test_throughput_is_held_against_that_of_the_shallow_queue_in_the_same_turn() -> None:
    one = deep(1500.0, 80.0, 180.0, 200.0)
    assert one.ratio == pytest.approx(0.8)
    lines = depth.table([SHALLOW, one]).splitlines()
    assert lines[2] == "| deep | 4.25 GB | 200 | 100 … 400 |  |  | 500 µs | 250 µs | 4.5 |"
    assert lines[3] == "| deep | 4.25 GB | 180 | 80 … 200 | 0.80 | at least 0.75 | 500 µs | 250 µs | 4.5 |"


def test_every_verb_has_its_line_and_every_depth_its_column() -> None:
    lines = depth.cost_table([SHALLOW, deep(1600.0, 100.0, 200.0, 400.0)]).splitlines()
    assert lines[2] == f"| {CLAIM} | 1,500, 12.3 ms | 1,600, 12.3 ms | rows at most 1.1 times |"
    assert lines[3] == "| counts | 1,000,000, 500.0 ms | 1,000,000, 500.0 ms |  |"


def test_what_misses_its_target_is_named() -> None:
    assert depth.failures([SHALLOW, deep(1640.0, 80.0, 150.0, 300.0)]) == []
    assert len(depth.failures([SHALLOW, deep(1660.0, 70.0, 140.0, 280.0)])) == 2


def test_a_depth_is_told_in_words() -> None:
    assert depth.called(10_000, 0) == "10,000 waiting"
    assert depth.called(1_000_000, 5_000_000) == "1,000,000 waiting, 5,000,000 finished"


async def test_what_asking_makes_the_server_read_is_not_the_verbs(monkeypatch: pytest.MonkeyPatch) -> None:
    read = 0

    def ask(*_: object) -> int:
        nonlocal read
        read += 7
        return read

    async def verb() -> None:
        nonlocal read
        read += 100

    monkeypatch.setattr(deep_queue, "status", ask)
    meter = verb_costs.Meter(None)  # type: ignore[arg-type]  # nobody is asked
    assert (await meter.of(verb)).rows == 100
