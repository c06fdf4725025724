"""What scenarios against the running process share: a queue to put mail on, settings, a way to wait for the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from mailculator.clock import SystemClock
from mailculator.config import Settings
from mailculator.lifecycle import TERMINAL
from mailculator.stores import registry
from tests.support import invariants
from tests.support.callback_peer import CallbackPeer
from tests.support.invariants import Books, Standing
from tests.support.producer import Producer, Rows
from tests.support.service import Line, ServiceProcess

Variables = dict[str, object]

SENDER = "bounce@mta.example"
"""SMTP_FROM."""
DOMAIN = "mta.example"
"""Right side of the Message-ID."""

_ENDED = ", ".join(f"'{status}'" for status in sorted(TERMINAL))
UNFINISHED = f"SELECT COUNT(*) FROM emails WHERE status NOT IN ({_ENDED})"


@dataclass
class Queue:
    """A queue with the current schema, a producer's session on it, and the variables that name it to the service."""

    store: str
    variables: Variables
    producer: Producer

    async def run(self, sql: str, *parameters: object) -> Rows:
        """One statement of a producer or an operator; `?` marks a parameter."""
        return await asyncio.to_thread(self.producer.run, sql, *parameters)

    async def standings(self) -> list[Standing]:
        """Every email as it stands."""
        return await asyncio.to_thread(invariants.read, self.producer.run)

    async def until(self, sql: str, wanted: Callable[[Rows], bool], *services: ServiceProcess, tries: int) -> Rows:
        """Ask until the rows are as wanted, ten times a second; AssertionError after `tries`, or when a process ends.

        For states that nobody announces; what a peer or a log line tells is better waited for there.
        """
        ended = asyncio.Event()
        async with AsyncExitStack() as watches:
            for service in services:
                watch = asyncio.create_task(service.process.wait())
                watch.add_done_callback(lambda _: ended.set())
                watches.callback(watch.cancel)
            for _ in range(tries):
                rows = await self.run(sql)
                if wanted(rows):
                    return rows
                assert not await SystemClock().wait(ended, 0.1), f"a process has ended: {_complaints(services)}"
        raise AssertionError(f"{sql}: {rows} after {tries} tries: {_complaints(services)}")

    async def until_finished(self, *services: ServiceProcess, tries: int = 600) -> None:
        """Until every email is in a terminal status."""
        await self.until(UNFINISHED, lambda rows: rows[0][0] == 0, *services, tries=tries)


def _complaints(services: Sequence[ServiceProcess]) -> list[Line]:
    """What their logs say of themselves: not of single mails."""
    lines = [line for service in services for line in service.lines if line["level"] != "info"]
    return [line for line in lines if not line["event"].startswith("mail.")][-20:]


async def apply_schema(variables: Variables) -> None:
    """What `mailculator schema apply` does, without the second that it takes to start: tests of the command have it."""
    settings = Settings.model_validate(variables)
    for name in registry.enabled(settings):
        await registry.backend(name).open_schema(settings).apply(lambda _: None)


def delivery(callback: CallbackPeer, smtp_port: int) -> Variables:
    """The variables that lead the service to a relay and to a callback of this test."""
    return {
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": smtp_port,
        "SMTP_FROM": SENDER,
        "MAILCULATOR_SMTP_TLS": "none",
        "PIPELINE_CALLBACK_URL": callback.url,
        "PIPELINE_INTERVAL": "0.1",
    }


def assert_holds(books: Books) -> None:
    """Every invariant; says the first of what does not hold."""
    wrong: Sequence[str] = invariants.violations(books)
    assert not wrong, f"{len(wrong)} violations, the first: {wrong[:10]}"
