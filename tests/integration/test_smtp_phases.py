"""The relay refuses, hangs, resets and drops at every phase of a session; on real sockets."""

from __future__ import annotations

import pytest

from mailculator.errors import (
    LeaseLapsed,
    RelayDeferred,
    RelayLost,
    RelayRefused,
    RelayUnavailable,
)
from mailculator.timing import Timing
from tests.support.certificates import Certificates
from tests.support.relays import (
    ENVELOPE,
    LARGE,
    MESSAGE,
    SHORT,
    always,
    fails_once,
    full_session,
    relay_to,
    send,
)
from tests.support.smtp_peer import Phase, SmtpPeer

# Every phase, refused, hung and cut.

BEFORE_RCPT: list[Phase] = ["greeting", "ehlo", "starttls", "auth", "mail"]
FROM_RCPT: list[Phase] = ["rcpt", "data", "dot"]
PHASE_NAMES = {"starttls": "tls", "dot": "body", "after_dot": "body", "connect": "greeting"}


@pytest.mark.parametrize("code", [421, 451, 454, 500, 530, 535, 550, 554])
@pytest.mark.parametrize("phase", BEFORE_RCPT)
async def test_g8_a_refusal_before_rcpt_blames_no_mail(phase: Phase, code: int, certificates: Certificates) -> None:
    async with full_session(certificates, Timing()) as (peer, relay):
        peer.answer(phase, f"{code} 4.7.0 not you")
        error = await fails_once(peer, relay)
        assert type(error) is RelayUnavailable
        assert (error.phase, error.code) == (PHASE_NAMES.get(phase, phase), code)
        assert error.detail == "127.0.0.1: 4.7.0 not you" or phase == "mail"
        assert len(peer.accepted) == 1


@pytest.mark.parametrize("phase", FROM_RCPT)
async def test_g8_a_transient_refusal_from_rcpt_on_is_deferred(phase: Phase, certificates: Certificates) -> None:
    for code in (421, 450, 451, 452, 454):
        async with full_session(certificates, Timing()) as (peer, relay):
            peer.answer(phase, f"{code} 4.2.0 later")
            error = await fails_once(peer, relay)
            assert type(error) is RelayDeferred
            assert (error.phase, error.code, error.detail) == (PHASE_NAMES.get(phase, phase), code, "4.2.0 later")
            assert peer.sessions == (2 if code == 421 else 1)


@pytest.mark.parametrize("phase", FROM_RCPT)
async def test_a_permanent_refusal_from_rcpt_on_is_about_the_mail(phase: Phase, certificates: Certificates) -> None:
    async with full_session(certificates, Timing()) as (peer, relay):
        peer.answer(phase, "550-5.1.1 no such user\r\n550 5.1.1 here")
        error = await fails_once(peer, relay)
        assert type(error) is RelayRefused
        assert (error.code, error.detail) == (550, "5.1.1 no such user 5.1.1 here")
        assert peer.sessions == 1


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
@pytest.mark.parametrize("phase", ["connect", *BEFORE_RCPT, "rcpt", "data"])
async def test_g5_a_relay_that_hangs_or_cuts_before_the_message_leaves_is_unavailable(
    phase: Phase, kind: str, certificates: Certificates
) -> None:
    async with full_session(certificates, SHORT) as (peer, relay):
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

    def before_dot() -> bool:
        dots.append("asked")
        return True

    async with SmtpPeer() as peer, relay_to(peer, SHORT) as relay:
        getattr(peer, kind)("body")
        with pytest.raises(RelayUnavailable) as caught:
            await relay.send(ENVELOPE, LARGE, before_data=always, before_dot=before_dot)
        assert type(caught.value) is RelayUnavailable
        assert caught.value.phase == "body"
        assert dots == []
        assert peer.accepted == []


async def test_a_lease_that_lapses_while_the_message_is_under_way_keeps_the_dot_here() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        with pytest.raises(LeaseLapsed):
            await relay.send(ENVELOPE, LARGE, before_data=always, before_dot=lambda: False)
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert [one.content for one in peer.accepted] == [MESSAGE]


async def test_a_relay_that_refuses_before_the_dot_gets_none() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("body", "552 5.3.4 too much", closes=False)
        error = await fails_once(peer, relay, LARGE)
        assert type(error) is RelayRefused
        assert error.code == 552
        assert len(peer.accepted) == 1
