"""An id that stands in MariaDB and in another store is sent by one of them: real reservations, one side in memory."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from mailculator import lifecycle
from mailculator.config import Settings
from mailculator.demo.mariadbd import PrivateMariadb
from mailculator.errors import SchemaError, StoreUnavailable
from mailculator.events import StoreNoticed
from mailculator.lifecycle import INTAKE, SENDER, Failed, Invalid, Retry, Sent
from mailculator.model import Email, NewEmail, Status
from mailculator.stores import mariadb_claims, mariadb_reservations
from mailculator.stores.base import Enqueued, Recorded, Steered
from mailculator.stores.guard import DuplicateGuard
from mailculator.stores.mariadb import MariadbStore, open_store
from mailculator.stores.mariadb_pool import Session
from mailculator.stores.mariadb_tables import LAYOUT
from tests.contract.steps import rescue
from tests.support import mariadb
from tests.support.clock import FakeClock
from tests.support.dropping_proxy import DroppingProxy
from tests.support.events import Recording
from tests.support.mariadb_databases import Database
from tests.support.other_store import OtherStore

DAY = 86400
NOT_PAST_READY = [Status.ACCEPTED, Status.INTAKING, Status.READY, Status.INVALID]
TAKEN = [
    Status.PROCESSING,
    Status.SENT,
    Status.FAILED,
    Status.CALLING_SENT_CALLBACK,
    Status.CALLING_FAILED_CALLBACK,
    Status.SENT_ACKNOWLEDGED,
    Status.FAILED_ACKNOWLEDGED,
]


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[PrivateMariadb]:
    async with mariadb.shared_mariadb() as running:
        yield running


@pytest.fixture(scope="module")
async def settings(server: PrivateMariadb) -> Settings:
    return await mariadb.new_database(server)


@dataclass
class Bench:
    """MariaDB's store, the other one, and the guard between them."""

    server: PrivateMariadb
    settings: Settings
    clock: FakeClock
    told: Recording
    other: OtherStore
    guard: DuplicateGuard
    store: MariadbStore

    async def enqueue(self, count: int, status: Status = Status.READY, *, ttl: int | None = None) -> list[str]:
        """Emails on MariaDB alone."""
        ids = sorted(str(uuid.uuid4()) for _ in range(count))
        made = await self.store.enqueue([NewEmail(one, f"/p/{one}.json", ttl) for one in ids])
        assert made == [Enqueued.CREATED] * count
        self.stand(ids, status)
        return ids

    async def both(self, status: Status = Status.READY) -> str:
        """One email on both."""
        (email_id,) = await self.enqueue(1)
        self.other.put([email_id], status)
        return email_id

    async def claim(self, store: MariadbStore | None = None, *, lease: float = 60.0) -> dict[str, Email]:
        """What a claim of the sender hands out, by id."""
        claimed = await (store or self.store).claim(SENDER, 500, lease=lease, holder="me")
        return {email.id: email for email in claimed}

    async def finish(self, email: Email, outcome: lifecycle.Outcome | None = None) -> None:
        """What the sender does with a claimed email."""
        if outcome is None:
            outcome = Invalid(f"duplicate: in {email.duplicate_in}") if email.duplicate_in else Sent("250 ok")
        assert await self.store.record([lifecycle.move(email, outcome)]) == [Recorded.DONE]

    def sql(self, statement: str, *parameters: object) -> Sequence[tuple[object, ...]]:
        return mariadb.execute(self.server, self.settings.mysql_database, statement, parameters)

    def stand(self, ids: Sequence[str], status: Status) -> None:
        self.sql("UPDATE emails SET status = %s WHERE id IN %s", status, ids)

    def owner(self, email_id: str) -> object:
        found = self.sql("SELECT store FROM mailculator_reservations WHERE email_id = %s", email_id)
        return found[0][0] if found else None

    def kept_for(self, email_id: str) -> int:
        """Seconds."""
        ((left,),) = self.sql(
            "SELECT keep_until - UNIX_TIMESTAMP() FROM mailculator_reservations WHERE email_id = %s", email_id
        )
        assert isinstance(left, int)
        return left

    async def status(self, email_id: str) -> Status:
        row = await self.store.get(email_id)
        assert row is not None
        return row.status


async def guarded(settings: Settings, bench: Bench) -> MariadbStore:
    """One more store on the same queue, behind the same guard."""
    return await open_store(settings, service=False, observer=bench.told, guard=bench.guard)


@pytest.fixture
async def bench(server: PrivateMariadb, settings: Settings) -> AsyncIterator[Bench]:
    for table in ("emails", "mailculator_reservations"):
        mariadb.execute(server, settings.mysql_database, f"DELETE FROM {table}")
    clock, told, other = FakeClock(), Recording(), OtherStore()
    guard = DuplicateGuard(observer=told, clock=clock)
    store = await open_store(settings, service=True, observer=told, guard=guard)
    guard.joined("mysql", store)
    guard.joined("dynamodb", other)
    yield Bench(server, settings, clock, told, other, guard, store)
    await store.close()


@pytest.fixture
async def alone(settings: Settings, bench: Bench) -> AsyncIterator[MariadbStore]:
    """The same queue, with no other store in use."""
    opened = await open_store(settings, service=True, observer=bench.told)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(server: PrivateMariadb) -> AsyncIterator[DroppingProxy]:
    async with DroppingProxy(server.host, server.port) as running:
        yield running


@pytest.fixture
async def far(proxy: DroppingProxy, settings: Settings, bench: Bench) -> AsyncIterator[MariadbStore]:
    """The same queue, behind the proxy."""
    opened = await guarded(settings.model_copy(update={"mysql_port": proxy.port}), bench)
    yield opened
    await opened.close()


# Reservations


async def test_every_claim_of_the_sender_reserves_even_with_no_other_store_in_use(
    bench: Bench, alone: MariadbStore
) -> None:
    ids = await bench.enqueue(3)
    claimed = await bench.claim(alone)
    assert sorted(claimed) == ids
    assert bench.sql("SELECT email_id, store FROM mailculator_reservations ORDER BY email_id") == tuple(
        (email_id, "mysql") for email_id in ids
    )


async def test_a_claim_at_another_stage_reserves_nothing(bench: Bench) -> None:
    await bench.enqueue(1, Status.ACCEPTED)
    assert len(await bench.store.claim(INTAKE, 10, lease=60, holder="me")) == 1
    assert bench.sql("SELECT * FROM mailculator_reservations") == ()


async def test_a_claim_that_is_rolled_back_leaves_no_reservation(
    bench: Bench, far: MariadbStore, proxy: DroppingProxy
) -> None:
    (email_id,) = await bench.enqueue(1)
    proxy.drop_statement("COMMIT")
    with pytest.raises(StoreUnavailable):
        await bench.claim(far)
    assert await bench.status(email_id) == Status.READY
    assert bench.owner(email_id) is None


@pytest.mark.parametrize(
    ("ttl_in", "least"), [(None, 31 * DAY), (60, 31 * DAY), (60 * DAY, 62 * DAY)], ids=["none", "soon", "late"]
)
async def test_a_reservation_outlives_the_ttl_and_31_days(bench: Bench, ttl_in: int | None, least: int) -> None:
    ((now,),) = bench.sql("SELECT UNIX_TIMESTAMP()")
    assert isinstance(now, int)
    ttl = None if ttl_in is None else now + ttl_in
    (ours,) = await bench.enqueue(1, ttl=ttl)
    await bench.claim()
    assert least - 60 < bench.kept_for(ours) <= least
    await bench.guard.reserve([("theirs", ttl)])
    assert least - 60 < bench.kept_for("theirs") <= least


async def test_a_retry_and_a_requeue_keep_their_reservation_and_make_it_last_longer(bench: Bench) -> None:
    (email_id,) = await bench.enqueue(1)
    for outcome in (Retry("later", 0.0), Failed("no such user")):
        await bench.finish((await bench.claim())[email_id], outcome)
        bench.sql("UPDATE mailculator_reservations SET keep_until = 5")
    assert await bench.store.requeue([email_id], who="w", why="y", ttl_extension=60) == [Steered.DONE]
    bench.other.put([email_id], Status.SENT)
    assert (await bench.claim())[email_id].duplicate_in is None
    assert bench.owner(email_id) == "mysql"
    assert bench.kept_for(email_id) > 30 * DAY
    assert bench.other.looks == [[email_id]]


async def test_a_requeue_on_the_other_store_keeps_its_reservation(bench: Bench) -> None:
    email_id = await bench.both()
    assert await bench.guard.reserve([(email_id, None)]) == {email_id: None}
    bench.stand([email_id], Status.SENT)
    bench.sql("UPDATE mailculator_reservations SET keep_until = 5")
    assert await bench.guard.reserve([(email_id, 7)]) == {email_id: None}
    assert bench.kept_for(email_id) > 30 * DAY


async def test_ids_that_differ_in_case_or_in_length_do_not_meet(bench: Bench) -> None:
    email_id = "0123abcd-0000-4000-8000-000000000001"
    assert await bench.store.enqueue([NewEmail(email_id, "/p")]) == [Enqueued.CREATED]
    bench.stand([email_id], Status.READY)
    other, longest, too_long = email_id.upper(), "x" * 255, "x" * 256
    assert list(await bench.claim()) == [email_id]
    verdicts = await bench.guard.reserve([(one, None) for one in (other, longest, too_long, email_id)])
    assert verdicts == {other: None, longest: None, too_long: None, email_id: "mysql"}
    assert [bench.owner(one) for one in (other, longest, email_id)] == ["dynamodb", "dynamodb", "mysql"]


async def test_a_large_batch_is_reserved_as_one_whole(bench: Bench) -> None:
    ids = [f"id-{number}" for number in range(1200)]
    random.Random(3).shuffle(ids)
    assert await bench.guard.reserve([(email_id, None) for email_id in ids]) == dict.fromkeys(ids)
    assert bench.sql("SELECT COUNT(*) FROM mailculator_reservations WHERE store = 'dynamodb'") == ((1200,),)


# Who sends


async def test_what_the_other_store_has_reserved_is_given_up_here(bench: Bench) -> None:
    email_id = await bench.both()
    verdicts = await bench.other.claim([email_id], bench.guard)
    assert verdicts == {email_id: None}
    email = (await bench.claim())[email_id]
    assert email.duplicate_in == "dynamodb"
    await bench.finish(email)
    bench.other.finish(verdicts)
    assert await bench.status(email_id) == Status.INVALID
    assert [(event.store, event.email_id, event.detail) for event in bench.told.of(StoreNoticed)] == [
        ("mysql", email_id, "in dynamodb")
    ]


async def test_what_is_reserved_here_is_given_up_by_the_other_store(bench: Bench) -> None:
    email_id = await bench.both()
    assert (await bench.claim())[email_id].duplicate_in is None
    assert await bench.other.claim([email_id], bench.guard) == {email_id: "mysql"}
    assert bench.owner(email_id) == "mysql"


@pytest.mark.parametrize("status", TAKEN)
async def test_what_the_other_store_had_past_ready_before_there_was_a_reservation_is_its_own(
    bench: Bench, status: Status
) -> None:
    email_id = await bench.both(status)
    assert (await bench.claim())[email_id].duplicate_in == "dynamodb"
    assert bench.owner(email_id) == "dynamodb"
    assert await bench.guard.reserve([(email_id, None)]) == {email_id: None}


@pytest.mark.parametrize("status", TAKEN)
async def test_what_mariadb_had_past_ready_before_there_was_a_reservation_is_its_own(
    bench: Bench, status: Status
) -> None:
    email_id = await bench.both()
    bench.stand([email_id], status)
    assert await bench.guard.reserve([(email_id, None)]) == {email_id: "mysql"}
    assert bench.owner(email_id) == "mysql"
    bench.stand([email_id], Status.READY)
    assert (await bench.claim())[email_id].duplicate_in is None


@pytest.mark.parametrize("status", [*NOT_PAST_READY, None])
async def test_mail_that_the_other_store_has_not_begun_to_send_is_sent_here(
    bench: Bench, status: Status | None
) -> None:
    (email_id,) = await bench.enqueue(1)
    if status is not None:
        bench.other.put([email_id], status)
    assert (await bench.claim())[email_id].duplicate_in is None
    assert bench.owner(email_id) == "mysql"


@pytest.mark.parametrize("status", [*NOT_PAST_READY, None])
async def test_mail_that_mariadb_has_not_begun_to_send_is_sent_by_the_other_store(
    bench: Bench, status: Status | None
) -> None:
    email_id = await bench.both()
    if status is None:
        bench.sql("DELETE FROM emails")
    else:
        bench.stand([email_id], status)
    assert await bench.guard.reserve([(email_id, None)]) == {email_id: None}
    assert bench.owner(email_id) == "dynamodb"


# Taking over


@pytest.mark.parametrize("status", [Status.INVALID, None], ids=["invalid", "gone"])
async def test_the_reservation_of_a_copy_that_will_not_be_sent_any_more_is_taken_over_here(
    bench: Bench, status: Status | None
) -> None:
    email_id = await bench.both()
    await bench.other.claim([email_id], bench.guard)
    bench.other.copies.clear()
    if status is not None:
        bench.other.put([email_id], status)
    assert (await bench.claim())[email_id].duplicate_in is None
    assert bench.owner(email_id) == "mysql"
    bench.other.put([email_id])
    assert await bench.guard.reserve([(email_id, None)]) == {email_id: "mysql"}


@pytest.mark.parametrize("status", [Status.INVALID, None], ids=["invalid", "gone"])
async def test_the_reservation_of_a_copy_that_will_not_be_sent_any_more_is_taken_over_by_the_other_store(
    bench: Bench, status: Status | None
) -> None:
    email_id = await bench.both()
    await bench.claim()
    if status is None:
        bench.sql("DELETE FROM emails")
    else:
        bench.stand([email_id], status)
    assert await bench.guard.reserve([(email_id, None)]) == {email_id: None}
    assert bench.owner(email_id) == "dynamodb"


async def test_a_copy_whose_other_was_purged_is_sent_when_it_is_requeued(bench: Bench) -> None:
    """MariaDB sent it, the other store gave its copy up; then MariaDB's is gone and an operator wants it sent."""
    email_id = await bench.both()
    email = (await bench.claim())[email_id]
    bench.other.finish(await bench.other.claim([email_id], bench.guard))
    assert bench.other.copies[email_id] == Status.INVALID
    await bench.finish(email)
    bench.sql("DELETE FROM emails")
    bench.other.put([email_id])
    assert await bench.other.claim([email_id], bench.guard) == {email_id: None}


async def test_two_copies_that_were_requeued_are_not_both_given_up(bench: Bench) -> None:
    email_id = await bench.both()
    verdicts = await bench.other.claim([email_id], bench.guard)
    await bench.finish((await bench.claim())[email_id])
    bench.other.finish(verdicts)
    # Both operators want it sent anew.
    await bench.store.requeue([email_id], who="w", why="y", ttl_extension=60)
    bench.stand([email_id], Status.READY)
    bench.other.put([email_id])
    assert (await bench.claim())[email_id].duplicate_in == "dynamodb"
    assert await bench.other.claim([email_id], bench.guard) == {email_id: None}


# Both at the same moment


async def waits_for_a_lock(bench: Bench) -> None:
    """Until some transaction does. (information_schema shows a poller what it has shown it before.)"""
    waiting = "0"
    while waiting == "0":
        shown = await asyncio.to_thread(bench.sql, "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'")
        waiting = str(shown[0][1])


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "rolled back"])
async def test_a_reservation_waits_for_a_claim_that_is_under_way(bench: Bench, commits: bool) -> None:
    email_id = await bench.both()

    async def claim(session: Session) -> None:
        found = await mariadb_claims.due(session, SENDER, 10, token="t" * 32)
        await session.execute_all(
            [
                *mariadb_claims.taking(session, SENDER, found, lease=60, holder="me", token="t" * 32),
                *mariadb_reservations.reserving(session, [email.id for email in found.emails]),
            ]
        )
        tasks.append(asyncio.create_task(bench.other.claim([email_id], bench.guard)))
        await waits_for_a_lock(bench)
        if not commits:
            raise ConnectionError

    tasks: list[asyncio.Task[dict[str, str | None]]] = []
    if commits:
        await bench.store._pool.run("claim", claim)
    else:
        with pytest.raises(ConnectionError):
            await bench.store._pool.run("claim", claim)
    assert await tasks[0] == {email_id: "mysql" if commits else None}


async def test_a_claim_waits_for_a_reservation_that_is_under_way(bench: Bench) -> None:
    email_id = await bench.both()
    tasks: list[asyncio.Task[dict[str, Email]]] = []

    async def reserve(session: Session) -> None:
        assert await mariadb_reservations.reserve_for(session, "dynamodb", [(email_id, None)]) == {email_id: None}
        tasks.append(asyncio.create_task(bench.claim()))
        await waits_for_a_lock(bench)

    await bench.store._pool.run("reserve", reserve)
    assert (await tasks[0])[email_id].duplicate_in == "dynamodb"


async def test_a_copy_that_is_just_being_given_up_does_not_look_taken(bench: Bench) -> None:
    """Between our reservation and our look the other store is refused: then its copy stands in PROCESSING, too."""
    email_id = await bench.both()
    refused: dict[str, str | None] = {}

    async def claim_there() -> None:
        refused.update(await bench.other.claim([email_id], bench.guard))

    bench.other.meanwhile = claim_there
    assert (await bench.claim())[email_id].duplicate_in is None
    assert refused == {email_id: "mysql"}
    assert bench.owner(email_id) == "mysql"


async def test_a_refusal_hides_no_copy_that_was_sent_before(bench: Bench) -> None:
    """An index that lags may show the other store its own mail as READY, long after a process without guard sent it."""
    email_id = await bench.both(Status.SENT)

    async def claim_there() -> None:
        assert await bench.guard.reserve([(email_id, None)]) == {email_id: "mysql"}

    bench.other.meanwhile = claim_there
    assert (await bench.claim())[email_id].duplicate_in == "dynamodb"
    assert bench.owner(email_id) == "dynamodb"


async def test_a_copy_that_comes_back_during_the_look_keeps_its_reservation(bench: Bench) -> None:
    """It was gone when we looked; before we could take its reservation over it was there again, and claimed."""
    email_id = await bench.both()
    await bench.other.claim([email_id], bench.guard)
    bench.other.copies.clear()
    verdicts: dict[str, str | None] = {}

    async def come_back() -> None:
        bench.other.put([email_id])
        verdicts.update(await bench.other.claim([email_id], bench.guard))

    bench.other.afterwards = come_back
    assert (await bench.claim())[email_id].duplicate_in == "dynamodb"
    assert verdicts == {email_id: None}


@pytest.mark.parametrize("seed", range(12))
async def test_whoever_is_first_an_id_in_both_stores_is_sent_once(bench: Bench, settings: Settings, seed: int) -> None:
    """Two processes on either side claim the same ids at the same time; some were sent before, some claims lapse."""
    rng = random.Random(seed)
    ids = await bench.enqueue(60)
    bench.other.put(ids)
    before_here, before_there = set(ids[:5]), set(ids[5:10])
    bench.stand(sorted(before_here), Status.SENT_ACKNOWLEDGED)
    bench.other.put(before_there, Status.SENT)
    sent_here: list[str] = []

    async def work_here(store: MariadbStore, laps: int) -> None:
        while True:
            lapses = laps > 0 and rng.random() < 0.3
            claimed = await store.claim(SENDER, rng.randint(1, 9), lease=0 if lapses else 60, holder="me")
            if not claimed:
                return
            if lapses:
                laps -= 1
                await rescue(store, 500, foreign_hold=1800)
                continue
            for email in claimed:
                if not email.duplicate_in:
                    sent_here.append(email.id)
                await bench.finish(email)

    async def work_there(order: list[str]) -> None:
        while order:
            batch = [order.pop() for _ in range(min(len(order), rng.randint(1, 9)))]
            verdicts = await bench.other.claim(batch, bench.guard)
            await asyncio.sleep(0)
            bench.other.finish(verdicts)

    second = await guarded(settings, bench)
    try:
        orders = [rng.sample(ids, len(ids)) for _ in range(2)]
        await asyncio.gather(
            work_here(bench.store, 2), work_there(orders[0]), work_here(second, 0), work_there(orders[1])
        )
        # What one side had put back when the other looked for the last time.
        await work_here(bench.store, 0)
    finally:
        await second.close()

    assert sorted([*sent_here, *bench.other.sent, *before_here, *before_there]) == ids
    rows = {row.id: row for row in await bench.store.page(limit=100)}
    for email_id in ids:
        here, there = rows[email_id].status, bench.other.copies[email_id]
        assert (here is Status.INVALID) != (there is Status.INVALID), (email_id, here, there)
        if here is Status.INVALID:
            assert rows[email_id].reason == "duplicate: in dynamodb"


# Lost replies, dead processes


async def test_a_claim_whose_commit_got_no_reply_comes_back_with_the_same_verdicts(
    bench: Bench, far: MariadbStore, proxy: DroppingProxy
) -> None:
    reserved, sent, free = await bench.enqueue(3)
    bench.other.put([reserved, free])
    bench.other.put([sent], Status.SENT)
    await bench.other.claim([reserved], bench.guard)
    proxy.drop_reply("COMMIT")
    claimed = await bench.claim(far)
    assert proxy.dropped.is_set()
    assert {email_id: claimed[email_id].duplicate_in for email_id in (reserved, sent, free)} == {
        reserved: "dynamodb",
        sent: "dynamodb",
        free: None,
    }


@pytest.mark.parametrize("statement", ["SELECT email_id, store", "UPDATE mailculator_reservations"])
async def test_a_claim_whose_verdicts_could_not_be_written_is_handed_out_by_the_next_call(
    bench: Bench, far: MariadbStore, proxy: DroppingProxy, statement: str
) -> None:
    sent, free = await bench.enqueue(2)
    bench.other.put([sent], Status.SENT)
    proxy.drop_statement(statement)
    with pytest.raises(StoreUnavailable):
        await bench.claim(far)
    claimed = await bench.claim(far)
    assert {email_id: email.duplicate_in for email_id, email in claimed.items()} == {sent: "dynamodb", free: None}
    for email in claimed.values():
        await bench.finish(email)


async def test_a_process_that_dies_between_its_claim_and_its_look_leaves_the_look_to_the_next(bench: Bench) -> None:
    email_id = await bench.both(Status.SENT)
    bench.other.hangs = True
    dying = asyncio.create_task(bench.claim(lease=0))
    await bench.other.asked.wait()
    dying.cancel()
    assert bench.owner(email_id) == "mysql"
    assert [one.id for one in await rescue(bench.store, 10, foreign_hold=1800)] == [email_id]
    bench.other.hangs = False
    assert (await bench.claim())[email_id].duplicate_in == "dynamodb"


async def test_a_reservation_whose_commit_got_no_reply_has_the_same_verdicts_when_it_is_asked_again(
    bench: Bench, far: MariadbStore, proxy: DroppingProxy
) -> None:
    taken, free = await bench.enqueue(2)
    bench.stand([taken], Status.SENT)
    bench.guard.joined("mysql", far)
    proxy.drop_reply("COMMIT")
    with pytest.raises(StoreUnavailable, match="sending waits for MariaDB"):
        await bench.guard.reserve([(taken, None), (free, None)])
    assert bench.owner(free) == "dynamodb"
    assert await bench.guard.reserve([(taken, None), (free, None)]) == {taken: "mysql", free: None}


# The other store is away


async def test_mail_leaves_without_a_look_while_the_other_store_is_away(bench: Bench) -> None:
    ids = await bench.enqueue(3)
    bench.other.error = StoreUnavailable("dynamodb", "guard", "no route")
    first = await bench.store.claim(SENDER, 2, lease=60, holder="me")
    second = await bench.store.claim(SENDER, 2, lease=60, holder="me")
    assert sorted(email.id for email in first + second) == ids
    assert {email.duplicate_in for email in first + second} == {None}
    assert [event.kind for event in bench.told.of(StoreNoticed)] == ["guard_skipped"]
    assert len(bench.other.looks) == 1
    assert await bench.guard.reserve([(email_id, None) for email_id in ids]) == dict.fromkeys(ids, "mysql")


async def test_mail_that_left_no_trace_of_a_look_is_looked_up_at_its_next_try(bench: Bench) -> None:
    email_id = await bench.both(Status.SENT)
    bench.other.error = StoreUnavailable("dynamodb", "guard", "no route")
    await bench.finish((await bench.claim())[email_id], Retry("later", 0.0))
    bench.other.error = None
    await bench.clock.advance(30.0)
    assert (await bench.claim())[email_id].duplicate_in == "dynamodb"


async def test_mail_that_the_other_store_has_reserved_waits_until_that_store_can_be_read(bench: Bench) -> None:
    email_id, free = await bench.enqueue(2)
    bench.other.put([email_id])
    await bench.other.claim([email_id], bench.guard)
    bench.other.error = StoreUnavailable("dynamodb", "guard", "no route")
    assert list(await bench.claim()) == [free]
    row = await bench.store.get(email_id)
    assert row is not None
    assert (row.status, row.attempts, row.last_error) == (Status.READY, 0, "reserved for dynamodb, which is away")
    assert await bench.claim() == {}

    bench.other.error = None
    await bench.clock.advance(30.0)
    bench.sql("UPDATE emails SET due_at = NOW(6)")
    assert (await bench.claim())[email_id].duplicate_in == "dynamodb"


async def test_with_no_other_store_in_use_what_it_had_reserved_is_given_up(bench: Bench, alone: MariadbStore) -> None:
    email_id = await bench.both()
    await bench.other.claim([email_id], bench.guard)
    assert (await bench.claim(alone))[email_id].duplicate_in == "dynamodb"


async def test_with_the_guard_off_everything_is_sent_and_reserved_all_the_same(
    bench: Bench, settings: Settings
) -> None:
    theirs, free = await bench.enqueue(2)
    bench.other.put([theirs])
    await bench.other.claim([theirs], bench.guard)
    off = await open_store(settings.model_copy(update={"duplicate_guard": False}), service=True)
    try:
        claimed = await bench.claim(off)
    finally:
        await off.close()
    assert {email.duplicate_in for email in claimed.values()} == {None}
    assert (bench.owner(theirs), bench.owner(free)) == ("dynamodb", "mysql")
    assert bench.other.looks == []


# Retention


async def test_reservations_go_when_their_time_has_passed_and_their_email_is_gone(bench: Bench) -> None:
    gone, kept, there = await bench.enqueue(3)
    await bench.claim()
    bench.sql("DELETE FROM emails WHERE id <> %s", there)
    bench.sql("UPDATE mailculator_reservations SET keep_until = UNIX_TIMESTAMP() - 1 WHERE email_id <> %s", kept)
    assert await bench.store.purge(500) == 0
    assert [bench.owner(email_id) for email_id in (gone, kept, there)] == [None, "mysql", "mysql"]
    assert bench.kept_for(there) > 30 * DAY


async def test_reservations_of_emails_that_stay_keep_no_others_from_being_deleted(bench: Bench) -> None:
    await bench.enqueue(150)
    await bench.claim()
    await bench.guard.reserve([(f"gone-{number}", None) for number in range(250)])
    bench.sql("UPDATE mailculator_reservations SET keep_until = IF(store = 'mysql', 1, 2)")
    for _ in range(2):
        await bench.store.purge(200)
    assert bench.sql("SELECT store, COUNT(*) FROM mailculator_reservations GROUP BY store") == (("mysql", 150),)


async def test_the_reservations_that_are_due_for_deletion_are_found_by_an_index(bench: Bench) -> None:
    bench.sql(
        "INSERT INTO mailculator_reservations (email_id, store, keep_until)"
        " SELECT UUID(), 'mysql', UNIX_TIMESTAMP() + 1000 FROM seq_1_to_5000"
    )
    async with bench.store._pool.transaction("purge") as session:
        await session.execute("FLUSH STATUS")
        assert await mariadb_reservations.purge(session, 100) == 0
        status = await session.execute("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%'")
    assert sum(int(value) for _, value in status.rows) < 50


# Schema


async def test_a_database_without_the_reservations_is_refused_with_what_to_do(server: PrivateMariadb) -> None:
    settings = await mariadb.new_database(server)
    for statement in (
        "DROP TABLE mailculator_reservations",
        "DELETE FROM mailculator_schema WHERE name = '0002_reservations'",
    ):
        mariadb.execute(server, settings.mysql_database, statement)
    with pytest.raises(SchemaError, match=r"lacks 0002_reservations; run: mailculator schema apply"):
        await open_store(settings, service=True)
    assert await Database(server, settings.mysql_database).apply() == ("0002_reservations",)
    await (await open_store(settings, service=True)).close()


async def test_a_user_without_a_right_on_the_reservations_is_told_so(server: PrivateMariadb) -> None:
    settings = await mariadb.new_database(server)
    user = f"u{uuid.uuid4().hex[:8]}"

    def grant(rights: str, *tables: str) -> None:
        for table in tables:
            on = f"{settings.mysql_database}.{table}"
            mariadb.execute(server, "mysql", f"GRANT {rights} ON {on} TO {user}@'127.0.0.1'")

    mariadb.execute(server, "mysql", f"CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'pw'")
    grant("SELECT, INSERT, UPDATE, DELETE", *(table for table in LAYOUT if table != "mailculator_reservations"))
    login = mariadb.settings_for(server, settings.mysql_database, mysql_user=user, mysql_password="pw")
    with pytest.raises(SchemaError, match="table mailculator_reservations is missing, or this user has no right on it"):
        await open_store(login, service=True)

    grant("SELECT", "mailculator_reservations")
    store = await open_store(login, service=True)
    try:
        assert (await store.ping()).writable is False
        grant("INSERT, UPDATE, DELETE", "mailculator_reservations")
        assert (await store.ping()).writable is True
    finally:
        await store.close()
