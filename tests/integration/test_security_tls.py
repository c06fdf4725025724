"""TLS to those that the relay's and MariaDB's own tests leave out: verified, and never older than 1.2."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mailculator.errors import CallbackUnavailable, StoreUnavailable
from mailculator.stores.dynamodb import client
from mailculator.stores.dynamodb.client import Endpoint
from mailculator.transport.webhook import CallbackSettings, WebhookClient
from tests.support.callback_peer import CallbackPeer
from tests.support.certificates import Certificates

REGION = "eu-west-1"


def old(context: ssl.SSLContext) -> ssl.SSLContext:
    """The server's context, as of 2006."""
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@asynccontextmanager
async def dynamodb(tls: ssl.SSLContext) -> AsyncIterator[tuple[str, CallbackPeer]]:
    """Something that answers at an address as DynamoDB's, and what it heard."""
    async with CallbackPeer(tls=tls, status=403) as peer:
        yield f"https://127.0.0.1:{peer.port}", peer


async def no_pause(_: float) -> None:
    return None


async def ask(url: str) -> None:
    endpoint = Endpoint("Outbox", REGION, url, "AKIA1", "hunter2-canary")
    async with asyncio.timeout(30):
        opened = await client.connect(endpoint, timeout=20.0, wait=no_pause)
    await opened.close()


@pytest.mark.parametrize(
    ("name", "trusted", "age"),
    [
        ("127.0.0.1", False, lambda context: context),
        ("elsewhere.test", True, lambda context: context),
        ("127.0.0.1", True, old),
    ],
    ids=["unknown authority", "another name", "TLS 1.1"],
)
async def test_dynamodb_is_asked_for_nothing_over_a_connection_that_is_not_verified(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    trusted: bool,
    age: Callable[[ssl.SSLContext], ssl.SSLContext],
) -> None:
    if trusted:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
    async with dynamodb(age(certificates.server(name))) as (url, peer):
        with pytest.raises(StoreUnavailable) as caught:
            await ask(url)
        assert peer.calls == []
    assert "hunter2-canary" not in str(caught.value)


async def test_dynamodb_is_asked_over_a_connection_that_is(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.ca_file))
    async with dynamodb(certificates.server("127.0.0.1")) as (url, peer):
        await ask(url)
        assert peer.calls[0].headers["X-Amz-Target"].endswith("DescribeTable")
        assert "hunter2-canary" not in str(peer.calls)


async def test_no_callback_is_made_over_old_tls(certificates: Certificates) -> None:
    async with CallbackPeer(tls=old(certificates.server("127.0.0.1"))) as peer:
        callback = WebhookClient(CallbackSettings(peer.url, ca_file=certificates.ca_file))
        with pytest.raises(CallbackUnavailable):
            await callback.post(b"{}", {})
        await callback.close()
        assert peer.calls == []
