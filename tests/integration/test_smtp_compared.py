"""The same mails by aiosmtplib and by us, to the same peer: the same octets arrive."""

from __future__ import annotations

import random

import aiosmtplib
import pytest

from mailculator.transport.outgoing import PIECE
from tests.support.relays import ENVELOPE, LARGE, MESSAGE, PIPELINED, PLAIN, relay_to, send
from tests.support.smtp_peer import SmtpPeer


def edge(before: int, middle: bytes) -> bytes:
    """A message with `middle` so many octets before the first piece ends."""
    full, rest = divmod(PIECE - before, 72)
    return (b"x" * 70 + b"\r\n") * (full - 1) + b"x" * (70 + rest) + b"\r\n" + middle + b"\r\nrest\r\n"


def mixed(seed: int) -> bytes:
    chance = random.Random(seed)
    lines = (b"." * chance.randrange(3) + b"x" * chance.randrange(90) for _ in range(4000))
    return b"\r\n".join(lines) + b"\r\n"


MAILS = {
    "plain": MESSAGE,
    "dots": b".\r\n..\r\n...\r\n.x\r\n\r\n.\r\n",
    "no last line end": b"Subject: x\r\n\r\nend",
    "only a dot": b".",
    "one line end": b"\r\n",
    "large": LARGE,
    "8-bit": "Subject: x\r\n\r\nperché\r\n".encode(),
    "a piece and nothing more": b"x" * 998 + b"\r\n" + (b"y" * 70 + b"\r\n") * ((PIECE - 1000) // 72),
    **{f"dot line {before} before the edge": edge(before, b".") for before in range(5)},
    **{f"dots {before} before the edge": edge(before, b"..\r\n.\r\n.") for before in range(9)},
    **{f"mixed {seed}": mixed(seed) for seed in range(3)},
}


@pytest.mark.parametrize("extensions", [PLAIN, PIPELINED], ids=["in-turn", "at-once"])
@pytest.mark.parametrize("name", MAILS)
async def test_the_same_octets_arrive(name: str, extensions: tuple[str, ...]) -> None:
    message = MAILS[name]
    async with SmtpPeer(extensions=extensions) as peer, relay_to(peer) as relay:
        await send(relay, message)
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=peer.port, start_tls=False) as client:
            options = [] if message.isascii() else ["BODY=8BITMIME"]
            await client.sendmail(ENVELOPE.sender, [ENVELOPE.recipient], message, mail_options=options)
        ours, theirs = peer.accepted
        assert ours.octets == theirs.octets
        assert (ours.content, ours.envelope) == (theirs.content, theirs.envelope)
        assert ours.content == (message if message.endswith(b"\r\n") else message + b"\r\n")
