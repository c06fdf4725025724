"""What DynamoDB's errors mean to a queue.

Source: the API reference's "Common Errors", the errors of each operation, and the developer guide's "Error handling
with DynamoDB" and "Managing complex workflows with DynamoDB transactions" (cancellation reasons).

::

    ConditionFailed             a single write's condition did not hold
    Cancelled                   a condition in a transaction did not hold: nothing of it was applied
    StoreUnavailable            tried again until tries or time ran out
    ├── Conflict                somebody else's transaction holds the item
    └── InUse                   the table, or an index of it, is being made or changed, or is there already
    StoreRejected               a bug, or what an operator must set right: a right, a key, the table

    answer                                                        kind        tried again
    ConditionalCheckFailed                                        CONDITION   no
    TransactionCanceled: a ConditionalCheckFailed, DuplicateItem  CANCELLED   no
    … else an unknown reason, ValidationError, ItemCollection…    REJECTED    no
    … else a TransactionConflict                                  CONFLICT    unless told not to
    … else a throttling reason                                    THROTTLED   yes, and the writes are slowed
    … else (None only, or no reasons)                             AWAY        yes
    TransactionConflict                                           CONFLICT    unless told not to
    ProvisionedThroughputExceeded, Throttling, RequestLimit…      THROTTLED   yes, and the writes are slowed
    InternalServerError, ServiceUnavailable, HTTP 5xx, a transaction in progress,
    a replicated write in conflict, no answer, no DynamoDB's      AWAY        yes
    ResourceInUse                                                 IN_USE      yes, but not for a change of the table
    ExpiredToken                                                  EXPIRED     once, with credentials looked up anew
    ResourceNotFound, AccessDenied, keys, anything else           REJECTED    no

The first two are for this package alone; they say that a write lost, and with what stands there now.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mailculator.errors import StoreRejected, StoreUnavailable

NAME = "dynamodb"

WireItem = dict[str, Any]
"""An item as it is on the wire: `{"Id": {"S": "…"}}`."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one write of a transaction was refused.

    Arguments:
        code: `None` (the text) for a write that was fine itself.
        item: the record as it stands, where the write asked for it and there is one.
    """

    code: str
    item: WireItem | None


class ConditionFailed(Exception):
    """A write's condition did not hold.

    Arguments:
        item: the record as it stands, in wire form; None where there is none, or it was not asked for.
    """

    def __init__(self, item: WireItem | None) -> None:
        super().__init__("condition failed")
        self.item = item


class Cancelled(Exception):
    """A condition of a transaction did not hold.

    Arguments:
        reasons: one per write, in the order of the request.
    """

    def __init__(self, reasons: Sequence[Reason]) -> None:
        super().__init__("transaction refused: " + ", ".join(reason.code for reason in reasons))
        self.reasons = list(reasons)


class Conflict(StoreUnavailable):
    """Another transaction is under way on the same item."""


class InUse(StoreUnavailable):
    """The table or an index of it is being made or changed; for a change of the table: it is there already."""


class Kind(Enum):
    """What is to be done about a failure; see the module's table."""

    CONDITION = "condition"
    CANCELLED = "cancelled"
    CONFLICT = "conflict"
    THROTTLED = "throttled"
    AWAY = "away"
    IN_USE = "in use"
    EXPIRED = "expired"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Failure:
    """One try that failed.

    Arguments:
        detail: for people; no credentials and nothing of an item in it.
        item: the record as it stands, for CONDITION.
        reasons: of a refused transaction.
        cause: the driver's error.
    """

    kind: Kind
    detail: str
    cause: BaseException | None
    item: WireItem | None = None
    reasons: tuple[Reason, ...] = ()

    def error(self, op: str, tries: int) -> Exception:
        """What the caller gets to see."""
        match self.kind:
            case Kind.CONDITION:
                return ConditionFailed(self.item)
            case Kind.CANCELLED:
                return Cancelled(self.reasons)
            case Kind.REJECTED | Kind.EXPIRED:
                return StoreRejected(NAME, op, self.detail)
        detail = self.detail if tries == 1 else f"{self.detail} ({tries} tries)"
        match self.kind:
            case Kind.CONFLICT:
                return Conflict(NAME, op, detail)
            case Kind.IN_USE:
                return InUse(NAME, op, detail)
        return StoreUnavailable(NAME, op, detail)


_THROTTLED = frozenset(
    {"ProvisionedThroughputExceeded", "Throttling", "ThrottlingError", "Throttled", "RequestLimitExceeded"}
)
_KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(_THROTTLED, Kind.THROTTLED),
    "ConditionalCheckFailed": Kind.CONDITION,
    "TransactionConflict": Kind.CONFLICT,
    "ResourceInUse": Kind.IN_USE,
    "ExpiredToken": Kind.EXPIRED,
    "InternalServerError": Kind.AWAY,
    "InternalFailure": Kind.AWAY,
    "ServiceUnavailable": Kind.AWAY,
    "TransactionInProgress": Kind.AWAY,
    "ReplicatedWriteConflict": Kind.AWAY,
    "LimitExceeded": Kind.AWAY,  # of changes to tables under way at once
}

_KEY_REFUSED = "AWS does not accept the access key: wrong, switched off, or of another account"
_WORDS: Mapping[str, str] = {
    "UnrecognizedClient": _KEY_REFUSED,
    "InvalidClientTokenId": _KEY_REFUSED,
    "IncompleteSignature": _KEY_REFUSED,
    "MissingAuthenticationToken": _KEY_REFUSED,
    "ExpiredToken": "the AWS session token has expired, and no newer one was found",
    "IdempotentParameterMismatch": "a transaction was sent again with another content",
    "ItemCollectionSizeLimitExceeded": "a record's collection is over its limit",
    "TransactionConflict": "another transaction is under way on the same record",
}

# A refusal may quote what was sent.
_QUOTED = re.compile(r"Value '.*' at |(?<=value: ).*|\{.*\}", re.DOTALL)


def read(response: Mapping[str, Any], table: str, cause: BaseException | None) -> Failure:
    """A failed answer, as botocore parsed it.

    Arguments:
        table: its name, and where it is looked for: for the messages.
    """
    error = response.get("Error", {})
    name = str(error.get("Code") or "")
    message = str(error.get("Message") or "")
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # Some names end so and some do not (`InternalServerError`); within a transaction's reasons none does.
    code = name.removesuffix("Exception")
    if code == "TransactionCanceled":
        return _cancelled(response, message, cause)
    kind = _KINDS.get(code) or _kind_of_status(status)
    detail = _WORDS.get(code) or _detail(code, message, table) or _quoted(name, message, status)
    if kind is Kind.THROTTLED:
        detail = throttling(response) or detail
    return Failure(kind, detail, cause, item=response.get("Item"))


def _kind_of_status(status: int) -> Kind:
    """For a code that is unknown, or the page of a proxy."""
    if status == 429:
        return Kind.THROTTLED
    return Kind.AWAY if status >= 500 or status == 408 else Kind.REJECTED


def throttling(response: Mapping[str, Any]) -> str:
    """What was exceeded, and of which table or index; empty where the answer does not say.

    botocore spells the list `ThrottlingReasons` in one exception and `throttlingReasons` in the other.
    """
    reasons = response.get("ThrottlingReasons") or response.get("throttlingReasons") or ()
    # arn:aws:dynamodb:<region>:<account>:table/<table>/index/<index>
    named = (f"{one.get('reason', '?')} {str(one.get('resource', '')).partition(':table/')[2]}" for one in reasons)
    return ", ".join(dict.fromkeys(text.strip() for text in named))


def _cancelled(response: Mapping[str, Any], message: str, cause: BaseException | None) -> Failure:
    reasons = _reasons(response, message)
    codes = [reason.code for reason in reasons if reason.code != "None"]
    detail = "transaction cancelled: " + (", ".join(dict.fromkeys(codes)) or "no reason given")
    if any(code in {"ConditionalCheckFailed", "DuplicateItem"} for code in codes):
        kind = Kind.CANCELLED
    elif any(code != "TransactionConflict" and code not in _THROTTLED for code in codes):
        kind = Kind.REJECTED
    elif "TransactionConflict" in codes:
        kind = Kind.CONFLICT
    else:
        kind = Kind.THROTTLED if codes else Kind.AWAY
    return Failure(kind, detail, cause, reasons=reasons)


def _reasons(response: Mapping[str, Any], message: str) -> tuple[Reason, ...]:
    listed = response.get("CancellationReasons")
    if listed:
        return tuple(Reason(str(one.get("Code") or "None"), one.get("Item")) for one in listed)
    # Older endpoints give them in the message alone: "… specific reasons [None, ConditionalCheckFailed]".
    found = re.search(r"\[([\w, ]*)\]", message)
    return tuple(Reason(code.strip(), None) for code in found[1].split(",")) if found else ()


def _detail(code: str, message: str, table: str) -> str | None:
    match code:
        case "ResourceNotFound":
            return f"there is no table {table}, or an index of it is missing"
        case "AccessDenied" | "NotAuthorized":
            # The message names the account and the role and quotes policies; which right it is helps an operator.
            right = re.search(r"dynamodb:\w+", message)
            return f"this AWS identity may not {right[0] if right else 'do this'} on {table}"
        case "InvalidSignature" | "SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed":
            # The message quotes what was signed. A signature carries this machine's time, and is good for five minutes.
            if code.startswith("Request") or re.search(r"expired|not yet current", message, re.IGNORECASE):
                return "AWS refuses the signature: this machine's clock is minutes off"
            return "AWS refuses the signature: the secret key does not belong to the access key"
    return None


def _quoted(name: str, message: str, status: int) -> str:
    if name in {"", str(status)}:
        return f"HTTP {status}"
    return _line(f"{name}: {_QUOTED.sub('…', message)}" if message else name)


def _line(text: str) -> str:
    return " ".join(text.split())[:400]
