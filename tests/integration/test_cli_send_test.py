"""send-test against a relay: the conversation on the screen, and the password nowhere in it."""

from __future__ import annotations

import base64
import email
import email.policy
from typing import Any

import pytest

from tests.integration.cli_shell import type_in
from tests.support.certificates import Certificates
from tests.support.smtp_peer import SmtpPeer

USER, PASSWORD = "alice", "open sesame"
FORMS = (
    PASSWORD,
    base64.b64encode(PASSWORD.encode()).decode(),
    base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode(),
)


async def send_test(peer: SmtpPeer, *, to: str = "someone@example.com", **variables: Any) -> tuple[int, str, str]:
    settings: dict[str, Any] = {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": peer.port,
        "SMTP_FROM": "bounces@example.com",
        "MAILCULATOR_SMTP_TLS": "none",
    }
    return await type_in("send-test", to, variables={**settings, **variables})


def with_login(certificates: Certificates, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "MAILCULATOR_SMTP_TLS": "starttls",
        "MAILCULATOR_SMTP_CA_FILE": certificates.ca_file,
        "SMTP_USER": USER,
        "SMTP_PASS": password,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_the_conversation_is_printed_and_the_password_is_not(certificates: Certificates, mechanism: str) -> None:
    tls = certificates.server("127.0.0.1")
    async with SmtpPeer(tls=tls, users={USER: PASSWORD}, mechanisms=mechanism) as peer:
        code, out, err = await send_test(peer, to="Zoë <someone@example.com>", **with_login(certificates))

    assert code == 0, out + err
    assert err == "sent: 250 2.0.0 Ok: queued as 1\n"
    assert out.startswith(f"*: connected to 127.0.0.1 port {peer.port}\nS: 220 peer.test ESMTP\nC: EHLO ")
    for line in (
        "C: STARTTLS",
        "*: TLS established",
        f"C: AUTH {mechanism}",
        "S: 235 2.7.0 welcome",
        "C: MAIL FROM:<bounces@example.com>",
        "C: RCPT TO:<someone@example.com>",
        "S: 354 go",
        "S: 250 2.0.0 Ok: queued as 1",
        "C: QUIT",
    ):
        assert f"\n{line}" in out
    assert not [form for form in FORMS if form in out + err]
    assert peer.logins == 1
    [received] = peer.accepted
    mail = email.message_from_bytes(received.content, policy=email.policy.default)
    assert mail["To"] == "Zoë <someone@example.com>"
    assert "send-test" in mail.get_content()


async def test_a_password_that_the_relay_echoes_is_masked_too(certificates: Certificates) -> None:
    async with SmtpPeer(tls=certificates.server("127.0.0.1"), users={USER: PASSWORD}) as peer:
        peer.answer("auth", f"535 5.7.8 not {FORMS[0]} nor {FORMS[1]} nor {FORMS[2]}")
        code, out, err = await send_test(peer, **with_login(certificates))

    assert code == 1
    assert "S: 535 5.7.8 not *** nor *** nor ***" in out
    assert err.startswith("not sent: auth: 535 ")
    assert not [form for form in FORMS if form in out + err]
    assert peer.accepted == []


@pytest.mark.parametrize(
    ("phase", "reply"),
    [
        ("mail", "550 5.7.1 not from you"),
        ("rcpt", "550 5.1.1 no such user"),
        ("rcpt", "450 4.2.0 try later"),
        ("dot", "554 5.6.0 spam"),
    ],
)
async def test_a_refusal_is_exit_code_1_and_said_in_the_relays_words(phase: str, reply: str) -> None:
    async with SmtpPeer() as peer:
        peer.answer(phase, reply)  # type: ignore[arg-type]
        code, out, err = await send_test(peer)

    assert code == 1
    assert f"\nS: {reply}\n" in out
    assert err.startswith("not sent: ")
    assert reply[4:] in err
    assert peer.accepted == []


async def test_a_relay_that_is_away_is_exit_code_69() -> None:
    async with SmtpPeer() as peer:
        pass
    code, _, err = await send_test(peer)
    assert code == 69
    assert err.startswith("not sent: connect: ")
    assert len(err.splitlines()) == 1


async def test_what_the_relay_says_does_not_steer_the_terminal() -> None:
    async with SmtpPeer() as peer:
        peer.answer("rcpt", "550 5.1.1 \x1b]0;owned\x07 \x1b[31mno")
        code, out, err = await send_test(peer)
    assert code == 1
    assert "owned" in out
    assert not {"\x1b", "\x07"} & set(out + err)
