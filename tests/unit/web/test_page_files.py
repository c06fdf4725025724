"""The page's files: short, without markup from data, without an address outside the machine, and what is not ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mailculator.lifecycle import TERMINAL, WAITING, WORKING
from mailculator.model import Status

PAGE = Path(__file__).resolve().parents[3] / "mailculator" / "web" / "static"
OURS = sorted(path for path in PAGE.iterdir() if not path.name.startswith(("uPlot.", "vendored.")))


def test_what_the_page_takes_from_others_has_its_version_and_its_licence() -> None:
    (version,) = re.findall(r"uPlot (\d+\.\d+\.\d+) ", (PAGE / "vendored.txt").read_text(encoding="utf-8"))
    assert f"(v{version})" in (PAGE / "uPlot.iife.min.js").read_text(encoding="utf-8")[:100]
    assert "MIT License" in (PAGE / "uPlot.LICENSE.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_of_the_page_is_short_and_makes_no_markup_of_data(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 300
    assert path.suffix == ".svg" or [line for line in text.splitlines() if len(line) > 120] == []
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function", text) == []
    )


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_a_file_of_the_page_names_no_other_host_and_is_not_inline(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?://\S+", text) == []
    assert re.findall(r"<script>|<style|\bstyle=|\bon\w+=\"", text) == []


@pytest.mark.parametrize(
    ("name", "statuses"),
    [("STATUSES", frozenset(Status)), ("WAITING", WAITING), ("WORKING", WORKING), ("TERMINAL", TERMINAL)],
)
def test_the_page_knows_the_statuses_that_there_are(name: str, statuses: frozenset[Status]) -> None:
    text = (PAGE / "lifecycle.js").read_text(encoding="utf-8")
    [listed] = re.findall(rf"export const {name} = [^[]*\[([^]]*)\]", text)
    assert sorted(re.findall(r'"([^"]+)"', listed)) == sorted(statuses)
