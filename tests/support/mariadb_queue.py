"""Queues on a private MariaDB, as the service and a producer reach them."""

from __future__ import annotations

import asyncio

from mailculator.demo.mariadbd import PrivateMariadb
from tests.support import mariadb
from tests.support.producer import MariadbProducer
from tests.support.scenario import Queue, Variables, apply_schema


def mariadb_variables(server: PrivateMariadb, database: str) -> Variables:
    """What leads the service there."""
    return {
        "MYSQL_PIPELINES_ENABLED": "true",
        "MYSQL_HOST": server.host,
        "MYSQL_PORT": server.port,
        "MYSQL_USER": server.user,
        "MYSQL_PASSWORD": server.password,
        "MYSQL_DATABASE": database,
    }


async def new_mariadb_queue(server: PrivateMariadb, database: str) -> Queue:
    """A new database with the current schema. Its producer's session is the caller's."""
    await asyncio.to_thread(mariadb.execute, server, "mysql", f"CREATE DATABASE {database}")
    variables = mariadb_variables(server, database)
    await apply_schema(variables)
    producer = await asyncio.to_thread(MariadbProducer, port=server.port, database=database)
    return Queue("mysql", variables, producer)
