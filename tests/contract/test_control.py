"""What concerns a queue as a whole: pauses, the audit list, and the replicas that work on it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from mailculator.fleet import WHOLE
from mailculator.stores.base import Store
from tests.support.harness import Harness


async def pause(store: Store, pipeline: str, seconds: float | None = None, why: str = "relay is moved") -> None:
    await store.control.pause(pipeline, seconds=seconds, who="anna", why=why)


async def resume(store: Store, pipeline: str) -> bool:
    return await store.control.resume(pipeline, who="bert", why="relay is back")


async def paused(store: Store) -> list[str]:
    return [one.pipeline for one in await store.control.pauses()]


async def test_a_new_queue_has_no_pause_no_deed_and_no_replica(store: Store) -> None:
    assert await store.control.pauses() == []
    assert await store.control.audit() == []
    assert await store.control.replicas() == []


async def test_a_pause_says_who_why_and_since_when(store: Store) -> None:
    await pause(store, "sender")

    (one,) = await store.control.pauses()

    assert (one.pipeline, one.who, one.why, one.until) == ("sender", "anna", "relay is moved", None)
    assert one.since.utcoffset() == timedelta(0)
    assert one.stops("sender")
    assert not one.stops("intake")


async def test_every_opener_of_the_queue_sees_it(store: Store, harness: Harness) -> None:
    await pause(store, WHOLE)

    (one,) = await (await harness.another()).control.pauses()

    assert one.stops("intake")
    assert one.stops("failed-callback")


async def test_a_pause_with_an_end_is_over_then(store: Store, harness: Harness) -> None:
    await pause(store, "sender", 600.0)
    await pause(store, "intake")
    (intake, sender) = await store.control.pauses()
    assert intake.until is None
    assert sender.until == pytest.approx(sender.since + timedelta(seconds=600), abs=timedelta(milliseconds=5))

    await harness.rewind(700)

    assert await paused(store) == ["intake"]
    assert await resume(store, "sender") is False


async def test_a_second_pause_takes_the_place_of_the_first(store: Store) -> None:
    await pause(store, "sender", 600.0)
    await pause(store, "sender", None, why="longer than we thought")

    (one,) = await store.control.pauses()

    assert (one.until, one.why) == (None, "longer than we thought")


async def test_resuming_ends_that_pause_and_no_other(store: Store) -> None:
    await pause(store, WHOLE)
    await pause(store, "sender")

    assert await resume(store, "sender") is True
    assert await paused(store) == [WHOLE]
    assert await resume(store, "sender") is False
    assert await resume(store, WHOLE) is True
    assert await paused(store) == []


async def test_pauses_stand_on_the_audit_list_newest_first(store: Store) -> None:
    await pause(store, "sender", 600.0)
    await resume(store, "sender")
    await resume(store, "sender")  # nothing was done, so that nothing is told
    await pause(store, WHOLE)
    await store.control.note(who="anna", what="requeued 3 emails", why="wrong sender")

    told = [(one.who, one.what, one.why) for one in await store.control.audit()]

    assert told == [
        ("anna", "requeued 3 emails", "wrong sender"),
        ("anna", "paused all pipelines", "relay is moved"),
        ("bert", "resumed sender", "relay is back"),
        ("anna", "paused sender for 600 s", "relay is moved"),
    ]


async def test_the_audit_list_is_read_page_by_page(store: Store) -> None:
    for number in range(5):
        await store.control.note(who="anna", what=f"deed {number}", why="to have some")

    first = await store.control.audit(limit=2)
    second = await store.control.audit(after=first[-1].key, limit=2)
    third = await store.control.audit(after=second[-1].key, limit=2)

    assert [one.what for page in (first, second, third) for one in page] == [f"deed {n}" for n in (4, 3, 2, 1, 0)]


async def test_a_key_of_the_audit_list_that_nobody_gave_out_is_no_error(store: Store) -> None:
    await store.control.note(who="anna", what="did", why="because")

    for key in ("", "x", "'; --", "9" * 40):
        await store.control.audit(after=key)


async def test_operators_at_once_are_all_on_the_audit_list(store: Store) -> None:
    await asyncio.gather(*(store.control.note(who=f"n{n}", what="did", why="because") for n in range(10)))

    assert {one.who for one in await store.control.audit()} == {f"n{n}" for n in range(10)}


async def test_a_replica_is_what_it_said_last(store: Store, harness: Harness) -> None:
    await store.control.report("b", service="1.0.0", facts={"sent": 1})
    await store.control.report("a", service="1.0.0", facts={"sent": 7, "relay": {"open": True}})
    await harness.rewind(30)
    await store.control.report("b", service="1.1.0", facts={"sent": 2})

    a, b = await store.control.replicas()

    assert (a.name, a.service, a.facts) == ("a", "1.0.0", {"sent": 7, "relay": {"open": True}})
    assert (b.name, b.service, b.facts) == ("b", "1.1.0", {"sent": 2})
    assert 30 <= a.age < 60
    assert 0 <= b.age < 30


async def test_a_replica_that_is_silent_for_a_day_is_told_of_no_more(store: Store, harness: Harness) -> None:
    await store.control.report("gone", service="1.0.0", facts={})
    await harness.rewind(90_000)
    await store.control.report("here", service="1.0.0", facts={})

    assert [one.name for one in await store.control.replicas()] == ["here"]


async def test_whatever_an_operator_writes_is_kept_as_text(store: Store) -> None:
    why = "<b>Ünï©ode</b> \U0001f4e8 '; DROP TABLE emails; -- %s {}"
    await store.control.pause("sender", seconds=None, who="O'Neil", why=why)
    await store.control.report("r", service="1", facts={"reply": why})

    (one,) = await store.control.pauses()
    (deed,) = await store.control.audit()
    (replica,) = await store.control.replicas()

    assert (one.who, one.why) == (deed.who, deed.why) == ("O'Neil", why)
    assert replica.facts == {"reply": why}
