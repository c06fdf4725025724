"""What a request asks, read within bounds and held against what it may be."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from mailculator import lifecycle
from mailculator.web.admin.answers import Refusal

BODY_LIMIT = 262_144
"""Octets: a thousand ids, and room for them to be long."""
BODY_WITHIN = 10.0
"""Seconds for a body to come in."""
ID_LIMIT = 255
NAME_LIMIT = 100
WHY_LIMIT = 500
"""Characters of an id, of an operator's name, and of a reason."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in.

    Arguments:
        parameters: from its path, decoded.
        operator: who asks; "" where nobody had to say.
    """

    request: web.BaseRequest
    parameters: Mapping[str, str]
    operator: str = ""

    async def body(self) -> Body:
        """Its JSON object. Errors: Refusal."""
        return Body(await _object(self.request))

    def known(self, name: str) -> str:
        """A parameter of the path that names something a store may hold. Errors: Refusal."""
        return _text(name, self.parameters[name], ID_LIMIT)

    def query(self, name: str, limit: int = ID_LIMIT) -> str | None:
        """A parameter of the query; None where it is empty or not there. Errors: Refusal."""
        return _text(name, self.request.query.get(name, ""), limit) or None

    def flag(self, name: str) -> bool:
        """Whether a parameter of the query is set: 1 or true. Errors: Refusal."""
        value = self.query(name)
        if value not in {None, "0", "1", "true", "false"}:
            raise Refusal(400, f"{name} must be 1 or 0.", field=name)
        return value in {"1", "true"}

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 on. Errors: Refusal."""
        value = self.query(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdecimal() and 1 <= int(value[:9]) <= most):
            raise Refusal(400, f"{name} must be a number from 1 to {most}.", field=name)
        return int(value)


@dataclass(frozen=True, slots=True)
class Body:
    """A JSON object; each reading of a member raises Refusal where it is not what it should be."""

    members: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str, limit: int = ID_LIMIT) -> str | None:
        """A string; None where it is empty, null or not there."""
        value = self.members.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise Refusal(400, f"{name} must be a string.", field=name)
        return _text(name, value, limit) or None

    def line(self, name: str, limit: int) -> str:
        """A string as people write it into a history: one line, not empty."""
        cleaned = lifecycle.clean(self.text(name, 4 * limit) or "")
        if not cleaned or len(cleaned) > limit:
            raise Refusal(400, f"{name} must be 1 to {limit} characters.", field=name)
        return cleaned

    def flag(self, name: str) -> bool:
        """A boolean; false where it is not there."""
        value = self.members.get(name, False)
        if not isinstance(value, bool):
            raise Refusal(400, f"{name} must be true or false.", field=name)
        return value

    def seconds(self, name: str, most: float) -> float | None:
        """A length of time above 0; None where it is null or not there."""
        value = self.members.get(name)
        if value is None:
            return None
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not 0 < number <= most:
            raise Refusal(400, f"{name} must be null, or seconds up to {most:.0f}.", field=name)
        return number

    def ids(self, name: str, most: int) -> list[str] | None:
        """Ids; None where they are not there."""
        value = self.members.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise Refusal(400, f"{name} must be a list of 1 to {most} ids.", field=name)
        for one in value:
            if not isinstance(one, str) or not one:
                raise Refusal(400, f"{name} must hold ids.", field=name)
            _text(name, one, ID_LIMIT)
        return value

    def inner(self, name: str) -> Body | None:
        """An object; None where it is not there."""
        value = self.members.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Refusal(400, f"{name} must be an object.", field=name)
        return Body(value)

    def expect(self, *names: str) -> None:
        """Refuse members that nobody would read: a filter that is misspelt must not mean everything."""
        for name in self.members:
            if name not in names:
                raise Refusal(400, f"There is no member {name[:60]!r} here.", field=name[:60])


def _text(name: str, value: str, limit: int) -> str:
    # Lone surrogates (octets that are no UTF-8) and NUL could not be looked for in every store.
    if len(value) > limit or "\x00" in value or any("\ud800" <= ch <= "\udfff" for ch in value):
        raise Refusal(400, f"{name} must be text of at most {limit} characters.", field=name)
    return value


async def _object(request: web.BaseRequest) -> dict[str, Any]:
    if request.content_type != "application/json":
        # No form of a foreign page can send this, and nothing else of a foreign page is let through.
        raise Refusal(415, "The body must be application/json.")
    raw = await _octets(request)
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "The body is no JSON.") from error
    if not isinstance(found, dict):
        raise Refusal(400, "The body must be a JSON object.")
    return found


async def _octets(request: web.BaseRequest) -> bytes:
    too_large = Refusal(413, f"The body must have at most {BODY_LIMIT} octets.")
    if (request.content_length or 0) > BODY_LIMIT:
        raise too_large
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_WITHIN):
            while piece := await request.content.readany():
                raw += piece
                if len(raw) > BODY_LIMIT:
                    raise too_large
    except TimeoutError:
        raise Refusal(408, "The body did not come in time.") from None
    return bytes(raw)
