"""MariaDB's password is changed there and then in its file: what is open goes on, and what is opened logs in."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mailculator.config import Settings, load
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreUnavailable
from mailculator.model import Status
from mailculator.stores.mariadb import MariadbStore, open_schema, open_store
from tests.contract.steps import enqueue
from tests.support import mariadb

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


class Account:
    """A user of its own, whose password can be changed, and whose connections can be cut."""

    def __init__(self, server: PrivateMariadb, name: str) -> None:
        self.name = name
        self._server = server

    def run(self, statement: str, *values: str) -> list[tuple[object, ...]]:
        with closing(mariadb.connect(self._server, "mysql")) as root, root.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def change(self, password: str) -> None:
        """From now on; whoever is connected stays so until `cut`."""
        self.run(f"ALTER USER {self.name}@'127.0.0.1' IDENTIFIED BY %s", password)

    def cut(self) -> None:
        for (number,) in self.run("SELECT id FROM information_schema.processlist WHERE user = %s", self.name):
            self.run(f"KILL {number}")


async def refusal(store: MariadbStore) -> str:
    """What a store says that may not log in; its connections that were cut are met first."""
    said = ""
    for _ in range(5):
        with pytest.raises(StoreUnavailable) as refused:
            await store.counts()
        said = str(refused.value)
        if "error 1045" in said:
            break
    return said


@pytest.fixture
def password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "password"
    path.write_text("old\n")
    monkeypatch.setenv("MYSQL_PASSWORD_FILE", str(path))
    return path


@pytest.fixture
async def account(server: PrivateMariadb) -> Account:
    return Account(server, f"u{uuid.uuid4().hex[:8]}")


@pytest.fixture
async def settings(server: PrivateMariadb, account: Account, password: Path) -> Settings:
    database = (await mariadb.new_database(server)).mysql_database
    account.run(f"CREATE USER {account.name}@'127.0.0.1' IDENTIFIED BY %s", "old")
    account.run(f"GRANT ALL ON {database}.* TO {account.name}@'127.0.0.1'")
    given = {
        "MYSQL_HOST": server.host,
        "MYSQL_PORT": str(server.port),
        "MYSQL_USER": account.name,
        "MYSQL_PASSWORD_FILE": str(password),
        "MYSQL_DATABASE": database,
    }
    return load(given, needs={"mysql"})


async def test_the_databases_password_is_taken_from_its_file_when_the_old_one_is_refused(
    settings: Settings, account: Account, password: Path
) -> None:
    store = await open_store(settings, service=True)
    try:
        await enqueue(store, 3)
        account.change("new-€")
        account.cut()
        assert "error 1045" in await refusal(store)

        password.write_text("new-€\n")

        assert (await store.counts())[Status.ACCEPTED].count == 3
    finally:
        await store.close()
    # And whoever was started with the old one finds the schema all the same.
    assert (await open_schema(settings).state()).refusal is None


@pytest.mark.parametrize("wrong", [b"\xff", None])
async def test_a_password_file_that_cannot_be_read_changes_nothing(
    settings: Settings, account: Account, password: Path, wrong: bytes | None
) -> None:
    store = await open_store(settings, service=True)
    try:
        account.change("other")
        account.cut()
        if wrong is None:
            password.unlink()
        else:
            password.write_bytes(wrong)
        assert "error 1045" in await refusal(store)

        account.change("old")

        assert (await store.ping()).writable
    finally:
        await store.close()
