"""The pool and its connections against real servers: silent ones, broken ones, and MariaDB itself."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import ConfigError, StoreUnavailable
from mailculator.stores.mariadb import endpoint
from mailculator.stores.mariadb_connection import Connection, Endpoint, tls_context
from mailculator.stores.mariadb_door import connect
from mailculator.stores.mariadb_errors import Aborted, CommitLost, Lost
from mailculator.stores.mariadb_pool import MAX_AGE, Pool, Session
from tests.support import mariadb


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture(scope="session")
async def settings(server: PrivateMariadb) -> Settings:
    return await mariadb.new_database(server)


@pytest.fixture
def target(settings: Settings) -> Endpoint:
    return endpoint(settings)


@asynccontextmanager
async def pool_of(
    size: int,
    opener: Callable[[], Awaitable[Connection]],
    *,
    timeout: float = 10.0,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Pool]:
    pool = Pool(opener, size=size, timeout=timeout, clock=clock, rng=random.Random(1))
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def listener(greeting: bytes = b"") -> AsyncIterator[int]:
    """A server that accepts, says `greeting` and then nothing."""
    writers: list[asyncio.StreamWriter] = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(greeting)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)


async def connection_id(session: Session) -> int:
    return int((await session.execute("SELECT CONNECTION_ID()")).rows[0][0])


async def test_a_silent_server_keeps_no_free_connection_from_a_waiter(target: Endpoint) -> None:
    async with listener() as port:
        ways = iter([target, replace(target, port=port)])
        async with pool_of(2, lambda: connect(next(ways))) as pool:
            waits = asyncio.Event()

            async def wait_for_one() -> int:
                waits.set()
                async with pool.session("test") as session:
                    return await connection_id(session)

            async with pool.session("test") as first:
                number = await connection_id(first)
                waiting = asyncio.create_task(wait_for_one())
                await waits.wait()
            # The second connection is still being opened, and will be for seconds; the first came back just now.
            assert await asyncio.wait_for(waiting, 2.0) == number
            assert pool.open_connections == 2


async def test_a_handshake_that_never_comes_ends_in_time(target: Endpoint) -> None:
    async with listener() as port:
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} did not answer within 0.05 s"):
            await connect(replace(target, port=port, timeout=0.1))


async def test_something_else_that_listens_there_is_named_as_such(target: Endpoint) -> None:
    async with listener(b"\x05\x00\x00\x00HTTP/") as port:
        with pytest.raises(StoreUnavailable, match="does not speak MariaDB's protocol"):
            await connect(replace(target, port=port))


async def test_a_wrong_password_is_the_servers_trouble_and_stays_secret(target: Endpoint) -> None:
    with pytest.raises(StoreUnavailable, match="Access denied") as caught:
        await connect(replace(target, password="hunter2-canary"))
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(replace(target, password="hunter2-canary"))


async def test_every_caller_hears_of_a_server_that_is_away(target: Endpoint) -> None:
    async with listener() as port:
        pass
    async with pool_of(2, partial(connect, replace(target, port=port))) as pool:

        async def call() -> None:
            async with pool.session("counts") as session:
                await session.execute("SELECT 1")

        results = await asyncio.gather(*(call() for _ in range(7)), return_exceptions=True)
        assert [type(result) for result in results] == [Lost] * 7
        assert {str(result).split(":")[0] for result in results} == {"mysql counts"}
        assert pool.open_connections == 0


async def test_the_session_is_ours_whatever_the_server_has_as_default(server: PrivateMariadb, target: Endpoint) -> None:
    text = "back\\slash ' quote \" % \\' \U0001f4e7"
    mariadb.execute(server, "mysql", "SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'")
    try:
        async with pool_of(1, partial(connect, target)) as pool, pool.session("test") as session:
            echo = await session.execute("SELECT %s", (text,))
            values = await session.execute(
                "SELECT @@tx_isolation, @@time_zone, @@autocommit, @@sql_mode, @@max_statement_time,"
                " @@innodb_lock_wait_timeout, @@character_set_client"
            )
    finally:
        mariadb.execute(server, "mysql", "SET GLOBAL sql_mode = DEFAULT")
    assert echo.rows == ((text,),)
    isolation, zone, autocommit, mode, limit, lock_wait, charset = values.rows[0]
    assert (isolation, zone, autocommit, charset) == ("READ-COMMITTED", "+00:00", 1, "utf8mb4")
    assert mode == "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"
    assert lock_wait < float(limit) < target.timeout


@pytest.mark.parametrize("odd", ["a','b", "a'b", "a\\", "\\'", 'a"b', "a\0b", "è-1", "", "a b", "%s"])
async def test_a_list_of_texts_holds_no_other_text(target: Endpoint, odd: str) -> None:
    async with pool_of(1, partial(connect, target)) as pool, pool.session("test") as session:
        found = await session.execute(
            "SELECT %s IN %s, 'a' IN %s, 'p-1' IN %s", (odd, ["p-1", odd], ["p-1", odd], [odd, "p-1"])
        )
        assert found.rows == ((1, 0, 1),)
        assert (await session.execute("SELECT 2 IN %s, 'a' IN %s", ([1, 2], ["b", None]))).rows == ((1, None),)


async def test_values_are_those_that_the_driver_reads(server: PrivateMariadb, target: Endpoint) -> None:
    sql = (
        "SELECT 1, -9223372036854775808, 18446744073709551615, 1.50, 1e3, NULL, '', REPEAT('x', 70000), 'però 📧',"
        " UNHEX('00FF'), NOW(6), NOW(), NOW(2), TIMESTAMP('0000-00-00'), CURRENT_DATE, TIME('-25:06:17.5'), b'101',"
        " YEAR(NOW()), CAST(1 AS FLOAT), CAST('a' AS CHAR CHARACTER SET latin1), JSON_ARRAY(1), TRUE"
        " FROM (SELECT 1 UNION ALL SELECT 2) AS twice"
    )
    with mariadb.connect(server, target.database) as plain, plain.cursor() as cursor:
        cursor.execute("SET SESSION timestamp = 1795860000.25, time_zone = '+00:00'")
        cursor.execute(sql)
        expected = cursor.fetchall()
    async with pool_of(1, partial(connect, target)) as pool, pool.session("test") as session:
        await session.execute("SET SESSION timestamp = 1795860000.25")
        assert await session.execute(sql) == (expected, 2)


async def test_one_call_is_one_statement(target: Endpoint) -> None:
    async with pool_of(1, partial(connect, target)) as pool:
        with pytest.raises(Exception, match="error 1064"):
            async with pool.session("test") as session:
                await session.execute("SELECT 1; SELECT 2")


async def test_a_storm_of_cancellations_mixes_up_no_answers_and_leaks_no_connection(target: Endpoint) -> None:
    rng = random.Random(7)
    async with pool_of(4, partial(connect, target)) as pool:

        async def ask(number: int) -> int | None:
            # A third is never interrupted: however slow the machine, some get their answers.
            patience = rng.uniform(0.0, 0.2) if number % 3 else None
            try:
                async with asyncio.timeout(patience), pool.session("test") as session:
                    result = await session.execute("SELECT %s, SLEEP(%s)", (number, rng.uniform(0.0, 0.01)))
            except TimeoutError:
                return None
            return int(result.rows[0][0])

        answers = await asyncio.gather(*(ask(number) for number in range(300)))
        got = [(number, answer) for number, answer in enumerate(answers) if answer is not None]
        assert 100 <= len(got) < 300
        assert all(number == answer for number, answer in got)
        assert pool.open_connections <= 4
        # All four places can still be used at once.
        async with asyncio.timeout(10):
            numbers = await asyncio.gather(*(ask_without_end(pool) for _ in range(4)))
        assert len(set(numbers)) == 4


async def ask_without_end(pool: Pool) -> int:
    async with pool.session("test") as session:
        await session.execute("SELECT SLEEP(0.05)")
        return await connection_id(session)


async def test_whoever_waits_too_long_is_told_and_takes_no_connection_along(target: Endpoint) -> None:
    async with pool_of(1, partial(connect, target), timeout=0.05) as pool:
        async with pool.session("test") as session:
            number = await connection_id(session)
            with pytest.raises(StoreUnavailable, match=r"mysql claim: no connection came free within 0.05 s"):
                async with pool.session("claim"):
                    pytest.fail("there was none")
        async with pool.session("test") as session:
            assert await connection_id(session) == number


async def test_an_old_connection_is_not_used_again(target: Endpoint) -> None:
    now = [0.0]
    async with pool_of(1, partial(connect, target), clock=lambda: now[0]) as pool:
        numbers = []
        for age in (0.0, MAX_AGE - 1, MAX_AGE):
            now[0] = age
            async with pool.session("test") as session:
                numbers.append(await connection_id(session))
    assert numbers[0] == numbers[1] != numbers[2]


async def test_one_lost_connection_takes_its_idle_siblings_along(server: PrivateMariadb, target: Endpoint) -> None:
    async with pool_of(3, partial(connect, target)) as pool:
        numbers = await asyncio.gather(*(ask_without_end(pool) for _ in range(3)))

        async def lose_one() -> None:
            async with pool.session("test") as session:
                mine = await connection_id(session)
                mariadb.execute(server, "mysql", f"KILL {mine}")
                await session.execute("SELECT 1")

        with pytest.raises(Lost):
            await lose_one()
        assert pool.open_connections == 0
        async with pool.session("test") as session:
            assert await connection_id(session) not in numbers


async def test_a_connection_that_the_server_closed_meanwhile_costs_no_call(
    server: PrivateMariadb, target: Endpoint
) -> None:
    opened: list[Connection] = []

    async def opener() -> Connection:
        opened.append(await connect(target))
        return opened[-1]

    async with pool_of(1, opener) as pool:
        async with pool.session("test") as session:
            number = await connection_id(session)
        mariadb.execute(server, "mysql", f"KILL {number}")
        async with asyncio.timeout(5):
            while opened[0].usable:
                await asyncio.sleep(0)
        async with pool.session("test") as session:
            assert await connection_id(session) != number


async def test_a_real_deadlock_is_run_again(target: Endpoint) -> None:
    async with pool_of(2, partial(connect, target)) as pool:
        async with pool.session("test") as session:
            await session.execute("CREATE OR REPLACE TABLE pair (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB")
            await session.execute("INSERT INTO pair VALUES (1, 0), (2, 0)")
        locked = {1: asyncio.Event(), 2: asyncio.Event()}
        attempts: list[int] = []

        async def add(first: int, second: int, session: Session) -> None:
            attempts.append(first)
            await session.execute("UPDATE pair SET n = n + 1 WHERE id = %s", (first,))
            locked[first].set()
            await locked[second].wait()
            await session.execute("UPDATE pair SET n = n + 1 WHERE id = %s", (second,))

        await asyncio.gather(pool.run("test", partial(add, 1, 2)), pool.run("test", partial(add, 2, 1)))
        assert len(attempts) >= 3
        async with pool.session("test") as session:
            assert (await session.execute("SELECT n FROM pair")).rows == ((2,), (2,))


async def test_a_changed_snapshot_is_to_be_run_again(server: PrivateMariadb, target: Endpoint) -> None:
    mariadb.execute(server, target.database, "CREATE OR REPLACE TABLE single (id INT PRIMARY KEY, n INT) ENGINE=InnoDB")
    mariadb.execute(server, target.database, "INSERT INTO single VALUES (1, 0)")
    async with pool_of(1, partial(connect, target)) as pool, pool.session("test") as session:
        await session.execute("SET SESSION innodb_snapshot_isolation = ON")
        await session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await session.execute("START TRANSACTION")
        await session.execute("SELECT n FROM single")
        mariadb.execute(server, target.database, "UPDATE single SET n = 1")
        with pytest.raises(Aborted, match="error 1020"):
            await session.execute("SELECT n FROM single FOR UPDATE")


async def test_a_failed_transaction_leaves_nothing_and_no_lock(server: PrivateMariadb, target: Endpoint) -> None:
    mariadb.execute(server, target.database, "CREATE OR REPLACE TABLE single (id INT PRIMARY KEY, n INT) ENGINE=InnoDB")
    async with pool_of(1, partial(connect, target)) as pool:

        async def fail(session: Session) -> None:
            await session.execute("INSERT INTO single VALUES (1, 0)")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await pool.run("test", fail)
        assert pool.open_connections == 0
        async with pool.transaction("test") as session:
            await session.execute("INSERT INTO single VALUES (1, 1)")
    assert mariadb.execute(server, target.database, "SELECT * FROM single") == ((1, 1),)


async def test_all_statements_of_a_verb_share_one_deadline(target: Endpoint) -> None:
    """Each of them answers in time; together they would take as long as there are statements."""
    done: list[int] = []

    async def drag(session: Session) -> None:
        for number in range(20):
            await session.execute("SELECT SLEEP(0.2)")
            done.append(number)

    async with pool_of(2, partial(connect, target), timeout=1.0) as pool:
        with pytest.raises(StoreUnavailable, match="mysql claim: no"):
            await pool.run("claim", drag)
        assert pool.open_connections == 0
        assert 0 < len(done) <= 5


async def test_all_tries_of_a_verb_share_one_deadline(target: Endpoint) -> None:
    tried: list[int] = []

    async def meet(session: Session) -> None:
        tried.append(1)
        await session.execute("SELECT SLEEP(0.3)")
        raise Aborted("mysql", "claim", "deadlock")

    async with pool_of(2, partial(connect, target), timeout=0.7) as pool:
        with pytest.raises(StoreUnavailable) as caught:
            await pool.run("claim", meet, tries=100)
        assert not isinstance(caught.value, Aborted)
        assert 0 < len(tried) <= 3


async def test_all_transactions_of_a_verb_share_one_deadline(target: Endpoint) -> None:
    done: list[int] = []

    async def one(session: Session) -> None:
        await session.execute("SELECT SLEEP(0.2)")
        done.append(1)

    async def many(pool: Pool) -> None:
        with pool.verb():
            for _ in range(20):
                await pool.run("purge", one)

    async with pool_of(1, partial(connect, target), timeout=1.0) as pool:
        with pytest.raises(StoreUnavailable):
            await many(pool)
        assert 0 < len(done) <= 5
        await pool.run("purge", one)


async def test_a_commit_that_takes_all_the_time_there_is_may_have_been_applied(target: Endpoint) -> None:
    pool = Pool(partial(connect, target), size=1, timeout=5.0, rng=random.Random(1))
    try:
        with pytest.raises(CommitLost):
            async with pool.transaction("claim") as session:
                # The COMMIT is sent with next to no time left for its answer.
                session._left = lambda op: 1e-9
    finally:
        await pool.close()


async def test_tls_that_the_server_does_not_offer_is_refused(target: Endpoint) -> None:
    for mode in ("true", "skip-verify"):
        with pytest.raises(StoreUnavailable, match="TLS was asked for and the server offers none"):
            await connect(replace(target, tls=tls_context(mode, None)))


def test_a_ca_file_that_is_none_is_a_bad_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="MAILCULATOR_MYSQL_CA_FILE: cannot be used"):
        tls_context("true", tmp_path / "missing.pem")
    assert tls_context("false", None) is None
    assert isinstance(tls_context("true", None), ssl.SSLContext)
