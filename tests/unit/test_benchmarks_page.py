"""The benchmark of the operators' page: what it makes of visits, and what it holds that against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import page, page_visits
from benchmarks.page import FIRST, NEXT, Found
from benchmarks.page_visits import Paint, View

PAINTS = {FIRST: [Paint(0.6, 2.0, 3.0), Paint(0.9, 2.5, 3.5), Paint(0.7, 2.2, 3.2)], NEXT: [Paint(0.3, 0.4, 0.5)]}
FOUND = Found(PAINTS, {"READY": View(0.02, 0.05, 50)})


def test_figures_of_several_looks_are_medians() -> None:
    views = [View(0.3, 0.4, 50), View(0.1, 0.2, 50), View(0.2, 0.25, 49)]
    assert page_visits.middle(views) == View(0.2, 0.25, 49)


def test_every_figure_has_its_line_with_its_target() -> None:
    assert page.paint_table(PAINTS).splitlines()[2:] == [
        "| the first after a start | 700 ms | 600 ms … 900 ms | under 1,000 ms | 2,200 ms | 3,200 ms |",
        "| the next | 300 ms | 300 ms … 300 ms | under 1,000 ms | 400 ms | 500 ms |",
    ]
    assert page.view_table(FOUND.views).splitlines()[2:] == ["| READY | 50 | 20 ms | 50 ms | under 200 ms |"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (replace(FOUND, paints={FIRST: [Paint(1.0, 2.0, 3.0)]}), "the first paint comes after 1,000 ms"),
        (replace(FOUND, views={"READY": View(0.02, 0.2, 50)}), "READY: answered in 20 ms, drawn after 200 ms"),
        (replace(FOUND, views={"READY": View(0.2, 0.1, 50)}), "READY: answered in 200 ms"),
    ],
)
def test_what_misses_its_target_is_named(changed: Found, words: str) -> None:
    assert page.failures(FOUND) == []
    [wrong] = page.failures(changed)
    assert words in wrong
