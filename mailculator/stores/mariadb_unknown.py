"""Rows in a status that nobody here knows: no other statement of ours touches or counts them.

An ENUM takes what is none of its words as the empty string where the session's sql_mode is not strict, and somebody
may have given it further words.
"""

from __future__ import annotations

import re

from mailculator.model import Status
from mailculator.stores.mariadb_pool import Session

_TYPE = (
    "SELECT column_type FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND table_name = 'emails' AND column_name = 'status'"
)
# Equality alone: to an ENUM the index answers no other comparison, and the finished emails may be many millions.
_COUNT = "SELECT COUNT(*) FROM emails WHERE status IN %s"
_FIRST = "SELECT id FROM emails WHERE status IN %s ORDER BY id LIMIT %s"
_WORD = re.compile(r"'((?:[^']|'')*)'")


async def unknown(session: Session, limit: int = 20) -> tuple[tuple[str, ...], int]:
    """The first `limit` ids of such rows, and how many there are. Errors: StoreError."""
    ((kind,),) = (await session.execute(_TYPE)).rows
    words = {word.replace("''", "'") for word in _WORD.findall(str(kind))}
    foreign = sorted((words | {""}) - {str(status) for status in Status})
    ((count,),) = (await session.execute(_COUNT, (foreign,))).rows
    if not count:
        return (), 0
    return tuple(email_id for (email_id,) in (await session.execute(_FIRST, (foreign, limit))).rows), int(count)
