"""Addresses, reuse, leases, cancellation and the end of connections to the relay; on real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mailculator.errors import (
    LeaseLapsed,
    RelayRefused,
    RelayUnavailable,
)
from mailculator.timing import Timing
from mailculator.transport.base import Envelope
from mailculator.transport.smtp import MAILS_PER_CONNECTION
from tests.support.certificates import Certificates
from tests.support.relays import (
    ENVELOPE,
    LARGE,
    MESSAGE,
    PIPELINED,
    PLAIN,
    SHORT,
    Clock,
    always,
    relay_to,
    send,
    to,
    unheard,
    yes,
)
from tests.support.smtp_peer import Phase, SmtpPeer

# Several addresses.


async def test_every_address_is_tried_and_none_is_preferred() -> None:
    async with SmtpPeer() as one, SmtpPeer(host="127.0.0.2", port=one.port) as two:
        resolve = to("127.0.0.1", "127.0.0.2")
        async with relay_to(one, replace(Timing(), smtp_age=0.0), arguments={"resolve": resolve}) as relay:
            for _ in range(6):
                await send(relay)
        assert (len(one.accepted), len(two.accepted)) == (3, 3)


async def test_an_address_that_fails_is_tried_last_for_a_while() -> None:
    clock = Clock()
    async with SmtpPeer() as one, SmtpPeer(host="127.0.0.2", port=one.port) as two:
        arguments: dict[str, Any] = {"resolve": to("127.0.0.1", "127.0.0.2"), "clock": clock}
        async with relay_to(one, arguments=arguments) as relay:
            one.answer("greeting", "554 not today")
            for _ in range(4):
                await relay.ping()
            assert (one.sessions, two.sessions) == (1, 4)
            clock.now += 61
            one.behave()
            await relay.ping()
            await relay.ping()
            assert one.sessions == 2


async def test_one_address_refusing_connections_costs_no_mail() -> None:
    async with SmtpPeer() as peer:
        arguments: dict[str, Any] = {"resolve": to("127.0.0.2", "127.0.0.1")}
        async with relay_to(peer, arguments=arguments) as relay:
            await send(relay)
        assert len(peer.accepted) == 1


async def test_all_addresses_failing_names_each() -> None:
    async with SmtpPeer() as peer:
        peer.answer("greeting", "421 4.3.2 busy")
        arguments: dict[str, Any] = {"resolve": to("127.0.0.2", "127.0.0.1")}
        async with relay_to(peer, arguments=arguments) as relay:
            with pytest.raises(RelayUnavailable) as caught:
                await send(relay)
        assert caught.value.detail == "127.0.0.2: connect: Connection refused; 127.0.0.1: greeting: 421 4.3.2 busy"
        assert (caught.value.phase, caught.value.code) == ("greeting", 421)


async def test_a_wrong_password_is_not_tried_at_every_address() -> None:
    async with SmtpPeer(users={}) as one, SmtpPeer(host="127.0.0.2", port=one.port, users={}) as two:
        settings: dict[str, Any] = {"user": "we", "password": "wrong"}
        async with relay_to(one, arguments={"resolve": to("127.0.0.1", "127.0.0.2")}, **settings) as relay:
            with pytest.raises(RelayUnavailable):
                await send(relay)
        assert one.sessions + two.sessions == 1


async def test_a_name_that_does_not_resolve() -> None:
    async with SmtpPeer() as peer, relay_to(peer, host="relay.invalid") as relay:
        with pytest.raises(RelayUnavailable, match=r"connect: relay\.invalid: name not resolved"):
            await send(relay)


async def test_a_resolver_that_hangs_ends_in_time() -> None:
    async def hang(_: str, __: int) -> list[tuple[str, int]]:
        await asyncio.Event().wait()
        return []

    async with SmtpPeer() as peer, relay_to(peer, SHORT, arguments={"resolve": hang}) as relay:
        with pytest.raises(RelayUnavailable, match="no answer in time"):
            await send(relay)


async def test_the_real_resolver_finds_localhost() -> None:
    async with SmtpPeer() as peer, relay_to(peer, host="localhost") as relay:
        await send(relay)
        assert len(peer.accepted) == 1


# Reuse.


async def test_a_connection_is_reused_after_rset_up_to_its_cap() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        for _ in range(MAILS_PER_CONNECTION + 1):
            await send(relay)
        assert peer.sessions == 2
        assert peer.commands.count("RSET") == MAILS_PER_CONNECTION - 1
        await peer.reached("quit")


async def test_a_connection_is_not_reused_past_its_age() -> None:
    clock = Clock()
    async with SmtpPeer() as peer, relay_to(peer, arguments={"clock": clock}) as relay:
        await send(relay)
        clock.now += 59
        await send(relay)
        assert peer.sessions == 1
        clock.now += 2
        await send(relay)
        assert peer.sessions == 2


async def test_an_idle_connection_says_goodbye() -> None:
    async with SmtpPeer() as peer, relay_to(peer, replace(Timing(), smtp_idle=0.01)) as relay:
        await send(relay)
        await peer.reached("quit")
        await send(relay)
        assert peer.sessions == 2


async def test_no_more_connections_than_allowed() -> None:
    async with SmtpPeer() as peer, relay_to(peer, connections=3) as relay:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(30):
                tasks.create_task(send(relay))
        assert len(peer.accepted) == 30
        assert peer.sessions <= 3


async def test_many_at_once_each_get_their_own_reply() -> None:
    async with SmtpPeer() as peer, relay_to(peer, connections=8) as relay:
        async with asyncio.TaskGroup() as tasks:
            sends = {
                name: tasks.create_task(send(relay, MESSAGE, Envelope("b@example.com", f"{name}@example.org")))
                for name in map(str, range(200))
            }
        for name, task in sends.items():
            number = int(task.result().rpartition(" ")[2])
            assert peer.accepted[number - 1].recipient == f"{name}@example.org"


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["in-turn", "at-once"])
@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
@pytest.mark.parametrize("phase", ["rset", "mail"])
async def test_a_stale_connection_is_replaced_within_the_send(
    phase: Phase, kind: str, extensions: tuple[str, ...]
) -> None:
    async with SmtpPeer(extensions=extensions) as peer, relay_to(peer, SHORT) as relay:
        await send(relay)
        getattr(peer, kind)(phase, times=1)
        if (phase, kind) == ("mail", "hang"):
            # It had just answered RSET: this is a relay that hangs, not a connection that died.
            with pytest.raises(RelayUnavailable):
                await send(relay)
            return
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["in-turn", "at-once"])
@pytest.mark.parametrize("phase", ["rset", "mail"])
@pytest.mark.parametrize("closes", [True, False])
async def test_a_421_on_a_used_connection_means_a_new_one(
    phase: Phase, closes: bool, extensions: tuple[str, ...]
) -> None:
    async with SmtpPeer(extensions=extensions) as peer, relay_to(peer) as relay:
        await send(relay)
        peer.answer(phase, "421 4.4.2 idle too long", times=1, closes=closes)
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


async def test_a_failed_rset_is_no_failed_mail() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        peer.answer("rset", "502 5.5.1 no RSET here")
        await send(relay)
        assert (len(peer.accepted), peer.sessions) == (2, 2)


async def test_a_relay_gone_for_good_is_found_out_within_one_send() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        await peer.stop()
        with pytest.raises(RelayUnavailable, match="Connection refused"):
            await send(relay)


async def test_a_relay_that_comes_back_is_used_again() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        await peer.stop()
        with pytest.raises(RelayUnavailable):
            await send(relay)
        await peer.start()
        await send(relay)
        await peer.delivered(2)
        assert len(peer.accepted) == 2


async def test_an_unsolicited_421_between_two_mails_is_nobodys_reply() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.say("after_dot", "421 4.3.2 going down", times=1)
        assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


# The lease, cancellation, and the end.


async def test_a_lapsed_lease_keeps_the_message_here() -> None:
    asked: list[list[str]] = []
    async with SmtpPeer() as peer, relay_to(peer) as relay:

        def before_data() -> bool:
            asked.append([command.split()[0] for command in peer.commands])
            return False

        with pytest.raises(LeaseLapsed):
            await relay.send(ENVELOPE, MESSAGE, before_data=before_data, before_dot=yes, after_reply=unheard)
        assert asked == [["EHLO", "MAIL", "RCPT"]]
        assert await send(relay, b"Subject: other\r\n\r\n") == "250 2.0.0 Ok: queued as 1"
        assert [one.content for one in peer.accepted] == [b"Subject: other\r\n\r\n"]
        assert peer.commands.count("DATA") == 1


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["in-turn", "at-once"])
@pytest.mark.parametrize("phase", ["greeting", "ehlo", "mail", "rcpt", "data", "body", "dot", "after_dot"])
async def test_a_cancelled_send_leaves_no_reply_for_the_next_mail(phase: Phase, extensions: tuple[str, ...]) -> None:
    message = LARGE if phase == "body" else MESSAGE
    async with SmtpPeer(extensions=extensions) as peer, relay_to(peer, connections=1) as relay:
        peer.hang(phase)
        sending = asyncio.create_task(send(relay, message))
        await peer.reached(phase)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        peer.behave()
        before = len(peer.accepted)
        assert await send(relay) == f"250 2.0.0 Ok: queued as {before + 1}"
        assert peer.sessions == 2
        assert "QUIT" not in peer.commands


async def test_a_send_given_up_by_its_caller_is_not_reused() -> None:
    async with SmtpPeer() as peer, relay_to(peer, connections=1) as relay:
        await send(relay)
        peer.hang("dot", times=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await relay.send(ENVELOPE, MESSAGE, before_data=always, before_dot=yes, after_reply=unheard)
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"
        assert peer.sessions == 2


@pytest.mark.parametrize("kind", ["hang", "reset", "drop"])
async def test_g4_a_failing_quit_changes_no_outcome(kind: str) -> None:
    async with SmtpPeer() as peer:
        getattr(peer, kind)("quit")
        async with relay_to(peer, SHORT) as relay:
            assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        assert len(peer.accepted) == 1


async def test_g4_a_refused_quit_changes_no_outcome() -> None:
    async with SmtpPeer() as peer:
        peer.answer("quit", "500 5.5.1 stay")
        async with relay_to(peer) as relay:
            assert await send(relay) == "250 2.0.0 Ok: queued as 1"
        await peer.reached("quit")


async def test_g4_a_connection_cut_right_after_the_250_changes_no_outcome() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        peer.answer("after_dot", "250 2.0.0 taken", closes=True, times=1)
        assert await send(relay) == "250 2.0.0 taken"
        assert await send(relay) == "250 2.0.0 Ok: queued as 2"


async def test_a_closed_relay_sends_no_more() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        await send(relay)
        await relay.close()
        with pytest.raises(RelayUnavailable, match="closed"):
            await send(relay)
        assert peer.commands[-1] == "QUIT"


async def test_a_send_under_way_outlives_close() -> None:
    async with SmtpPeer() as peer, relay_to(peer) as relay:
        closing: list[asyncio.Task[None]] = []

        def before_data() -> bool:
            closing.append(asyncio.create_task(relay.close()))
            return True

        assert (
            await relay.send(ENVELOPE, MESSAGE, before_data=before_data, before_dot=yes, after_reply=unheard)
            == "250 2.0.0 Ok: queued as 1"
        )
        await asyncio.gather(*closing)
        await peer.reached("quit")


async def test_g3_failures_and_successes_at_once_are_not_mixed_up() -> None:
    async with SmtpPeer() as good, SmtpPeer() as bad, relay_to(good) as to_good, relay_to(bad) as to_bad:
        bad.answer("rcpt", "550 5.1.1 no")
        tasks = [asyncio.create_task(send(relay)) for _ in range(20) for relay in (to_good, to_bad)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, str) for result in results[::2])
        assert all(isinstance(result, RelayRefused) for result in results[1::2])
        assert (len(good.accepted), len(bad.accepted)) == (20, 0)


async def test_the_trace_shows_the_conversation_without_secrets(certificates: Certificates) -> None:
    lines: list[tuple[str, str]] = []
    async with SmtpPeer(tls=certificates.server("127.0.0.1"), users={"we": "secret"}, mechanisms="LOGIN") as peer:
        settings: dict[str, Any] = {
            "tls": "starttls",
            "ca_file": certificates.ca_file,
            "user": "we",
            "password": "secret",
        }
        arguments: dict[str, Any] = {"trace": lambda who, line: lines.append((who, line))}
        async with relay_to(peer, arguments=arguments, helo="client.test", **settings) as relay:
            await send(relay)
    assert lines == [
        ("*", f"connected to 127.0.0.1 port {peer.port}"),
        ("S", "220 peer.test ESMTP"),
        ("C", "EHLO client.test"),
        ("S", "250-peer.test"),
        ("S", "250-8BITMIME"),
        ("S", "250-SMTPUTF8"),
        ("S", "250-SIZE 50000000"),
        ("S", "250-STARTTLS"),
        ("S", "250 AUTH LOGIN"),
        ("C", "STARTTLS"),
        ("S", "220 2.0.0 go ahead"),
        ("*", "TLS established"),
        ("C", "EHLO client.test"),
        ("S", "250-peer.test"),
        ("S", "250-8BITMIME"),
        ("S", "250-SMTPUTF8"),
        ("S", "250-SIZE 50000000"),
        ("S", "250 AUTH LOGIN"),
        ("C", "AUTH LOGIN"),
        ("S", "334 VXNlcm5hbWU6"),
        ("C", "***"),
        ("S", "334 UGFzc3dvcmQ6"),
        ("C", "***"),
        ("S", "235 2.7.0 welcome"),
        ("C", f"MAIL FROM:<bounce@example.com> SIZE={len(MESSAGE)}"),
        ("S", "250 2.1.0 ok"),
        ("C", "RCPT TO:<ann@example.org>"),
        ("S", "250 2.1.5 ok"),
        ("C", "DATA"),
        ("S", "354 go"),
        ("C", f"(message, {len(MESSAGE) + 3} octets with its final dot)"),
        ("S", "250 2.0.0 Ok: queued as 1"),
        ("C", "QUIT"),
        ("S", "221 2.0.0 bye"),
    ]
