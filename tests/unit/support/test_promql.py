"""What is read from PromQL, and what is left alone."""

from __future__ import annotations

import pytest

from tests.support.promql import Selector, selectors, series, sorted_by


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("a", ["a"]),
        ("a > 1e3 and on (job) b == Inf or vector(0) unless up == bool 0", ["a", "b", "up"]),
        ("sum by (store, le) (rate(a_bucket[5m] offset 10m))", ["a_bucket"]),
        ("sum(increase(a[$__rate_interval])) without (instance)", ["a"]),
        ('label_replace(a, "b", "$1", "c", "(d.*)")', ["a"]),
        ('count(a{b="c"} * on (job) group_left (version) d{})', ["a", "d"]),
        ("a:b:c / 2", ["a:b:c"]),
    ],
)
def test_names_are_told_from_all_else(expression: str, names: list[str]) -> None:
    assert [one.name for one in selectors(expression)] == names


def test_matchers_are_read_and_what_they_hold_is_not() -> None:
    (one,) = selectors(r'rate(a{b="{c}", d=~"e|f\\.g" , h!="i,j" , k!~""}[5m])')
    assert one == Selector("a", (("b", "=", "{c}"), ("d", "=~", r"e|f\.g"), ("h", "!=", "i,j"), ("k", "!~", "")))


@pytest.mark.parametrize("expression", ['a{b="c" d="e"}', "a{b=c}", 'a{"b"="c"}'])
def test_braces_that_cannot_be_read_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="not a list of matchers"):
        selectors(expression)


@pytest.mark.parametrize(
    ("matcher", "takes"),
    [
        (("b", "=", "yes"), True),
        (("b", "=", "ye"), False),
        (("b", "!=", "yes"), False),
        (("b", "!=", "no"), True),
        (("b", "=~", "ye"), False),
        (("b", "=~", "y.*|n"), True),
        (("b", "!~", "y.*"), False),
        (("c", "=", ""), True),
        (("c", "=~", ".+"), False),
    ],
)
def test_a_series_is_taken_as_prometheus_takes_it(matcher: tuple[str, str, str], takes: bool) -> None:
    assert Selector("a", (matcher,)).takes({"__name__": "a", "b": "yes"}) is takes
    assert not Selector("z", (matcher,)).takes({"__name__": "a", "b": "yes"})


def test_labels_that_are_sorted_by_are_found() -> None:
    assert sorted_by('sum by (a, b) (x{c="by (d)"}) / on (e) group_left () sum(y) without(f)') == {"a", "b", "e", "f"}


def test_one_series_is_read_and_a_choice_of_them_is_not() -> None:
    assert series('a{b="c"}') == {"__name__": "a", "b": "c"}
    for text in ('a{b=~"c"}', "a + b", "1"):
        with pytest.raises(ValueError):
            series(text)
