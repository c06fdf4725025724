"""Names and numbers of the table: what the older service made, and what we add to it.

An email is one record with `Status = "_META"`. The older producer and consumer know its `TTL` and its map
`Attributes`; every other name here is ours, stands at the record's root, and is absent from records that we have not
taken up yet. They also keep a record per status that an email went through; we write those only beside an older
consumer.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from types import MappingProxyType
from zlib import crc32

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    INTAKE,
    SENDER,
    SENT_CALLBACK,
    STAGE_BY_WAITING,
    STAGE_BY_WORKING,
    Stage,
)
from mailculator.model import Status

# The older service's names.
ID = "Id"
STATUS = "Status"
META = "_META"
TTL = "TTL"
ATTRIBUTES = "Attributes"
LATEST = "Latest"
CREATED_AT = "CreatedAt"
UPDATED_AT = "UpdatedAt"
REASON = "Reason"
PAYLOAD = "PayloadFilePath"
EML = "EMLFilePath"
STATUS_INDEX = "StatusIndex"

# Ours.
VERSION = "Version"
STATE = "State"
"""Our copy of `Attributes.Latest`, part of every write of ours: where the two differ, somebody else has written."""
SEEN = "Seen"
"""Our copy of `Attributes.UpdatedAt`, likewise."""
TOKEN = "Token"  # noqa: S105  # names a claim
LEASE_SEQ = "LeaseSeq"
"""Raised by every claim and renewal: a rescuer that sees it unchanged for a lease's length knows the holder is dead."""
LEASE_UNTIL = "LeaseUntil"
LEASE_FOR = "LeaseFor"
LEASE_BY = "LeaseBy"
WORK_KEY = "WorkKey"
DUE_AT = "DueAt"
ATTEMPTS = "Attempts"
GENERATION = "Generation"
FAILING_SINCE = "FailingSince"
LAST_ERROR = "LastError"
CRASHES = "Crashes"
"""Absent where it is 0, which it mostly is."""
REACHED_AT = "ReachedAt"
DOMAIN = "Domain"
PARKED = "Parked"
CANCELLED = "Cancelled"
"""Why it is not to be sent, if it is not sent yet."""
EXPIRES = "Expires"
"""The true ttl, while the root's is far away: DynamoDB deletes by the root's, whatever the status is."""
HISTORY = "Hist"
HISTORY_VERSION = "HistVersion"
HISTORY_FOLDED = "HistFolded"

WORK_INDEX = "WorkIndex"
WORK_INDEX_PROJECTION = (STATE, VERSION, TOKEN, LEASE_SEQ, LEASE_UNTIL, LEASE_FOR)

FAR = 4_102_444_800
"""2100-01-01 in epoch seconds: the root ttl of what must not be deleted. Never absent: a job of the producer stamps
records that lack one."""

CLOCKS_DIFFER = 0.5
"""Seconds by which a replica's idea of the service's time may be off: its answers tell whole seconds."""

SHARDS = 4
"""Partitions of the work index per stage. One takes 1,000 write units a second, about 300 emails a second."""

HISTORY_KEPT = 16
"""Lines of history in a record; older ones are folded into a count."""

REASON_BYTES = 200
"""Of a reason; more than that would make a write of an ordinary record dearer by a unit. The rest goes to the log."""

OWN_ID = "_mailculator"
"""Id of our own records; their sort keys are no mail statuses."""

_STAGE_KEYS: Mapping[str, str] = MappingProxyType(
    {INTAKE.name: "intake", SENDER.name: "send", SENT_CALLBACK.name: "sent", FAILED_CALLBACK.name: "failed"}
)
PARKED_KEY = "parked"


def shard(email_id: str) -> int:
    """The part of the work index that an email belongs to."""
    return crc32(email_id.encode()) % SHARDS


def work_key(stage: Stage, email_id: str) -> str:
    """Where an email of that stage is found. By stage, not by status: a step back leaves the key right."""
    return f"{_STAGE_KEYS[stage.name]}#{shard(email_id)}"


def stage_keys(stage: Stage) -> list[str]:
    """Every key of a stage."""
    return [f"{_STAGE_KEYS[stage.name]}#{number}" for number in range(SHARDS)]


def parked_key(email_id: str) -> str:
    """Where a parked email is found: apart, so that no poll meets it."""
    return f"{PARKED_KEY}#{shard(email_id)}"


def parked_keys() -> list[str]:
    """Every key of parked emails."""
    return [f"{PARKED_KEY}#{number}" for number in range(SHARDS)]


def stage_of(status: Status) -> Stage | None:
    """The stage that a status belongs to; None for a terminal one."""
    return STAGE_BY_WAITING.get(status) or STAGE_BY_WORKING.get(status)


def meta_key(email_id: str) -> dict[str, str]:
    """The key of an email's record."""
    return {ID: email_id, STATUS: META}


def new_token() -> str:
    """Names a claim, or a write that fences one."""
    return uuid.uuid4().hex
