"""The queue in one DynamoDB table, beside the older producer and, if need be, beside an older consumer.

What is imported here is imported with every other backend's name, so the AWS libraries wait until the queue is
opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailculator.config import Settings
from mailculator.events import Observer, ignore
from mailculator.stores.guard import Guard

if TYPE_CHECKING:
    from mailculator.stores.dynamodb.schema import DynamodbSchema
    from mailculator.stores.dynamodb.store import DynamodbStore


async def open_store(
    settings: Settings, *, service: bool, observer: Observer = ignore, guard: Guard | None = None
) -> DynamodbStore:
    """See stores.registry.Backend."""
    from mailculator.errors import SchemaError
    from mailculator.stores.dynamodb.client import Endpoint
    from mailculator.stores.dynamodb.errors import NAME

    if service:
        refusal = (await open_schema(settings).state()).refusal
        if refusal is not None:
            raise SchemaError(NAME, refusal)
    from mailculator.stores.dynamodb.store import open_queue

    return await open_queue(
        Endpoint.of(settings),
        service=service,
        observer=observer,
        guard=guard,
        timing=settings.timing,
        peer_consumer=settings.dynamodb_peer_consumer,
        keep_accepted=settings.dynamodb_keep_accepted,
        sweep_every=settings.dynamodb_sweep_every,
        write_rate=settings.dynamodb_write_rate,
    )


def open_schema(settings: Settings) -> DynamodbSchema:
    """See stores.registry.Backend."""
    from mailculator.stores.dynamodb.client import Endpoint
    from mailculator.stores.dynamodb.schema import DynamodbSchema

    return DynamodbSchema(Endpoint.of(settings))
