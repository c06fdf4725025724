"""docs/security.md names a test for every line, or says whose work it is, and every test that it names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "security.md"
DEPLOYER = "Left to the deployer"
AREAS = [
    "Who is who",
    "What may be written where",
    "What can be proved afterwards",
    "What is not told",
    "What cannot be used up",
    "What the container may",
    "The HTTP port",
    "The page",
    "Where callbacks go",
    "Credentials",
    "TLS",
    "What it is made of",
    DEPLOYER,
]
TEST = re.compile(r"`(test_\w+)`")


class Row(NamedTuple):
    """A line of a table: the heading that it stands under, and its cells."""

    area: str
    cells: tuple[str, ...]


def rows(document: str) -> list[Row]:
    """Every line of every table but its head."""
    found: list[Row] = []
    area, head = "", True
    for line in document.splitlines():
        if line.startswith("## "):
            area = line.removeprefix("## ")
        if not line.startswith("|"):
            head = True
        elif set(line) <= set("|- "):
            head = False
        elif not head:
            found.append(Row(area, tuple(cell.strip() for cell in line.strip("|").split(" | "))))
    return found


def unshown(row: Row) -> str | None:
    """What is wrong with a row, or None."""
    if len(row.cells) != 3 or not all(row.cells):
        return "has not three cells"
    shown = row.cells[-1]
    if row.area == DEPLOYER:
        return None if shown.startswith("deployer") else "is not left to the deployer"
    return None if re.fullmatch(r"`test_\w+`(, `test_\w+`)*", shown) else "names no test"


def named_in(source: str) -> Iterator[str]:
    """The names that pytest collects: at the top, and in classes named for tests."""
    for node in ast.parse(source).body:
        inner = node.body if isinstance(node, ast.ClassDef) and node.name.startswith("Test") else [node]
        for one in inner:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_"):
                yield one.name


@pytest.fixture(scope="module")
def document() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def collected() -> set[str]:
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    return {name for path in paths for name in named_in(path.read_text(encoding="utf-8"))}


def test_every_area_has_lines(document: str) -> None:
    assert list(dict.fromkeys(row.area for row in rows(document))) == AREAS
    assert len(rows(document)) == sum(line.startswith("| ") for line in document.splitlines()) - len(AREAS)


def test_every_line_has_a_test_or_is_the_deployers(document: str) -> None:
    assert {row.cells[0]: wrong for row in rows(document) if (wrong := unshown(row))} == {}


def test_every_test_that_is_named_is_there(document: str, collected: set[str]) -> None:
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert sorted(set(TEST.findall(document)) - collected) == []
    assert sorted(set(re.findall(r"`(test_\w+)\.py`", document)) - files) == []


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (Row("TLS", ("a", "b", "`test_x`, `test_y`")), None),
        (Row("TLS", ("a", "b", "")), "has not three cells"),
        (Row("TLS", ("a", "b")), "has not three cells"),
        (Row("TLS", ("a", "b", "by hand")), "names no test"),
        (Row("TLS", ("a", "b", "deployer")), "names no test"),
        (Row(DEPLOYER, ("a", "b", "deployer")), None),
        (Row(DEPLOYER, ("a", "b", "`test_x`")), "is not left to the deployer"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(row: Row, wrong: str | None) -> None:
    assert unshown(row) == wrong


def test_names_are_read_as_pytest_collects_them() -> None:
    source = "def test_a(): ...\nasync def test_b(): ...\nclass TestC:\n    def test_d(self): ...\n"
    source += "class Other:\n    def test_e(self): ...\ndef helper():\n    def test_f(): ...\ntest_g = 1\n"
    assert list(named_in(source)) == ["test_a", "test_b", "test_d"]
