"""A relay that is 20 ms away: the service's relay client beside aiosmtplib, with as many connections kept by each.

    python -m benchmarks.remote_relay            measures, and writes the figures into docs/performance.md
    python -m benchmarks.remote_relay --check    measures, and fails when the ratio is under a third of its target

In turn, each round with a new smtp-sink behind a new proxy (benchmarks/far_proxy.py). Connections are made before the
time runs. What counts is the wire: nothing is claimed, marked or recorded, and both hand over the same octets. Ours
asks before the dot and waits for the answer, as the service does; it saves round trips by PIPELINING (RFC 2920), which
aiosmtplib does not use.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiosmtplib

from benchmarks import report
from benchmarks.mail_parts import PATIENCE, SENDER, peers
from benchmarks.report import ROOT
from mailculator.timing import Timing
from mailculator.transport.base import Envelope
from mailculator.transport.relay_settings import RelaySettings
from mailculator.transport.smtp import SmtpRelay

MARK = "remote-relay"
OURS, THEIRS = "mailculator", "aiosmtplib"
AWAY = 0.02
"""Seconds of a round trip."""
CONNECTIONS = 20
MAILS = 2000
WARM = 5
"""Mails over each connection before the time runs."""
ROUNDS = 5
TARGET = 1.8
"""Times aiosmtplib's mails a second, at least."""
TOLERANCE = 3.0
RECIPIENT = "customer@example.org"

Send = Callable[[bytes], Awaitable[object]]
Client = Callable[[int, Sequence[bytes]], Awaitable[float]]
"""Hands all mails to the relay at a port; returns how many a second, the first ones over each connection left out."""


def message(number: int) -> bytes:
    """About 4 KB."""
    line = b"Gentile cliente, la fattura di questo mese e' pronta e puo' essere scaricata.\r\n"
    return b"Message-ID: <%d@example.com>\r\nSubject: %d\r\n\r\n%s" % (number, number, line * 50)


async def ours(port: int, mails: Sequence[bytes]) -> float:
    """Mails a second of the service's client."""

    async def yes() -> bool:
        return True

    async def noted(_code: int, _text: str) -> None:
        return None

    settings = RelaySettings(host="127.0.0.1", port=port, tls="none", connections=CONNECTIONS, helo="bench.example")
    relay = SmtpRelay(settings, Timing())

    async def send(mail: bytes) -> None:
        await relay.send(Envelope(SENDER, RECIPIENT), mail, before_data=lambda: True, before_dot=yes, after_reply=noted)

    try:
        await asyncio.gather(*(send(mail) for mail in mails[: CONNECTIONS * WARM]))
        return await _rate(send, mails)
    finally:
        await relay.close()


async def theirs(port: int, mails: Sequence[bytes]) -> float:
    """Mails a second of aiosmtplib, by a pool of clients that stay connected."""
    clients = [
        aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False, local_hostname="bench.example")
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(client.connect() for client in clients))
    idle: asyncio.Queue[aiosmtplib.SMTP] = asyncio.Queue()
    for client in clients:
        idle.put_nowait(client)

    async def send(mail: bytes) -> None:
        client = await idle.get()
        await client.sendmail(SENDER, [RECIPIENT], mail)
        idle.put_nowait(client)

    await asyncio.gather(*(send(mail) for mail in mails[: CONNECTIONS * WARM]))
    rate = await _rate(send, mails)
    await asyncio.gather(*(client.quit() for client in clients))
    return rate


async def _rate(send: Send, mails: Sequence[bytes]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = iter(mails)

    async def work() -> None:
        for mail in waiting:
            await send(mail)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return len(mails) / (loop.time() - began)


@asynccontextmanager
async def far_away(port: int, away: float) -> AsyncIterator[int]:
    """A proxy before a relay; its port."""
    proxy = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.far_proxy", str(port), str(away / 2), stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert proxy.stdout is not None
        yield int(await proxy.stdout.readline())
    finally:
        proxy.kill()
        await proxy.wait()


async def measure(client: Client, mails: Sequence[bytes], away: float) -> float:
    """One round. Returns mails a second. SystemExit when the sink took fewer or more."""
    with tempfile.TemporaryDirectory(prefix="far-") as name:
        async with peers(Path(name)) as around:
            async with far_away(around.sink_port, away) as port:
                rate = await client(port, mails)
            due = len(mails) + CONNECTIONS * WARM
            async with asyncio.timeout(PATIENCE):
                while around.taken() != due:  # noqa: ASYNC110  # it counts when a session ends, and tells nobody
                    await asyncio.sleep(0.01)
    return rate


async def run(rounds: int, count: int, away: float) -> dict[str, list[float]]:
    """Both in turn."""
    mails = [message(number) for number in range(count)]
    rates: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for number in range(1, rounds + 1):
        for name, client in ((OURS, ours), (THEIRS, theirs)):
            rates[name].append(await measure(client, mails, away))
            print(f"{name}, round {number}: {rates[name][-1]:,.0f} mails/s", flush=True)
    return rates


def ratio(rates: Mapping[str, Sequence[float]]) -> float:
    """Of each round to the other's of the same turn; the median."""
    return statistics.median(mine / its for mine, its in zip(rates[OURS], rates[THEIRS], strict=True))


def failures(rates: Mapping[str, Sequence[float]]) -> list[str]:
    """What is over three times off its target."""
    found = ratio(rates)
    return [f"{found:.2f} of aiosmtplib is less than a third of {TARGET:g}"] if found * TOLERANCE < TARGET else []


def table(rates: Mapping[str, Sequence[float]]) -> str:
    lines = ["| | mails/s | from … to | ratio | target |", "|---|---:|---:|---:|---:|"]
    for name, found in rates.items():
        last = f"{ratio(rates):.2f} | at least {TARGET:g}" if name == OURS else " | "
        lines.append(f"| {name} | {statistics.median(found):,.0f} | {min(found):,.0f} … {max(found):,.0f} | {last} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each (default: {ROUNDS})")
    parser.add_argument("--mails", type=int, default=MAILS, help=f"in a round (default: {MAILS:,})")
    parser.add_argument("--check", action="store_true", help="write nothing; fail at three times off the target")
    options = parser.parse_args()
    where = report.machine(f"{options.rounds} rounds of {options.mails:,} mails each, in turn")
    rates = asyncio.run(run(options.rounds, options.mails, AWAY))
    setup = f"{CONNECTIONS} connections each, {AWAY * 1000:g} ms of round trip, mails of 4 KB, no TLS, smtp-sink."
    text = f"{where} {setup}\n\n{table(rates)}"
    return report.conclude(MARK, text, failures(rates), check=options.check)


if __name__ == "__main__":
    sys.exit(main())
