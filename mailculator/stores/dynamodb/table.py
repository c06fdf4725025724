"""The table's verbs: typed, metered, and with the record as it was before in every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mailculator.stores.dynamodb import layout
from mailculator.stores.dynamodb.client import Client
from mailculator.stores.dynamodb.codec import Item, Value, from_wire, to_wire
from mailculator.stores.dynamodb.errors import Cancelled, ConditionFailed
from mailculator.stores.dynamodb.expression import Names, Update, Where
from mailculator.stores.dynamodb.units import Meter, size_of

Key = Mapping[str, str]

BATCH_KEYS = 100
"""Keys in one BatchGetItem (its limit)."""


class Refused(Exception):
    """A write's condition did not hold.

    Arguments:
        item: the record as it stands; None where there is none.
        others: for a transaction, whether any write beside the first was refused.
    """

    def __init__(self, item: Item | None, *, others: bool = False) -> None:
        super().__init__("condition failed")
        self.item = item
        self.others = others


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a query.

    Arguments:
        after: where the next page begins; None when this was the last.
    """

    items: list[Item]
    after: Item | None


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole record. `before` is what is known to stand there, for the meter."""

    item: Item
    where: Where | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Take a record away."""

    key: Key
    before: Item | None = None


class Table:
    """One table.

    Arguments:
        client: closed with the table.
    """

    def __init__(self, client: Client, name: str, meter: Meter) -> None:
        self.client = client
        self.name = name
        self.meter = meter
        self.recognised: Callable[[str], None] = lambda email_id: None
        """Told the id of a record in which a write of our own was recognised."""

    async def get(self, op: str, key: Key, *, consistent: bool = True) -> Item | None:
        """One record."""
        answer = await self.client.call(
            "get_item", op, TableName=self.name, Key=to_wire(key), ConsistentRead=consistent
        )
        item = from_wire(answer["Item"]) if "Item" in answer else None
        self.meter.read(op, [size_of(item) if item else 0], consistent=consistent, each=True)
        return item

    async def get_many(self, op: str, keys: Sequence[Key], *, consistent: bool = True) -> list[Item]:
        """Those of the records that are there, in no order."""
        found: list[Item] = []
        for start in range(0, len(keys), BATCH_KEYS):
            part = keys[start : start + BATCH_KEYS]
            request = {self.name: {"Keys": [to_wire(key) for key in part], "ConsistentRead": consistent}}
            answer = await self.client.call("batch_get_item", op, RequestItems=request)
            items = [from_wire(wire) for wire in answer["Responses"].get(self.name, [])]
            absent = [0] * (len(part) - len(items))
            self.meter.read(op, [*(size_of(item) for item in items), *absent], consistent=consistent, each=True)
            found += items
        return found

    async def query(
        self,
        op: str,
        where: Where,
        *,
        index: str | None = None,
        limit: int | None = None,
        after: Item | None = None,
        consistent: bool = False,
        only: Where | None = None,
        newest_first: bool = False,
    ) -> Page:
        """One page of the records of a partition, in the order of the sort key.

        Arguments:
            newest_first: in the opposite order; for sort keys that begin with a time.
            only: what of the page is sent. What it leaves out is charged too, and only the server knows how much.
        """
        names = Names()
        request: dict[str, Any] = {"KeyConditionExpression": where.render(names)}
        if only is not None:
            request |= {"FilterExpression": only.render(names), "ReturnConsumedCapacity": "TOTAL"}
        if index is not None:
            request["IndexName"] = index
        if limit is not None:
            request["Limit"] = limit
        if after is not None:
            request["ExclusiveStartKey"] = to_wire(after)
        if newest_first:
            request["ScanIndexForward"] = False
        answer = await self.client.call(
            "query",
            op,
            TableName=self.name,
            ConsistentRead=consistent,
            ExpressionAttributeNames=names.names,
            ExpressionAttributeValues=names.values,
            **request,
        )
        items = [from_wire(wire) for wire in answer["Items"]]
        if only is None:
            self.meter.read(op, [size_of(item) for item in items], consistent=consistent, each=False)
        else:
            self.meter.charged(op, "read", float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)))
        last = answer.get("LastEvaluatedKey")
        return Page(items, from_wire(last) if last else None)

    async def update(self, op: str, update: Update) -> tuple[Item, Item]:
        """The record before and after; empty before, where the condition lets it be made.

        A write that was applied, and whose reply was lost, is refused when it is sent again. One that names a new token
        is recognised by it; what stood there before is not known then, and what stands there is returned for it.

        Errors: Refused.
        """
        names = Names()
        request = _update(update, names)
        try:
            answer = await self.client.call(
                "update_item", op, TableName=self.name, ReturnValues="ALL_OLD", **request, **_aliases(names)
            )
        except ConditionFailed as error:
            refused = self._refused(op, error.item)
            if refused.item is not None and self._is_ours(update, refused.item):
                return refused.item, refused.item
            raise refused from error
        before = from_wire(answer.get("Attributes", {}))
        after = update.change.apply({**update.key, **before})
        self.meter.written(op, before or None, after)
        return before, after

    async def put(self, op: str, put: Put) -> None:
        """Write a whole record. Errors: Refused."""
        names = Names()
        request: dict[str, Any] = {"Item": to_wire(put.item), "ReturnValues": "ALL_OLD"}
        if put.where is not None:
            request["ConditionExpression"] = put.where.render(names)
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            answer = await self.client.call("put_item", op, TableName=self.name, **request, **_aliases(names))
        except ConditionFailed as error:
            raise self._refused(op, error.item) from error
        old = answer.get("Attributes")
        self.meter.written(op, from_wire(old) if old else None, put.item)

    async def delete(self, op: str, key: Key, where: Where | None = None) -> Item | None:
        """Take a record away; it may be gone already. Returns what it was. Errors: Refused."""
        names = Names()
        request: dict[str, Any] = {}
        if where is not None:
            request["ConditionExpression"] = where.render(names)
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            answer = await self.client.call(
                "delete_item",
                op,
                TableName=self.name,
                Key=to_wire(key),
                ReturnValues="ALL_OLD",
                **request,
                **_aliases(names),
            )
        except ConditionFailed as error:
            raise self._refused(op, error.item) from error
        old = answer.get("Attributes")
        before = from_wire(old) if old else None
        self.meter.written(op, before, None)
        return before

    async def transact(
        self,
        op: str,
        update: Update,
        beside: Sequence[Put | Delete],
        *,
        before: Item | None,
        retry_conflict: bool = True,
    ) -> None:
        """An update and what must happen with it, all or nothing.

        A transaction returns no images: `before` is the record as the update's condition demands it, for the meter.

        Errors: Refused, with the updated record as it stands; Conflict with `retry_conflict` False.
        """
        writes: list[dict[str, Any]] = []
        names = Names()
        request = _update(update, names)
        writes.append({"Update": {"TableName": self.name, **request, **_aliases(names)}})
        writes += [self._beside(one) for one in beside]
        try:
            await self.client.call(
                "transact_write_items",
                op,
                retry_conflict=retry_conflict,
                TransactItems=writes,
                ClientRequestToken=layout.new_token(),
            )
        except Cancelled as error:
            first, *others = error.reasons
            item = from_wire(first.item) if first.item else None
            self.meter.refused(op, item, transaction=True)
            if item is not None and self._is_ours(update, item):
                return
            raise Refused(item, others=any(one.code != "None" for one in others)) from error
        self.meter.written(op, before, update.change.apply(before or {}), transaction=True)
        for one in beside:
            old, new = (None, one.item) if isinstance(one, Put) else (one.before, None)
            self.meter.written(op, old, new, transaction=True)

    async def close(self) -> None:
        """Safe to call twice."""
        await self.client.close()

    def _beside(self, one: Put | Delete) -> dict[str, Any]:
        if isinstance(one, Delete):
            return {"Delete": {"TableName": self.name, "Key": to_wire(one.key)}}
        names = Names()
        put: dict[str, Any] = {"TableName": self.name, "Item": to_wire(one.item)}
        if one.where is not None:
            put["ConditionExpression"] = one.where.render(names)
        return {"Put": {**put, **_aliases(names)}}

    def _is_ours(self, update: Update, item: Item) -> bool:
        token = update.change.sets.get(layout.TOKEN)
        if token is None or item.get(layout.TOKEN) != token:
            return False
        self.recognised(str(item[layout.ID]))
        return True

    def _refused(self, op: str, wire: dict[str, Any] | None) -> Refused:
        item = from_wire(wire) if wire else None
        self.meter.refused(op, item)
        return Refused(item)


def _update(update: Update, names: Names) -> dict[str, Any]:
    return {
        "Key": to_wire(update.key),
        "UpdateExpression": update.change.render(names),
        "ConditionExpression": update.where.render(names),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _aliases(names: Names) -> dict[str, Value]:
    aliases: dict[str, Value] = {}
    if names.names:
        aliases["ExpressionAttributeNames"] = names.names
    if names.values:
        aliases["ExpressionAttributeValues"] = names.values
    return aliases
