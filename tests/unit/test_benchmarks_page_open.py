"""The benchmark of the open page: what it makes of windows and rests, and what it holds that against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from benchmarks import page_cost, page_open
from benchmarks.page_cost import SKIP, Rest, Turn, Window, starts, turns_of
from benchmarks.page_open import Depth, Estimate

CLOSED = Window(1000, 5.0, cpu=2.0, server_cpu=1.0)
"""200 emails a second, at 3 ms each, which is one and a half cores where the service fills one."""
RESTS = [Rest((0.010, 0.020), (0.015, 0.035)), Rest((0.012, 0.020), (0.019, 0.035)), Rest((0.011, 0.02), (0.017, 0.03))]


def turn(dearer: float) -> Turn:
    return Turn(CLOSED, replace(CLOSED, cpu=3.0 * (1 + dearer) - 1.0))


FOUND = Depth(10_000, [turn(0.01), turn(0.01)], RESTS)


def test_what_the_page_takes_is_the_difference_as_a_share_of_what_the_pipelines_use() -> None:
    assert FOUND.pipelines == pytest.approx(1.5)
    assert FOUND.service.value == pytest.approx(0.006)
    assert FOUND.server.value == pytest.approx(0.015)
    assert FOUND.share.value == pytest.approx(0.020 / 1.5)
    assert FOUND.share.error == pytest.approx(0.003 / 3**0.5 / 1.5, rel=0.1)
    assert FOUND.dearer.value == pytest.approx(0.01)


def test_what_was_seen_once_is_not_sure_at_all() -> None:
    assert Estimate.of([0.5]).error == float("inf")


def test_a_depth_has_its_line_with_its_target() -> None:
    [line] = page_open.table([FOUND]).splitlines()[2:]
    assert line.startswith("| 10,000 | 200 | 1.50 cores | 0.60% ± 0.06% of a core | 1.50% ± 0.17% of a core | 1.33% ±")
    assert line.endswith("| under 2% | 1% ± 0% |")


def test_what_misses_its_target_is_named() -> None:
    assert page_open.failures([FOUND]) == []
    [wrong] = page_open.failures([FOUND, replace(FOUND, rests=[Rest((0.0, 0.0), (0.01, 0.021))] * 2)])
    assert wrong == "10,000 wait: the page takes 2.07% ± 0.00% of the pipelines' CPU, not 2%"


def test_windows_follow_each_other_without_what_opening_and_closing_takes() -> None:
    first, second, *_ = starts(2, 1000)
    assert second - first == 1000 + SKIP
    moments = [number * 0.01 for number in range(second + SKIP + 1000)]
    for at, wait in ((second + 10, 7.0), (second + SKIP, 5.0)):  # after the page was opened, and in its window
        moments[at:] = [moment + wait for moment in moments[at:]]
    [only] = turns_of([(1.0, 0.5, 0.0), (2.0, 0.75, 0.0)], moments, 1, 1000)
    assert only.closed.seconds == pytest.approx(10.0)
    assert only.open.seconds == pytest.approx(15.0)
    assert only.closed.cpu_each == pytest.approx(0.0015)
    assert only.open.cpu_each == pytest.approx(0.00275)


def test_every_other_turn_begins_with_the_page() -> None:
    moments = [number * 0.01 for number in range(starts(2, 100)[-1] + SKIP + 100)]
    spent = [(float(number), 0.0, 0.0) for number in range(4)]
    assert [(one.closed.cpu, one.open.cpu) for one in turns_of(spent, moments, 2, 100)] == [(0.0, 1.0), (3.0, 2.0)]


async def test_only_what_the_stream_tells_counts_as_an_open_page() -> None:
    async def lines() -> AsyncIterator[bytes]:
        for line in (b"event: overview", b'data: {"stores": []}', b"", b":", b"", b"event: overview", b"data: {}", b""):
            yield line + b"\n"

    told = page_cost._Told()
    await told.read(lines())
    assert told.overviews == 2
