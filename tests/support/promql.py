"""PromQL, as far as it says what it looks at: the series that it selects, and the labels that it sorts by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_STRING = r'"(?:[^"\\]|\\.)*"'
_SORTED_BY = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\((?P<labels>[^()]*)\)"
_NAME = r"(?<![\w.])(?P<name>[A-Za-z_:][\w:]*)"
_BRACES = rf'\{{(?P<braces>(?:[^{{}}"]|{_STRING})*)\}}'
# Strings and spans are taken so that what stands in them is taken for no name.
_TOKEN = re.compile(rf"{_STRING}|\[[^\]]*\]|{_SORTED_BY}|{_NAME}\s*(?:(?P<call>(?=\(|by\b|without\b))|{_BRACES})?")
_MATCHER = re.compile(rf"\s*(\w+)\s*(=~|!~|!=|=)\s*({_STRING})\s*(?:,|$)")
_KEYWORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric's name and what its labels have to be.

    Arguments:
        matchers: label, operator and value of each.
    """

    name: str
    matchers: tuple[tuple[str, str, str], ...] = ()

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels, its name as `__name__`, is one of those that it selects."""
        return labels["__name__"] == self.name and all(
            _fits(labels.get(label, ""), operator, value) for label, operator, value in self.matchers
        )


def selectors(expression: str) -> list[Selector]:
    """Every selector of an expression. Errors: ValueError for braces that cannot be read."""
    return [
        Selector(found["name"], tuple(_matchers(found["braces"] or "")))
        for found in _TOKEN.finditer(expression)
        if found["name"] and found["call"] is None and found["name"].lower() not in _KEYWORDS
    ]


def sorted_by(expression: str) -> set[str]:
    """The labels that are named in `by (…)`, `on (…)` and their like."""
    groups = [found["labels"] for found in _TOKEN.finditer(expression) if found["labels"]]
    return {label.strip() for group in groups for label in group.split(",")}


def series(text: str) -> dict[str, str]:
    """The labels of one series as an exposition or a promtool test writes it, its name as `__name__`.

    Errors: ValueError where it is none.
    """
    (one,) = selectors(text)
    if any(operator != "=" for _, operator, _ in one.matchers):
        raise ValueError(f"not one series: {text}")
    return {"__name__": one.name, **{label: value for label, _, value in one.matchers}}


def _matchers(braces: str) -> Iterator[tuple[str, str, str]]:
    at = 0
    while at < len(braces.rstrip()):
        found = _MATCHER.match(braces, at)
        if found is None:
            raise ValueError(f"not a list of matchers: {braces}")
        label, operator, quoted = found.groups()
        yield label, operator, quoted[1:-1].replace("\\\\", "\\")
        at = found.end()


def _fits(text: str, operator: str, value: str) -> bool:
    same = text == value if operator in {"=", "!="} else re.fullmatch(value, text) is not None
    return same != operator.startswith("!")
