"""The other programs' hands on a DynamoDB table: records as they write them, by a plain client, past every Store."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from mailculator.stores.dynamodb.codec import from_wire, to_wire
from tests.support.moto_server import KEY, REGION

META = "_META"
OWN = "_mailculator"
FAR = 4_102_444_800
DELETED_WITHIN = 5 * 365 * 86_400
"""DynamoDB takes a TTL that is older for a mistake, and deletes nothing
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html)."""

Item = dict[str, Any]
Key = tuple[str, str]


def now() -> int:
    """Epoch seconds of this machine, whatever a test has made of `time.time`."""
    return int(time.clock_gettime(time.CLOCK_REALTIME))


def stamp(epoch: float) -> str:
    """RFC 3339 with whole seconds, as the older programs write their times."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def meta(email_id: str, status: str, *, ttl: int | None = None, version: int | None = None, **attributes: str) -> Item:
    """An email's record, without any attribute of ours but the version where one is given."""
    at = stamp(now())
    item: Item = {
        "Id": email_id,
        "Status": META,
        "Attributes": {"Latest": status, "CreatedAt": at, "UpdatedAt": at, "Reason": "", **attributes},
    }
    if ttl is not None:
        item["TTL"] = ttl
    if version is not None:
        item["Version"] = version
    return item


def status_record(email_id: str, status: str, ttl: int | None = None) -> Item:
    """The record of one status that an email went through."""
    item: Item = {"Id": email_id, "Status": status, "Attributes": {}}
    return item if ttl is None else {**item, "TTL": ttl}


def older(item: Item, seconds: int) -> Item:
    """A record with every time in it made older."""
    shifted = {
        name: value - (seconds if name == "Expires" else seconds * 1000) if name in _NUMBERS else value
        for name, value in item.items()
    }
    if isinstance(shifted.get("Attributes"), dict):
        shifted["Attributes"] = {
            name: _earlier(value, seconds) if name in ("CreatedAt", "UpdatedAt") else value
            for name, value in _sooner(item["Attributes"], seconds).items()
        }
    if "Seen" in item:
        # Equal texts stay equal, and different ones different: that is all that the mirror is about.
        shifted["Seen"] = _earlier(item["Seen"], seconds)
    if "Hist" in item:
        shifted["Hist"] = [_line(text, seconds) for text in item["Hist"]]
    return _sooner(shifted, seconds)


_NUMBERS = frozenset({"DueAt", "LeaseUntil", "FailingSince", "ReachedAt", "Expires"})


def tells_time(item: Item) -> bool:
    """Whether a record of the service's own is one in which operators, replicas or notes have left a time."""
    return str(item["Id"]).startswith(_TIMED)


def older_own(item: Item, seconds: int) -> Item:
    """Such a record with every time in it made older; in some it is a part of the key."""
    shifted = {
        name: value - seconds * 1000 if name in ("Since", "Until", "Seen") else value for name, value in item.items()
    }
    if item["Id"].startswith(_AUDIT):
        at, _, unique = item["Status"].partition("#")
        earlier = datetime.fromisoformat(at) - timedelta(seconds=seconds)
        shifted |= {"Id": f"{_AUDIT}{earlier:%Y-%m}", "Status": f"{earlier:%Y-%m-%dT%H:%M:%S.%f}#{unique}"}
    elif item["Id"].startswith(_NOTE) and item["Status"].startswith("n"):
        shifted["Status"] = f"n{int(item['Status'][1:]) - seconds * 1000:015}"
    return _sooner(shifted, seconds)


_AUDIT = f"{OWN}.audit#"
_NOTE = f"{OWN}.note#"
_TIMED = (f"{OWN}.pauses", f"{OWN}.replicas", _AUDIT, _NOTE)


def _sooner(values: Mapping[str, Any], seconds: int) -> Item:
    ttl = values.get("TTL")
    return {**values, "TTL": ttl - seconds} if isinstance(ttl, int) and ttl < FAR else dict(values)


def _earlier(text: Any, seconds: int) -> Any:
    try:
        at = datetime.fromisoformat(text) - timedelta(seconds=seconds)
    except (TypeError, ValueError):
        return text
    return at.isoformat().replace("+00:00", "Z") if text.endswith("Z") else at.isoformat()


def _line(text: str, seconds: int) -> str:
    version, status, milliseconds, note = text.split("|", 3)
    return f"{version}|{status}|{int(milliseconds) - seconds * 1000}|{note}"


def expired(item: Item, at: int) -> bool:
    """Whether DynamoDB itself would delete a record, sooner or later."""
    ttl = item.get("TTL")
    return isinstance(ttl, int) and at - DELETED_WITHIN < ttl < at


def is_taken(error: ClientError) -> bool:
    """Whether a write was refused by its condition."""
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


class Records:
    """All records of one table, with whole items in and out.

    Arguments:
        client: of aiobotocore; see `plain_client`.
    """

    def __init__(self, client: Any, table: str) -> None:
        self.client = client
        self.table = table

    async def create(self) -> None:
        """The table as the older service made it."""
        names = ("Id", "Status")
        await self.client.create_table(
            TableName=self.table,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=_key_schema(*names),
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "StatusIndex",
                    "KeySchema": _key_schema(*reversed(names)),
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
        )

    async def drop(self) -> None:
        await self.client.delete_table(TableName=self.table)

    async def put(self, item: Item) -> None:
        await self.client.put_item(TableName=self.table, Item=to_wire(item))

    async def get(self, email_id: str, status: str = META) -> Item | None:
        answer = await self.client.get_item(
            TableName=self.table, Key=to_wire({"Id": email_id, "Status": status}), ConsistentRead=True
        )
        return from_wire(answer["Item"]) if "Item" in answer else None

    async def update(self, email_id: str, expression: str, condition: str = "", **values: Any) -> None:
        """Change an email's record.

        Arguments:
            expression, condition: names begin with `#`; there is no other meaning to them than the word itself, and
                `#A` is `Attributes`.
            values: by their names without the colon.
        """
        await self.client.update_item(
            TableName=self.table, **_change(email_id, expression, condition or "attribute_exists(#Id)", values)
        )

    async def transact(self, *writes: Mapping[str, Any]) -> None:
        await self.client.transact_write_items(TransactItems=list(writes))

    def moving(self, email_id: str, expression: str, condition: str, **values: Any) -> dict[str, Any]:
        """`update`, as a part of a transaction."""
        return {"Update": {"TableName": self.table, **_change(email_id, expression, condition, values)}}

    def putting(self, item: Item) -> dict[str, Any]:
        """A record that must not be there yet, as a part of a transaction."""
        return {
            "Put": {"TableName": self.table, "Item": to_wire(item), "ConditionExpression": "attribute_not_exists(Id)"}
        }

    async def all(self) -> list[Item]:
        found: list[Item] = []
        start: dict[str, Any] = {}
        while True:
            page = await self.client.scan(TableName=self.table, ConsistentRead=True, **start)
            found += [from_wire(item) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                return found
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def emails(self) -> list[Item]:
        """The records of emails, without those of statuses and of ours."""
        return [item for item in await self.all() if item["Status"] == META]

    async def replace(self, items: Sequence[Item]) -> None:
        await self._batch([{"PutRequest": {"Item": to_wire(item)}} for item in items])

    async def remove(self, keys: Sequence[Key]) -> None:
        await self._batch([{"DeleteRequest": {"Key": to_wire({"Id": key[0], "Status": key[1]})}} for key in keys])

    async def _batch(self, requests: list[dict[str, Any]]) -> None:
        for start in range(0, len(requests), 25):
            rest = {self.table: requests[start : start + 25]}
            while rest:
                rest = (await self.client.batch_write_item(RequestItems=rest))["UnprocessedItems"]


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


def _change(email_id: str, expression: str, condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
    words = {word.strip("#") for word in _words(f"{expression} {condition}") if word.startswith("#")}
    return {
        "Key": to_wire({"Id": email_id, "Status": META}),
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {f"#{word}": "Attributes" if word == "A" else word for word in words},
        "ExpressionAttributeValues": to_wire({f":{name}": value for name, value in values.items()}),
    }


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalnum() or letter in "#_" else " " for letter in text).split()


@asynccontextmanager
async def plain_client(endpoint: str) -> AsyncIterator[Any]:
    """A client for what other programs do; botocore's own retries are good enough for them."""
    async with get_session().create_client(
        "dynamodb",
        region_name=REGION,
        endpoint_url=endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        config=AioConfig(max_pool_connections=32),
    ) as client:
        yield client
