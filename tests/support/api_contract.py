"""Holds what a server says against its own OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator


class ApiContract:
    """Checks requests and answers; AssertionError where one is not as it is documented.

    Arguments:
        document: as it stands under /openapi.json.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}"))), calls)
            for path, calls in document["paths"].items()
        ]

    def check_answer(self, method: str, path: str, status: int, content_type: str, body: Any) -> None:
        """An answer, its body decoded where it is JSON."""
        operation = self._operation(method, path)
        if operation is None:
            assert status in {403, 404, 405}, f"{method} {path} is not documented and gets {status}"
            self._valid({"$ref": "#/components/schemas/Problem"}, body)
            return
        answers = operation["responses"]
        assert str(status) in answers, f"{method} {path}: {status} is not documented"
        content = answers[str(status)].get("content")
        if content is None or method == "HEAD":
            return
        assert content_type in content or "*/*" in content, f"{method} {path}: {content_type} is not documented"
        self._valid(content.get(content_type, {}).get("schema", True), body)

    def check_request(self, method: str, path: str, body: Any) -> None:
        """A body that was taken."""
        operation = self._operation(method, path)
        assert operation is not None
        described = operation.get("requestBody")
        assert (described is None) == (body is None), (
            f"{method} {path}: a body is documented, or sent, without the other"
        )
        if described is not None:
            self._valid(described["content"]["application/json"]["schema"], body)

    def _operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        name = {"HEAD": "get"}.get(method, method.lower())
        plain = path.partition("?")[0]
        return next((calls.get(name) for pattern, calls in self._paths if pattern.fullmatch(plain)), None)

    def _valid(self, schema: Any, body: Any) -> None:
        if schema is True:
            return
        whole = {"components": self._document["components"], "allOf": [schema]}
        found = [error.message for error in Draft202012Validator(whole).iter_errors(body)]
        assert found == [], f"{found[:3]} in {body}"
