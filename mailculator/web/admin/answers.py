"""Answers: JSON, problems (RFC 9457), and what stands in the head of each."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson
from aiohttp import web

PROBLEM = "application/problem+json"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)

HEAD: Mapping[str, str] = MappingProxyType(
    {
        "Server": "mailculator",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)
"""Of every answer, whatever it is: a browser must not make more of one than what it says."""


class Refusal(Exception):
    """A request that is not answered as it was meant.

    Arguments:
        status: the HTTP status.
        detail: for people.
        field: the one field of the request that is wrong, if it is one.
        headers: beside those of every answer.
    """

    def __init__(
        self, status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.detail = detail
        self.field = field
        self.headers = headers or {}
        super().__init__(detail)

    def answer(self) -> web.Response:
        """As a problem document."""
        return problem(self.status, self.detail, field=self.field, headers=self.headers)


def json(body: Mapping[str, Any], *, status: int = 200) -> web.Response:
    """A document."""
    return _response(status, orjson.dumps(body), "application/json")


def encoded(body: bytes) -> web.Response:
    """A document that is encoded already."""
    return _response(200, body, "application/json")


def empty() -> web.Response:
    """204: done, and nothing to say."""
    return web.Response(status=204, headers={**HEAD, "Cache-Control": "no-store"})


def problem(
    status: int, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A problem document; see Refusal."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if field is not None:
        body["field"] = field
    return _response(status, orjson.dumps(body), PROBLEM, headers)


def refuse(status: int) -> web.Response:
    """What is no request at all: nothing of it is quoted."""
    return problem(status, "This is no HTTP request." if status < 500 else "The page has failed; its log says how.")


def _response(status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> web.Response:
    # No balancer and no browser may answer for us: what is shown is the queue as it stands.
    head = {**HEAD, "Content-Type": content_type, "Cache-Control": "no-store", **(headers or {})}
    return web.Response(status=status, body=body, headers=head)
