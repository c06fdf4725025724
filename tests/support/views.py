"""Views, rows and replicas made by hand, for what is told of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mailculator.facts import Away, Facts
from mailculator.fleet import Pause, Replica
from mailculator.insight.view import Member, View
from mailculator.model import Row, Status, StatusCount
from mailculator.stores.base import Ping

NOW = datetime(2026, 11, 28, 3, 15, tzinfo=UTC)
AT_0312 = datetime(2026, 11, 28, 3, 12, tzinfo=UTC).timestamp()


def view(*members: Member, **changes: Any) -> View:
    """A store that answers; nothing waits there, and blue-1 works on it unless others are named."""
    plain = View("mysql", NOW, ping=Ping("MariaDB", True, True, 0.001), members=members or (member(),))
    return replace(plain, **changes)


def member(name: str = "blue-1", *, age: float = 2.0, **facts: Any) -> Member:
    return Member.of(Replica(name, "1.2.0", age, Facts(**facts).document()))


def away(name: str, reason: str = "421 try later.", since: float = AT_0312) -> dict[str, Away]:
    return {name: Away(since, reason)}


def counted(status: Status, count: int, parked: int = 0, oldest_age: float = 0.0) -> dict[Status, StatusCount]:
    return {status: StatusCount(count, parked, oldest_age)}


def pause(pipeline: str, *, minutes: float | None = None) -> Pause:
    until = None if minutes is None else NOW + timedelta(minutes=minutes)
    return Pause(pipeline, "ada", "relay is moved", NOW - timedelta(minutes=1), until)


def row(status: Status, **changes: Any) -> Row:
    """An email with nothing special about it, due for a minute."""
    plain = Row(
        id="550e8400-e29b-41d4-a716-446655440000",
        status=status,
        version=3,
        payload_file_path="/payload.json",
        eml_file_path=None,
        reason=None,
        last_error=None,
        recipient_domain="example.com",
        attempts=0,
        generation=0,
        parked=False,
        claimed_by=None,
        claim_token=None,
        ttl=None,
        created_at=NOW - timedelta(hours=1),
        updated_at=NOW - timedelta(minutes=1),
        due_at=NOW - timedelta(minutes=1),
        lease_until=None,
        reached_at=None,
    )
    return replace(plain, **changes)
