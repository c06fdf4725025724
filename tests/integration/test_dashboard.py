"""deploy/grafana: every panel asks for what is exported, and gets an answer from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.exported import exported
from tests.support.promql import selectors, sorted_by
from tests.support.promtool import ROOT, promtool

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "mailculator.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
DRAWN = [panel for panel in PANELS if panel["type"] != "row"]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What Grafana puts in for its variables, where all of everything is chosen.
VARIABLES = {"$job": ".*", "$store": ".*", "$__rate_interval": "5m"}
UNITS = re.compile(r"none|short|s|bytes|percentunit|suffix: /(s|min)")
"""Of Grafana's own list, and what stands behind a number where that has none."""


class Query(NamedTuple):
    """One target of a panel: where it stands, and its PromQL with the variables filled in."""

    name: str
    expression: str
    legend: str


def filled_in(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, expression
    return expression


def _queries() -> Iterator[Query]:
    for panel in DRAWN:
        for target in panel["targets"]:
            name = f"panel:{panel['id']}:{target['refId']}"
            yield Query(name, filled_in(target["expr"]), target["legendFormat"])


QUERIES = list(_queries())


@pytest.fixture(scope="module")
def shown() -> list[Mapping[str, str]]:
    return exported()


# ---- what it asks for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_panel_looks_at_what_is_exported(query: Query, shown: list[Mapping[str, str]]) -> None:
    labels: set[str] = set()
    for selector in selectors(query.expression):
        found = [one for one in shown if selector.takes(one)]
        assert found, selector
        assert {label for label, _, _ in selector.matchers} <= set(found[0])
        labels |= set(found[0])
    assert labels
    assert sorted_by(query.expression) <= labels


def test_prometheus_has_an_answer_for_every_panel(tmp_path: Path, shown: list[Mapping[str, str]]) -> None:
    """Each query becomes a rule, and is worked over every series that is exported, all of which rise."""
    rules = [{"record": one.name, "expr": one.expression} for one in QUERIES]
    case = {
        "interval": "1m",
        "input_series": [
            {"series": written(one), "values": "1x20" if one["__name__"] == "up" else "1+1x20"} for one in shown
        ],
        "promql_expr_test": [
            {"expr": f"count({one.name}) > bool 0", "eval_time": "20m", "exp_samples": [{"labels": "{}", "value": 1}]}
            for one in QUERIES
        ],
    }
    write(tmp_path / "rules.yml", {"groups": [{"name": "panels", "rules": rules}]})
    write(tmp_path / "test.yml", {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]})
    promtool("test", "rules", tmp_path / "test.yml")


def written(labels: Mapping[str, str]) -> str:
    pairs = [f"{label}={json.dumps(value)}" for label, value in labels.items() if label != "__name__"]
    return f"{labels['__name__']}{{{', '.join(pairs)}}}"


def write(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_legend_names_what_a_query_sorts_by(query: Query) -> None:
    assert set(re.findall(r"\{\{(\w+)\}\}", query.legend)) <= sorted_by(query.expression)


def test_the_choices_are_made_of_what_is_exported(shown: list[Mapping[str, str]]) -> None:
    source, *choices = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert [one["name"] for one in choices] == ["job", "store"]
    for choice in choices:
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", choice["query"]["query"])
        assert asked is not None
        (selector,) = selectors(filled_in(asked[1]))
        assert any(selector.takes(one) and asked[2] in one for one in shown)
        assert choice["datasource"] == SOURCE


def test_every_query_keeps_to_the_choices(shown: list[Mapping[str, str]]) -> None:
    """Whoever chose one job sees no other, and of one store no other wherever a series has one."""
    with_store = {one["__name__"] for one in shown if "store" in one}
    for panel in DRAWN:
        for selector in (one for target in panel["targets"] for one in selectors(target["expr"])):
            assert ("job", "=~", "$job") in selector.matchers, selector
            fixed = ("store", "=", "dynamodb") in selector.matchers or "cutover" in selector.name
            assert (("store", "=~", "$store") in selector.matchers) is (selector.name in with_store and not fixed)


def test_alarms_that_fire_are_marked() -> None:
    (marks,) = DASHBOARD["annotations"]["list"]
    assert marks["datasource"] == SOURCE
    assert [one.name for one in selectors(filled_in(marks["expr"]))] == ["ALERTS"]


# ---- how it looks ---------------------------------------------------------------------------------------------------


def test_no_two_panels_share_an_id() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    assert DASHBOARD["uid"] == "mailculator"
    assert DASHBOARD["schemaVersion"] >= 39


def test_no_two_panels_lie_upon_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for spot in (
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ):
            assert spot not in taken, (panel["title"], taken[spot])
            taken[spot] = panel["title"]


def test_rows_come_in_the_order_in_which_they_are_read() -> None:
    titles = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert titles == [
        "In ten seconds", "Flow", "Relay", "Callbacks", "Stores", "Leases and mishaps", "Cutover", "Processes",
    ]  # fmt: skip
    assert PANELS[0]["type"] == "row"


@pytest.mark.parametrize("panel", DRAWN, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel: Mapping[str, Any]) -> None:
    assert panel["type"] in {"stat", "timeseries", "bargauge", "state-timeline", "table"}
    assert panel["title"]
    assert panel["description"]
    assert [one["title"] for one in DRAWN].count(panel["title"]) == 1
    assert UNITS.fullmatch(panel["fieldConfig"]["defaults"]["unit"])
    assert panel["datasource"] == SOURCE
    assert [target["refId"] for target in panel["targets"]] == sorted({target["refId"] for target in panel["targets"]})
    assert all(target["legendFormat"] for target in panel["targets"])
