"""The callback client against a server that answers as it is told to, on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from mailculator.errors import CallbackUnavailable
from mailculator.transport.base import Answer
from mailculator.transport.callback_format import SENT, build_body, build_headers
from mailculator.transport.webhook import BODY_LIMIT, CallbackSettings, WebhookClient
from tests.support.callback_peer import CallbackPeer, endless, hang, reset, stalling
from tests.support.certificates import Certificates

BODY = b'{"code":"TRAVELING"}'


@asynccontextmanager
async def client_of(peer: CallbackPeer, **settings: Any) -> AsyncIterator[WebhookClient]:
    client = WebhookClient(CallbackSettings(**({"url": peer.url} | settings)))
    try:
        yield client
    finally:
        await client.close()


async def post(client: WebhookClient, body: bytes = BODY) -> Answer:
    async with asyncio.timeout(10):
        return await client.post(body, {"Content-Type": "application/json"})


async def test_body_and_headers_arrive_octet_for_octet() -> None:
    email_id = "550e8400-e29b-41d4-a716-446655440000"
    body = build_body(SENT, datetime(2026, 11, 20, 8, tzinfo=UTC), email_id, "Perché è partita")
    headers = build_headers(
        {"X-MTRAX-SOURCE": "MULTIDIALOGO"},
        body,
        email_id=email_id,
        result="sent",
        generation=0,
        timestamp=1700000000,
        secrets=(b"key",),
    )
    async with CallbackPeer() as peer, client_of(peer) as client:
        assert await client.post(body, headers) == Answer(200)
        (call,) = peer.calls
    assert (call.method, call.path, call.body) == ("POST", "/callback", body)
    assert headers.items() <= call.headers.items()
    assert sorted(call.headers) == sorted(
        [*headers, "Host", "User-Agent", "Accept", "Accept-Encoding", "Content-Length"], key=str
    )


@pytest.mark.parametrize("status", [200, 202, 204, 400, 404, 409, 429, 500, 503])
async def test_g9_every_status_is_reported_as_it_is(status: int) -> None:
    async with CallbackPeer(status=status) as peer, client_of(peer) as client:
        assert (await post(client)).status == status


async def test_g9_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with CallbackPeer() as elsewhere, CallbackPeer() as peer, client_of(peer) as client:
        for status in (301, 302, 307, 308):
            peer.script.append(web.Response(status=status, headers={"Location": elsewhere.url}))
            assert (await post(client)).status == status
        assert (len(peer.calls), len(elsewhere.calls)) == (4, 0)


async def test_g9_every_try_sends_the_whole_body() -> None:
    async with CallbackPeer(script=[500, 503]) as peer, client_of(peer) as client:
        assert [(await post(client)).status for _ in range(3)] == [500, 503, 200]
        assert [call.body for call in peer.calls] == [BODY, BODY, BODY]


async def test_the_text_of_an_answer_is_cleaned_and_masked() -> None:
    said = "no\r\nmailbox ann@example.org\x1b[31m è"
    async with CallbackPeer(script=[web.Response(status=422, text=said)]) as peer, client_of(peer) as client:
        assert (await post(client)).text == "no mailbox ***@example.org [31m è"


async def test_retry_after_is_read() -> None:
    asked = web.Response(status=503, headers={"Retry-After": "120"})
    async with CallbackPeer(script=[asked]) as peer, client_of(peer) as client:
        assert (await post(client)).retry_after == 120.0


async def test_connections_are_kept() -> None:
    async with CallbackPeer() as peer, client_of(peer) as client:
        for _ in range(3):
            await post(client)
        assert len({call.port for call in peer.calls}) == 1


async def test_no_more_connections_than_allowed() -> None:
    async with CallbackPeer() as peer, client_of(peer, connections=2) as client:
        await asyncio.gather(*[post(client) for _ in range(20)])
        assert len(peer.calls) == 20
        assert len({call.port for call in peer.calls}) <= 2


async def test_a_5_gb_body_is_read_no_further_than_its_limit() -> None:
    async with CallbackPeer(script=[endless]) as peer, client_of(peer) as client:
        answer = await post(client)
        assert answer.status == 200
        assert answer.text == "x" * 1000
        await post(client)
        assert len({call.port for call in peer.calls}) == 2  # the endless one was given up


async def test_a_body_of_exactly_the_limit_keeps_its_connection() -> None:
    full = web.Response(body=b"x" * BODY_LIMIT)
    async with CallbackPeer(script=[full]) as peer, client_of(peer) as client:
        await post(client)
        await post(client)
        assert len({call.port for call in peer.calls}) == 1


async def test_g5_a_server_that_never_answers_ends_in_time() -> None:
    async with CallbackPeer(script=[hang]) as peer, client_of(peer, timeout=0.1) as client:
        with pytest.raises(CallbackUnavailable, match=r"callback: no answer within 0\.1 s"):
            await post(client)


async def test_a_status_counts_though_its_body_stalls() -> None:
    async with CallbackPeer(script=[stalling]) as peer, client_of(peer, timeout=0.3) as client:
        assert await post(client) == Answer(200, None, "begun")


async def test_a_slow_loris_ends_in_time() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: x")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        client = WebhookClient(CallbackSettings(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout=0.2))
        with pytest.raises(CallbackUnavailable, match="no answer within"):
            await post(client)
        await client.close()


@pytest.mark.parametrize("junk", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"])
async def test_junk_is_no_answer(junk: bytes) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(BODY)
        writer.write(junk)
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?token=canary"
        client = WebhookClient(CallbackSettings(url))
        with pytest.raises(CallbackUnavailable, match="answer not understood") as caught:
            await post(client)
        await client.close()
    assert "canary" not in str(caught.value)


async def test_a_connection_cut_without_an_answer() -> None:
    async with CallbackPeer(script=[reset]) as peer, client_of(peer) as client:
        with pytest.raises(CallbackUnavailable, match="callback: connection closed without an answer"):
            await post(client)
        assert (await post(client)).status == 200


async def test_nobody_listens() -> None:
    async with CallbackPeer() as peer, client_of(peer) as client:
        await peer.stop()
        with pytest.raises(CallbackUnavailable, match="callback: Connection refused"):
            await post(client)


async def test_a_name_that_does_not_resolve() -> None:
    async with CallbackPeer() as peer, client_of(peer, url="http://callback.invalid/") as client:
        with pytest.raises(CallbackUnavailable, match="name not resolved"):
            await post(client)


async def test_a_name_that_leads_to_a_metadata_address_is_refused() -> None:
    # The C library takes this for 169.254.169.254, so the resolver answers it without asking anybody.
    assert socket.getaddrinfo("0xA9FEA9FE", 80)[0][4][0] == "169.254.169.254"
    async with CallbackPeer() as peer, client_of(peer, url="http://0xA9FEA9FE/") as client:
        with pytest.raises(CallbackUnavailable, match="leads to a link-local or metadata address"):
            await post(client)


async def test_compressed_answers_stay_compressed() -> None:
    bomb = web.Response(body=gzip.compress(b"inflated " * 1_000_000), headers={"Content-Encoding": "gzip"})
    async with CallbackPeer(script=[bomb]) as peer, client_of(peer) as client:
        answer = await post(client)
        assert answer.status == 200
        assert "inflated" not in answer.text
        assert peer.calls[0].headers["Accept-Encoding"] == "identity"


async def test_cookies_are_not_kept() -> None:
    async with CallbackPeer(script=[web.Response(headers={"Set-Cookie": "a=b"})]) as peer:
        async with client_of(peer, url=peer.url.replace("127.0.0.1", "localhost")) as client:
            await post(client)
            await post(client)
        assert "Cookie" not in peer.calls[1].headers


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with CallbackPeer() as proxy, CallbackPeer() as peer, client_of(peer) as client:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await post(client)
        assert (len(peer.calls), len(proxy.calls)) == (1, 0)


async def test_tls_is_verified(certificates: Certificates) -> None:
    async with CallbackPeer(tls=certificates.server("127.0.0.1")) as peer:
        async with client_of(peer, ca_file=certificates.ca_file) as client:
            assert (await post(client)).status == 200
        async with client_of(peer) as client:
            with pytest.raises(CallbackUnavailable, match="certificate not accepted"):
                await post(client)
    async with CallbackPeer(tls=certificates.server("elsewhere.test")) as peer:
        async with client_of(peer, ca_file=certificates.ca_file) as client:
            with pytest.raises(CallbackUnavailable, match="certificate not accepted"):
                await post(client)
        assert not peer.calls


async def test_the_ca_file_counts_however_the_scheme_is_written(certificates: Certificates) -> None:
    async with CallbackPeer(tls=certificates.server("127.0.0.1")) as peer:
        shouted = CallbackSettings(peer.url.replace("https:", "HTTPS:"), ca_file=certificates.ca_file)
        client = WebhookClient(shouted)
        assert (await post(client)).status == 200
        await client.close()


async def test_a_ca_file_that_cannot_be_read(tmp_path: Path, certificates: Certificates) -> None:
    settings = {"ca_file": tmp_path / "none.pem"}
    async with CallbackPeer(tls=certificates.server("127.0.0.1")) as peer, client_of(peer, **settings) as client:
        with pytest.raises(CallbackUnavailable, match="No such file"):
            await post(client)


async def test_a_cancelled_post_leaves_nothing_for_the_next() -> None:
    late = asyncio.Event()

    async def answer_late(_: web.Request) -> web.StreamResponse:
        await late.wait()
        return web.Response(status=500)

    async with CallbackPeer(script=[answer_late]) as peer, client_of(peer, connections=1) as client:
        posting = asyncio.create_task(post(client))
        await peer.called()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        late.set()
        assert (await post(client)).status == 200
