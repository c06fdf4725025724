"""TLS to a MariaDB that has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import StoreUnavailable
from mailculator.stores.mariadb import endpoint
from mailculator.stores.mariadb_connection import Endpoint, TlsMode, tls_context
from mailculator.stores.mariadb_door import connect
from tests.support import mariadb
from tests.support.certificates import make_certificates


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[PrivateMariadb, Path]]:
    directory = tmp_path_factory.mktemp("tls")
    certificates = make_certificates(directory)
    made = certificates.ca.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    made.private_key_pem.write_to_path(directory / "key.pem")
    arguments = (f"--ssl-cert={directory / 'cert.pem'}", f"--ssl-key={directory / 'key.pem'}")
    async with PrivateMariadb(arguments=arguments) as running:
        yield running, certificates.ca_file


def target(server: PrivateMariadb, mode: TlsMode, ca_file: Path | None) -> Endpoint:
    return replace(endpoint(mariadb.settings_for(server, "mysql")), tls=tls_context(mode, ca_file))


async def cipher(end: Endpoint) -> str:
    connection = await connect(end)
    try:
        return str((await connection.execute("test", "SHOW SESSION STATUS LIKE 'Ssl_cipher'")).rows[0][1])
    finally:
        connection.close()


async def test_a_verified_connection_is_encrypted(server: tuple[PrivateMariadb, Path]) -> None:
    assert await cipher(target(server[0], "true", server[1])) != ""


async def test_an_unverified_one_is_encrypted_as_well(server: tuple[PrivateMariadb, Path]) -> None:
    assert await cipher(target(server[0], "skip-verify", None)) != ""


async def test_none_was_asked_for_and_none_is_used(server: tuple[PrivateMariadb, Path]) -> None:
    assert await cipher(target(server[0], "false", None)) == ""


async def test_a_certificate_of_another_ca_is_refused(server: tuple[PrivateMariadb, Path]) -> None:
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await connect(target(server[0], "true", None))


async def test_a_certificate_for_another_name_is_refused(server: tuple[PrivateMariadb, Path]) -> None:
    with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await connect(replace(target(server[0], "true", server[1]), host="localhost"))
