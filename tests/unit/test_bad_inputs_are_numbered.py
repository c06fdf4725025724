"""docs/bad-inputs.md and the tests know the same bad inputs, by the same numbers."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "bad-inputs.md"

_ROW = re.compile(r"\| (\d+) \| [^|]+ \| [^|]+ \| ([^|]+) \|")
_ONE = re.compile(r"test_bad_input_(\d+)_")
_SEVERAL = re.compile(r"test_bad_inputs_((?:\d+_|and_)+)")


def numbers(name: str) -> set[int]:
    """The bad inputs that a test's name says it is about: one for `bad_input`, as many as follow for `bad_inputs`."""
    if one := _ONE.match(name):
        return {int(one[1])}
    several = _SEVERAL.match(name)
    return {int(number) for number in re.findall(r"\d+", several[1])} if several else set()


def functions(source: str) -> Iterator[str]:
    """The names of every function, in classes too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def carrying() -> dict[str, set[int]]:
    """Every test that carries a number, with its numbers."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    found = (name for path in paths for name in functions(path.read_text(encoding="utf-8")))
    return {name: carried for name in found if (carried := numbers(name))}


def rows(document: str) -> dict[int, set[str]]:
    """Every number of the document with the tests that it names."""
    lines = [line for line in document.splitlines() if re.match(r"\| *\d", line)]
    found = [_ROW.fullmatch(line) for line in lines]
    assert all(found), "a line of the table is not a row of four columns"
    read = [(int(row[1]), set(re.findall(r"`(test_\w+)`", row[2]))) for row in found if row]
    assert len(dict(read)) == len(read), "a number stands twice"
    return dict(read)


@pytest.fixture(scope="module")
def documented() -> Mapping[int, set[str]]:
    return rows(DOCUMENT.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tested() -> Mapping[str, set[int]]:
    return carrying()


def test_the_document_counts_without_a_gap(documented: Mapping[int, set[str]]) -> None:
    assert sorted(documented) == list(range(1, len(documented) + 1))
    assert len(documented) >= 58


def test_every_number_has_a_test_and_every_test_a_number(
    documented: Mapping[int, set[str]], tested: Mapping[str, set[int]]
) -> None:
    by_number: defaultdict[int, set[str]] = defaultdict(set)
    for name, carried in tested.items():
        for number in carried:
            by_number[number].add(name)
    assert sorted(set(documented) - set(by_number)) == [], "in the document, and no test carries it"
    unknown = {number: sorted(by_number[number]) for number in set(by_number) - set(documented)}
    assert unknown == {}, "tests carry it, and the document lacks it"


def test_the_document_names_tests_that_are_there_and_carry_the_number(
    documented: Mapping[int, set[str]], tested: Mapping[str, set[int]]
) -> None:
    wrong = {
        number: sorted(name for name in names if number not in tested.get(name, set()))
        for number, names in documented.items()
    }
    assert {number: names for number, names in wrong.items() if names} == {}
    assert [number for number, names in documented.items() if not names] == []


@pytest.mark.parametrize(
    ("name", "carried"),
    [
        ("test_bad_input_4_a_syntax_error_says_where", {4}),
        ("test_bad_input_09_lone_surrogates_are_refused", {9}),
        ("test_bad_input_56_250_in_reply_to_data", {56}),
        ("test_bad_inputs_1_and_37_it_is_retried_then_invalid", {1, 37}),
        ("test_bad_inputs_3_5_7_are_invalid_at_once", {3, 5, 7}),
        ("test_bad_inputs_35_41_g10_attachments_elsewhere", {35, 41}),
        ("test_the_payload_of_the_documentation", set()),
    ],
)
def test_numbers_are_read_from_names(name: str, carried: set[int]) -> None:
    assert numbers(name) == carried
