"""The document is OpenAPI 3.1, and tells of every route and of nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from mailculator.clock import SystemClock
from mailculator.events import ignore
from mailculator.web.admin import openapi
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.page import Page, Terms
from mailculator.web.admin.routing import Routes

DOCUMENT = openapi.document("1.2.3")
OPERATIONS = {(path, method.upper()): one for path, calls in DOCUMENT["paths"].items() for method, one in calls.items()}


@pytest.fixture(scope="module")
def routes() -> Routes:
    desk = Desk(("sqlite",), version="1.2.3", replica="test")
    return Page(Terms(0, wanted=False), desk, clock=SystemClock(), observer=ignore).routes


def test_it_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_every_route_and_method_is_documented_and_nothing_else(routes: Routes) -> None:
    assert sorted((route.path, route.method) for route in routes.all) == sorted(OPERATIONS)


def test_it_says_which_calls_are_open_and_which_act(routes: Routes) -> None:
    for route in routes.all:
        operation = OPERATIONS[route.path, route.method]
        assert (operation["security"] == []) is route.open, route.path
        named = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
        signs_out = (route.path, route.method) == ("/api/session", "DELETE")
        assert ("X-CSRF-Token" in named) is (route.acts or signs_out), route.path
        assert route.acts <= (route.method != "GET"), "what only reads changes nothing"


def test_every_schema_is_used() -> None:
    named: set[str] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                named.add(value["$ref"].rpartition("/")[2])
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(DOCUMENT)
    assert named == set(DOCUMENT["components"]["schemas"])
