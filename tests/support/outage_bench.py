"""What tests of outages, killed processes and stops share: the scene with its peers, and ways to watch it.

The service runs as a process; what it depends on listens in the test, where it can be taken away and given back.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from mailculator.clock import SystemClock
from mailculator.lifecycle import TERMINAL
from mailculator.model import Status
from tests.support import invariants
from tests.support.counting_sink import Accepted, CountingCallback
from tests.support.invariants import Books, Standing
from tests.support.producer import Producer, write_many
from tests.support.service import ServiceProcess
from tests.support.smtp_peer import SmtpPeer

T = TypeVar("T")

RETURN_LIMIT = 30.0
"""Seconds from a dependency's return until everything has ended: what is promised."""

PATIENCE = 120.0
"""Seconds that a scenario may take in all; only a test that fails comes near it."""

_POLL = 0.05
_MESSAGE_ID = re.compile(rb"^Message-ID: <([^@>\r\n]+)@", re.MULTILINE)
_HEADER_ID = re.compile(rb"^X-Mailculator-Id: ([^\r\n]+)", re.MULTILINE)


async def until(look: Callable[[], Awaitable[T]], what: str, seconds: float = 60.0) -> T:
    """Look again and again until what comes back is true, for what sends no signal: a database, a health port.

    AssertionError after so many seconds.
    """
    clock, never = SystemClock(), asyncio.Event()
    deadline = clock.now() + seconds
    while not (seen := await look()):
        assert clock.now() < deadline, f"not within {seconds:g} s: {what}; last seen: {seen!r}"
        await clock.wait(never, _POLL)
    return seen


@dataclass
class Scene:
    """A queue, what the service needs beside it, and everything that was put there.

    Arguments:
        variables: lead the service to the queue.
        producer: its own session on the same queue.
        folder: of the payload files.
    """

    variables: dict[str, object]
    producer: Producer
    relay: SmtpPeer
    callback: CountingCallback
    folder: Path
    expected: set[str] = field(default_factory=set)

    def settings(self, **changes: object) -> dict[str, object]:
        """The service's environment."""
        return {
            **self.variables,
            "SMTP_HOST": self.relay.host,
            "SMTP_PORT": self.relay.port,
            "SMTP_FROM": "bounce@mta.example",
            "MAILCULATOR_SMTP_TLS": "none",
            "PIPELINE_CALLBACK_URL": self.callback.url,
            "PIPELINE_INTERVAL": "0.2",
            "MAILCULATOR_LOG_LEVEL": "debug",
            **changes,
        }

    def of_replica(self, name: str, *, scale: float, connections: int, **changes: object) -> dict[str, object]:
        """The environment of one of several replicas, with shortened delays."""
        return self.settings(
            MAILCULATOR_REPLICA=name,
            MAILCULATOR_TIME_SCALE=scale,
            MAILCULATOR_SMTP_CONNECTIONS=connections,
            MAILCULATOR_CALLBACK_CONNECTIONS=connections,
            **changes,
        )

    async def put(self, count: int) -> list[str]:
        """That many emails more, by the producers' own statements."""
        emails = await asyncio.to_thread(write_many, self.folder, count)
        await asyncio.to_thread(self.producer.put_many, emails.items())
        self.expected |= emails.keys()
        return list(emails)

    async def query(self, sql: str) -> list[tuple[Any, ...]]:
        return list(await asyncio.to_thread(self.producer.run, sql))

    async def counts(self) -> Counter[Status]:
        """Emails per status."""
        rows = await self.query("SELECT status, COUNT(*) FROM emails GROUP BY status")
        return Counter({Status(status): count for status, count in rows})

    async def standings(self) -> list[Standing]:
        return await asyncio.to_thread(invariants.read, self.producer.run)

    async def moves_into(self, *statuses: Status) -> int:
        """History rows of ours that lead into these statuses."""
        names = ", ".join(f"'{status}'" for status in statuses)
        sql = f"SELECT COUNT(*) FROM email_status_history WHERE version IS NOT NULL AND status IN ({names})"
        return int((await self.query(sql))[0][0])

    async def standing_in(self, status: Status, least: int) -> None:
        """Until at least so many emails stand there."""

        async def enough() -> bool:
            return (await self.counts())[status] >= least

        await until(enough, f"{least} emails in {status}")

    async def empty(self, *statuses: Status) -> None:
        """Until no email stands in any of these."""

        async def none() -> bool:
            counts = await self.counts()
            return not any(counts[status] for status in statuses)

        await until(none, f"nothing in {', '.join(statuses)}")

    async def finished(self, seconds: float = RETURN_LIMIT) -> None:
        """Until every email that was put has ended, within so many seconds."""

        async def ended() -> bool:
            counts = await self.counts()
            return sum(counts[status] for status in TERMINAL) == len(self.expected)

        try:
            await until(ended, "everything has ended", seconds)
        except AssertionError as error:
            error.add_note(str(await self.counts()))
            error.add_note(str([email for email in await self.standings() if email.status not in TERMINAL][:3]))
            raise

    async def check(self) -> list[Standing]:
        """Every invariant; returns the emails as they stand."""
        emails = await self.standings()
        wrong = invariants.violations(
            Books(
                expected=frozenset(self.expected),
                emails=emails,
                accepted=accepted(self.relay),
                answers=self.callback.answers,
                undisturbed=False,
            )
        )
        assert not wrong, f"{len(wrong)} violations, first: {wrong[:10]}"
        return emails

    def acknowledged(self, kind: str) -> set[str]:
        """Ids whose callback of that kind, `sent` or `failed`, was answered 2xx."""
        return {one.email_id for one in self.callback.answers if one.kind == kind and 200 <= one.status < 300}

    def reasons(self) -> dict[str, str]:
        """What the last callback about each email said."""
        bodies = [json.loads(call.body) for call in self.callback.calls]
        return {email_id: str(body["reason"]) for body in bodies for email_id in body["message_ids"]}


def accepted(relay: SmtpPeer) -> list[Accepted]:
    """What the relay has, as the invariants read it."""
    return [
        Accepted(_found(_MESSAGE_ID, mail.content), _found(_HEADER_ID, mail.content), "", *mail.envelope, "")
        for mail in relay.accepted
    ]


def _found(pattern: re.Pattern[bytes], content: bytes) -> str:
    found = pattern.search(content.partition(b"\r\n\r\n")[0])
    return found[1].decode() if found else ""


class Probes:
    """The health port, asked again and again while `watching`; `codes` has every status that /health ever gave."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self.codes: set[int] = set()
        self._session = session
        self._port = port

    async def get(self, path: str) -> tuple[int, dict[str, Any]]:
        async with self._session.get(f"http://127.0.0.1:{self._port}{path}") as response:
            return response.status, await response.json()

    async def health(self) -> dict[str, Any]:
        status, body = await self.get("/health")
        self.codes.add(status)
        return body

    async def concerns(self) -> dict[str, str]:
        """What /health is worried about, warnings about settings aside: the check's name and status."""
        checks = (await self.health())["checks"]
        found = {name: str(check["status"]) for name, check in checks.items() if check["status"] != "pass"}
        return {name: status for name, status in found.items() if not name.startswith("setting:")}

    async def worried(self, check: str) -> None:
        """Until /health warns of exactly this, with 200."""

        async def so() -> bool:
            return await self.concerns() == {check: "warn"}

        await until(so, f"/health warns of {check} alone")

    async def content(self) -> None:
        """Until /health has no worry left and /readyz says yes."""

        async def so() -> bool:
            return not await self.concerns() and (await self.get("/readyz"))[0] == 200

        await until(so, "/health passes and /readyz says yes")

    async def unready(self, reason: str) -> None:
        """Until /readyz says 503 and why."""

        async def so() -> bool:
            status, body = await self.get("/readyz")
            return status == 503 and any(reason in one for one in body["reasons"])

        await until(so, f"/readyz says 503: {reason}")

    async def outlasts(self, seconds: float) -> None:
        """Until the service has been up for so many seconds more."""
        begun = (await self.health())["uptime_s"]

        async def so() -> bool:
            return bool((await self.health())["uptime_s"] >= begun + seconds)

        await until(so, f"{seconds:g} s of uptime more", seconds + 30.0)

    async def watch(self) -> None:
        clock, never = SystemClock(), asyncio.Event()
        while True:
            await self.health()
            await clock.wait(never, _POLL)


@asynccontextmanager
async def probing(service: ServiceProcess) -> AsyncIterator[Probes]:
    """Ask /health all the time; at the end it must have said 200 always: restarting us would cure nothing."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE):
        probes = Probes(session, service.port)
        watcher = asyncio.create_task(probes.watch())
        try:
            yield probes
        except BaseException as error:
            grave = [line for line in service.lines if line["level"] in ("error", "critical")]
            error.add_note(f"the service's gravest lines: {grave[:3]}")
            raise
        finally:
            watcher.cancel()
            (failure,) = await asyncio.gather(watcher, return_exceptions=True)
        assert isinstance(failure, asyncio.CancelledError), failure
        assert probes.codes == {200}
        assert service.process.returncode is None
