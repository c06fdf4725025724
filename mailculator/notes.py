"""The names of what a replica notes in a minute beside the counts, as its readers look for them."""

from __future__ import annotations

STORES = "stores"
"""The stores that the replica works on, separated by commas."""

GUARD = "guard"
"""`on` or `off`: whether it reserves ids, so that one that stands in two stores is sent once."""

HELD = "held"
"""Emails of this store in its hands."""

STOPPED = "stopped"
"""There when the replica has ended in good order: it need not be heard of again."""

ROUTINE = frozenset({STORES, GUARD, HELD, STOPPED})
"""What every minute says. Any other note is for a person to read."""
