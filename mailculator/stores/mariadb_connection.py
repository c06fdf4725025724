"""One connection to MariaDB: aiomysql's, with TLS that cannot fail open, and errors of ours."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import aiomysql
from pymysql.constants import CLIENT
from pymysql.err import MySQLError, OperationalError

from mailculator.errors import ConfigError, Problem
from mailculator.stores.mariadb_errors import Lost, translate
from mailculator.stores.mariadb_wire import Replies, Result, query

TlsMode = Literal["false", "true", "skip-verify"]

_AUTOCOMMIT = "SET autocommit = 1"
_TRANSACTIONS = "SET autocommit = 0"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the database is and how to get in.

    Arguments:
        tls: None for a connection in clear.
        timeout: seconds for one statement; connecting gets half of it.
        store: the store's name, for errors.
    """

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    tls: ssl.SSLContext | None
    timeout: float
    store: str = "mysql"


def tls_context(mode: TlsMode, ca_file: Path | None) -> ssl.SSLContext | None:
    """The TLS to ask for.

    Errors: ConfigError when the CA file cannot be used.
    """
    if mode == "false":
        return None
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:
        message = f"cannot be used: {error.strerror or error}"
        raise ConfigError([Problem("MAILCULATOR_MYSQL_CA_FILE", message)]) from error
    # Some builds of Python leave it to OpenSSL's own configuration, Debian's among them.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if mode == "skip-verify":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Driver(aiomysql.Connection):  # type: ignore[misc]  # aiomysql ships no types
    """aiomysql's connection, where it is too trusting."""

    _writer: Any
    _reader: Any
    _replies: Replies

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            # aiomysql encodes it as Latin-1 wherever a password goes; servers and all other clients mean UTF-8.
            password=endpoint.password.encode("utf-8", "surrogateescape").decode("latin-1"),
            db=endpoint.database,
            charset="utf8mb4",
            autocommit=True,
            local_infile=False,
            ssl=endpoint.tls,
            program_name="mailculator",
        )
        # aiomysql always allows several statements in one; an injected second one would run.
        self.client_flag &= ~CLIENT.MULTI_STATEMENTS

    async def open(self) -> None:
        """Connect and log in. Errors: MySQLError, OSError, and what else aiomysql meets, after which it is closed."""
        try:
            await self._connect()
            self._replies = Replies(self._reader, self.server_status)
        except BaseException:
            # aiomysql does not clean up when the TLS handshake is cancelled.
            self.close()
            raise
        if self._ssl_context is not None and not self.encrypted:
            self.close()
            raise OperationalError(2026, "TLS was asked for and the connection is not encrypted")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is in use."""
        return self._writer is not None and self._writer.get_extra_info("ssl_object") is not None

    @property
    def at_end(self) -> bool:
        """Whether the server has closed it; nobody is told while it lies idle."""
        return self._writer is None or self._reader.at_eof() or self._writer.is_closing()

    async def fetch(self, statements: Sequence[str]) -> list[Result]:
        """Send them all, and then read the replies: each is run whatever has become of those before it.

        Errors: of the first that was refused, as Replies.next, when all have been answered; MySQLError when it is
        closed.
        """
        if len(statements) > 1 and not self.pipelines:
            return [result for sql in statements for result in await self.fetch((sql,))]
        self._ensure_alive()
        self._writer.write(b"".join(map(query, statements)))
        results: list[Result] = []
        refusal: MySQLError | None = None
        for _ in statements:
            try:
                results.append(await self._replies.next())
            except MySQLError as error:
                refusal = refusal or error
            except OSError as error:
                # A server that ends says why, and goes.
                raise refusal or error from error
        # The driver escapes by it.
        self.server_status = self._replies.status
        if refusal is not None:
            raise refusal
        return results

    @property
    def pipelines(self) -> bool:
        """Whether it takes a statement before the last one is answered. MySQL's clouds have proxies that do not."""
        return "MariaDB" in self.get_server_info()

    def close(self) -> None:
        """At once: an orderly end of TLS would wait for a peer that may be gone."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer = None
        self._reader = None

    async def _request_authentication(self) -> None:
        # aiomysql goes on in clear when the server, or somebody in between, offers no TLS.
        if self._ssl_context is not None and not self.server_capabilities & CLIENT.SSL:
            raise OperationalError(2026, "TLS was asked for and the server offers none")
        await super()._request_authentication()

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        # Whoever poses as the server on a connection in clear could ask for the password itself.
        if plugin_name in (b"mysql_clear_password", b"mysql_old_password") and not self.encrypted:
            raise OperationalError(2059, "the server asks for the password in clear on a connection without TLS")
        return await super()._process_auth(plugin_name, auth_packet)


class Connection:
    """An open connection. After any error but the server's own refusal of a statement it must be closed.

    Arguments:
        opened_at: when, on the pool's clock.
        generation: the pool's count of lost servers at that time.
    """

    def __init__(self, driver: Driver, endpoint: Endpoint) -> None:
        self.opened_at = 0.0
        self.generation = 0
        self._driver = driver
        self._endpoint = endpoint
        self._autocommit: bool | None = None

    @property
    def usable(self) -> bool:
        """False once either side has closed it."""
        return not self._driver.at_end

    async def execute(self, op: str, sql: str, parameters: Sequence[object] = (), *, left: float = math.inf) -> Result:
        """Run one statement in autocommit mode; `%s` marks a parameter, and a sequence is one: `IN %s`.

        Arguments:
            left: seconds that the answer may take, where that is less than the endpoint's timeout.

        Errors: those of mariadb_errors, and StoreRejected.
        """
        return (await self.execute_all(op, [self.filled(sql, parameters)], left=left))[0]

    async def execute_all(
        self, op: str, statements: Sequence[str], *, autocommit: bool = True, left: float = math.inf
    ) -> list[Result]:
        """Run statements that are sent in one go: each is run whatever has become of those before it.

        Arguments:
            autocommit: False for a part of a transaction. With it off, what follows when the server has given one up
                is a transaction, too, and not committed before somebody says so.

        Errors: of the first that failed, as `execute`.
        """
        switch = [] if autocommit is self._autocommit else [_AUTOCOMMIT if autocommit else _TRANSACTIONS]
        store = self._endpoint.store
        try:
            async with asyncio.timeout(min(left, self._endpoint.timeout)):
                results = await self._driver.fetch([*switch, *statements])
        except TimeoutError as error:
            raise Lost(store, op, f"no answer within {self._endpoint.timeout:g} s") from error
        except (MySQLError, OSError) as error:
            raise translate(error, store, op) from error
        self._autocommit = autocommit
        return results[len(switch) :]

    def filled(self, sql: str, parameters: Sequence[object]) -> str:
        """A statement with its parameters in their places; without any, `%` stands for itself."""
        return sql % tuple(map(self.literal, parameters)) if parameters else sql

    def literal(self, value: object) -> str:
        """A parameter as it stands in a statement, for those that are put together from a few that recur."""
        if isinstance(value, list):
            with suppress(TypeError):
                return f"({','.join(self.literals(value))})"
        return str(self._driver.escape(value))

    def literals(self, values: Sequence[str]) -> list[str]:
        """Texts as they stand in a statement: ids hold nothing to escape, and one look at all of them tells.

        Errors: TypeError when one of them is no text.
        """
        together = "".join(values).replace("-", "")
        if together.isascii() and together.isalnum():
            return [f"'{value}'" for value in values]
        return [str(self._driver.escape(value)) for value in values]

    def close(self) -> None:
        """Drop it at once; the server rolls back what was not committed."""
        self._driver.close()
