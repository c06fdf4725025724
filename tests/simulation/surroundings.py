"""What stands in the place of the machine: the payloads' share, the disk, the clock, whatever draws lots."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any
from unittest import mock

from mailculator import payload
from mailculator.errors import PayloadUnavailable
from tests.chaos.verdict import Kind
from tests.simulation.chronicle import EPOCH
from tests.simulation.disk import Share
from tests.simulation.faults import Weather
from tests.simulation.loop import VirtualLoop
from tests.simulation.peers import LATER, NOBODY
from tests.simulation.scribe import VirtualScribe

SHARES = {Kind.VALID: 80, Kind.REFUSED: 10, Kind.INVALID: 10}
"""How many of a hundred."""
RECIPIENTS = {"valid": "somebody@example.org", "nobody": NOBODY, "later": LATER, "invalid": "no address"}
"""Of the payloads that there are: what is in them is not looked at here, so that all of a kind have the same."""

_REAL_PARSE = payload.parse


def draw_mails(rng: random.Random, count: int) -> dict[str, tuple[Kind, str]]:
    """New emails: what each is to come to, and where its payload lies."""
    found = {}
    for _ in range(count):
        kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
        name = rng.choice(("nobody", "later")) if kind is Kind.REFUSED else kind.value
        found[str(uuid.UUID(int=rng.getrandbits(128), version=4))] = (kind, f"/payloads/{name}")
    return found


@contextmanager
def in_place(loop: VirtualLoop, rng: random.Random, weather: Weather, share: Share) -> Iterator[None]:
    """Everything that would reach out of a world is its own: what it draws has a seed, what it asks has a time."""

    def read_payload(path: str, limit: int = 0) -> bytes:
        if weather.spell("share") or weather.strikes("share"):
            raise PayloadUnavailable("payload: the share is away", shared=True)
        return _payload(path)

    def scribe(*args: Any, **listeners: Any) -> VirtualScribe:
        return VirtualScribe(*args, **listeners, pause=weather.disk_pause)

    def render(mail: object, *, email_id: str, **_: object) -> bytes:
        return email_id.encode()

    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(EPOCH + loop.time(), UTC)

    with (
        mock.patch("mailculator.pipelines.files.read_payload", read_payload),
        mock.patch("mailculator.payload.parse", _parse),
        mock.patch("mailculator.message.render", render),
        mock.patch("mailculator.journal.writer.Scribe", scribe),
        mock.patch("mailculator.journal.reader.segments", share.segments),
        mock.patch("mailculator.pipelines.recorder.datetime", Now),
        mock.patch("uuid.uuid4", side_effect=lambda: uuid.UUID(int=rng.getrandbits(128), version=4)),
        mock.patch("time.time", side_effect=lambda: EPOCH + loop.time()),
    ):
        yield


@cache
def _payload(path: str) -> bytes:
    to = RECIPIENTS[path.rpartition("/")[2]]
    some = "550e8400-e29b-41d4-a716-446655440000"
    fields = {"id": some, "from": "sender@example.com", "reply_to": "reply@example.com", "to": to}
    text = {"subject": "Oggetto", "body_text": "Perché no?"}
    return json.dumps(fields | text).encode()


@cache
def _parse(raw: bytes, **settings: Any) -> payload.Payload:
    return _REAL_PARSE(raw, **settings)
