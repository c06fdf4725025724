"""What the journal raises."""

from __future__ import annotations

import os
from pathlib import Path

from mailculator.errors import MailculatorError


class JournalBroken(MailculatorError):
    """A mark could not be made, or not in the way it was asked for: whatever it should have allowed must not happen.

    Arguments:
        directory: the journal's.
        reason: for a person, with the system's own words.
    """

    def __init__(self, directory: Path, reason: str) -> None:
        self.directory = directory
        self.reason = reason
        super().__init__(f"the journal in {directory} {reason}")


def words(error: BaseException) -> str:
    """What the system says of an error, without the path (it is known, and may be long)."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
