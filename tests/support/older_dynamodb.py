"""The service that mailculator replaces, as its DynamoDB table knows it: its producer and its consumer.

They know the record of an email (`_META` with the map `Attributes`) and one record per status that it went through.
Their statements stand here as what DynamoDB makes of them: an UPDATE demands only that the record is there, an INSERT
that it is not, and both together are one transaction. Nothing of ours is read or written.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Literal, Protocol

import aiohttp
import aiosmtplib
from botocore.exceptions import ClientError

from mailculator.clock import SystemClock
from mailculator.lifecycle import STAGE_BY_WAITING, STAGE_BY_WORKING
from mailculator.model import Status
from mailculator.stores.dynamodb.codec import from_wire, to_wire
from tests.support import dynamodb_records
from tests.support.dynamodb_records import META, Item, Records, status_record

NIL = "<nil>"
"""How the consumer prints an attribute that is missing, and passes it on."""
BATCH = 25
MONTH = 30 * 86_400
NO_FILE = "no EML file"

TtlPlace = Literal["root", "attributes", "nowhere"]


def local(zone: tzinfo) -> str:
    """Now, as a program in that zone writes a time: RFC 3339, whole seconds."""
    text = datetime.fromtimestamp(dynamodb_records.now(), zone).isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


@dataclass
class OlderProducer:
    """Puts emails on the queue, and puts back what it takes for stuck.

    Arguments:
        together: both records of an email in one transaction, or one put after the other.
        ttl_at: where it writes the ttl; old versions of it hid it in `Attributes`.
        without: attributes that it leaves out.
        zone: of the machine it runs on.
        requeued: what it put back.
    """

    records: Records
    together: bool = True
    ttl_at: TtlPlace = "root"
    without: frozenset[str] = frozenset()
    zone: tzinfo = UTC
    requeued: Counter[Status] = field(default_factory=Counter)

    def records_of(self, email_id: str, path: Path | str, ttl: int | None = None) -> tuple[Item, Item]:
        """The two records of a new email, as they will stand there."""
        ttl = dynamodb_records.now() + MONTH if ttl is None else ttl
        at = local(self.zone)
        attributes: Item = {
            "Latest": str(Status.ACCEPTED),
            "CreatedAt": at,
            "UpdatedAt": at,
            "Reason": "",
            "PayloadFilePath": str(path),
        }
        attributes = {name: value for name, value in attributes.items() if name not in self.without}
        meta: Item = {"Id": email_id, "Status": META, "Attributes": attributes}
        accepted = status_record(email_id, str(Status.ACCEPTED))
        if self.ttl_at == "root":
            meta["TTL"] = accepted["TTL"] = ttl
        elif self.ttl_at == "attributes":
            attributes["TTL"] = ttl
            accepted["Attributes"] = {"TTL": ttl}
        return meta, accepted

    async def put(self, email_id: str, path: Path | str, ttl: int | None = None) -> None:
        """One email. `ttl` in epoch seconds; a month from now unless it is given."""
        both = self.records_of(email_id, path, ttl)
        if self.together:
            await self.records.transact(*(self.records.putting(item) for item in both))
        else:
            for item in both:
                await self.records.put(item)

    async def put_many(self, emails: Iterable[tuple[str, Path]], ttl: int | None = None) -> None:
        """Many at once, where how they came there is of no matter."""
        await self.records.replace([item for email in emails for item in self.records_of(*email, ttl)])

    async def stale(self, working: Status, before: datetime) -> list[str]:
        """Ids that have stood in a working status since before that time, which it compares as text."""
        found = await _find(
            self.records,
            "#attributes.#latest = :latest AND #attributes.#updated < :before",
            {"#updated": "UpdatedAt"},
            {":latest": str(working), ":before": before.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")},
        )
        return [item["Id"] for item in found]

    async def requeue(self, email_id: str, working: Status) -> bool:
        """Put one back that stands in that status; `Version` and all else that is ours stay. False when it does not."""
        waiting = STAGE_BY_WORKING[working].waiting
        update = self.records.moving(
            email_id,
            "SET #A.#Latest = :latest, #A.#UpdatedAt = :now",
            "#A.#Latest = :working",
            latest=str(waiting),
            now=local(self.zone),
            working=str(working),
        )
        done = await _transact(self.records, update, _deleting(self.records, email_id, working))
        self.requeued[working] += done
        return done


class Outlets(Protocol):
    """Where the consumer's mails and callbacks go."""

    async def deliver(self, email_id: str, content: bytes) -> None:
        """Hand a prepared mail to the relay."""

    async def call_back(self, email_id: str, code: str, reached_at: str, reason: str) -> None:
        """Tell the producer."""


@dataclass
class OlderConsumer:
    """Four pipelines: each finds work by its status, claims it by the record that may be inserted once, and goes on
    without any condition.

    Arguments:
        storage: where it puts the EML files that it prepares.
        zone: of the machine it runs on.
        claimed: the emails it has won, per working status.
        lost: claims that somebody else had won.
        moved: its steps behind the claims.
        stuck: steps that were refused: a record of that status was there already.
    """

    records: Records
    storage: Path
    outlets: Outlets
    zone: tzinfo = UTC
    claimed: Counter[tuple[str, Status]] = field(default_factory=Counter)
    lost: int = 0
    moved: list[tuple[str, Status]] = field(default_factory=list)
    stuck: list[tuple[str, Status]] = field(default_factory=list)
    intake_files: bool = True

    async def find(self, status: Status) -> list[Item]:
        """Records in that status: it reads the whole of `_META` until it has more than a batch."""
        return await _find(self.records, "#attributes.#latest = :latest", {}, {":latest": str(status)}, enough=BATCH)

    async def claim(self, email_id: str, working: Status) -> bool:
        """Its only lock: the record of the working status. It looks neither at `Latest` nor at anything of ours."""
        won = await self._step(email_id, working)
        if won:
            self.claimed[email_id, working] += 1
        else:
            self.lost += 1
        return won

    async def advance(self, email_id: str, to: Status, reason: str = "", **attributes: str) -> None:
        """The next status, whatever stands there."""
        done = await self._step(email_id, to, reason, **attributes)
        (self.moved if done else self.stuck).append((email_id, to))

    async def take_in(self, item: Item) -> bool:
        """One new email: write the EML file that is sent later."""
        email_id = item["Id"]
        if not await self.claim(email_id, Status.INTAKING):
            return False
        path = self.storage / f"{email_id}.eml"
        try:
            content = prepare(email_id, Path(_printed(item, "PayloadFilePath")))
        except (OSError, ValueError) as error:
            await self.advance(email_id, Status.INVALID, str(error)[:100])
            return True
        await asyncio.to_thread(path.write_bytes, content)
        await self.advance(email_id, Status.READY, EMLFilePath=str(path))
        return True

    async def send(self, item: Item) -> bool:
        """One READY email; one without an EML file fails."""
        email_id = item["Id"]
        if not await self.claim(email_id, Status.PROCESSING):
            return False
        path = Path(_printed(item, "EMLFilePath"))
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError:
            await self.advance(email_id, Status.FAILED, NO_FILE)
            return True
        await self.outlets.deliver(email_id, content)
        await self.advance(email_id, Status.SENT)
        return True

    async def tell(self, item: Item) -> bool:
        """The callback of one email that is SENT or FAILED."""
        email_id, status = item["Id"], Status(item["Attributes"]["Latest"])
        stage = STAGE_BY_WAITING[status]
        if not await self.claim(email_id, stage.working):
            return False
        sent = status is Status.SENT
        code = "TRAVELING" if sent else "DISPATCH-ERROR"
        await self.outlets.call_back(email_id, code, _printed(item, "UpdatedAt"), _printed(item, "Reason"))
        await self.advance(email_id, Status.SENT_ACKNOWLEDGED if sent else Status.FAILED_ACKNOWLEDGED)
        return True

    @asynccontextmanager
    async def running(self, pause: float, batch: int = BATCH) -> AsyncIterator[None]:
        """All its pipelines, until the block ends; each finishes the email in its hands.

        Arguments:
            pause: seconds after each look; it waits for half a minute.
            batch: emails that it takes of each look.
        """
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for status, work in self._pipelines():
                group.create_task(self._repeat(stop, status, work, pause, batch))
            try:
                yield
            finally:
                stop.set()

    def _pipelines(self) -> Iterable[tuple[Status, Callable[[Item], Awaitable[bool]]]]:
        return [
            (Status.ACCEPTED, self.take_in),
            (Status.READY, self.send),
            (Status.SENT, self.tell),
            (Status.FAILED, self.tell),
        ]

    async def _repeat(
        self, stop: asyncio.Event, status: Status, work: Callable[[Item], Awaitable[bool]], pause: float, batch: int
    ) -> None:
        while not stop.is_set():
            for item in (await self.find(status))[:batch]:
                if stop.is_set():
                    return
                await work(item)
            await SystemClock().wait(stop, pause)

    async def _step(self, email_id: str, to: Status, reason: str = "", **attributes: str) -> bool:
        sets = {"Latest": str(to), "UpdatedAt": local(self.zone), "Reason": reason, **attributes}
        update = self.records.moving(
            email_id,
            "SET " + ", ".join(f"#A.#{name} = :{name}" for name in sets),
            "attribute_exists(#Id)",
            **sets,
        )
        return await _transact(self.records, update, self.records.putting(status_record(email_id, str(to))))


@dataclass
class Wire:
    """The consumer's relay and the producer's receiver, over sockets, as its own clients use them.

    Arguments:
        name: what it says in EHLO.
    """

    smtp_port: int
    callback_url: str
    sender: str
    name: str

    async def deliver(self, email_id: str, content: bytes) -> None:
        """See Outlets."""
        recipient = next(line for line in content.decode().splitlines() if line.startswith("To: "))
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.smtp_port, local_hostname=self.name, use_tls=False, start_tls=False
        )
        async with client:
            await client.sendmail(self.sender, [recipient.removeprefix("To: ")], content)

    async def call_back(self, email_id: str, code: str, reached_at: str, reason: str) -> None:
        """See Outlets."""
        body = {"code": code, "reached_at": reached_at, "message_ids": [email_id], "reason": reason}
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession() as client,
            client.post(self.callback_url, data=json.dumps(body), headers=headers) as answer,
        ):
            assert answer.status == 200


@dataclass
class Shelf:
    """Mails and callbacks that go nowhere: only which they were."""

    mails: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def deliver(self, email_id: str, content: bytes) -> None:
        """See Outlets."""
        self.mails.append(email_id)

    async def call_back(self, email_id: str, code: str, reached_at: str, reason: str) -> None:
        """See Outlets."""
        self.calls.append((email_id, code, reached_at, reason))


def prepare(email_id: str, payload: Path) -> bytes:
    """The EML file of a payload: a plain one. Errors: OSError, ValueError."""
    fields = json.loads(payload.read_text(encoding="utf-8"))
    return (
        f"Message-ID: <{email_id}@mta.example>\r\nFrom: sender@example.com\r\nTo: {fields['to']}\r\n"
        "Subject: from the older one\r\n\r\nIt is the older one that prepared this.\r\n"
    ).encode()


def _printed(item: Item, name: str) -> str:
    """An attribute as the consumer prints it."""
    return str(item["Attributes"].get(name, NIL))


def _deleting(records: Records, email_id: str, status: Status) -> dict[str, Any]:
    return {"Delete": {"TableName": records.table, "Key": to_wire({"Id": email_id, "Status": str(status)})}}


async def _transact(records: Records, *writes: dict[str, Any]) -> bool:
    """One transaction, again while another is under way on the same record. False when a condition refused it."""
    while True:
        try:
            await records.transact(*writes)
        except ClientError as error:
            codes = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", ())}
            if "ConditionalCheckFailed" in codes:
                return False
            if "TransactionConflict" not in codes:
                raise
        else:
            return True


async def _find(
    records: Records, only: str, names: dict[str, str], values: dict[str, str], enough: int | None = None
) -> list[Item]:
    """Emails' records for which `only` holds; page after page until there are more than `enough`."""
    found: list[Item] = []
    start: dict[str, Any] = {}
    while True:
        page = await records.client.query(
            TableName=records.table,
            IndexName="StatusIndex",
            KeyConditionExpression="#status = :meta",
            FilterExpression=only,
            ExpressionAttributeNames={"#status": "Status", "#attributes": "Attributes", "#latest": "Latest", **names},
            ExpressionAttributeValues=to_wire({":meta": META, **values}),
            **start,
        )
        found += [from_wire(item) for item in page["Items"]]
        if "LastEvaluatedKey" not in page or (enough is not None and len(found) > enough):
            return found
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
