"""What MariaDB's error numbers mean to a queue.

Source: https://mariadb.com/kb/en/mariadb-error-codes/ (1000 … 1999, 4000 …: the server's; 2000 … 2999: the client's).

::

    StoreUnavailable
    ├── Lost            the connection, or the server behind it, is of no use any more
    │   └── CommitLost  … and the reply to COMMIT with it: whether the transaction was applied is not known
    └── Aborted         the server gave the transaction up (deadlock, lock wait): run it again
    StoreRejected
    ├── NoRight         this user may not do that
    └── RowRefused      a value or a constraint of one row: without that row the statement may pass
        └── DuplicateRow
"""

from __future__ import annotations

from pymysql.constants import ER
from pymysql.err import MySQLError

from mailculator.errors import StoreError, StoreRejected, StoreUnavailable


class Lost(StoreUnavailable):
    """The connection is gone, silent, or leads to a server that takes no writes: drop it and its siblings."""


class CommitLost(Lost):
    """COMMIT was sent and its reply never came."""


class Aborted(StoreUnavailable):
    """The transaction was rolled back for another's sake and may be run again as a whole."""


class NoRight(StoreRejected):
    """The user that the settings name lacks a right."""


class RowRefused(StoreRejected):
    """One row's value or constraint."""


class DuplicateRow(RowRefused):
    """A row with that key is there already."""


# 1205 lock wait, 1213 deadlock, 1020 changed since read (innodb_snapshot_isolation, on from 11.6.2 on; Galera),
# 1412 table definition changed (a schema upgrade beside us), 1637 too many transactions.
_AGAIN = frozenset({1020, 1205, 1213, 1412, 1637})

# 1290 and 1836 read-only, 1792 read-only transaction: after a failover the connection leads to the wrong server.
# 1047 Galera node not ready; 1053, 1077, 1079, 1080 shutdown; 1152, 1158 … 1161, 1184, 1927 cut off; 4031 idle.
_AWAY = frozenset({1047, 1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1290, 1792, 1836, 1927, 4031})

# 1021, 1114 full; 1030 storage engine; 1037, 1038, 1041, 1206 memory; 1040, 1203, 1226 too many connections; 1129,
# 1130 host not let in; 1180 commit failed; 1317, 1969, 3024 statement interrupted or over its time.
_BUSY = frozenset({1021, 1030, 1037, 1038, 1040, 1041, 1114, 1129, 1130, 1180, 1203, 1206, 1226, 1317, 1969, 3024})

# 1142 table, 1143 column, 1227 and 1370 others.
_NO_RIGHT = frozenset({1142, 1143, 1227, 1370})

_DUPLICATE = frozenset({1062, 1586})

# 1048 NULL, 1264, 1265, 1292, 1366, 1406 values that do not fit, 1451, 1452 foreign keys, 4025 CHECK.
_ROW = frozenset({1048, 1264, 1265, 1292, 1366, 1406, 1451, 1452, 4025})

# Their messages quote values or the statement itself.
_TALKATIVE = _DUPLICATE | _ROW | {1064, 1105, 1149}

_NAMES = {number: name for name, number in vars(ER).items() if isinstance(number, int)}


def translate(error: MySQLError | OSError, store: str, op: str) -> StoreError:
    """The driver's error as one of ours; the caller raises it from the driver's."""
    number = _number(error)
    if number is None:
        return Lost(store, op, _line(str(error) or type(error).__name__))
    return _class_of(number)(store, op, _detail(number, error))


def _class_of(number: int) -> type[StoreError]:
    if number in _AGAIN:
        return Aborted
    if number in _AWAY or number < 1000 or 2000 <= number < 3000:
        return Lost
    if number in _BUSY:
        return StoreUnavailable
    if number in _NO_RIGHT:
        return NoRight
    if number in _DUPLICATE:
        return DuplicateRow
    return RowRefused if number in _ROW else StoreRejected


def _number(error: BaseException) -> int | None:
    """None for an error that came from no packet: a closed connection, a broken one, a driver out of step."""
    if not isinstance(error, MySQLError) or not error.args or not isinstance(error.args[0], int):
        return None
    return error.args[0]


def _detail(number: int, error: BaseException) -> str:
    name = _NAMES.get(number)
    if number in _TALKATIVE:
        return f"error {number}" + (f" ({name})" if name else "")
    message = str(error.args[1]) if len(error.args) > 1 else (name or type(error).__name__)
    if isinstance(error.__cause__, OSError) and str(error.__cause__):
        # aiomysql says "Can't connect" to everything; why is one step down.
        message = f"{message} ({error.__cause__})"
    return _line(f"error {number}: {message}")


def _line(text: str) -> str:
    return " ".join(text.split())[:400]
