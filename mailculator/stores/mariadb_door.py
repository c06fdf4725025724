"""How a connection to MariaDB is opened: with the password that holds, and a session set up as we need it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from pymysql.err import MySQLError

from mailculator.errors import StoreUnavailable
from mailculator.stores.mariadb_connection import Connection, Driver, Endpoint
from mailculator.stores.mariadb_errors import Lost, translate

# Whatever a server or a DBA has as defaults, these hold for us. NO_BACKSLASH_ESCAPES must be off: the driver escapes
# with backslashes. Waits end on the server before we stop listening, or it would go on working for nobody.
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00',"
    " innodb_lock_wait_timeout = {lock_wait:d}{limit}"
)
_ISOLATION = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"


class Door:
    """Opens connections, and when the server refuses the password, looks whether its file has another one by now.

    Arguments:
        reread: the password as its file has it now, None where it has no file. Asked in a thread. Errors: OSError,
            ValueError.
    """

    def __init__(self, endpoint: Endpoint, reread: Callable[[], str | None]) -> None:
        self._endpoint = endpoint
        self._reread = reread

    async def open(self) -> Connection:
        """As `connect`."""
        tried = self._endpoint
        try:
            return await connect(tried)
        except StoreUnavailable as error:
            if not _is_refused_login(error):
                raise
            await self._reread_password()
            if self._endpoint.password == tried.password:
                raise
        return await connect(self._endpoint)

    async def _reread_password(self) -> None:
        try:
            password = await asyncio.to_thread(self._reread)
        except (OSError, ValueError):
            return  # half written, or gone for now: the one we have may be right again by the next try
        if password is not None:
            self._endpoint = replace(self._endpoint, password=password)


async def connect(endpoint: Endpoint) -> Connection:
    """Open a connection and set its session up.

    Errors: StoreUnavailable whatever the trouble: a wrong password or a missing database can be put right on the
    server while we wait.
    """
    driver = Driver(endpoint)
    limit = endpoint.timeout / 2
    try:
        async with asyncio.timeout(limit):
            await driver.open()
            await driver.fetch(_session(driver.get_server_info(), endpoint.timeout))
    except BaseException as error:
        driver.close()
        if isinstance(error, TimeoutError):
            where = f"{endpoint.host}:{endpoint.port}"
            raise Lost(endpoint.store, "connect", f"{where} did not answer within {limit:g} s") from error
        if isinstance(error, Exception):
            raise _refused(error, endpoint) from error
        raise
    return Connection(driver, endpoint)


def _session(version: str, timeout: float) -> tuple[str, str]:
    # MySQL has no max_statement_time; its nearest relative covers SELECT alone, and counts milliseconds.
    mariadb = "MariaDB" in version
    limit = f", max_statement_time = {timeout * 0.8:.3f}" if mariadb else f", max_execution_time = {timeout * 800:.0f}"
    if mariadb:
        # A process that freezes, or a host that vanishes, within a transaction would keep its locks until wait_timeout
        # (8 hours), and nobody could rescue what they cover. MySQL has nothing like it.
        limit += f", idle_transaction_timeout = {max(1, round(timeout)):d}"
    return _SESSION.format(lock_wait=max(1, round(timeout / 6)), limit=limit), _ISOLATION


def _is_refused_login(error: StoreUnavailable) -> bool:
    # 1045 is what every plugin says, 1698 what one says that takes no password.
    cause = error.__cause__
    return isinstance(cause, MySQLError) and bool(cause.args) and cause.args[0] in (1045, 1698)


def _refused(error: Exception, endpoint: Endpoint) -> StoreUnavailable:
    if isinstance(error, MySQLError | OSError):
        return Lost(endpoint.store, "connect", translate(error, endpoint.store, "connect").detail)
    # Something else listens there, and the driver stumbled over its greeting.
    where = f"{endpoint.host}:{endpoint.port}"
    return Lost(endpoint.store, "connect", f"{where} does not speak MariaDB's protocol ({type(error).__name__})")
