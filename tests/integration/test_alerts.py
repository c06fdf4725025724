"""deploy/prometheus: each alarm fires when it should and not before, over what is exported, and says what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
import typer
import yaml
from typer.core import TyperGroup

from mailculator.cli.main import application
from mailculator.config import Settings
from tests.support.exported import SCRAPED, exported
from tests.support.promql import selectors, series, sorted_by
from tests.support.promtool import CASES, ROOT, RULES, cases, promtool, rules

ALARMS: Mapping[str, dict[str, Any]] = {rule["alert"]: rule for rule in rules() if "alert" in rule}
USAGE = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""UsageError, wherever this version of typer keeps it."""
QUIET = "all is well, but for hiccups that mend themselves"


@pytest.fixture(scope="module")
def shown() -> list[Mapping[str, str]]:
    return exported()


def inputs(case: Mapping[str, Any]) -> list[dict[str, str]]:
    return [series(one["series"]) for one in case["input_series"]]


def firing(case: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The labels of the alarms that a case waits for."""
    for look in case["promql_expr_test"]:
        for sample in look["exp_samples"]:
            labels = series(sample["labels"])
            if labels["__name__"] == "ALERTS":
                yield labels


# ---- Prometheus's word ----------------------------------------------------------------------------------------------


def test_prometheus_reads_the_rules() -> None:
    promtool("check", "rules", RULES)


def test_prometheus_reads_the_example_of_its_settings_and_finds_the_rules_by_it() -> None:
    settings = RULES.with_name("prometheus.yml")
    promtool("check", "config", settings)
    document = yaml.safe_load(settings.read_text(encoding="utf-8"))
    assert document["rule_files"] == [RULES.name]
    (job,) = document["scrape_configs"]
    assert "mailculator" in job["job_name"], "the alarms know their replicas by it"
    assert [one["port"] for one in job["dns_sd_configs"]] == [Settings.model_fields["http_port"].default]


def test_each_alarm_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", CASES)


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_has_a_case_in_which_it_first_bides_its_time(name: str) -> None:
    own = [case for case in cases() if name in {labels["alertname"] for labels in firing(case)}]
    assert own
    assert {case["name"] for case in own} == {name}
    for case in own:
        assert {look["expr"] for look in case["promql_expr_test"]} == {'ALERTS{alertstate="firing"}'}
        before, then, *_ = case["promql_expr_test"]
        assert (before["exp_samples"], len(then["exp_samples"])) == ([], 1)


@pytest.mark.parametrize("name", ALARMS)
def test_where_all_is_well_an_alarm_has_something_to_look_at_and_keeps_silent(name: str) -> None:
    (case,) = [case for case in cases() if case["name"] == QUIET]
    assert all(look["exp_samples"] == [] for look in case["promql_expr_test"])
    there = inputs(case)
    for selector in selectors(ALARMS[name]["expr"]):
        assert any(selector.takes(one) for one in there), selector


# ---- over what is exported ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_looks_at_what_is_exported(rule: Mapping[str, Any], shown: list[Mapping[str, str]]) -> None:
    labels: set[str] = set()
    for selector in selectors(rule["expr"]):
        found = [one for one in shown if selector.takes(one)]
        assert found, selector
        assert {label for label, _, _ in selector.matchers} <= set(found[0])
        labels |= set(found[0])
    assert labels
    assert sorted_by(rule["expr"]) <= labels


def test_a_case_is_made_of_what_is_exported(shown: list[Mapping[str, str]]) -> None:
    """Labels and values both, but for the replica's name."""

    def bare(labels: Mapping[str, str]) -> frozenset[tuple[str, str]]:
        return frozenset((label, value) for label, value in labels.items() if label not in SCRAPED)

    known = {bare(one) for one in shown}
    made_up = {bare(one) for case in cases() for one in inputs(case)}
    assert made_up - known == set()


# ---- in words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_says_what_it_means_and_waits_before_it_wakes_anybody(name: str) -> None:
    rule = ALARMS[name]
    assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
    assert name.startswith("Mailculator")
    assert [one["alert"] for one in rules() if "alert" in one].count(name) == 1
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"[1-9]\d*[mh]", rule["for"])
    assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.parametrize("name", ALARMS)
def test_what_a_summary_names_is_on_the_alarm(name: str) -> None:
    named = set(re.findall(r"\$labels\.(\w+)", " ".join(ALARMS[name]["annotations"].values())))
    for case in cases():
        for labels in firing(case):
            assert labels["alertname"] != name or named <= set(labels)


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_names_a_command_that_can_be_typed(name: str) -> None:
    commands = re.findall(r"`(mailculator [^`]+)`", ALARMS[name]["annotations"]["description"])
    assert commands
    for command in commands:
        assert parses(command), command


def parses(line: str) -> bool:
    """Whether the command line takes it: command, options and arguments, none of which is carried out."""
    command: Any = typer.main.get_command(application)
    _, *words = shlex.split(line)
    try:
        while isinstance(command, TyperGroup):
            command = command.commands[words.pop(0)]
        command.make_context("", words)
    except (USAGE, KeyError, IndexError):
        return False
    return True


@pytest.mark.parametrize(
    "line",
    [
        "mailculator",
        "mailculator queue",
        "mailculator queue lost",
        "mailculator requeue ID",
        "mailculator check --loud",
    ],
)
def test_what_cannot_be_typed_is_seen(line: str) -> None:
    assert not parses(line)


def test_settings_and_papers_that_are_named_exist() -> None:
    text = RULES.read_text(encoding="utf-8")
    known = {str(field.alias) for field in Settings.model_fields.values()}
    named = set(re.findall(r"\b(?:MAILCULATOR|SMTP|PIPELINE|MYSQL)_[A-Z_]+", text))
    assert {name.removesuffix("_FILE") for name in named} <= known
    assert [path for path in re.findall(r"\b(?:docs|deploy)/[\w./-]*\w", text) if not (ROOT / path).exists()] == []


def test_the_page_about_deploying_lists_every_alarm() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    listed = [
        name
        for line in page.splitlines()
        if line.startswith("| `Mail")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert sorted(listed) == sorted(ALARMS)
