"""The service that mailculator replaces, as its database knows it: its tables, its producer and its consumer.

They speak to MariaDB through the bare driver, and repeat a transaction only where the older programs do: after a
deadlock (1213) or a lock wait (1205). Any other error is the test's to see.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiomysql
import pymysql

from mailculator.model import Status

RETRIED = frozenset({1205, 1213})

_STATUSES = ", ".join(f"'{status}'" for status in Status)

EMAILS_DDL = f"""
CREATE TABLE emails (
  id CHAR(36) PRIMARY KEY,
  status ENUM({_STATUSES}) NOT NULL,
  eml_file_path VARCHAR(500) NULL,
  payload_file_path VARCHAR(500) NULL,
  reason TEXT NULL,
  version INT NOT NULL DEFAULT 1,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  INDEX idx_status (status)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
"""
EMAIL_STATUSES_DDL = """
CREATE TABLE email_statuses (
  id BIGINT AUTO_INCREMENT PRIMARY KEY,
  email_id CHAR(36) NOT NULL,
  status VARCHAR(50) NOT NULL,
  reason TEXT,
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  INDEX idx_email_id (email_id),
  FOREIGN KEY (email_id) REFERENCES emails (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
"""
DDL = (EMAILS_DDL, EMAIL_STATUSES_DDL)


def filling(rows: int) -> Iterable[str]:
    """Statements that give every status `rows` emails, an hour old, with history of how they began and stand."""
    for number, status in enumerate(Status):
        version = len(WAYS[status])
        yield (
            "INSERT INTO emails (id, status, payload_file_path, reason, version, created_at, updated_at)"
            f" SELECT CONCAT('00000000-0000-4000-8{number:03d}-', LPAD(seq, 12, '0')), '{status}',"
            f" CONCAT('/older/', seq, '.json'), '', {version}, NOW() - INTERVAL 1 HOUR, NOW() - INTERVAL 1 HOUR"
            f" FROM seq_1_to_{rows}"
        )
        for step in history_of(status):
            yield (
                "INSERT INTO email_statuses (email_id, status, reason, created_at)"
                f" SELECT id, '{step}', '', created_at FROM emails WHERE status = '{status}'"
            )


_SENT = (Status.ACCEPTED, Status.INTAKING, Status.READY, Status.PROCESSING, Status.SENT)
_FAILED = (*_SENT[:-1], Status.FAILED)
_ENDS = {
    Status.INVALID: (Status.ACCEPTED, Status.INTAKING, Status.INVALID),
    Status.FAILED: _FAILED,
    Status.CALLING_SENT_CALLBACK: (*_SENT, Status.CALLING_SENT_CALLBACK),
    Status.CALLING_FAILED_CALLBACK: (*_FAILED, Status.CALLING_FAILED_CALLBACK),
    Status.SENT_ACKNOWLEDGED: (*_SENT, Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED),
    Status.FAILED_ACKNOWLEDGED: (*_FAILED, Status.CALLING_FAILED_CALLBACK, Status.FAILED_ACKNOWLEDGED),
}
WAYS: dict[Status, tuple[Status, ...]] = {
    status: _ENDS.get(status) or _SENT[: _SENT.index(status) + 1] for status in Status
}
"""The statuses an email of the older service went through to stand in each."""


class Session:
    """One plain connection with autocommit, without a notion of whose tables they are."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @classmethod
    async def open(cls, *, port: int, database: str | None, host: str = "127.0.0.1", user: str = "root") -> Session:
        return cls(
            await aiomysql.connect(
                host=host, port=port, user=user, password="", db=database, charset="utf8mb4", autocommit=True
            )
        )

    async def run(self, sql: str, *parameters: object) -> tuple[tuple[Any, ...], ...]:
        """One statement; `?` marks a parameter. Returns its rows."""
        if parameters:
            first, *others = sql.split("?")
            values = [self.connection.escape(value) for value in parameters]
            sql = first + "".join(value + text for value, text in zip(values, others, strict=True))
        # Not through a cursor: it turns every note of the server into a Python warning.
        await self.connection.query(sql)
        return tuple(self.connection._result.rows or ())

    @property
    def affected(self) -> int:
        """Rows that the last statement changed."""
        return int(self.connection._result.affected_rows)

    @property
    def last_id(self) -> int:
        """The AUTO_INCREMENT value that the server reported with the last statement."""
        return int(self.connection._result.insert_id)

    async def transaction(self, work: Callable[[], Awaitable[None]], retried: Counter[int]) -> None:
        """Run `work` as one transaction, again after a deadlock or a lock wait; each is counted."""
        while True:
            await self.run("START TRANSACTION")
            try:
                await work()
                await self.run("COMMIT")
            except pymysql.err.MySQLError as error:
                await self.run("ROLLBACK")
                if error.args[0] not in RETRIED:
                    raise
                retried[error.args[0]] += 1
            else:
                return

    def close(self) -> None:
        self.connection.close()


@dataclass
class OlderProducer:
    """Puts an email on the queue by two inserts: the row and its first history row.

    Arguments:
        together: both in one transaction, or each in its own.
        prepared: through statements that the server prepared once, before anything changed.
    """

    session: Session
    together: bool = True
    prepared: bool = False
    created: list[str] = field(default_factory=list)
    history_ids: dict[str, int] = field(default_factory=dict)
    retried: Counter[int] = field(default_factory=Counter)

    async def put(self) -> str:
        """Insert one email. Returns its id."""
        email_id = str(uuid.uuid4())

        async def insert_email() -> None:
            path = f"/older/{email_id}.json"
            await self._insert("emails (id, status, payload_file_path)", email_id, "ACCEPTED", path)

        async def insert_history() -> None:
            await self._insert("email_statuses (email_id, status, reason)", email_id, "ACCEPTED", "")
            self.history_ids[email_id] = self.session.last_id

        async def insert_both() -> None:
            await insert_email()
            await insert_history()

        if self.together:
            await self.session.transaction(insert_both, self.retried)
        else:
            await self.session.transaction(insert_email, self.retried)
            await self.session.transaction(insert_history, self.retried)
        self.created.append(email_id)
        return email_id

    async def _insert(self, target: str, *values: str) -> None:
        sql = f"INSERT INTO {target} VALUES (?, ?, ?)"
        if not self.prepared:
            await self.session.run(sql, *values)
            return
        name = target.split(maxsplit=1)[0]
        if name not in self._known:
            await self.session.run(f"PREPARE put_{name} FROM '{sql}'")
            self._known.add(name)
        await self.session.run("SET @a = ?, @b = ?, @c = ?", *values)
        await self.session.run(f"EXECUTE put_{name} USING @a, @b, @c")

    def __post_init__(self) -> None:
        self._known: set[str] = set()


@dataclass
class OlderConsumer:
    """Moves emails by id and status, without a lease; what it holds for too long it puts back, on its own clock.

    Arguments:
        now: its clock, UTC without a zone, as it compares it with `updated_at`.
        moves: how many steps it made, per email.
        history: the statuses it wrote into the history and left there, per email, in order.
    """

    session: Session
    now: Callable[[], datetime] = lambda: datetime.now(UTC).replace(tzinfo=None)
    moves: Counter[str] = field(default_factory=Counter)
    history: dict[str, list[Status]] = field(default_factory=dict)
    retried: Counter[int] = field(default_factory=Counter)

    HOLD = timedelta(minutes=30)

    async def find(self, status: Status, limit: int) -> list[str]:
        """Ids in that status, longest unchanged first. The locks end with the statement, as they always did there."""
        rows = await self.session.run(
            "SELECT id, status, payload_file_path, reason, version, updated_at FROM emails"
            " WHERE status = ? ORDER BY updated_at ASC LIMIT ? FOR UPDATE SKIP LOCKED",
            status.value,
            limit,
        )
        return [str(row[0]) for row in rows]

    async def move(self, email_id: str, origin: Status, to: Status, reason: str = "") -> bool:
        """One step. False when somebody else moved it first."""
        moved = False

        async def step() -> None:
            nonlocal moved
            await self.session.run(
                "UPDATE emails SET status = ?, reason = ?, version = version + 1 WHERE id = ? AND status = ?",
                to.value,
                reason,
                email_id,
                origin.value,
            )
            moved = self.session.affected == 1
            if moved:
                await self.session.run(
                    "INSERT INTO email_statuses (email_id, status, reason) VALUES (?, ?, ?)", email_id, to.value, reason
                )

        await self.session.transaction(step, self.retried)
        if moved:
            self.moves[email_id] += 1
            self.history.setdefault(email_id, []).append(to)
        return moved

    async def put_back(self, email_id: str) -> bool:
        """PROCESSING to READY, after its own move there; it takes the history row of that move back."""
        moved = False

        async def step() -> None:
            nonlocal moved
            await self.session.run(
                "UPDATE emails SET status = 'READY', reason = '', version = version + 1"
                " WHERE id = ? AND status = 'PROCESSING'",
                email_id,
            )
            moved = self.session.affected == 1
            if moved:
                await self.session.run(
                    "DELETE FROM email_statuses WHERE email_id = ? AND status = 'PROCESSING' ORDER BY id DESC LIMIT 1",
                    email_id,
                )

        await self.session.transaction(step, self.retried)
        if moved:
            self.moves[email_id] += 1
            self.history[email_id].pop()
        return moved

    async def restore(self, working: Status, waiting: Status, limit: int = 100) -> int:
        """Put back what has stood in a working status for half an hour by its clock. Returns how many."""
        rows = await self.session.run(
            "SELECT id FROM emails WHERE status = ? AND updated_at < ? ORDER BY updated_at ASC LIMIT ?"
            " FOR UPDATE SKIP LOCKED",
            working.value,
            (self.now() - self.HOLD).strftime("%Y-%m-%d %H:%M:%S"),
            limit,
        )
        return sum([await self.move(str(row[0]), working, waiting) for row in rows])


async def create(session: Session, *, rows: int = 0) -> None:
    """The older service's database, with `rows` emails in every status."""
    for statement in DDL:
        await session.run(statement)
    if rows:
        await session.run("SET foreign_key_checks = 0, unique_checks = 0")
        for statement in filling(rows):
            await session.run(statement)
        await session.run("SET foreign_key_checks = 1, unique_checks = 1")


def history_of(status: Status) -> tuple[Status, ...]:
    """The history rows that `create` gives an email of that status."""
    return (Status.ACCEPTED,) if status is Status.ACCEPTED else (Status.ACCEPTED, status)


def history_rows(rows: int) -> int:
    """How many history rows `create` makes."""
    return rows * sum(len(history_of(status)) for status in Status)


def ids(status: Status, numbers: Sequence[int]) -> list[str]:
    """The ids that `create` gave to emails of a status; `numbers` from 1."""
    return [f"00000000-0000-4000-8{list(Status).index(status):03d}-{number:012d}" for number in numbers]
