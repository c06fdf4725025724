"""Secrets of ours that a peer quotes, in every form that it may quote them in."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote

import pytest

from mailculator.config import Settings, load
from mailculator.transport.masking import Mask, callback_mask, relay_mask

PASSWORD = "p@ss \"w<ö>rd'%+&"
PLAIN = base64.b64encode(f"\0we\0{PASSWORD}".encode()).decode()
LOGIN = base64.b64encode(PASSWORD.encode()).decode()


@pytest.mark.parametrize(
    "quoted",
    [
        PASSWORD,
        PASSWORD.upper(),
        f"we\0{PASSWORD}",
        PLAIN,
        PLAIN.rstrip("="),
        LOGIN,
        LOGIN.rstrip("="),
        quote(PASSWORD, safe=""),
        html.escape(PASSWORD),
        json.dumps(PASSWORD),
    ],
)
def test_the_relays_password_in_any_form(quoted: str) -> None:
    masked = relay_mask("we", PASSWORD)(f"5.7.8 no: {quoted}!")

    assert masked.startswith("5.7.8 no: ")
    assert masked.endswith("!")
    assert "***" in masked
    assert len(masked) < 25, masked


def test_what_holds_no_secret_is_left_as_it_is() -> None:
    text = "5.7.8 authentication failed for we@example.com"
    assert relay_mask("we", PASSWORD)(text) == text
    assert Mask()(text) == text


@pytest.mark.parametrize("password", ["", "a", "5.7"])
def test_a_secret_of_three_characters_is_too_short_to_be_told_from_words(password: str) -> None:
    assert relay_mask("we", password)("5.7.8 authentication failed") == "5.7.8 authentication failed"


def test_of_a_text_that_was_cut_no_beginning_of_a_secret_is_left() -> None:
    mask = Mask(["hunter2-canary"])
    assert "hunter" not in mask("x" * 200 + "hunter2-can", whole=False)
    assert mask("hunter2-can", whole=False) == ""
    assert mask("hunter2-can") == "hunter2-can"


def test_many_secrets_in_a_long_text_take_no_time() -> None:
    mask = Mask([f"{number}-secret-{number}" for number in range(50)])
    text = "4-secret-5 " * 6000
    began = time.process_time()
    assert mask(text) == text
    assert time.process_time() - began < 2


def settings(**variables: str) -> Settings:
    return load({"PIPELINE_CALLBACK_URL": "http://producer.example.com/callbacks", **variables}, needs={"callback"})


@pytest.mark.parametrize(
    ("variables", "quoted", "shown"),
    [
        ({"MAILCULATOR_CALLBACK_HEADERS": '{"Authorization": "Bearer tok-123"}'}, "got 'Bearer tok-123'", "got '***'"),
        ({"MAILCULATOR_CALLBACK_HEADERS": '{"Authorization": "Bearer tok-123"}'}, "bad token tok-123", "bad token ***"),
        ({"MAILCULATOR_CALLBACK_HEADERS": '{"X-Api-Key": "abcd"}'}, "key abcd is old", "key *** is old"),
        ({"MAILCULATOR_CALLBACK_HEADERS": '{"X-Who": "aaaabbbbccccdddd"}'}, "aaaabbbbccccdddd", "***"),
        (
            {
                "MAILCULATOR_CALLBACK_HEADERS": '{"Authorization": "Basic '
                + base64.b64encode(b"us:pw12").decode()
                + '"}'
            },
            "us:pw12 or pw12",
            "*** or ***",
        ),
        ({}, "unknown source MULTIDIALOGO", "unknown source MULTIDIALOGO"),
        ({"MAILCULATOR_CALLBACK_SECRET": "key-one key-two"}, "not key-two", "not ***"),
        ({"PIPELINE_CALLBACK_URL": "http://x.example/cb?t=abc"}, "GET /cb?t=abc", "GET /cb?***"),
        ({"PIPELINE_CALLBACK_URL": "http://x.example/cb?t=12%2F45678"}, "t is 12/45678", "t is ***"),
        ({"PIPELINE_CALLBACK_URL": "http://x.example/s/T0123456789abcdef/cb"}, "/s/T0123456789abcdef/cb", "/s/***/cb"),
        ({"PIPELINE_CALLBACK_URL": "http://x.example/callbacks"}, "cannot POST /callbacks", "cannot POST /callbacks"),
    ],
)
def test_what_a_callback_carries(variables: dict[str, str], quoted: str, shown: str) -> None:
    assert callback_mask(settings(**variables))(quoted) == shown


def test_no_secret_is_in_its_representation() -> None:
    assert "hunter2" not in repr(Mask(["hunter2-canary"]))
