"""The API as OpenAPI 3.1. A test holds it against the routes, and the answers of all tests against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mailculator.model import Status
from mailculator.web.admin.access import COOKIE
from mailculator.web.admin.answers import PROBLEM
from mailculator.web.admin.asking import ID_LIMIT
from mailculator.web.admin.emails import PAGE_LIMIT
from mailculator.web.admin.schemas import SCHEMAS, TEXT, Schema, ref
from mailculator.web.admin.steering import AUDIT_LIMIT, PIPELINES

_FLAG: Schema = {"enum": ["0", "1", "true", "false"]}
_SESSION_NEEDED: tuple[Mapping[str, list[str]], ...] = ({"session": []}, {"token": []})

REFUSALS: Mapping[int, str] = MappingProxyType(
    {
        400: "something in the request is wrong; `field` names it",
        401: "nobody has signed in, or the token is wrong",
        403: "it comes from another origin, under a foreign name, or without its CSRF token",
        404: "there is no such thing",
        408: "the body did not come in time",
        413: "the body is too large",
        415: "the body is no application/json",
        429: "too many wrong tokens; `Retry-After` says when to come again",
        500: "a store refuses what it was asked, or we have failed",
        503: "a store does not answer, or this replica stops",
    }
)


@dataclass(frozen=True, slots=True)
class _Operation:
    """One call.

    Arguments:
        answer: the schema of its good answer, or a media type that has none; "" = nothing comes back.
        body: the schema of what is sent.
        query: parameters of the query, by name.
        open: no session is needed.
    """

    summary: str
    answer: str
    body: str = ""
    query: Mapping[str, Schema] = field(default_factory=dict)
    open: bool = False


def _number(most: int) -> Schema:
    return {"type": "integer", "minimum": 1, "maximum": most, "default": 50}


_ID: Schema = {"type": "string", "maxLength": ID_LIMIT}

_OPERATIONS: Mapping[tuple[str, str], _Operation] = MappingProxyType(
    {
        ("/api/session", "get"): _Operation("Who is signed in", "Session", open=True),
        ("/api/session", "post"): _Operation("Sign in", "Session", "SignIn", open=True),
        ("/api/session", "delete"): _Operation("Sign out", "", open=True),
        ("/api/overview", "get"): _Operation("Every store, and what is wrong", "Overview"),
        ("/api/events", "get"): _Operation(
            "The overview about every second, each as an event named `overview`", "text/event-stream"
        ),
        ("/api/stores/{store}/emails", "get"): _Operation(
            "A list of emails, in the order of their ids",
            "Emails",
            query={
                "status": {"enum": ["", *(str(status) for status in Status)]},
                "parked": _FLAG,
                "unknown": _FLAG,
                "domain": _ID,
                "id": _ID,
                "after": _ID,
                "limit": _number(PAGE_LIMIT),
            },
        ),
        ("/api/stores/{store}/emails/{id}", "get"): _Operation(
            "An email: its history, why it does not move, what can be done", "Email"
        ),
        ("/api/stores/{store}/actions", "post"): _Operation(
            "Do something to emails, by their ids or by what they have in common; where `more` is true, "
            "ask again with `next` as `after`",
            "Results",
            "Order",
        ),
        ("/api/stores/{store}/pauses", "post"): _Operation("Pause a pipeline, or all of them", "", "PauseOrder"),
        ("/api/stores/{store}/pauses/{pipeline}", "delete"): _Operation("End a pause", "", "ResumeOrder"),
        ("/api/stores/{store}/audit", "get"): _Operation(
            "What operators did, newest first", "Audit", query={"after": _ID, "limit": _number(AUDIT_LIMIT)}
        ),
        ("/openapi.json", "get"): _Operation("This document", "application/json", open=True),
        ("/", "get"): _Operation("The page", "text/html", open=True),
        ("/assets/{name}", "get"): _Operation("The page's files", "*/*", open=True),
    }
)


def document(version: str) -> dict[str, Any]:
    """The whole of it. `version` is the program's."""
    paths: dict[str, dict[str, Any]] = {}
    for (path, method), operation in _OPERATIONS.items():
        paths.setdefault(path, {})[method] = _operation(path, method, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailculator",
            "version": version,
            "summary": "What the operators' page sees and does.",
            "description": "Every call of a session that changes something needs the header `X-CSRF-Token`, with the "
            "session's `csrf`. A program sends the token as `Authorization: Bearer`, and in `X-Operator` who answers "
            "for what it changes. GET is answered to HEAD as well.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": dict(SCHEMAS),
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
                "token": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _operation(path: str, method: str, operation: _Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [*_path(path), *_query(operation), *_headers(path, method)],
        "responses": {**_good(operation), **_refusals()},
        "security": [] if operation.open else [dict(one) for one in _SESSION_NEEDED],
    }
    if operation.body:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref(operation.body)}}}
    return described


def _path(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    schemas = {"pipeline": {"enum": list(PIPELINES)}}
    return [{"name": name, "in": "path", "required": True, "schema": schemas.get(name, TEXT)} for name in names]


def _query(operation: _Operation) -> list[dict[str, Any]]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in operation.query.items()]


def _headers(path: str, method: str) -> list[dict[str, Any]]:
    if method == "get" or (path, method) == ("/api/session", "post"):
        return []
    return [{"name": name, "in": "header", "schema": TEXT} for name in ("X-CSRF-Token", "X-Operator")]


def _good(operation: _Operation) -> dict[str, Any]:
    if not operation.answer:
        return {"204": {"description": "done"}}
    if operation.answer in SCHEMAS:
        return {"200": {"description": "good", "content": {"application/json": {"schema": ref(operation.answer)}}}}
    good = {"200": {"description": "good", "content": {operation.answer: {}}}}
    return {**good, "304": {"description": "not changed"}} if operation.answer in {"text/html", "*/*"} else good


def _refusals() -> dict[str, Any]:
    content = {PROBLEM: {"schema": ref("Problem")}}
    return {str(status): {"description": why, "content": content} for status, why in REFUSALS.items()}
