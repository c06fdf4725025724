"""What a verb makes MariaDB read does not grow with the queue: with neither what waits nor what is finished."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks import deep_queue, verb_costs
from benchmarks.deep_queue import DeepQueue
from benchmarks.mail_queues import mariadb_queue
from benchmarks.verb_costs import BATCH, CLAIM, Cost, costs
from mailculator import config
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.model import Status
from mailculator.stores import mariadb_pages, registry
from mailculator.stores.base import Store
from tests.support import mariadb

SHALLOW = 2 * BATCH
DEEP = 20 * BATCH
Costs = Mapping[str, Cost]


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture(scope="module")
async def queue(server: PrivateMariadb, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DeepQueue]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verb_costs, "REPEATS", 1)
        patch.setattr(deep_queue, "settle", _at_once)  # no count of rows depends on what else the server does
        async with mariadb_queue(server) as opened:
            yield DeepQueue(server, opened, tmp_path_factory.mktemp("letters"), files=2)


@pytest.fixture
async def another(server: PrivateMariadb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DeepQueue]:
    """A queue of one email."""
    monkeypatch.setattr(deep_queue, "settle", _at_once)
    async with mariadb_queue(server) as opened:
        queue = DeepQueue(server, opened, tmp_path, files=1)
        await queue.deepen(1, 0)
        yield queue


async def _at_once(_: PrivateMariadb) -> None:
    return None


@pytest.fixture(scope="module")
async def depths(queue: DeepQueue) -> tuple[Costs, Costs]:
    """Shallow, and then deep."""
    found = []
    for depth in (SHALLOW, DEEP):
        await queue.deepen(depth, depth)
        found.append(await costs(queue))
    return found[0], found[1]


def test_only_counts_read_more_where_more_waits(depths: tuple[Costs, Costs]) -> None:
    shallow, deep = depths
    assert shallow[CLAIM].rows >= BATCH  # or nothing is measured
    dearer = {verb for verb, cost in deep.items() if cost.rows > 1.1 * shallow[verb].rows + BATCH}
    assert dearer == {"counts"}


def test_the_queue_is_as_deep_as_it_was_asked_to_be(queue: DeepQueue, depths: tuple[Costs, Costs]) -> None:
    standing = dict(queue.execute("SELECT status, COUNT(*) FROM emails GROUP BY status"))
    purged = 2 * BATCH  # one at each depth
    assert standing == {"READY": DEEP, "SENT-ACKNOWLEDGED": DEEP - purged}
    gaps = (
        "SELECT COUNT(*) FROM emails WHERE status = 'READY' AND version - 1 <>"
        " (SELECT COUNT(*) FROM email_status_history WHERE email_id = emails.id AND version IS NOT NULL)"
    )
    assert queue.execute(gaps) == ((0,),)


@pytest.mark.parametrize("below", ["4", "d"], ids=["a quarter", "most"])
async def test_a_page_of_a_domain_reads_no_more_than_itself(
    queue: DeepQueue, depths: tuple[Costs, Costs], below: str
) -> None:
    """However much of the mail goes to that domain, and however far on the page is."""
    part = f"UPDATE emails SET recipient_domain = IF(RIGHT(id, 1) < '{below}', 'example.net', 'example.org')"
    queue.execute(part, "ANALYZE TABLE emails")
    async with opened(queue) as store:
        for after in ("3", "5", "8"):
            before = read(queue.server)
            rows = await store.page(domain="example.net", after=after)
            assert read(queue.server) - before < 3 * len(rows)
            assert len(rows) == 50
            assert rows[0].id > after


async def test_a_list_reads_little_wherever_its_ids_lie(
    queue: DeepQueue, depths: tuple[Costs, Costs], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a thousand emails at the end of all ids, and most of them at the beginning: neither is walked through."""
    monkeypatch.setattr(mariadb_pages, "STRETCH", 100)
    monkeypatch.setattr(mariadb_pages, "LOOKED_UP", 100)
    total = sum(count for _, count in queue.execute("SELECT status, COUNT(*) FROM emails GROUP BY status"))
    queue.execute("UPDATE emails SET status = 'SENT', recipient_domain = 'a.example'")
    ids = [email_id for (email_id,) in queue.execute("SELECT id FROM emails ORDER BY id DESC LIMIT 20")]
    queue.execute(f"UPDATE emails SET status = 'FAILED' WHERE id >= '{ids[-1]}'", "ANALYZE TABLE emails")
    async with opened(queue) as store:
        for status, after, rows in (
            (Status.FAILED, None, 20),
            (Status.FAILED, ids[5], 5),
            (Status.INVALID, None, 0),
            (Status.SENT, None, 50),
            (Status.SENT, "8", 50),
        ):
            for domain in (None, "a.example"):
                before = read(queue.server)
                assert len(await store.page(status, domain=domain, after=after)) == rows
                assert read(queue.server) - before < 1000 < total / 10


async def test_of_many_in_a_status_those_to_a_domain_are_found_though_they_are_the_last(
    queue: DeepQueue, depths: tuple[Costs, Costs], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mariadb_pages, "STRETCH", 100)
    monkeypatch.setattr(mariadb_pages, "LOOKED_UP", 100)
    ids = [email_id for (email_id,) in queue.execute("SELECT id FROM emails ORDER BY id")]
    queue.execute(
        "UPDATE emails SET status = 'SENT', recipient_domain = 'b.example'",
        f"UPDATE emails SET status = 'FAILED', recipient_domain = 'a.example' WHERE id >= '{ids[-3000]}'",
        f"UPDATE emails SET recipient_domain = 'b.example' WHERE id > '{ids[-20]}'",
        "ANALYZE TABLE emails",
    )
    async with opened(queue) as store:
        rows = await store.page(Status.FAILED, domain="b.example")
        assert [row.id for row in rows] == ids[-19:]
        # Their entries are all read; as most of them go there, not many of their rows are.
        before = read(queue.server)
        assert len(await store.page(Status.FAILED, domain="a.example")) == 50
        assert read(queue.server) - before < 3000 + 4 * 100


async def test_mail_of_unknown_outcome_is_found_without_reading_the_rest(
    queue: DeepQueue, depths: tuple[Costs, Costs]
) -> None:
    queue.execute(
        "UPDATE emails SET last_error = NULL, reason = NULL",
        "UPDATE emails SET status = 'READY', last_error = 'outcome unknown: x' WHERE id LIKE '%00f'",
        "UPDATE emails SET status = 'FAILED-ACKNOWLEDGED', reason = 'outcome unknown: y' WHERE id LIKE '%00e'",
        "UPDATE emails SET last_error = '421 later', reason = '550 no' WHERE id LIKE '%d'",
    )
    [(there,)] = queue.execute("SELECT COUNT(*) FROM emails WHERE id LIKE '%00f' OR id LIKE '%00e'")
    assert there > 2
    async with opened(queue) as store:
        before = read(queue.server)
        assert len(await store.page(unknown=True)) == there
        assert read(queue.server) - before <= 4 * there


@asynccontextmanager
async def opened(queue: DeepQueue) -> AsyncIterator[Store]:
    settings = config.load(dict(queue.queue.variables), needs={"store"})
    store = await registry.backend("mysql").open_store(settings, service=False)
    try:
        yield store
    finally:
        await store.close()


def read(server: PrivateMariadb) -> int:
    """Entries of indexes that the server has read; those that it threw away by itself have a counter of their own."""
    return sum(deep_queue.status(server, name) for name in ("Handler_icp_attempts", "Handler_read_next"))


async def test_mail_that_did_not_do_well_is_a_fault(another: DeepQueue) -> None:
    queue, since = another, another.queue.last_note()
    [(email_id,)] = queue.execute("SELECT id FROM emails")
    assert queue.faults(since, taken=0) == []
    queue.execute(f"UPDATE emails SET status = 'PROCESSING' WHERE id = '{email_id}'")
    assert queue.faults(since, taken=0) == ["1 emails stand at PROCESSING"]
    move = "INSERT INTO email_status_history (email_id, status, version) VALUES"
    queue.execute(
        f"UPDATE emails SET status = 'SENT' WHERE id = '{email_id}'",
        *(f"{move} ('{email_id}', 'SENT', {version})" for version in (91, 93)),  # called back in vain in between
    )
    assert queue.faults(since, taken=1) == []
    assert queue.faults(since, taken=2) == ["1 are on record as sent, the sink took 2"]
    assert queue.acknowledged(since) == []
    queue.execute(f"{move} ('{email_id}', 'SENT-ACKNOWLEDGED', 95)")
    assert len(queue.acknowledged(since)) == 1
