"""Whether this user may write. A queue without mail would not show it."""

from __future__ import annotations

from mailculator.errors import StoreError
from mailculator.stores.mariadb_errors import NoRight
from mailculator.stores.mariadb_pool import Pool

# Rights are looked at before any row is, so a statement that finds none tells as much as one that writes.
_WRITING = (
    "UPDATE emails SET version = version WHERE FALSE",
    "INSERT INTO email_status_history (email_id, status) SELECT id, status FROM emails WHERE FALSE",
    "INSERT INTO mailculator_reservations (email_id, store, keep_until) SELECT id, '', 0 FROM emails WHERE FALSE",
    "UPDATE mailculator_reservations SET settled = settled WHERE FALSE",
)
_DELETING = ("DELETE FROM emails WHERE FALSE", "DELETE FROM mailculator_reservations WHERE FALSE")


class Rights:
    """Asked once, and again after one was missing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._allowed = False

    async def may_write(self) -> bool:
        """Whether every writing statement would be let in."""
        if self._allowed and not self._pool.denied:
            return True
        # Who has no mail to delete can do without that right until a purge shows otherwise.
        statements = _WRITING + (_DELETING if self._pool.denied else ())
        try:
            async with self._pool.session("ping") as session:
                for statement in statements:
                    await session.execute(statement)
        except NoRight:
            self._allowed = False
            return False
        except StoreError:
            return False
        self._allowed, self._pool.denied = True, False
        return True
