"""One look at a store, and what is reckoned from it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mailculator import facts
from mailculator.errors import StoreUnavailable
from mailculator.facts import Facts
from mailculator.fleet import WHOLE
from mailculator.insight.headline import headline
from mailculator.insight.problems import problems
from mailculator.insight.view import View, look
from mailculator.model import NewEmail, Status, StatusCount
from mailculator.stores.base import Ping
from tests.support.sqlite_harness import SqliteHarness
from tests.support.views import NOW, away, counted, member, pause, view


def flowing(entered: float, acknowledged: float, backlog: int = 60) -> View:
    rates = {facts.ENTERED: entered, facts.ACKNOWLEDGED: acknowledged}
    return view(member(rates=rates), counts=counted(Status.READY, backlog))


class TestReckoning:
    def test_the_backlog_leaves_out_what_is_parked_or_has_ended(self) -> None:
        counts = {
            Status.ACCEPTED: StatusCount(5),
            Status.CALLING_SENT_CALLBACK: StatusCount(2),
            Status.FAILED: StatusCount(4, parked=3),
            Status.SENT_ACKNOWLEDGED: StatusCount(1000),
        }
        seen = view(counts=counts)
        assert (seen.backlog, seen.parked) == (8, 3)

    def test_rates_are_those_of_the_replicas_that_are_there(self) -> None:
        rates = {facts.SENT: 2.5}
        seen = view(member(rates=rates), member("b", rates=rates), member("c", rates=rates, age=600))
        assert seen.rates[facts.SENT] == 5.0
        assert seen.rates[facts.FAILED] == 0.0

    @pytest.mark.parametrize(
        ("entered", "acknowledged", "backlog", "seconds"),
        [(0, 2, 60, 30.0), (1, 2, 60, 60.0), (2, 2, 60, None), (0, 0, 60, None), (5, 0, 0, 0.0)],
    )
    def test_time_to_empty(self, entered: float, acknowledged: float, backlog: int, seconds: float | None) -> None:
        assert flowing(entered, acknowledged, backlog).seconds_to_empty == seconds

    def test_the_stores_time_is_told_by_its_own_clock(self) -> None:
        assert view().stores_time == NOW
        ahead = view(ping=Ping("MariaDB", True, True, 0.1, 90.0))
        assert ahead.stores_time == NOW - timedelta(seconds=90)


class TestHeadline:
    @pytest.mark.parametrize(
        ("seen", "says"),
        [
            (View("mysql", NOW, error="away"), "nothing is known of it"),
            (view(), "nothing waits"),
            (flowing(1, 2), "mail flows; 60 emails on the way, empty in 60 s"),
            (flowing(2, 2), "mail flows; 60 emails on the way, and no fewer at the pace of now"),
            (view(counts=counted(Status.READY, 3), pauses=[pause(WHOLE)]), "all of it is paused; 3 emails on the way"),
            (
                view(counts=counted(Status.READY, 3), pauses=[pause("sender")]),
                "mail flows but for sender, paused; 3 emails on the way",
            ),
            (view(member(away=away("relay"))), "mail stands still; 0 emails on the way"),
        ],
        ids=str,
    )
    def test_it_says_whether_mail_flows(self, seen: View, says: str) -> None:
        assert headline(seen, problems(seen)) == says


class TestLook:
    async def test_all_of_it_comes_from_the_store(self) -> None:
        harness = SqliteHarness()
        try:
            store = await harness.fresh()
            await store.enqueue([NewEmail("550e8400-e29b-41d4-a716-446655440000", "/p.json")])
            await store.control.pause("sender", seconds=None, who="ada", why="x")
            await store.control.report("blue-1", service="1.2.0", facts=Facts(in_flight={"sender": 2}).document())

            seen = await look(store)

            assert seen.error is None
            assert seen.ping is not None
            assert seen.counts[Status.ACCEPTED].count == 1
            assert Status.INVALID not in seen.counts
            assert [one.pipeline for one in seen.pauses] == ["sender"]
            assert [(one.name, one.facts.in_flight, one.works) for one in seen.members] == [
                ("blue-1", {"sender": 2}, True)
            ]
            assert Status.INVALID in (await look(store, terminal=True)).counts
        finally:
            await harness.close()

    async def test_a_store_that_does_not_answer_is_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def away(_: object) -> Ping:
            raise StoreUnavailable("sqlite", "ping", "gone")

        harness = SqliteHarness()
        try:
            store = await harness.fresh()
            monkeypatch.setattr(type(store), "ping", away)
            seen = await look(store)
            assert (seen.store, seen.error, seen.ping) == ("sqlite", "sqlite ping: gone", None)
        finally:
            await harness.close()
