from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mailculator.callback_url import parse_secrets
from mailculator.transport.callback_format import FAILED, SENT, CallbackFormat, build_body, build_headers

ID = "550e8400-e29b-41d4-a716-446655440000"
AT = datetime(2026, 11, 20, 8, 0, 0, 999_999, tzinfo=UTC)
FIXED = {"X-MTRAX-SOURCE": "MULTIDIALOGO"}


def test_the_body_is_what_producers_know() -> None:
    assert build_body(SENT, AT, ID, "Consegnato al server di posta") == (
        b'{"code":"TRAVELING","reached_at":"2026-11-20T08:00:00Z",'
        b'"message_ids":["550e8400-e29b-41d4-a716-446655440000"],"reason":"Consegnato al server di posta"}'
    )


@pytest.mark.parametrize("reason", ["perché", "a/b <c> & \u2028 \u007f", 'say "no"\\', "tab\tline\nend\x01", "", "🙂"])
def test_the_body_is_compact_unescaped_json(reason: str) -> None:
    body = build_body(FAILED, AT, ID, reason)
    expected = {"code": "DISPATCH-ERROR", "reached_at": "2026-11-20T08:00:00Z", "message_ids": [ID], "reason": reason}
    assert body == json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()


def test_times_are_utc() -> None:
    rome = AT.astimezone(timezone(timedelta(hours=1)))
    assert build_body(SENT, rome, ID, "") == build_body(SENT, AT, ID, "")
    assert build_body(SENT, AT.replace(tzinfo=None), ID, "") == build_body(SENT, AT, ID, "")


def test_headers_without_a_secret() -> None:
    headers = build_headers(FIXED, b"{}", email_id=ID, result="sent", generation=0, timestamp=1700000000)
    assert headers == {
        "X-MTRAX-SOURCE": "MULTIDIALOGO",
        "Content-Type": "application/json",
        "webhook-id": f"{ID}:sent",
        "webhook-timestamp": "1700000000",
    }


def test_the_content_type_is_not_configurable() -> None:
    fixed = {"content-type": "text/plain", "X-A": "b"}
    headers = build_headers(fixed, b"{}", email_id=ID, result="failed", generation=0, timestamp=1)
    assert [value for name, value in headers.items() if name.lower() == "content-type"] == ["application/json"]
    assert headers["X-A"] == "b"


def test_a_requeue_gives_a_new_id_that_its_retries_keep() -> None:
    def webhook_id(generation: int, timestamp: int) -> str:
        return build_headers(
            {}, b"", email_id=ID, result="failed", generation=generation, timestamp=timestamp
        )["webhook-id"]  # fmt: skip

    assert webhook_id(0, 1) == webhook_id(0, 2) == f"{ID}:failed"
    assert webhook_id(2, 1) == f"{ID}:failed:2"


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's reference libraries.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = b'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}'
    assert base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) == b"g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    secrets = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw plain")
    headers = build_headers({}, b"{}", email_id=ID, result="sent", generation=0, timestamp=1614265330, secrets=secrets)
    content = f"{ID}:sent.1614265330.".encode() + b"{}"
    expected = [
        "v1," + base64.b64encode(hmac.new(secret, content, "sha256").digest()).decode() for secret in (key, b"plain")
    ]
    assert headers["webhook-signature"] == " ".join(expected)


def test_secrets() -> None:
    assert parse_secrets("") == ()
    assert parse_secrets(" one\ttwo ") == (b"one", b"two")
    assert parse_secrets("whsec_AAEC") == (b"\0\1\2",)


@pytest.mark.parametrize("text", ["whsec_", "whsec_not base64", "ok whsec_%%canary"])
def test_a_malformed_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_ must be base64") as caught:
        parse_secrets(text)
    assert "canary" not in str(caught.value)


def test_the_service_writes_results_as_its_settings_say() -> None:
    wording = CallbackFormat(fixed=FIXED, sent_reason="Consegnato", secrets=(b"key",), wall_clock=lambda: 1700000000.9)
    assert wording.body(sent=True, reached_at=AT, email_id=ID, reason="ignored") == build_body(
        SENT, AT, ID, "Consegnato"
    )
    assert wording.body(sent=False, reached_at=AT, email_id=ID, reason=None) == build_body(FAILED, AT, ID, "")
    assert wording.headers(sent=False, email_id=ID, generation=1, body=b"{}") == build_headers(
        FIXED, b"{}", email_id=ID, result="failed", generation=1, timestamp=1700000000, secrets=(b"key",)
    )
