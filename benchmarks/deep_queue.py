"""A MariaDB queue as deep as after weeks of work: rows by the million, made by SQL alone, and the upkeep of that depth.

What waits is READY, as behind a relay that was away: intake is faster than a relay, so that is where mail piles up.

- Ids are random, as producers' are: mail that came together lies all over the primary key.
- Of mail that waits, the history has all that it went through. Of finished mail it has the last move alone: the
  other six rows would be six times as much to make, and nothing that the service does reads them.
- Each finished email has the reservation that its sender's claim left behind.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.mail_parts import PATIENCE, Letter, Peers, write_letters
from benchmarks.mail_queues import LAST, Queue
from mailculator.demo.mariadbd import PrivateMariadb
from tests.support import mariadb

SERVER = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=1G")
"""Beside innodb_flush_log_at_trx_commit=1."""

REFILL = 250
"""Emails that the producer puts there at once, when so many have been called back."""

CLEAN = 500
"""Dirty pages, and undo logs that wait for their purge, below which a server counts as at rest."""

STRAY = ("INTAKING", "PROCESSING", "CALLING-SENT-CALLBACK", "FAILED", "FAILED-ACKNOWLEDGED", "INVALID")
"""Where no email stands when a service has ended well and nothing was wrong with its mail."""

_UNREST = ("Innodb_buffer_pool_pages_dirty", "Innodb_history_list_length")
_CALM = {"innodb_max_dirty_pages_pct": "0", "innodb_io_capacity_max": "20000", "innodb_io_capacity": "20000"}
_ATTENDED = {"innodb_io_capacity": "200", "innodb_io_capacity_max": "2000", "innodb_max_dirty_pages_pct": "90"}
"""InnoDB's own defaults."""

# In the order of the ids: rows that are inserted at random into tables larger than the buffer pool take hours.
_SEQUENCE = (
    "(SELECT INSERT(INSERT(INSERT(INSERT(MD5(CONCAT('{kind}', seq)), 21, 0, '-'), 17, 0, '-'), 13, 0, '-'), 9, 0, '-')"
    " AS id, seq FROM seq_{first}_to_{last}) made ORDER BY id"
)
# A hundred a second: neighbours by due time are then neighbours by ttl too, as where mail has come over hours.
_DUE = "NOW(6) - INTERVAL 1 DAY + INTERVAL seq * 10000 MICROSECOND"
_MADE = "NOW(6) - INTERVAL 30 DAY + INTERVAL seq * 500000 MICROSECOND"

_EMAILS = (
    "INSERT INTO emails (id, status, version, ttl, created_at, updated_at, due_at, reached_at, claim_token, claimed_by,"
    " recipient_domain, payload_file_path)"
    " SELECT id, '{status}', {version}, UNIX_TIMESTAMP({moment}) + 5184000, {moment}, {moment}, {moment}, {reached},"
    " MD5(seq DIV 500), 'mailculator-0', 'example.org', CONCAT('{{folder}}/', seq MOD {{files}}, '.json') FROM "
)
_HISTORY = (
    "INSERT INTO email_status_history (email_id, status, reason, version, created_at)"
    " SELECT id, '{status}', '{reason}', {version}, {moment} FROM "
)
_RESERVATIONS = (
    "INSERT INTO mailculator_reservations (email_id, store, reserved_at, keep_until)"
    f" SELECT id, 'mysql', {_MADE}, UNIX_TIMESTAMP() + 2678400 + seq DIV 1000 FROM "
)
_WAITING = (
    _EMAILS.format(status="READY", version=3, moment=_DUE, reached="NULL"),
    _HISTORY.format(status="ACCEPTED", reason="Created by producer", version="NULL", moment=_DUE),
    _HISTORY.format(status="INTAKING", reason="claimed by mailculator-0", version=2, moment=_DUE),
    _HISTORY.format(status="READY", reason="", version=3, moment=_DUE),
)
_FINISHED = (
    _EMAILS.format(status=LAST, version=7, moment=_MADE, reached=_MADE),
    _HISTORY.format(status=LAST, reason="200", version=7, moment=_MADE),
    _RESERVATIONS,
)
_SIZE = "SELECT SUM(data_length + index_length) / 1e9 FROM information_schema.tables WHERE table_schema = DATABASE()"


class DeepQueue:
    """One queue of a private server, in a database of its own.

    Arguments:
        folder: for payload files.
        files: how many there are. All rows share them: the row's id counts, and not the file's.
    """

    def __init__(self, server: PrivateMariadb, queue: Queue, folder: Path, *, files: int = 64) -> None:
        self.queue = queue
        self.server = server
        self._database = queue.variables["MYSQL_DATABASE"]
        self._paths = [
            letter.path.rename(folder / f"{number}.json") for number, letter in enumerate(write_letters(folder, files))
        ]
        self._made = dict.fromkeys(("waiting", "finished"), 0)

    def execute(self, *statements: str) -> Sequence[tuple[Any, ...]]:
        """In one session without any checks of keys: what is made here is sound. Returns the last one's rows."""
        with mariadb.connect(self.server, self._database) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION foreign_key_checks = 0, unique_checks = 0, tx_isolation = 'READ-COMMITTED'")
            for statement in statements:
                cursor.execute(statement)
            return tuple(cursor.fetchall())

    async def deepen(self, waiting: int, finished: int) -> None:
        """Bring it to so many READY and finished emails, and the server to rest."""
        [(ready,)] = self.execute("SELECT COUNT(*) FROM emails WHERE status = 'READY'")
        await asyncio.to_thread(self._make, "waiting", _WAITING, waiting - ready)
        await asyncio.to_thread(self._make, "finished", _FINISHED, finished - self._made["finished"])
        # As InnoDB does by itself some time after a tenth of a table has changed.
        self.execute("ANALYZE TABLE emails, email_status_history, mailculator_reservations")
        await settle(self.server)

    def _make(self, kind: str, inserts: Sequence[str], count: int) -> None:
        if count <= 0:
            return
        first = self._made[kind] + 1
        self._made[kind] += count
        source = _SEQUENCE.format(kind=kind, first=first, last=self._made[kind])
        folder, files = self._paths[0].parent, len(self._paths)
        self.execute(*(insert.format(folder=folder, files=files) + source for insert in inserts))

    async def keep_up(self, around: Peers, total: int) -> None:
        """Put one new email there for each that is called back, up to so many."""
        for count in range(REFILL, total + 1, REFILL):
            await around.called_back(count)
            self.queue.lay([Letter(str(uuid.uuid4()), self._paths[n % len(self._paths)]) for n in range(REFILL)])
            self.queue.open_gate()

    def acknowledged(self, since: int) -> list[float]:
        """When emails came to their end, by the history's rows behind `since`: epoch seconds, ascending."""
        sql = (
            "SELECT UNIX_TIMESTAMP(created_at) FROM email_status_history"
            f" WHERE id > {since} AND status = '{LAST}' ORDER BY created_at"
        )
        return [float(moment) for (moment,) in self.execute(sql)]

    def faults(self, since: int, taken: int) -> list[str]:
        """What does not hold after a round whose service has ended.

        Arguments:
            taken: emails that the sink took.
        """
        # One whose callback was given up at the end is SENT for the second time.
        sent = f"SELECT COUNT(DISTINCT email_id) FROM email_status_history WHERE id > {since} AND status = 'SENT'"
        strays = f"SELECT status, COUNT(*) FROM emails WHERE status IN {STRAY} GROUP BY status"
        found = [f"{count} emails stand at {status}" for status, count in self.execute(strays)]
        [(count,)] = self.execute(sent)
        return found if count == taken else [*found, f"{count} are on record as sent, the sink took {taken}"]

    def expire(self, count: int) -> None:
        """Let the ttl of the last emails that came to their end be over: they have their whole histories."""
        last = f"SELECT email_id FROM email_status_history WHERE status = '{LAST}' ORDER BY id DESC LIMIT {count}"
        self.execute(f"UPDATE emails JOIN ({last}) last ON emails.id = last.email_id SET ttl = 1")

    def gigabytes(self) -> float:
        """Of all tables with their indexes."""
        return float(self.execute(_SIZE)[0][0])


async def settle(server: PrivateMariadb) -> None:
    """Until InnoDB has written out what is dirty and cleared away what is deleted: else a round pays for what was made
    before it. TimeoutError after PATIENCE."""
    _set(server, _CALM)
    async with asyncio.timeout(PATIENCE):
        while max(status(server, name) for name in _UNREST) > CLEAN:  # noqa: ASYNC110  # a server announces nothing
            await asyncio.sleep(0.2)
    _set(server, _ATTENDED)


def _set(server: PrivateMariadb, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        mariadb.execute(server, "mysql", f"SET GLOBAL {name} = {value}")


def status(server: PrivateMariadb, pattern: str) -> int:
    """The sum of the server's status variables of such names."""
    rows = mariadb.execute(server, "mysql", "SHOW GLOBAL STATUS LIKE %s", (pattern,))
    return sum(int(value) for _, value in rows)
