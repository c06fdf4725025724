"""What the service hands to the page: its stores as they come and go, and what the cutover was last judged to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mailculator import words
from mailculator.cutover.assessment import Assessment
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Store
from mailculator.web.admin.answers import Refusal


@dataclass(frozen=True, slots=True)
class Counted:
    """A count of the active statuses, and when it was taken: UTC."""

    counts: Mapping[Status, StatusCount]
    at: datetime


class Desk:
    """Everything that the page shows or steers is reached from here.

    Arguments:
        names: of the enabled stores.
        version, replica: of this process.
    """

    def __init__(self, names: Sequence[str], *, version: str, replica: str) -> None:
        self.names = tuple(names)
        self.version = version
        self.replica = replica
        self.assessment: Assessment | None = None
        self._stores: dict[str, Store] = {}
        self._trouble: dict[str, str] = {}
        self._counts: dict[str, Counted] = {}

    def joined(self, store: Store) -> None:
        """A store was opened."""
        self._stores[store.name] = store

    def failed(self, name: str, trouble: str) -> None:
        """A store could not be opened, for now."""
        self._trouble[name] = trouble

    def left(self, name: str) -> None:
        """A store is about to be closed."""
        self._stores.pop(name, None)
        self._trouble[name] = "closed: this replica stops"

    def counted(self, name: str, counts: Mapping[Status, StatusCount]) -> None:
        """The service itself has counted a store, as it does for its metrics."""
        self._counts[name] = Counted(counts, datetime.now(UTC))

    def counts(self, name: str) -> Counted | None:
        """What it counted last; None before the first time."""
        return self._counts.get(name)

    def find(self, name: str) -> Store | None:
        """An enabled store; None while it is not open. Errors: Refusal where no store of that name is enabled."""
        if name not in self.names:
            raise Refusal(404, "No store of this name is switched on here.")
        return self._stores.get(name)

    def store(self, name: str) -> Store:
        """A store that is open. Errors: Refusal."""
        found = self.find(name)
        if found is None:
            raise Refusal(503, f"{words.title(name)}: {self.trouble(name)}")
        return found

    def trouble(self, name: str) -> str:
        """Why a store is not open."""
        return self._trouble.get(name, "not open yet")
