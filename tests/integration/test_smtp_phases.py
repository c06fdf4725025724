"""The relay refuses, hangs, resets and drops at every phase of a session; on real sockets."""

from __future__ import annotations

import asyncio

import pytest

from mailculator.errors import (
    LeaseLapsed,
    RelayDeferred,
    RelayLost,
    RelayRefused,
    RelayUnavailable,
    TransportError,
)
from mailculator.timing import Timing
from tests.support.certificates import Certificates
from tests.support.relays import (
    ENVELOPE,
    LARGE,
    MESSAGE,
    PIPELINED,
    PLAIN,
    SHORT,
    always,
    fails_once,
    full_session,
    no,
    relay_to,
    send,
    unheard,
)
from tests.support.smtp_peer import Phase, SmtpPeer


@pytest.fixture(params=[PLAIN, PIPELINED], ids=["in-turn", "at-once"])
def extensions(request: pytest.FixtureRequest) -> tuple[str, ...]:
    offered: tuple[str, ...] = request.param
    return offered


# Every phase, refused, hung and cut.

BEFORE_RCPT: list[Phase] = ["greeting", "ehlo", "starttls", "auth", "mail"]
FROM_RCPT: list[Phase] = ["rcpt", "data", "dot"]
PHASE_NAMES = {"starttls": "tls", "dot": "body", "after_dot": "body", "connect": "greeting"}


@pytest.mark.parametrize("code", [421, 451, 454, 500, 530, 535, 550, 554])
@pytest.mark.parametrize("phase", BEFORE_RCPT)
async def test_g8_a_refusal_before_rcpt_blames_no_mail(
    phase: Phase, code: int, certificates: Certificates, extensions: tuple[str, ...]
) -> None:
    async with full_session(certificates, Timing(), extensions) as (peer, relay):
        peer.answer(phase, f"{code} 4.7.0 not you")
        error = await fails_once(peer, relay)
        assert type(error) is RelayUnavailable
        assert (error.phase, error.code) == (PHASE_NAMES.get(phase, phase), code)
        assert error.detail == "127.0.0.1: 4.7.0 not you" or phase == "mail"
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("phase", FROM_RCPT)
async def test_g8_a_transient_refusal_from_rcpt_on_is_deferred(
    phase: Phase, certificates: Certificates, extensions: tuple[str, ...]
) -> None:
    for code in (421, 450, 451, 452, 454):
        async with full_session(certificates, Timing(), extensions) as (peer, relay):
            peer.answer(phase, f"{code} 4.2.0 later")
            error = await fails_once(peer, relay)
            assert type(error) is RelayDeferred
            assert (error.phase, error.code, error.detail) == (PHASE_NAMES.get(phase, phase), code, "4.2.0 later")
            assert peer.sessions == (2 if code == 421 else 1)


@pytest.mark.parametrize("phase", FROM_RCPT)
async def test_a_permanent_refusal_from_rcpt_on_is_about_the_mail(
    phase: Phase, certificates: Certificates, extensions: tuple[str, ...]
) -> None:
    async with full_session(certificates, Timing(), extensions) as (peer, relay):
        peer.answer(phase, "550-5.1.1 no such user\r\n550 5.1.1 here")
        error = await fails_once(peer, relay)
        assert type(error) is RelayRefused
        assert (error.code, error.detail) == (550, "5.1.1 no such user 5.1.1 here")
        assert peer.sessions == 1


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
@pytest.mark.parametrize("phase", ["connect", *BEFORE_RCPT, "rcpt", "data"])
async def test_g5_a_relay_that_hangs_or_cuts_before_the_message_leaves_is_unavailable(
    phase: Phase, kind: str, certificates: Certificates, extensions: tuple[str, ...]
) -> None:
    async with full_session(certificates, SHORT, extensions) as (peer, relay):
        getattr(peer, kind)(phase)
        error = await fails_once(peer, relay)
        assert type(error) is RelayUnavailable
        assert (error.phase, error.code) == (PHASE_NAMES.get(phase, phase), None)
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
@pytest.mark.parametrize("phase", ["dot", "after_dot"])
async def test_g5_a_relay_that_hangs_or_cuts_after_the_dot_leaves_the_outcome_unknown(phase: Phase, kind: str) -> None:
    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        getattr(peer, kind)(phase)
        error = await fails_once(peer, relay)
        assert type(error) is RelayLost
        assert error.phase == "body"


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
async def test_g5_a_relay_that_hangs_or_cuts_before_the_dot_cannot_have_taken_the_mail(kind: str) -> None:
    dots: list[str] = []

    async def before_dot() -> bool:
        dots.append("asked")
        return True

    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        getattr(peer, kind)("body")
        with pytest.raises(RelayUnavailable) as caught:
            await relay.send(ENVELOPE, LARGE, before_data=always, before_dot=before_dot, after_reply=unheard)
        assert type(caught.value) is RelayUnavailable
        assert caught.value.phase == "body"
        assert dots == []
        assert peer.accepted == []


async def test_a_lease_that_lapses_while_the_message_is_under_way_keeps_the_dot_here() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(LeaseLapsed):
            await relay.send(ENVELOPE, LARGE, before_data=always, before_dot=no, after_reply=unheard)
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert [one.content for one in peer.accepted] == [MESSAGE]


async def test_a_relay_that_refuses_before_the_dot_gets_none() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("body", "552 5.3.4 too much", closes=False)
        error = await fails_once(peer, relay, LARGE)
        assert type(error) is RelayRefused
        assert error.code == 552
        assert len(peer.accepted) == 1


# Time, and cancellation.


LIMITS: list[tuple[Phase, str]] = [
    ("connect", "smtp_command"),
    ("greeting", "smtp_command"),
    ("ehlo", "smtp_command"),
    ("starttls", "smtp_connect"),
    ("auth", "smtp_command"),
    ("mail", "smtp_command"),
    ("rcpt", "smtp_command"),
    ("data", "smtp_data"),
    ("body", "smtp_body"),
    ("dot", "smtp_dot"),
    ("after_dot", "smtp_dot"),
]


@pytest.mark.parametrize(("phase", "limit"), LIMITS)
async def test_each_phase_has_its_own_time(
    phase: Phase, limit: str, certificates: Certificates, extensions: tuple[str, ...]
) -> None:
    timing = Timing(**{limit: 0.25})  # type: ignore[arg-type]  # each of them is a number of seconds
    async with full_session(certificates, timing, extensions) as (peer, relay):
        peer.hang(phase)
        with pytest.raises(TransportError, match="no answer in time"):
            await send(relay, LARGE if phase == "body" else MESSAGE)
        if phase != "body":  # there the peer does not even read
            await peer.deserted()
        assert relay._idle == []


async def test_rset_may_take_as_long_as_a_connection(extensions: tuple[str, ...]) -> None:
    async with SmtpPeer(extensions=extensions) as peer, relay_to(peer, Timing(smtp_connect=0.25)) as relay:
        await send(relay)
        peer.hang("rset", times=1)
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


@pytest.mark.parametrize("phase", [phase for phase, _ in LIMITS if phase != "body"])
async def test_a_cancelled_send_closes_its_connection_whatever_the_phase(
    phase: Phase, certificates: Certificates, extensions: tuple[str, ...]
) -> None:
    async with full_session(certificates, Timing(), extensions) as (peer, relay):
        peer.hang(phase)
        sending = asyncio.create_task(send(relay))
        await peer.reached(phase)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await peer.deserted()
        assert relay._idle == []
        assert "QUIT" not in peer.commands


@pytest.mark.parametrize("phase", ["greeting", "ehlo", "starttls", "auth", "mail"])
async def test_a_refused_session_closes_its_connection(
    phase: Phase, certificates: Certificates, extensions: tuple[str, ...]
) -> None:
    async with full_session(certificates, Timing(), extensions) as (peer, relay):
        for said in ("554 5.7.0 not you", "what?"):
            peer.answer(phase, said)
            with pytest.raises(RelayUnavailable):
                await send(relay)
            await peer.deserted()
            assert relay._idle == []
