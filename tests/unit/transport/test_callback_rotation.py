"""The keys that sign callbacks are taken anew from their file, and never taken away by half of one."""

from __future__ import annotations

import pytest

from mailculator.transport.callback_format import CallbackFormat, CurrentFormat


class Keys:
    """A file that a test writes. `said` raises where it is an error."""

    def __init__(self) -> None:
        self.said: str | Exception | None = None

    def reread(self) -> str | None:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


def signature(current: CurrentFormat) -> str:
    return current.headers(sent=True, email_id="id", generation=0, body=b"{}")["webhook-signature"]


def fixed(*secrets: bytes) -> CallbackFormat:
    return CallbackFormat({}, "sent", secrets, wall_clock=lambda: 1_700_000_000.0)


async def test_a_callbacks_signing_keys_are_taken_anew() -> None:
    keys = Keys()
    current = CurrentFormat(fixed(b"old"), keys.reread)
    before = signature(current)

    keys.said = "new old"
    await current.reread_secrets()

    assert signature(current) == signature(CurrentFormat(fixed(b"new", b"old"), keys.reread))
    assert signature(current).split()[1] == before


@pytest.mark.parametrize("said", [None, "", " \n", "whsec_%%%", OSError("gone"), ValueError("no text")])
async def test_what_is_no_key_changes_nothing(said: str | Exception | None) -> None:
    keys = Keys()
    current = CurrentFormat(fixed(b"old"), keys.reread)
    before = signature(current)

    keys.said = said
    await current.reread_secrets()

    assert signature(current) == before
