"""What the driver's errors become, and that nothing of a row or a statement gets out with them."""

from __future__ import annotations

import pytest
from pymysql.err import InterfaceError, InternalError, MySQLError, OperationalError, raise_mysql_exception

from mailculator.errors import StoreError, StoreRejected, StoreUnavailable
from mailculator.stores.mariadb_errors import Aborted, DuplicateRow, Lost, NoRight, RowRefused, translate


def from_server(number: int, message: str) -> StoreError:
    """As an error packet makes it (https://mariadb.com/kb/en/err_packet/)."""
    packet = b"\xff" + number.to_bytes(2, "little") + b"#HY000" + message.encode()
    with pytest.raises(MySQLError) as caught:
        raise_mysql_exception(packet)
    return translate(caught.value, "mysql", "claim")


@pytest.mark.parametrize("number", [1205, 1213, 1020])
def test_what_the_server_gave_up_may_be_run_again(number: int) -> None:
    assert type(from_server(number, "Record has changed since last read in table 'emails'")) is Aborted


@pytest.mark.parametrize("number", [1290, 1836, 2006, 2013, 1047, 1927, 1053, 4031])
def test_a_connection_of_no_more_use_is_lost(number: int) -> None:
    assert type(from_server(number, "gone")) is Lost


@pytest.mark.parametrize("number", [1040, 1203, 1226, 1021, 1114, 1969])
def test_a_busy_server_is_unavailable(number: int) -> None:
    assert type(from_server(number, "busy")) is StoreUnavailable


@pytest.mark.parametrize("number", [1142, 1143, 1227])
def test_a_missing_right_is_told_apart(number: int) -> None:
    error = from_server(number, "INSERT command denied to user 'x'@'y' for table 'emails'")
    assert type(error) is NoRight
    assert isinstance(error, StoreRejected)


@pytest.mark.parametrize("number", [1044, 1045, 1146, 1054, 1064])
def test_a_missing_database_table_or_column_is_refused_for_good(number: int) -> None:
    assert type(from_server(number, "no")) is StoreRejected


@pytest.mark.parametrize(("number", "kind"), [(1062, DuplicateRow), (1406, RowRefused), (1452, RowRefused)])
def test_one_rows_trouble_is_told_apart(number: int, kind: type[StoreError]) -> None:
    assert type(from_server(number, "no")) is kind


@pytest.mark.parametrize(
    "error", [InterfaceError("(0, 'Not connected')"), InternalError("Packet sequence number wrong"), OSError(5, "I/O")]
)
def test_what_came_from_no_packet_is_a_lost_connection(error: InterfaceError | OSError) -> None:
    assert type(translate(error, "mysql", "claim")) is Lost


@pytest.mark.parametrize("number", [1062, 1064, 1366, 1406])
def test_values_and_statements_stay_out_of_the_message(number: int) -> None:
    error = from_server(number, "Duplicate entry 'secret@example.com' for key 'PRIMARY'")
    assert "secret" not in str(error)
    assert f"error {number}" in error.detail


def test_the_reason_behind_a_failed_connect_is_told_on_one_line() -> None:
    error = OperationalError(2003, "Can't connect to MySQL server on 'db'")
    error.__cause__ = ConnectionRefusedError(111, "Connect call\nfailed")
    assert translate(error, "mysql", "connect").detail == (
        "error 2003: Can't connect to MySQL server on 'db' ([Errno 111] Connect call failed)"
    )
