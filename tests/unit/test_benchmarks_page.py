"""The benchmark of the operators' page: what it makes of windows and visits, and what it holds that against."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from benchmarks import page, page_cost, page_visits
from benchmarks.page import FIRST, NEXT, Found, loss
from benchmarks.page_cost import SKIP, Rest, Turn, Window, starts, turns_of
from benchmarks.page_visits import Paint, View


def window(rate: float, cpu: float = 1.0) -> Window:
    return Window(1000, 1000 / rate, cpu, server_cpu=0.5)


def turns(*rates: tuple[float, float]) -> list[Turn]:
    return [Turn(window(closed), window(opened)) for closed, opened in rates]


EVEN = turns((100.0, 99.0), (200.0, 198.0), (400.0, 396.0))
RESTS = [Rest((0.010, 0.020), (0.015, 0.045)), Rest((0.012, 0.020), (0.019, 0.055)), Rest((0.011, 0.02), (0.017, 0.05))]
PAINTS = {FIRST: [Paint(0.6, 2.0, 3.0), Paint(0.9, 2.5, 3.5), Paint(0.7, 2.2, 3.2)], NEXT: [Paint(0.3, 0.4, 0.5)]}
FOUND = Found(EVEN, RESTS, PAINTS, {"READY": View(0.02, 0.05, 50)})


def test_a_loss_is_that_of_each_turn_and_knows_how_sure_it_is() -> None:
    even = loss(EVEN, lambda one: one.rate)
    assert even.share == pytest.approx(0.01)
    assert even.error == pytest.approx(0.0)
    uneven = loss(turns((100.0, 90.0), (100.0, 95.0), (100.0, 112.0)), lambda one: one.rate)
    assert uneven.share == pytest.approx(0.05)
    assert uneven.error == pytest.approx(0.0666, abs=0.0001)
    assert uneven.sure == pytest.approx(0.05 - 2 * uneven.error)
    assert loss(EVEN[:1], lambda one: one.rate).error == float("inf")


def test_windows_follow_each_other_without_what_opening_and_closing_takes() -> None:
    first, second, *_ = starts(2, 1000)
    assert second - first == 1000 + SKIP
    moments = [number * 0.01 for number in range(second + SKIP + 1000)]
    for at, wait in ((second + 10, 7.0), (second + SKIP, 5.0)):  # after the page was opened, and in its window
        moments[at:] = [moment + wait for moment in moments[at:]]
    [turn] = turns_of([(1.0, 0.5, 0.0), (2.0, 0.75, 0.0)], moments, 1, 1000)
    assert turn.closed.seconds == pytest.approx(10.0)
    assert turn.open.seconds == pytest.approx(15.0)
    assert turn.closed.cpu_each == pytest.approx(0.0015)
    assert turn.open.cpu_each == pytest.approx(0.00275)


def test_what_the_page_takes_at_rest_is_the_difference() -> None:
    assert page.resting(RESTS) == pytest.approx((0.006, 0.030))


def test_figures_of_several_looks_are_medians() -> None:
    views = [View(0.3, 0.4, 50), View(0.1, 0.2, 50), View(0.2, 0.25, 49)]
    assert page_visits.middle(views) == View(0.2, 0.25, 49)


def test_every_figure_has_its_line_with_its_target() -> None:
    assert page.paint_table(PAINTS).splitlines()[2:] == [
        "| the first after a start | 700 ms | 600 ms … 900 ms | under 1,000 ms | 2,200 ms | 3,200 ms |",
        "| the next | 300 ms | 300 ms … 300 ms | under 1,000 ms | 400 ms | 500 ms |",
    ]
    assert page.view_table(FOUND.views).splitlines()[2:] == ["| READY | 50 | 20 ms | 50 ms | under 200 ms |"]
    assert page.cost_table(EVEN, RESTS).splitlines()[2:] == [
        "| emails/s | 200 (100 … 400) | 198 (99 … 396) | 1.0% ± 0.0% | under 2% |",
        "| CPU an email, service and MariaDB | 1,500 µs | 1,500 µs | 0.0% ± 0.0% |  |",
        "| of a core, at rest: the service | 1.10% | 1.70% | 0.60% | under 2% |",
        "| of a core, at rest: MariaDB | 2.00% | 5.00% | 3.00% |  |",
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(FOUND, paints={FIRST: [Paint(1.0, 2.0, 3.0)]}), "the first paint comes after 1,000 ms"),
        (replace(FOUND, views={"READY": View(0.02, 0.2, 50)}), "READY: answered in 20 ms, drawn after 200 ms"),
        (replace(FOUND, views={"READY": View(0.2, 0.1, 50)}), "READY: answered in 200 ms"),
        (replace(FOUND, turns=turns((100.0, 97.9), (200.0, 195.8))), "the page costs 2.1% ± 0.0% of the rate"),
        (replace(FOUND, rests=[Rest((0.01, 0.0), (0.031, 0.0))]), "the page takes 2.1% of the service's core"),
    ],
)
def test_what_misses_its_target_is_named(changed: Found, words: str) -> None:
    assert page.failures(FOUND) == []
    [wrong] = page.failures(changed)
    assert words in wrong


def test_a_loss_that_the_turns_do_not_agree_on_is_no_miss() -> None:
    unsure = replace(FOUND, turns=turns((100.0, 90.0), (100.0, 95.0), (100.0, 112.0)))
    assert page.failures(unsure) == []


async def test_only_what_the_stream_tells_counts_as_an_open_page() -> None:
    async def lines() -> AsyncIterator[bytes]:
        for line in (b"event: overview", b'data: {"stores": []}', b"", b":", b"", b"event: overview", b"data: {}", b""):
            yield line + b"\n"

    told = page_cost._Told()
    await told.read(lines())
    assert told.overviews == 2
