"""The names that rescues leave in the rows they move, where a claim leaves its token."""

from __future__ import annotations

import uuid

from mailculator.model import Email


class RescueNames:
    """The names of one open store's rescues.

    A rescuer knows by its name what it has written itself when the reply was lost: two rescuers write the same words
    for the same row. The same rescue has the same name however often it is asked for, so nothing has to be remembered.
    """

    def __init__(self) -> None:
        self._mine = uuid.uuid4()

    def of(self, email: Email) -> str:
        """The name of the rescue of this email from this version: 32 hexadecimal digits, like a claim's token."""
        return uuid.uuid5(self._mine, f"{email.id} {email.version}").hex
