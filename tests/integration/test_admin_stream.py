"""The page's event stream: one look for all who listen, none when nobody does, and nothing that piles up."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from mailculator.clock import SystemClock
from mailculator.model import Status, StatusCount
from mailculator.stores.sqlite import SqliteStore
from mailculator.web.admin import stream
from tests.support.admin_page import CONTRACT, Operator, Stage, opened
from tests.support.clock import FakeClock
from tests.support.outage_bench import until
from tests.support.sqlite_harness import SqliteHarness


class Looked(SqliteStore):
    """A queue that counts how often it is looked at."""

    looks = 0
    counted = 0

    async def ping(self) -> Any:
        self.looks += 1
        return await super().ping()

    async def counts(self, *, terminal: bool = False) -> Mapping[Status, StatusCount]:
        self.counted += not terminal
        return await super().counts(terminal=terminal)


@pytest.fixture
async def store() -> AsyncIterator[Looked]:
    harness = SqliteHarness()
    store = await harness.fresh()
    store.__class__ = Looked
    assert isinstance(store, Looked)
    yield store
    await harness.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def stage(store: Looked, clock: FakeClock) -> AsyncIterator[Stage]:
    async with opened(store, clock=clock) as found:
        await found.operator.sign_in()
        yield found


class Listener:
    """Reads one stream, event by event."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> tuple[str, Any]:
        """The next event's name and its document; "" for a heartbeat."""
        lines = []
        async with asyncio.timeout(20):
            while (line := (await self.answer.content.readline()).decode()) != "\n":
                assert line, "the stream has ended"
                lines.append(line.rstrip("\n"))
        fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
        return fields.get("event", ""), json.loads(fields["data"]) if "data" in fields else None

    async def end(self) -> bytes:
        """Until it ends; what came before."""
        async with asyncio.timeout(20):
            return await self.answer.content.read()


async def listen(stage: Stage, operator: Operator | None = None) -> Listener:
    operator = operator or stage.operator
    answer = await operator.session.get(f"{operator.base}/api/events")
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    return Listener(answer)


async def test_the_overview_comes_at_once_and_then_each_second(stage: Stage, clock: FakeClock, store: Looked) -> None:
    listener = await listen(stage)
    for number in range(1, 4):
        name, document = await listener.next()
        assert name == "overview"
        CONTRACT.check_answer("GET", "/api/overview", 200, "application/json", document)
        assert store.looks == number
        await clock.until_waited_for(stream.EVERY)
        await clock.advance(stream.EVERY)
    listener.answer.close()


async def test_one_look_is_shared_by_all_who_listen(stage: Stage, clock: FakeClock, store: Looked) -> None:
    listeners = [await listen(stage)]
    await listeners[0].next()
    listeners += [await listen(stage) for _ in range(5)]
    latest = [await one.next() for one in listeners[1:]]
    assert store.looks == 1, "whoever comes late gets the latest at once"
    await clock.until_waited_for(stream.EVERY)
    await clock.advance(stream.EVERY)
    seen = [(await one.next())[1]["at"] for one in listeners]
    assert len(set(seen)) == 1
    assert seen[0] != latest[0][1]["at"]
    assert store.looks == 2
    for one in listeners:
        one.answer.close()


async def test_nobody_listening_means_no_looks(stage: Stage, clock: FakeClock, store: Looked) -> None:
    listener = await listen(stage)
    await listener.next()
    listener.answer.close()

    async def alone() -> bool:
        await clock.advance(stream.HEARTBEAT)  # a write is what finds out that the client is gone
        return not stage.page.listeners()

    await until(alone, "nobody listens")
    looks = store.looks
    await clock.advance(60.0)
    assert store.looks == looks
    again = await listen(stage)
    assert (await again.next())[0] == "overview"
    again.answer.close()


async def test_signing_out_ends_the_stream(stage: Stage, clock: FakeClock) -> None:
    listener = await listen(stage)
    await listener.next()
    await stage.operator.ask("DELETE", "/api/session")
    await clock.until_waited_for(stream.EVERY)
    await clock.advance(stream.EVERY)
    await listener.end()


async def test_a_stop_ends_every_stream_at_once_and_lets_none_begin(stage: Stage) -> None:
    listeners = [await listen(stage) for _ in range(3)]
    for one in listeners:
        await one.next()
    stage.page.halt()
    assert [await one.end() for one in listeners] == [b""] * 3
    assert (await stage.operator.ask("GET", "/api/events")).status == 503
    await stage.operator.get("/api/session")


async def test_no_more_pages_than_the_limit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LISTENERS", 2)
    listeners = [await listen(stage) for _ in range(2)]
    assert (await stage.operator.ask("GET", "/api/events")).status == 503
    for one in listeners:
        one.answer.close()


async def test_whoever_stops_reading_is_cut_off_and_nothing_is_kept_for_him(
    store: Looked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "EVERY", 0.0)
    monkeypatch.setattr(stream, "STALLED", 0.3)
    async with opened(store) as stage:
        large = b"x" * 1_000_000

        async def compose() -> bytes:
            await asyncio.sleep(0)
            return large

        monkeypatch.setattr(stage.page.stream, "_compose", compose)
        await stage.operator.sign_in()
        cookie = "; ".join(f"{one.key}={one.value}" for one in stage.operator.session.cookie_jar)
        sock = socket.create_connection(("127.0.0.1", stage.port))
        sock.setblocking(False)
        request = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(sock, request.encode())
        clock, never = SystemClock(), asyncio.Event()
        deadline = clock.now() + 20
        while not stage.page.listeners():
            assert clock.now() < deadline
            await clock.wait(never, 0.02)
        while stage.page.listeners():
            assert clock.now() < deadline, "it is held for ever"
            await clock.wait(never, 0.02)
        sock.close()
