"""The sink keeps each mail as it came, refuses one domain and puts another off once."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailculator.demo.sink import GREYLISTED_DOMAIN, REFUSED_DOMAIN, Sink

MAIL = b"Subject: =?utf-8?q?=C3=A8?=\r\n\r\n.one dot\r\n..two\r\n"


@pytest.fixture
async def sink(tmp_path: Path) -> AsyncIterator[Sink]:
    running = Sink(tmp_path)
    await running.start()
    yield running
    await running.stop()


async def send(sink: Sink, recipient: str) -> int:
    """The reply's code to one mail."""
    return await asyncio.to_thread(_send, sink.port, recipient)


def _send(port: int, recipient: str) -> int:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as client:
        try:
            client.sendmail("a@example.com", [recipient], MAIL)
        except smtplib.SMTPRecipientsRefused as error:
            [(code, _)] = error.recipients.values()
            return code
    return 250


async def test_each_mail_is_a_file_with_the_octets_as_they_came(sink: Sink, tmp_path: Path) -> None:
    assert [await send(sink, "b@example.com") for _ in range(2)] == [250, 250]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00001.eml", "00002.eml"]
    assert (tmp_path / "00001.eml").read_bytes() == MAIL
    assert sink.count == 2


async def test_who_is_refused_and_who_is_put_off_once(sink: Sink) -> None:
    assert await send(sink, f"b@{REFUSED_DOMAIN}") == 550
    assert await send(sink, f"b@{GREYLISTED_DOMAIN}") == 451
    assert await send(sink, f"b@{GREYLISTED_DOMAIN}") == 250
    assert await send(sink, f"c@{GREYLISTED_DOMAIN}") == 451
    assert sink.count == 1
