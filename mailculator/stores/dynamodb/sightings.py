"""Whose claims have been seen standing unchanged, and since when, on this process's own monotonic clock.

No wall clock decides who owns a record: a replica whose clock is wrong would take, or keep, what is not its. A claim
that stood unchanged for the length of its lease while we watched has a holder that is dead, or frozen for as long.
(The same idea as in the AWS lock clients:
https://aws.amazon.com/blogs/database/building-distributed-locks-with-the-dynamodb-lock-client/)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.codec import Item

OTHERS_FOR = 60.0
"""Seconds for which another replica that was seen at work is reckoned with."""


class Claim(NamedTuple):
    """What tells one claim, as last renewed, from another."""

    token: str | None
    sequence: int
    lease: float | None
    """Seconds; None for a record that another program holds."""


class _Seen(NamedTuple):
    key: str
    claim: Claim
    since: float


class Sightings:
    """Remembers claims by email.

    Arguments:
        monotonic: seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}
        self._met: dict[str, set[str]] = {}
        self._complete: dict[str, float] = {}
        self._others_at = float("-inf")
        self.mine: set[str] = set()
        """Ids that this process holds."""

    @property
    def others(self) -> bool:
        """Whether another replica was seen at work a moment ago."""
        return self._monotonic() - self._others_at < OTHERS_FOR

    def see(self, entry: Item) -> None:
        """An entry of the work index, or a whole record, that stands in a working status."""
        claim = claim_of(entry)
        if claim.lease is not None and entry[layout.ID] not in self.mine:
            self._others_at = self._monotonic()
        known = self._seen.get(entry[layout.ID])
        # What another program holds has no lease to wait for: when it was written last tells, and is looked at once.
        since = self._monotonic() if claim.lease is not None else float("-inf")
        if known is not None and known.claim == claim:
            since = known.since
        self._seen[entry[layout.ID]] = _Seen(entry[layout.WORK_KEY], claim, since)

    def looked_through(self, key: str, ids: set[str]) -> None:
        """All of a key's working entries were seen just now; what was seen there before is held there no more."""
        for gone in self._met.get(key, set()) - ids:
            # It may stand, and have been seen, under another key by now.
            if (known := self._seen.get(gone)) is not None and known.key == key:
                del self._seen[gone]
        self._met[key] = ids
        self._complete[key] = self._monotonic()

    def looked_within(self, key: str, seconds: float) -> bool:
        """Whether all of a key's entries were seen that recently."""
        return self._monotonic() - self._complete.get(key, float("-inf")) < seconds

    def forget(self, email_id: str, token: str | None = None) -> None:
        """It is held no more.

        Arguments:
            token: of the claim that is over. A later one, which was seen since, stands; whoever comes back from an
                earlier claim must not make its rescue wait for one more lease.
        """
        self.mine.discard(email_id)
        known = self._seen.get(email_id)
        if known is not None and token in (None, known.claim.token or ""):
            del self._seen[email_id]

    def expired(self, foreign_look: float) -> list[tuple[str, Claim]]:
        """Claims that stood unchanged for their lease, the longest first; of another program, for `foreign_look`."""
        found = [
            (one.since, email_id, one.claim)
            for email_id, one in self._seen.items()
            if self._has_expired(one, foreign_look)
        ]
        return [(email_id, claim) for _, email_id, claim in sorted(found, key=lambda one: one[:2])]

    def still_expired(self, email_id: str, foreign_look: float) -> Claim | None:
        """The claim that `expired` tells of this email; None where it would tell of none."""
        known = self._seen.get(email_id)
        return known.claim if known is not None and self._has_expired(known, foreign_look) else None

    def _has_expired(self, one: _Seen, foreign_look: float) -> bool:
        stands_for = foreign_look if one.claim.lease is None else one.claim.lease
        return self._monotonic() - one.since >= stands_for

    def look_later(self, email_id: str) -> None:
        """Count from now on again."""
        known = self._seen.get(email_id)
        if known is not None:
            self._seen[email_id] = known._replace(since=self._monotonic())


def claim_of(entry: Item) -> Claim:
    """The claim that an entry, or a whole record, tells of."""
    lease = entry.get(layout.LEASE_FOR)
    return Claim(
        entry.get(layout.TOKEN),
        entry.get(layout.LEASE_SEQ) or 0,
        lease / 1000 if isinstance(lease, int) else None,
    )
