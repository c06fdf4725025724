"""Sessions and wrong tokens, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from aiohttp.test_utils import make_mocked_request

from mailculator.web.admin import access
from mailculator.web.admin.access import COOKIE, FREE_FAILURES, SESSION_AGE, Access
from mailculator.web.admin.answers import Refusal
from tests.support.clock import FakeClock


def request(headers: Mapping[str, str] | None = None):  # type: ignore[no-untyped-def]  # aiohttp's own
    return make_mocked_request("GET", "/api/overview", headers=dict(headers or {}))


async def test_a_session_ends_by_itself() -> None:
    clock = FakeClock()
    door = Access("", clock=clock)
    session = door.sign_in(request(), "anna", "")
    asked = request({"Cookie": f"{COOKIE}={session.key}"})
    await clock.advance(SESSION_AGE - 1)
    assert door.session(asked) is session
    await clock.advance(1)
    assert door.session(asked) is None
    assert not door.lasts(session)


async def test_one_session_more_than_the_limit_ends_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "SESSIONS", 2)
    door = Access("", clock=FakeClock())
    first, second, third = (door.sign_in(request(), name, "") for name in ("a", "b", "c"))
    assert [door.lasts(one) for one in (first, second, third)] == [False, True, True]


async def test_an_address_waits_longer_with_each_wrong_token_and_is_forgotten() -> None:
    clock = FakeClock()
    door = Access("right", clock=clock)

    def status(token: str) -> int:
        try:
            door.sign_in(request(), "anna", token)
        except Refusal as refusal:
            return refusal.status
        return 200

    assert [status("wrong") for _ in range(FREE_FAILURES)] == [401] * FREE_FAILURES
    for wait in (1.0, 2.0, 4.0, 8.0):
        await clock.advance(wait - 0.5)
        assert status("right") == 429
        await clock.advance(0.5)
        assert status("wrong") == 401
    await clock.advance(60.0)
    assert status("right") == 200
    assert status("wrong") == 401, "it begins anew"


def test_nothing_of_a_session_that_opens_doors_is_in_its_repr() -> None:
    session = Access("", clock=FakeClock()).sign_in(request(), "anna", "")
    assert session.key not in repr(session)
