"""TLS, certificates and AUTH at the relay; on real sockets."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from mailculator.errors import (
    RelayRefused,
    RelayUnavailable,
)
from mailculator.timing import Timing
from tests.support.certificates import Certificates
from tests.support.relays import (
    LARGE,
    PIPELINED,
    SHORT,
    full_session,
    relay_to,
    send,
    to,
)
from tests.support.smtp_peer import SmtpPeer

# TLS and AUTH.


async def test_starttls_verified(certificates: Certificates) -> None:
    async with full_session(certificates, Timing()) as (peer, relay):
        await send(relay)
        await send(relay)
        assert (len(peer.accepted), peer.sessions, peer.logins) == (2, 1, 1)
        assert peer.commands[:2] == [peer.commands[2], "STARTTLS"]  # EHLO again, inside TLS


async def test_g13_no_starttls_offered_means_no_mail_and_no_password() -> None:
    async with SmtpPeer(users={"we": "secret"}) as peer:
        async with relay_to(peer, tls="starttls", user="we", password="secret") as relay:
            with pytest.raises(RelayUnavailable, match="STARTTLS is required"):
                await send(relay)
        assert [command.split()[0] for command in peer.commands] == ["EHLO"]


async def test_g13_without_a_user_the_mail_does_not_go_in_clear_either() -> None:
    async with SmtpPeer() as peer, relay_to(peer, tls="starttls") as relay:
        with pytest.raises(RelayUnavailable):
            await send(relay)
        assert not peer.accepted


@pytest.mark.parametrize("implicit", [True, False])
async def test_g13_a_certificate_of_an_unknown_authority_is_refused(certificates: Certificates, implicit: bool) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1"), implicit=implicit) as peer:
        tls = "implicit" if implicit else "starttls"
        async with relay_to(peer, tls=tls) as relay:
            with pytest.raises(RelayUnavailable, match="certificate not accepted") as caught:
                await send(relay)
            assert caught.value.phase == "tls"
        async with relay_to(peer, tls=tls, allow_insecure_tls=True) as relay:
            await send(relay)
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("implicit", [True, False])
async def test_g13_a_certificate_for_another_name_is_refused(certificates: Certificates, implicit: bool) -> None:
    async with SmtpPeer(tls=certificates.server("elsewhere.test"), implicit=implicit) as peer:
        settings: dict[str, Any] = {"tls": "implicit" if implicit else "starttls", "ca_file": certificates.ca_file}
        async with relay_to(peer, **settings) as relay:
            with pytest.raises(RelayUnavailable, match="certificate not accepted"):
                await send(relay)
        assert not peer.accepted


async def test_the_certificate_must_bear_the_configured_name(certificates: Certificates) -> None:
    async with SmtpPeer(tls=certificates.server("relay.test")) as peer:
        settings: dict[str, Any] = {"host": "relay.test", "tls": "starttls", "ca_file": certificates.ca_file}
        async with relay_to(peer, arguments={"resolve": to("127.0.0.1")}, **settings) as relay:
            await send(relay)
        assert len(peer.accepted) == 1


async def test_implicit_tls(certificates: Certificates) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1"), implicit=True, users={"we": "secret"}) as peer:
        settings: dict[str, Any] = {
            "tls": "implicit",
            "ca_file": certificates.ca_file,
            "user": "we",
            "password": "secret",
        }
        async with relay_to(peer, **settings) as relay:
            await send(relay, LARGE)
        assert peer.accepted[0].content == LARGE


async def test_old_tls_is_refused(certificates: Certificates) -> None:
    context = certificates.server("127.0.0.1")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with SmtpPeer(tls=context) as peer:
        async with relay_to(peer, tls="starttls", ca_file=certificates.ca_file) as relay:
            with pytest.raises(RelayUnavailable) as caught:
                await send(relay)
        assert caught.value.phase == "tls"


async def test_plain_text_behind_the_answer_to_starttls_ends_the_connection(certificates: Certificates) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1")) as peer:
        peer.say("starttls", "250 injected")
        async with relay_to(peer, tls="starttls", ca_file=certificates.ca_file) as relay:
            with pytest.raises(RelayUnavailable):
                await send(relay)
        assert not peer.accepted


async def test_what_was_offered_in_clear_text_counts_no_more(certificates: Certificates) -> None:
    async def change() -> None:
        await peer.reached("starttls")
        peer.extensions = ()

    async with SmtpPeer(tls=certificates.server("127.0.0.1"), extensions=PIPELINED) as peer:
        changing = asyncio.create_task(change())
        async with relay_to(peer, tls="starttls", ca_file=certificates.ca_file) as relay:
            with pytest.raises(RelayRefused, match="8bitmime_unsupported"):
                await send(relay, b"Subject: x\r\n\r\n\xe9\r\n")
        await changing


async def test_a_hung_tls_handshake_ends_in_time() -> None:
    async with SmtpPeer() as peer:
        peer.hang("connect")
        async with relay_to(peer, SHORT, tls="implicit") as relay:
            with pytest.raises(RelayUnavailable, match="no answer in time"):
                await send(relay)


async def test_a_ca_file_that_cannot_be_read_is_the_relays_trouble(tmp_path: Path) -> None:
    async with SmtpPeer() as peer, relay_to(peer, tls="starttls", ca_file=tmp_path / "none.pem") as relay:
        with pytest.raises(RelayUnavailable, match="CA file"):
            await send(relay)


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN", "PLAIN LOGIN", "CRAM-MD5 LOGIN"])
async def test_auth_by_what_is_offered(mechanisms: str) -> None:
    async with SmtpPeer(users={"wé@x": 'p"a#$s%è'}, mechanisms=mechanisms) as peer:
        async with relay_to(peer, user="wé@x", password='p"a#$s%è') as relay:
            await send(relay)
        assert peer.logins == 1


async def test_auth_not_offered_sends_nothing() -> None:
    async with SmtpPeer() as peer, relay_to(peer, user="we", password="secret") as relay:
        with pytest.raises(RelayUnavailable, match="neither AUTH PLAIN nor AUTH LOGIN"):
            await send(relay)
        assert not peer.accepted


@pytest.mark.parametrize("mechanisms", ["PLAIN", "LOGIN"])
async def test_a_wrong_password_blames_no_mail_and_is_shown_nowhere(mechanisms: str) -> None:
    async with SmtpPeer(users={"we@example.com": "right"}, mechanisms=mechanisms) as peer:
        async with relay_to(peer, user="we@example.com", password="hunter2-canary") as relay:
            with pytest.raises(RelayUnavailable) as caught:
                await send(relay)
            assert "hunter2-canary" not in repr(relay._settings) + repr(caught.value) + str(caught.value)
        assert (caught.value.phase, caught.value.code) == ("auth", 535)
        assert caught.value.detail == "127.0.0.1: 5.7.8 bad credentials for ***@example.com"


async def test_auth_without_tls_only_to_loopback_or_by_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailculator.transport.smtp_opening.is_loopback", lambda _: False)
    async with SmtpPeer(users={"we": "secret"}) as peer:
        async with relay_to(peer, user="we", password="secret") as relay:
            with pytest.raises(RelayUnavailable, match="AUTH without TLS"):
                await send(relay)
        assert [command.split()[0] for command in peer.commands] == ["EHLO"]
        async with relay_to(peer, user="we", password="secret", allow_plaintext_auth=True) as relay:
            await send(relay)
        assert peer.logins == 1
