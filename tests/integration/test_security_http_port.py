"""The open port and those who only want to occupy it: they are cut off, and the next one is answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from mailculator.web import connections, server
from mailculator.web.health import Health, Limits

PATIENCE = 1.0
"""Seconds that the server of these tests waits for a request; the real one takes longer."""


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    assert connections.KEEP_ALIVE <= 60.0, "a connection without a request is kept for a minute at the most"
    monkeypatch.setattr(connections, "KEEP_ALIVE", PATIENCE)
    monkeypatch.setattr(connections, "LINGER", PATIENCE)
    health = Health("9.9.9", Limits(stuck=30.0, fresh=20.0), stores=(), clock=lambda: 0.0)
    runner, taken = await server.start(health, CollectorRegistry(), port=0, host="127.0.0.1")
    yield taken
    await runner.cleanup()


async def answered(port: int) -> bool:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(connections, "KEEP_ALIVE", 60.0)  # this one means well, however busy the machine is
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b""),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n", b""),
        (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nand then", b"HTTP/1.1 405 "),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 "),
    ],
    ids=["nothing", "half of a request", "half of a body", "nothing more"],
)
async def test_whoever_falls_silent_is_cut_off(port: int, sent: bytes, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(20):
        assert (await reader.read()).startswith(said)
    writer.close()
    assert await answered(port)


async def test_a_request_that_drips_is_cut_off_while_it_drips(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nX-Slow: ")
    cut = asyncio.create_task(reader.read())
    for _ in range(400):
        writer.write(b"x")
        if (await asyncio.wait([cut], timeout=PATIENCE / 6))[0]:
            break
    assert cut.done()
    writer.close()
    assert await answered(port)


async def test_headers_without_end_are_refused_before_they_have_all_come(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
    writer.write(b"".join(b"X-%d: %s\r\n" % (number, b"a" * 4000) for number in range(1000)))
    async with asyncio.timeout(20):
        assert (await reader.readline()).split()[1] == b"400"
    writer.transport.abort()
    assert await answered(port)
