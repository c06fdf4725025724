"""What DynamoDB's errors become, and that nothing of a record or a key gets out with them."""

from __future__ import annotations

from typing import Any

import pytest

from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.stores.dynamodb.errors import (
    Cancelled,
    ConditionFailed,
    Conflict,
    InUse,
    Kind,
    Reason,
    read,
    throttling,
)

TABLE = "Outbox in eu-west-1"
ITEM = {"Id": {"S": "1"}, "Status": {"S": "_META"}}


def answer(code: str, message: str = "", *, status: int = 400, **fields: Any) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}, **fields}


def cancelled(*codes: str | None, **fields: Any) -> dict[str, Any]:
    reasons = [{"Code": code, **fields} if code else {} for code in codes]
    return answer("TransactionCanceledException", "Transaction cancelled", CancellationReasons=reasons)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (answer("ConditionalCheckFailedException"), Kind.CONDITION),
        (answer("TransactionConflictException"), Kind.CONFLICT),
        (answer("TransactionInProgressException"), Kind.AWAY),
        (answer("ReplicatedWriteConflictException"), Kind.AWAY),
        (answer("InternalServerError", status=500), Kind.AWAY),
        (answer("ServiceUnavailable", status=503), Kind.AWAY),
        (answer("SomethingNew", status=500), Kind.AWAY),
        (answer("500", status=500), Kind.AWAY),
        (answer("", status=502), Kind.AWAY),
        (answer("504", "<html>Gateway Timeout</html>", status=504), Kind.AWAY),
        (answer("429", status=429), Kind.THROTTLED),
        (answer("403", "<html>", status=403), Kind.REJECTED),
        (answer("ProvisionedThroughputExceededException"), Kind.THROTTLED),
        (answer("ThrottlingException"), Kind.THROTTLED),
        (answer("Throttling"), Kind.THROTTLED),
        (answer("RequestLimitExceeded"), Kind.THROTTLED),
        (answer("ResourceInUseException"), Kind.IN_USE),
        (answer("ExpiredTokenException"), Kind.EXPIRED),
        (answer("ExpiredToken"), Kind.EXPIRED),
        (answer("ResourceNotFoundException"), Kind.REJECTED),
        (answer("AccessDeniedException"), Kind.REJECTED),
        (answer("UnrecognizedClientException"), Kind.REJECTED),
        (answer("ValidationException"), Kind.REJECTED),
        (answer("ItemCollectionSizeLimitExceededException"), Kind.REJECTED),
        (answer("IdempotentParameterMismatchException"), Kind.REJECTED),
        (cancelled("None", "ConditionalCheckFailed"), Kind.CANCELLED),
        (cancelled("TransactionConflict", "ConditionalCheckFailed"), Kind.CANCELLED),
        (cancelled("DuplicateItem"), Kind.CANCELLED),
        (cancelled("None", "ValidationError"), Kind.REJECTED),
        (cancelled("TransactionConflict", "ItemCollectionSizeLimitExceeded"), Kind.REJECTED),
        (cancelled("SomethingNew"), Kind.REJECTED),
        (cancelled("None", "TransactionConflict"), Kind.CONFLICT),
        (cancelled("ThrottlingError", "TransactionConflict"), Kind.CONFLICT),
        (cancelled("ThrottlingError", "None"), Kind.THROTTLED),
        (cancelled("ProvisionedThroughputExceeded"), Kind.THROTTLED),
        (cancelled("None", None), Kind.AWAY),
        (answer("TransactionCanceledException"), Kind.AWAY),
        (answer("TransactionCanceledException", "… specific reasons [None, ConditionalCheckFailed]"), Kind.CANCELLED),
    ],
)
def test_every_error_has_its_kind(response: dict[str, Any], kind: Kind) -> None:
    assert read(response, TABLE, None).kind is kind


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (answer("TransactionConflictException"), Conflict),
        (answer("ResourceInUseException"), InUse),
        (answer("ThrottlingException"), StoreUnavailable),
        (answer("InternalServerError", status=500), StoreUnavailable),
        (answer("ExpiredTokenException"), StoreRejected),
        (answer("ValidationException"), StoreRejected),
    ],
)
def test_a_kind_becomes_one_of_our_errors(response: dict[str, Any], error: type[Exception]) -> None:
    raised = read(response, TABLE, None).error("claim", 1)
    assert type(raised) is error
    assert str(raised).startswith("dynamodb claim: ")


def test_a_failed_condition_hands_out_the_record() -> None:
    raised = read(answer("ConditionalCheckFailedException", Item=ITEM), TABLE, None).error("claim", 1)
    assert isinstance(raised, ConditionFailed)
    assert raised.item == ITEM


def test_a_failed_condition_without_a_record_says_so() -> None:
    raised = read(answer("ConditionalCheckFailedException"), TABLE, None).error("claim", 1)
    assert isinstance(raised, ConditionFailed)
    assert raised.item is None


def test_a_refused_transaction_has_a_reason_for_every_write() -> None:
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": ITEM}, {}]
    response = answer("TransactionCanceledException", CancellationReasons=reasons)
    raised = read(response, TABLE, None).error("claim", 1)
    assert isinstance(raised, Cancelled)
    assert raised.reasons == [Reason("None", None), Reason("ConditionalCheckFailed", ITEM), Reason("None", None)]


def test_several_tries_are_named() -> None:
    failure = read(answer("InternalServerError", "oops", status=500), TABLE, None)
    assert str(failure.error("claim", 8)) == "dynamodb claim: InternalServerError: oops (8 tries)"
    assert str(failure.error("claim", 1)) == "dynamodb claim: InternalServerError: oops"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (
            answer("ResourceNotFoundException", "Requested resource not found"),
            "there is no table Outbox in eu-west-1, or an index of it is missing",
        ),
        (
            answer(
                "AccessDeniedException",
                "User: arn:aws:sts::123456789012:assumed-role/x is not authorized to perform: dynamodb:UpdateItem on"
                " resource: arn:aws:dynamodb:eu-west-1:123456789012:table/Outbox",
            ),
            "this AWS identity may not dynamodb:UpdateItem on Outbox in eu-west-1",
        ),
        (
            answer("UnrecognizedClientException", "The security token included in the request is invalid."),
            "AWS does not accept the access key: wrong, switched off, or of another account",
        ),
        (
            answer("InvalidSignatureException", "The request signature … 'POST\n/\nhost:…' "),
            "AWS refuses the signature: the secret key does not belong to the access key",
        ),
        (
            answer("InvalidSignatureException", "Signature expired: 20261120T120000Z is now earlier than …"),
            "AWS refuses the signature: this machine's clock is minutes off",
        ),
        (
            answer("ExpiredTokenException", "The security token included in the request is expired"),
            "the AWS session token has expired, and no newer one was found",
        ),
        (answer("502", "<html>secret</html>", status=502), "HTTP 502"),
        (cancelled("None", "ValidationError"), "transaction cancelled: ValidationError"),
    ],
)
def test_an_operator_reads_what_is_wrong(response: dict[str, Any], words: str) -> None:
    assert read(response, TABLE, None).detail == words


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "The table does not have the specified index: WorkIndex",
            "ValidationException: The table does not have the specified index: WorkIndex",
        ),
        (
            "1 validation error detected: Value '{Id=AttributeValue(S=anna@example.com)}' at 'key' failed to satisfy",
            "ValidationException: 1 validation error detected: …'key' failed to satisfy",
        ),
        (
            "The parameter cannot be converted to a numeric value: anna@example.com",
            "ValidationException: The parameter cannot be converted to a numeric value: …",
        ),
    ],
)
def test_a_refusal_keeps_its_words_but_not_what_was_sent(message: str, shown: str) -> None:
    detail = read(answer("ValidationException", message), TABLE, None).detail
    assert detail == shown


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
def test_throttling_says_what_was_exceeded(spelling: str) -> None:
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/Outbox/index/StatusIndex"
    reasons = [{"reason": "IndexWriteKeyRangeThroughputExceeded", "resource": arn}] * 2
    response = {**answer("ThrottlingException", "Rate exceeded"), spelling: reasons}
    assert throttling(response) == "IndexWriteKeyRangeThroughputExceeded Outbox/index/StatusIndex"
    assert read(response, TABLE, None).detail == throttling(response)
