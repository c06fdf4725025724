"""Queues for one round: made anew, filled behind a closed gate, and judged when all is done.

The gate is a transaction that is not committed: the process that is measured runs and polls, and sees all emails at one
moment. So neither its start nor the producer's inserts are in the figures.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.mail_parts import PATIENCE, Letter
from mailculator import config
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.stores import registry
from tests.support import mariadb
from tests.support.mariadb_queue import mariadb_variables
from tests.support.producer import GROUP, MariadbProducer, Producer, SqliteProducer

SERVER = ("--innodb-buffer-pool-size=256M", "--innodb-log-file-size=256M")
"""Beside innodb_flush_log_at_trx_commit=1. With less, what is measured is when InnoDB makes its checkpoints."""

STEPS = ("INTAKING", "READY", "PROCESSING", "SENT", "CALLING-SENT-CALLBACK", "SENT-ACKNOWLEDGED")
"""What an email goes through, at the versions 2 to 7."""
LAST = STEPS[-1]

_UNFINISHED = f"SELECT COUNT(*) FROM emails WHERE status <> '{LAST}'"
_STANDING = "SELECT status, version, COUNT(*) FROM emails GROUP BY status, version"
_HISTORY = (
    "SELECT version, status, COUNT(*) FROM email_status_history WHERE version IS NOT NULL"
    " GROUP BY version, status ORDER BY version"
)


class Queue:
    """A queue with the current schema and a producer's session on it.

    Arguments:
        variables: what names it to the service.
        moment: SQL for created_at as epoch seconds with their fractions.
    """

    def __init__(self, producer: Producer, variables: Mapping[str, str], *, moment: str) -> None:
        self.variables = variables
        self._producer = producer
        self._moment = moment

    def lay(self, letters: Sequence[Letter]) -> None:
        """Insert them, with their histories, where nobody sees them until `open_gate`."""
        self._producer.run("BEGIN")
        for begin in range(0, len(letters), GROUP):
            group = letters[begin : begin + GROUP]
            emails = ", ".join(f"('{one.email_id}', 'ACCEPTED', '{one.path}', NULL)" for one in group)
            notes = ", ".join(f"('{one.email_id}', 'ACCEPTED', 'Created by producer')" for one in group)
            self._producer.run(f"INSERT INTO emails (id, status, payload_file_path, ttl) VALUES {emails}")
            self._producer.run(f"INSERT INTO email_status_history (email_id, status, reason) VALUES {notes}")

    def open_gate(self) -> None:
        """Commit what was laid."""
        self._producer.run("COMMIT")

    def last_note(self) -> int:
        """The id of the newest row of the history."""
        return int(self._producer.run("SELECT COALESCE(MAX(id), 0) FROM email_status_history")[0][0])

    async def finished(self) -> None:
        """Until every email is acknowledged. TimeoutError after PATIENCE."""
        async with asyncio.timeout(PATIENCE):
            while self._producer.run(_UNFINISHED)[0][0]:  # noqa: ASYNC110  # a database announces nothing
                await asyncio.sleep(0.01)

    def seconds(self, since: int) -> float:
        """Between the first claim and the last acknowledgement, by the history's rows behind `since`."""
        sql = (
            f"SELECT MAX({self._moment}) - MIN({self._moment}) FROM email_status_history"
            f" WHERE version IS NOT NULL AND id > {since}"
        )
        return float(self._producer.run(sql)[0][0])

    def moments(self, since: int) -> dict[str, dict[str, float]]:
        """When each email came to each status for the first time, by the history's rows behind `since`: epoch seconds
        of the store's clock, by id and status."""
        sql = f"SELECT email_id, status, {self._moment} FROM email_status_history WHERE id > {since} ORDER BY id"
        found: dict[str, dict[str, float]] = {}
        for email_id, status, moment in self._producer.run(sql):
            found.setdefault(email_id, {}).setdefault(status, float(moment))
        return found

    def faults(self, count: int) -> list[str]:
        """What does not hold of `count` emails that all were sent and called back, each step at its version."""
        standing = [tuple(row) for row in self._producer.run(_STANDING)]
        history = [tuple(row) for row in self._producer.run(_HISTORY)]
        expected = [(version, status, count) for version, status in enumerate(STEPS, start=2)]
        found = [] if standing == [(LAST, 7, count)] else [f"emails stand at {standing}"]
        # Of one email no version stands twice in the history: the table has a unique key for that.
        return found if history == expected else [*found, f"the history has {history}"]


@asynccontextmanager
async def mariadb_queue(server: PrivateMariadb) -> AsyncIterator[Queue]:
    """A database of its own, dropped at the end."""
    database = f"bench_{uuid.uuid4().hex}"
    mariadb.execute(server, "mysql", f"CREATE DATABASE {database}")
    variables = {name: str(value) for name, value in mariadb_variables(server, database).items()}
    producer = MariadbProducer(port=server.port, database=database)
    try:
        await _apply_schema(variables)
        # Or the counts that are polled would be those of the first look.
        producer.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        yield Queue(producer, variables, moment="UNIX_TIMESTAMP(created_at)")
    finally:
        producer.close()
        mariadb.execute(server, "mysql", f"DROP DATABASE {database}")


@asynccontextmanager
async def sqlite_queue(directory: Path) -> AsyncIterator[Queue]:
    """A file of its own."""
    path = directory / "queue.db"
    variables = {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": str(path)}
    await _apply_schema(variables)
    producer = SqliteProducer(path)
    try:
        yield Queue(producer, variables, moment="created_at / 1000.0")
    finally:
        producer.close()


async def _apply_schema(variables: Mapping[str, str]) -> None:
    settings = config.load(variables, needs={"store"})
    [name] = registry.enabled(settings)
    await registry.backend(name).open_schema(settings).apply(lambda _: None)
