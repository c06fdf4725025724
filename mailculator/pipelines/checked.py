"""Payloads that intake has just found fit: the sender of the same process need not read and check them once more."""

from __future__ import annotations

from mailculator.clock import Clock
from mailculator.model import Email
from mailculator.payload import Payload
from mailculator.values import value

KEEP = 30.0
"""Seconds that a payload is kept: so old at the most is what is sent without another look at its file."""
ROOM = 16 << 20
"""Octets of payload files that are kept, which is about what they take in memory. What finds no room is read again."""
LARGEST = 65_536
"""Octets of a payload file that is kept. It is rendered on the event loop, in a millisecond."""
BEHIND = 2.0
"""Seconds. Mail is claimed in the order in which it became due, so what is by so much older than the one that was just
taken is another process's by now."""
MOVES = 2
"""By how many versions an email is on between the two claims: intake's result and the sender's claim. Whatever else has
happened to it in between has made it more."""


@value
class _Kept:
    version: int
    at: float
    size: int
    mail: Payload


class Checked:
    """The memory of one store's mail between two pipelines.

    What is full keeps what it has: that is due first. It is for mail without attachments, whose message is all in its
    payload.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._octets = 0

    def put(self, email: Email, mail: Payload, size: int) -> None:
        """Intake has found this fit.

        Arguments:
            email: as intake claimed it.
            size: octets of its payload file.
        """
        now = self._clock.now()
        self._forget(now - KEEP)
        self._drop(email.id)
        if size > LARGEST or mail.attachments or self._octets + size > ROOM:
            return
        self._kept[email.id] = _Kept(email.version, now, size, mail)
        self._octets += size

    def take(self, email: Email) -> tuple[Payload, int] | None:
        """What intake found, and the octets of the file; None where it has to be read. It is given once.

        Arguments:
            email: as the sender claimed it.
        """
        kept = self._drop(email.id)
        if kept is None:
            return None
        too_old = self._clock.now() - KEEP
        self._forget(max(too_old, kept.at - BEHIND))
        return (kept.mail, kept.size) if kept.at > too_old and email.version == kept.version + MOVES else None

    def _forget(self, before: float) -> None:
        while self._kept:
            email_id, kept = next(iter(self._kept.items()))
            if kept.at > before:
                return
            self._drop(email_id)

    def _drop(self, email_id: str) -> _Kept | None:
        kept = self._kept.pop(email_id, None)
        if kept is not None:
            self._octets -= kept.size
        return kept
