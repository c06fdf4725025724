"""What a backend gives the contract suite beside its Store: a fresh queue, a second opinion, time that passes, and the
hands of the other programs that write there: producers, an older consumer, an operator.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from mailculator.stores.base import Schema, Store


class VersionTaken(Exception):
    """The store's own rules refused a second history line under one version. The driver's error is the cause."""


class Harness(Protocol):
    """One backend under test, for a whole session. Made without arguments; servers start at the first `fresh`.

    Arguments:
        name: the store's.
        server: how its `ping` begins to name the server.
        oldest_service: the oldest service version that the current schema serves.
        older_raises: by how much a move of the older consumer raises the version.
        producers_reason: the reason of the history line that tells of the producer's writing.
        tells_birth: whether the history begins with that line though nobody has written one.
    """

    name: str
    server: str
    oldest_service: str
    older_raises: int
    producers_reason: str
    tells_birth: bool

    async def fresh(self, *, service: bool = True) -> Store:
        """An empty queue. Closes every Store handed out before.

        Arguments:
            service: opened as the service does it, which looks at the schema first: in SQL that takes longer than all
                else. The first time it has to be.
        """

    async def another(self) -> Store:
        """A second Store on the same queue, with connections of its own."""

    def schema(self) -> Schema:
        """The schema of the queue under test."""

    async def rewind(self, seconds: float) -> None:
        """Make every stored time that many seconds older, `ttl` and the history included, and touch nothing else.

        To the queue, time has passed, and no test has slept.
        """

    def amount(self, count: int) -> int:
        """How many emails, or rounds, a test takes that asks for `count` only because many are its point."""

    async def close(self) -> None:
        """Stop and remove everything."""

    # What other programs do, each on a connection of its own, committed.

    async def produce(self, email_id: str, path: str, ttl: int | None = None, *, note: bool = True) -> None:
        """The producer's new email, written its own way; without `note`, its history line is yet to come."""

    async def produce_note(self, email_id: str) -> None:
        """The producer's history line of an email that is there."""

    async def insert(
        self,
        status: str,
        *,
        email_id: str | None = None,
        version: int | None = None,
        payload: str | None = None,
        eml: str | None = None,
        reason: str | None = None,
        ttl: int | None = None,
    ) -> str:
        """An email in any status, as a program that knows nothing of ours leaves it behind. Returns its id.

        What is not given stays what it is without us: no value, or the column's default.
        """

    async def alter(self, email_id: str, *, raise_by: int = 0, **columns: str | int) -> None:
        """Overwrite an email's `status`, `version`, `claim_token`, `attempts`, `eml_file_path` or `reason`.

        Arguments:
            raise_by: added to the version.
        """

    async def move_as_older(self, email_id: str, origin: str, target: str, *, noted: bool = False) -> None:
        """The older consumer's step, which knows of no lease and no tries; with its history line where `noted`."""

    async def delete(self, email_id: str) -> None:
        """Remove an email and all that belongs to it."""

    async def note(self, email_id: str, reason: str) -> None:
        """A history line that is no move."""

    async def forge(self, email_id: str, version: int) -> None:
        """A history line under a version, that belongs to no move.

        Errors: VersionTaken where the history has that version already.
        """

    async def retain(self, store: Store, limit: int) -> int:
        """Have up to `limit` emails deleted that are terminal and past their ttl, by whoever does that for this
        store. Returns how many."""

    # What stands there, past every Store.

    async def versions(self) -> list[int]:
        """The version of every email."""

    async def count_history(self, *, versioned: bool = False) -> int:
        """How many history lines there are for all emails together; with `versioned`, only those of moves."""

    # The schema, today and later.

    @property
    def schema_names(self) -> tuple[str, ...]:
        """What a current schema has on record."""

    def later_schema(self, name: str) -> AbstractAsyncContextManager[None]:
        """The schema as a later version of the service would leave it, with `name` on record; in the end as it was."""

    async def serve_from(self, version: str) -> None:
        """State `version` as the oldest service that the schema serves, until the end of `later_schema`."""
