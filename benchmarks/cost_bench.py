"""A table with the whole service over it, and what the meter says of that: the real pipelines, a relay, a callback URL.

The sizes are those of production: paths of 70 characters, a replica named like a host, a relay that answers as Postfix
does.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

from benchmarks.cost_watch import Bill, Rest, Running, Watch, bill_of, difference
from benchmarks.stepped_clock import SteppedClock
from mailculator import app
from mailculator.clock import Clock, SystemClock
from mailculator.config import Settings
from mailculator.model import NewEmail, Status
from mailculator.stores.base import Spent
from mailculator.stores.dynamodb import client, connection
from mailculator.stores.dynamodb import store as dynamodb
from mailculator.stores.dynamodb.client import Endpoint
from mailculator.stores.dynamodb.codec import to_wire
from mailculator.stores.dynamodb.schema import DynamodbSchema
from mailculator.stores.dynamodb.store import DynamodbStore
from mailculator.stores.dynamodb.units import Meter
from tests.support import dynamodb_records
from tests.support.callback_peer import CallbackPeer
from tests.support.dynamodb_records import Item, Records
from tests.support.moto_server import KEY, REGION
from tests.support.smtp_peer import SmtpPeer

REPLICA = "ip-10-0-1-23.eu-west-1.compute.internal-7"
QUEUED = "250 2.0.0 Ok: queued as 4dQvLw6K8yz3bnY"
PATH_LENGTH = 70
MONTH = 30 * 86_400
PRODUCER = "producer"
"""What the older producer's own writes are booked under; `older` is the older consumer's."""
OLDER = "older"

Produce = Callable[[int], Awaitable[None]]
"""Puts that many emails there."""
Variables = Mapping[str, object]
NONE: Variables = MappingProxyType({})

LOOPS = 14
"""Loops that wait for time: four pipelines, leases, watch, count, tend, upkeep, minutes, pauses and reports of a
store's crew, and of the process the watchdog's beat and the journal's trimming."""

PATIENCE = 20.0
"""Seconds for one call."""
_WIDTH = 16
_open_queue = dynamodb.open_queue


class CostBench:
    """One table, with a relay and a callback URL beside it.

    Arguments:
        records: the table, as other programs see it.
        folder: for payload and EML files.
    """

    def __init__(self, url: str, records: Records, folder: Path, relay: SmtpPeer, callback: CallbackPeer) -> None:
        self.endpoint = Endpoint(records.table, REGION, url, KEY, KEY)
        self.records = records
        self.others = Meter()
        self.on_open: Callable[[DynamodbStore], None] = lambda _: None
        self._folder = _deep(folder)
        self._relay = relay
        self._callback = callback

    def settings(self, variables: Variables) -> Settings:
        """The service's, as an operator would set them; all else is at its default."""
        return Settings.model_validate(
            {
                "DYNAMODB_PIPELINES_ENABLED": "true",
                "EMAIL_OUTBOX_TABLE": self.endpoint.table,
                "AWS_REGION": REGION,
                "AWS_BASE_ENDPOINT": self.endpoint.endpoint_url,
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": KEY,
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(self._relay.port),
                "SMTP_FROM": "bounces@mta.example",
                "MAILCULATOR_SMTP_TLS": "none",
                "MAILCULATOR_SMTP_HELO": "mta.example",
                "PIPELINE_CALLBACK_URL": self._callback.url,
                "MAILCULATOR_HTTP_PORT": "0",
                "MAILCULATOR_REPLICA": REPLICA,
                "MAILCULATOR_JOURNAL_DIR": str(self._folder / "journal"),
                **{name: str(value) for name, value in variables.items()},
            }
        )

    @asynccontextmanager
    async def service(self, variables: Variables = NONE, *, stepped: bool = False) -> AsyncIterator[Running]:
        """The service, until the end of this context. Its stores' meters can be read afterwards, too.

        Arguments:
            variables: settings beside the usual ones.
            stepped: on a stepped clock, that of the day included.
        """
        watch = Watch()
        stores: list[DynamodbStore] = []

        def busy() -> bool:
            sweeps = [sweep for store in stores if (sweep := _sweep_of(store)) is not None]
            for sweep in sweeps:
                sweep.add_done_callback(lambda _: watch.told())
            return watch.in_flight > 0 or not all(sweep.done() for sweep in sweeps)

        stepper = SteppedClock(LOOPS, busy) if stepped else None
        clock: Clock = stepper or SystemClock()
        if stepper is not None:
            watch.told = stepper.news
        with self._opening(stores, clock), _time_of_day(clock):
            service = app.Service(self.settings(variables), observer=watch, clock=clock)
            running = asyncio.create_task(service.run())
            try:
                yield Running(watch, stores, running, stepper)
            finally:
                service.stop()
                code = await running
            assert code == 0, watch.complaints

    @contextmanager
    def _opening(self, stores: list[DynamodbStore], clock: Clock) -> Iterator[None]:
        async def open_queue(endpoint: Endpoint, **arguments: Any) -> DynamodbStore:
            store = await _open_queue(endpoint, **arguments, monotonic=clock.now)
            stores.append(store)
            self.on_open(store)
            return store

        with mock.patch.object(dynamodb, "open_queue", open_queue):
            yield

    async def send(self, produce: Produce, count: int, variables: Variables = NONE) -> Bill:
        """That many emails that wait when the service starts, each to its end."""
        self.others = Meter()
        await produce(count)
        async with self.service(variables) as running:
            await running.until_ended(count)
        return self.bill(running, count)

    async def send_paced(self, produce: Produce, count: int, *, every: float, variables: Variables = NONE) -> Bill:
        """One email every so many seconds of a stepped clock: what a day costs, polling and all."""
        self.others = Meter()
        async with self.service(variables, stepped=True) as running:
            assert running.clock is not None
            # What is done once, at the start, is not what a day costs.
            await running.pass_by(120.0)
            before, began = self.bill(running), running.clock.now()
            for _ in range(count):
                await produce(1)
                await running.pass_by(every)
            await running.pass_by(-count * every % 60.0)
            assert running.watch.ended == count
            return difference(self.bill(running, count, running.clock.now() - began), before)

    async def idle(self, seconds: float, variables: Variables = NONE) -> Rest:
        """Nothing to do for that long on a stepped clock."""
        self.others = Meter()
        async with self.service(variables, stepped=True) as running:
            await running.pass_by(120.0)
            before, polls = self.bill(running), dict(running.watch.polls)
            await running.pass_by(seconds)
            looked = {name: count - polls[name] for name, count in running.watch.polls.items()}
            return Rest(difference(self.bill(running, seconds=seconds), before), looked)

    async def send_by_two(self, produce: Produce, count: int) -> Bill:
        """As `send`, by two replicas, who get into each other's way."""
        self.others = Meter()
        await produce(count)
        other = {"MAILCULATOR_REPLICA": REPLICA.replace("10-0-1-23", "10-0-2-45")}
        ended = asyncio.Event()
        async with self.service() as first, self.service(other) as second:

            def told() -> None:
                if first.watch.ended + second.watch.ended >= count:
                    ended.set()

            first.watch.told = second.watch.told = told
            told()
            await first.see(ended.wait())
        bills = [self.bill(first), bill_of([one for store in second.stores for one in store.spent()])]
        return bill_of([Spent(*key, units) for bill in bills for key, units in bill.units.items()], count)

    async def look_through(self, records: int) -> tuple[float, float]:
        """Read units of a sweep for each record, and of the guard's question for each id."""
        store = await self.open()
        try:
            await store.sweep()
            ids = [item["Id"] for item in (await self.records.emails())[:100]]
            await store.standing([*ids, *(str(uuid.uuid4()) for _ in ids)])
            units = {(op, kind): spent for op, kind, spent in store.spent()}
            return units["sweep", "read"] / records, units["guard", "read"] / (2 * len(ids))
        finally:
            await store.close()

    def bill(self, running: Running, emails: int = 0, seconds: float = 0.0) -> Bill:
        """What the service has spent so far, and the other programs beside it."""
        return bill_of(
            [*(one for store in running.stores for one in store.spent()), *self.others.spent()], emails, seconds
        )

    async def open(self, **arguments: Any) -> DynamodbStore:
        """A store of this table without a service; the caller closes it."""
        return await _open_queue(self.endpoint, **{"service": False, **arguments})

    # Those who put emails there.

    async def enqueue(self, count: int) -> None:
        """By our own `enqueue`."""
        store = await self.open()
        try:
            await store.enqueue(self.new_emails(count))
            self._book(store.spent(), only="enqueue")
        finally:
            await store.close()

    async def produce(self, count: int) -> None:
        """As the older producer does it: two records in one transaction.

        They are 6 units: 2 for each in the table, and 1 for each in StatusIndex.
        """

        async def one(email_id: str, path: Path) -> None:
            ttl = _ttl()
            first = dynamodb_records.meta(email_id, "ACCEPTED", ttl=ttl, PayloadFilePath=str(path))
            await self._put_all(PRODUCER, first, dynamodb_records.status_record(email_id, "ACCEPTED", ttl))

        await _side_by_side([one(email_id, path) for email_id, path in self.payloads(count).items()])

    async def produce_prepared(self, count: int) -> None:
        """As the older producer and the older consumer's intake do it: READY, with an EML file, after three steps."""

        async def one(email_id: str, path: Path) -> None:
            ttl, eml = _ttl(), path.with_suffix(".eml")
            eml.write_bytes(_EML)
            email = dynamodb_records.meta(email_id, "ACCEPTED", ttl=ttl, PayloadFilePath=str(path))
            await self._put_all(PRODUCER, email, dynamodb_records.status_record(email_id, "ACCEPTED", ttl))
            for status in ("INTAKING", "READY"):
                moved = {**email, "Attributes": {**email["Attributes"], "Latest": status}}
                if status == "READY":
                    moved["Attributes"]["EMLFilePath"] = str(eml)
                lock = dynamodb_records.status_record(email_id, status, ttl)
                await self._put_all(OLDER, moved, lock, before=email)
                email = moved

        await _side_by_side([one(email_id, path) for email_id, path in self.payloads(count).items()])

    async def _put_all(self, op: str, *items: Item, before: Item | None = None) -> None:
        await self.records.transact(
            *({"Put": {"TableName": self.records.table, "Item": to_wire(item)}} for item in items)
        )
        for item in items:
            old = before if before is not None and item["Status"] == before["Status"] else None
            self.others.written(op, old, item, transaction=True)

    def _book(self, spent: Sequence[Spent], *, only: str) -> None:
        for op, kind, units in spent:
            if op == only:
                self.others.charged(op, kind, units)

    def new_emails(self, count: int) -> list[NewEmail]:
        """That many, with payload files."""
        return [NewEmail(email_id, str(path), _ttl()) for email_id, path in self.payloads(count).items()]

    def payloads(self, count: int) -> dict[str, Path]:
        """That many payload files, by the ids of their emails."""
        made: dict[str, Path] = {}
        for _ in range(count):
            email_id = str(uuid.uuid4())
            path = made[email_id] = self._folder / f"{email_id}.json"
            path.write_text(json.dumps({"id": email_id, **_PLAIN}), encoding="utf-8")
        return made

    # What stands there already.

    async def fill(self, count: int) -> None:
        """Emails of the last month that have come to their end, as we leave them behind."""
        ended = [item for item in await self.records.emails() if item["Attributes"]["Latest"] == SENT]
        assert ended, "let one email come to its end first: the others are made after it"
        gate = asyncio.Semaphore(_WIDTH)

        async def part(size: int) -> None:
            async with gate:
                await self.records.replace([{**ended[0], "Id": str(uuid.uuid4())} for _ in range(size)])

        async with asyncio.TaskGroup() as group:
            for start in range(0, count, 500):
                group.create_task(part(min(500, count - start)))


SENT = str(Status.SENT_ACKNOWLEDGED)
_PLAIN = {
    "from": "Comune di Esempio <noreply@comune.example>",
    "reply_to": "noreply@comune.example",
    "to": "mario.rossi@posta.example",
    "subject": "Avviso di pagamento",
    "body_text": "Gentile cittadino,\n\nle inviamo l'avviso di pagamento.\n",
}
_EML = b"From: noreply@comune.example\r\nTo: mario.rossi@posta.example\r\nSubject: Avviso\r\n\r\nAvviso.\r\n"


@asynccontextmanager
async def cost_bench(url: str, folder: Path) -> AsyncIterator[CostBench]:
    """A new table of the older service with our schema applied, at that DynamoDB; gone afterwards."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_patience())
        plain = await stack.enter_async_context(dynamodb_records.plain_client(url))
        records = Records(plain, f"mailculator-cost-{uuid.uuid4().hex[:12]}")
        await records.create()
        stack.push_async_callback(records.drop)
        relay = await stack.enter_async_context(SmtpPeer())
        relay.answer("after_dot", QUEUED)
        callback = await stack.enter_async_context(CallbackPeer())
        bench = CostBench(url, records, folder, relay, callback)
        # An emulator makes an index at once: there is no reason to give it the time that the service takes.
        await DynamodbSchema(bench.endpoint, wait=lambda _: asyncio.sleep(0.01)).apply(lambda _: None)
        # The first sweep of all would come in the middle of what is measured.
        store = await bench.open()
        await store.sweep()
        await store.close()
        yield bench


@contextmanager
def _patience() -> Iterator[None]:
    """An emulator on a busy machine takes seconds for what the service does in milliseconds. An answer that comes too
    late is a write that is repeated, and refused: a matter of this machine, and no cost of ours."""
    with (
        mock.patch.object(connection, "READ_TIMEOUT", PATIENCE),
        mock.patch.object(client, "TRY_TIMEOUT", PATIENCE),
        mock.patch.object(dynamodb, "LONGEST_CALL", PATIENCE),
    ):
        yield


@contextmanager
def _time_of_day(clock: Clock) -> Iterator[None]:
    """The day's time goes with the clock: minutes are noted by it."""
    began, at = datetime.now(UTC), clock.now()

    def utc() -> datetime:
        return began + timedelta(seconds=clock.now() - at)

    with mock.patch.object(app, "_utc", utc):
        yield


def _sweep_of(store: DynamodbStore) -> asyncio.Task[bool] | None:
    return store._sweeping  # noqa: SLF001  # it goes on beside every loop, and nobody is told when it ends


async def _side_by_side(work: Sequence[Awaitable[None]]) -> None:
    gate = asyncio.Semaphore(_WIDTH)

    async def one(call: Awaitable[None]) -> None:
        async with gate:
            await call

    async with asyncio.TaskGroup() as group:
        for call in work:
            group.create_task(one(call))


def _ttl() -> int:
    return int(time.time()) + MONTH


def _deep(folder: Path) -> Path:
    """A folder in it, so deep that the files there have paths of PATH_LENGTH characters, if that is not passed yet."""
    missing = PATH_LENGTH - len(f"{folder}//{uuid.UUID(int=0)}.json")
    deep = folder / ("p" * missing) if missing > 0 else folder
    deep.mkdir(exist_ok=True)
    return deep
