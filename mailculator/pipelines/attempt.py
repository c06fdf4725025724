"""One try at handing a mail to the relay, and the marks that tell later how far it came."""

from __future__ import annotations

import contextlib

from mailculator.journal.base import Marks
from mailculator.journal.errors import JournalBroken
from mailculator.journal.marks import Key
from mailculator.model import Email


class Attempt:
    """What the relay's session asks and tells on the way.

    Arguments:
        marks: the journal.
        margin: seconds that must be left of the lease for the message to leave.
        left: the final dot may have left: from then on nobody but the relay knows.
        reply: what the relay said to the dot, its code and its text; None until it has.
        broken: why the journal could not say that the dot was about to leave, so that it did not.
    """

    def __init__(self, email: Email, key: Key, marks: Marks, margin: float) -> None:
        self.left = False
        self.reply: tuple[int, str] | None = None
        self.broken: JournalBroken | None = None
        self._email = email
        self._key = key
        self._marks = marks
        self._margin = margin

    @property
    def answer(self) -> str:
        """The relay's reply on one line; "" before it."""
        return "" if self.reply is None else "{} {}".format(*self.reply)

    def is_ours(self) -> bool:
        """Whether the claim holds for long enough."""
        return self._email.lease is None or self._email.lease.holds(self._margin)

    async def may_leave(self) -> bool:
        """Asked before the final dot. Its yes means that whoever finds this mail abandoned will know of the dot."""
        lease = self._email.lease
        if lease is not None and lease.refresh is not None:
            await lease.refresh(lease)
        if not self.is_ours():
            return False
        try:
            await self._marks.dot(self._key)
        except JournalBroken as error:
            self.broken = error
            return False
        # The disk may have taken its time.
        self.left = self.is_ours()
        return self.left

    async def replied(self, code: int, text: str) -> None:
        """Told the reply to the dot, before anything else happens."""
        self.reply = (code, text)
        # Without the mark this outcome is still known here. New mail is not sent until the journal is well again.
        with contextlib.suppress(JournalBroken):
            if code // 100 == 2:
                await self._marks.accepted(self._key, self.answer)
            else:
                await self._marks.refused(self._key, code, text)
