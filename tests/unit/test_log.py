"""The log: one line an outcome, JSON that parses, nothing that gives a secret or an address away."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from mailculator import address_mask, log
from mailculator.config import Settings, load
from mailculator.events import (
    BreakerChanged,
    CallbackAttempted,
    Claimed,
    ClaimLost,
    Event,
    Lifetime,
    Moved,
    PipelineFailed,
    Purged,
    RateChanged,
    Rescued,
    SmtpAttempted,
    StoreCalled,
    StoreNoticed,
)
from mailculator.model import Status


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


def settings(**environ: str) -> Settings:
    return load({"MAILCULATOR_REPLICA": "replica-1", **environ}, needs=())


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Written:
    """A configured log, its listener, and what it wrote."""

    def __init__(self, stream: io.StringIO | None = None, **environ: str) -> None:
        self.stream = io.StringIO() if stream is None else stream
        self.clock = Time()
        ours = settings(**environ)
        log.configure(ours, stream=self.stream)
        self.observe = log.LogObserver(ours, clock=self.clock)

    def tell(self, *events: Event) -> list[dict[str, Any]]:
        for event in events:
            self.observe(event)
        return self.lines()

    def lines(self) -> list[dict[str, Any]]:
        text = self.stream.getvalue()
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.splitlines()]


def moved(outcome: str = "sent", to: Status = Status.SENT, note: str | None = None, **fields: Any) -> Moved:
    given = {
        "store": "mysql",
        "pipeline": "sender",
        "email_id": "550e8400-e29b-41d4-a716-446655440000",
        "origin": Status.PROCESSING,
        "version": 5,
        "attempt": 2,
        "seconds": 0.1234,
        "age": 7.5,
        **fields,
    }
    return Moved(outcome=outcome, to=to, note=note, **given)


def test_an_outcome_is_one_line_of_json_with_its_facts() -> None:
    [line] = Written().tell(moved(note="250 2.0.0 Ok: queued as 4F1A"))
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info",
        "event": "mail.sent",
        "email_id": "550e8400-e29b-41d4-a716-446655440000",
        "store": "mysql",
        "pipeline": "sender",
        "attempt": 2,
        "status": "SENT",
        "version": 5,
        "duration_ms": 123.4,
        "age_s": 7.5,
        "reason": "250 2.0.0 Ok: queued as 4F1A",
    }


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        ("prepared", "info"),
        ("sent", "info"),
        ("acknowledged", "info"),
        ("retry", "info"),
        ("wait", "info"),
        ("release", "info"),
        ("failed", "warning"),
        ("invalid", "warning"),
        ("park", "warning"),
    ],
)
def test_what_somebody_may_have_to_act_on_is_a_warning(outcome: str, level: str) -> None:
    [line] = Written().tell(moved(outcome))
    assert (line["event"], line["level"]) == (f"mail.{outcome}", level)


@pytest.mark.parametrize(
    ("event", "name", "level"),
    [
        (ClaimLost("s", "sender", "id", "sent"), "mail.claim_lost", "warning"),
        (Rescued("s", "id", Status.PROCESSING, Status.READY, "other-1"), "mail.rescued", "warning"),
        (Purged("s", 3), "mail.purged", "info"),
        (BreakerChanged("relay", open=True, reason="connect: refused"), "breaker.opened", "warning"),
        (RateChanged(12.5, "454"), "smtp.slowed", "warning"),
        (RateChanged(0.0, ""), "smtp.full_speed", "info"),
        (PipelineFailed("s", "sender", "ValueError: x", "id"), "pipeline.failed", "error"),
        (PipelineFailed("s", "sender", "loop died", fatal=True), "pipeline.died", "critical"),
        (PipelineFailed("", "journal", "thread died", fatal=True), "pipeline.died", "critical"),
        (Lifetime("started", (("port", 8080),)), "service.started", "info"),
        (Lifetime("warning", (("detail", "unsafe"),)), "service.warning", "warning"),
    ],
)
def test_every_other_event_has_its_line(event: Event, name: str, level: str) -> None:
    [line] = Written().tell(event)
    assert (line["event"], line["level"]) == (name, level)


def test_what_is_no_news_is_told_at_debug_alone() -> None:
    chatter = (Claimed("s", "sender", 3, 0.01), SmtpAttempted("sent", 250, 0.1), CallbackAttempted("sent", "ok", 0.1))
    quiet = (Claimed("s", "sender", 0, 0.01), Purged("s", 0), StoreCalled("s", "claim", 0.1))
    assert Written().tell(*chatter, *quiet) == []
    lines = Written(MAILCULATOR_LOG_LEVEL="debug").tell(*chatter, *quiet)
    assert [line["event"] for line in lines] == ["mail.claimed", "smtp.attempt", "callback.attempt"]


def test_what_is_below_the_level_is_not_even_put_together() -> None:
    class Deaf:
        def log(self, level: int, event: str, **fields: Any) -> None:
            pytest.fail(f"{event} at {level}")

    observe = log.LogObserver(settings(MAILCULATOR_LOG_LEVEL="warning"), logger=Deaf())
    for event in (moved(), Claimed("s", "sender", 3, 0.01), SmtpAttempted("sent", 250, 0.1)):
        observe(event)


def test_a_number_stays_a_number_and_all_else_is_text() -> None:
    written = Written()
    fields = {"whole": 3, "part": 0.5, "yes": True, "none": None, "status": Status.READY, "list": ["a@example.com"]}
    structlog.get_logger().info("kinds", **fields)
    [line] = written.lines()
    told = {name: line[name] for name in fields}
    assert told == {**fields, "status": "READY", "list": "[***@example.com']"}


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("stopped", "error"),
        ("poisoned", "warning"),
        ("unworkable", "warning"),
        ("duplicate", "warning"),
        ("resumed", "info"),
        ("adopted", "debug"),
    ],
)
def test_what_a_store_notices_is_as_loud_as_it_matters(kind: str, level: str) -> None:
    written = Written(MAILCULATOR_LOG_LEVEL="debug")
    (line,) = written.tell(StoreNoticed("dynamodb", kind, "id-1", "why"))
    assert (line["event"], line["level"]) == (f"store.{kind}", level)
    assert (line["store"], line["email_id"], line["detail"]) == ("dynamodb", "id-1", "why")


def test_an_outage_is_told_once_then_now_and_then_and_when_it_is_over() -> None:
    written = Written()
    for _ in range(300):
        written.observe(StoreCalled("mysql", "claim", 0.1, error="Can't connect"))
        written.clock.now += 1.0
    written.observe(StoreCalled("mysql", "claim", 0.1))
    written.observe(StoreCalled("mysql", "claim", 0.1))
    lines = written.lines()
    assert [line["event"] for line in lines] == ["store.failing"] * 5 + ["store.recovered"]
    assert lines[0]["error"] == "Can't connect"
    assert (lines[-1]["failures"], lines[-1]["outage_s"]) == (300, 300.0)


def test_one_verb_that_fails_does_not_flap_with_another_that_works() -> None:
    failing, working = StoreCalled("mysql", "purge", 0.1, error="denied"), StoreCalled("mysql", "claim", 0.1)
    lines = Written().tell(failing, working, failing, working)
    assert [(line["event"], line["op"]) for line in lines] == [("store.failing", "purge")]


def test_one_pipeline_that_cannot_claim_does_not_flap_with_another_that_can() -> None:
    """While sending from DynamoDB waits for MariaDB's reservations, its callbacks go on."""
    waits = StoreCalled("dynamodb", "claim", 0.1, error="mysql reserve: away", pipeline="sender")
    goes_on = StoreCalled("dynamodb", "claim", 0.1, pipeline="sent-callback")
    lines = Written().tell(waits, goes_on, waits, goes_on)
    assert [(line["event"], line["pipeline"]) for line in lines] == [("store.failing", "sender")]


def test_a_breaker_that_closes_says_how_long_it_was_open() -> None:
    written = Written()
    written.observe(BreakerChanged("relay", open=True, reason="refused"))
    written.clock.now += 12.0
    written.observe(BreakerChanged("relay", open=False, reason=""))
    assert written.lines()[-1]["outage_s"] == 12.0


# What may not leave


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("550 5.1.1 <jane.doe@example.com>: unknown", "550 5.1.1 <***@example.com>: unknown"),
        ("to jane@example.com, joe+tag@example.org; done", "to ***@example.com, ***@example.org; done"),
        ('"jane doe"@example.com refused', "***@example.com refused"),
        ("RCPT TO:<jane@[192.0.2.1]>", "RCPT TO:<***@[192.0.2.1]>"),
        ("mailto:jürgen@exämple.com", "mailto:***@exämple.com"),
        ("('jane@example.com',)", "(***@example.com',)"),
        ("a@b@example.com", "***@example.com"),
        ("jane=40x@example.com", "***@example.com"),
        ("rate @ 3/s", "rate @ 3/s"),
        ("no address", "no address"),
        ("x" * 300 + "@example.com", "***@example.com"),
    ],
)
def test_addresses_lose_their_local_part(text: str, masked: str) -> None:
    assert address_mask.mask(text) == masked


def test_no_address_leaves_by_any_event() -> None:
    canary = "canary@example.com"
    text = f"450 4.2.0 <{canary}>: greylisted"
    written = Written()
    written.tell(
        moved("retry", Status.READY, note=text),
        BreakerChanged("relay", open=True, reason=text),
        StoreCalled("mysql", "claim", 0.1, error=text),
        PipelineFailed("s", "sender", text, traceback=f'File "x.py"\nValueError: {text}'),
        Lifetime("warning", (("detail", text),)),
    )
    logging.getLogger("some.library").error("refused %s", canary)
    structlog.get_logger().info("bound", anything=[canary])
    assert len(written.lines()) == 7
    assert "canary" not in written.stream.getvalue()
    assert written.stream.getvalue().count("***@example.com") == 8


def test_addresses_stay_where_the_operator_asked_for_them() -> None:
    [line] = Written(MAILCULATOR_LOG_ADDRESSES="true").tell(moved(note="to jane@example.com"))
    assert line["reason"] == "to jane@example.com"


@pytest.mark.parametrize("control", ["\r\n", "\x1b[2J", "\x00", "\x85", "\u2028", "\u202e", "\x7f"])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_control_characters_are_escaped(stream: type[io.StringIO], control: str) -> None:  # CWE-117
    written = Written(stream(), NO_COLOR="1")
    written.observe(moved(note=f"550 no{control}2026-01-01 [info] mail.sent forged"))
    text = written.stream.getvalue()
    assert len(text.splitlines()) == 1
    assert control not in text.removesuffix("\n")
    assert "forged" in text


def test_a_lone_surrogate_costs_no_line() -> None:
    [line] = Written().tell(moved(note="bad \udc80 byte"))
    assert line["reason"] == "bad \\udc80 byte"


def test_a_traceback_is_one_field_in_json_and_indented_on_a_terminal() -> None:
    trace = "Traceback:\n  File x\nValueError: a\n2026-01-01T00:00:00Z [info] mail.sent forged"
    event = PipelineFailed("s", "sender", "ValueError: a", traceback=trace)
    [line] = Written().tell(event)
    assert line["traceback"] == trace
    terminal = Written(Terminal())
    terminal.observe(event)
    first, *rest = terminal.stream.getvalue().splitlines()
    assert "pipeline.failed" in first
    assert [text.strip() for text in rest if text] == [text.strip() for text in trace.splitlines()]
    assert all(text.startswith("    ") for text in rest if text)


# Where and how


def test_a_terminal_gets_readable_lines_without_colours_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    written = Written(Terminal())
    written.observe(moved(note="250 Ok"))
    [text] = written.stream.getvalue().splitlines()
    assert "mail.sent" in text
    assert "250 Ok" in text
    assert "\x1b" not in text
    assert not text.startswith("{")


@pytest.mark.parametrize(("form", "stream", "is_json"), [("json", Terminal, True), ("console", io.StringIO, False)])
def test_the_form_can_be_chosen(form: str, stream: type[io.StringIO], is_json: bool) -> None:
    written = Written(stream(), MAILCULATOR_LOG_FORMAT=form)
    written.observe(moved())
    assert written.stream.getvalue().startswith("{") is is_json


def test_libraries_are_heard_from_warnings_on() -> None:
    written = Written(MAILCULATOR_LOG_LEVEL="debug")
    logger = logging.getLogger("aiosmtplib")
    logger.info("chatter")
    logger.warning("odd %s", "thing")
    logger.log(35, "between two levels")
    try:
        int("boom")
    except ValueError:
        logger.exception("failed")
    first, second, third = written.lines()
    assert (first["level"], first["event"], first["logger"]) == ("warning", "odd thing", "aiosmtplib")
    assert second["level"] == "warning"
    assert "ValueError: invalid" in third["traceback"]


def test_warnings_of_python_go_to_the_log() -> None:
    written = Written()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("deprecated", stacklevel=1)
    [line] = written.lines()
    assert "deprecated" in line["event"]


def test_a_log_that_cannot_be_written_to_stops_nothing() -> None:
    stream = Broken()
    written = Written(stream)
    written.observe(moved())
    logging.getLogger("library").error("x")
    assert stream.getvalue() == ""


class Flushed(io.StringIO):
    """Keeps what has left of what was written."""

    left = ""
    flushes = 0
    error: type[Exception] | None = None

    def flush(self) -> None:
        self.flushes += 1
        if self.error is not None:
            raise self.error
        self.left = self.getvalue()


def test_without_a_loop_a_line_leaves_at_once() -> None:
    stream = Flushed()
    written = Written(stream)
    for count in (1, 2):
        written.tell(moved())
        assert stream.left.count("\n") == count


async def test_the_lines_of_a_turn_leave_together() -> None:
    stream = Flushed()
    written = Written(stream)
    for turn in (1, 2):
        written.tell(moved(), moved(), moved())
        structlog.get_logger().warning("of another part")
        assert stream.flushes == turn - 1
        await asyncio.sleep(0)
        assert (stream.flushes, stream.left.count("\n")) == (turn, 4 * turn)


def test_a_loop_that_ended_before_its_lines_left_keeps_none_of_a_later_one() -> None:
    stream = Flushed()
    written = Written(stream)

    async def tell() -> None:
        written.tell(moved())

    loop = asyncio.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_soon(lambda: written.tell(moved()))  # in the loop's last turn
    loop.run_forever()
    loop.close()
    assert stream.flushes == 0
    asyncio.run(tell())
    assert stream.left.count("\n") == 2


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
async def test_lines_that_cannot_leave_stop_nothing(error: type[Exception]) -> None:
    stream = Flushed()
    stream.error = error
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    Written(stream).tell(moved())
    await asyncio.sleep(0)
    assert (stream.flushes, told) == (1, [])


def test_standard_output_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(settings())
    log.LogObserver(settings())(moved())
    out, err = capsys.readouterr()
    assert json.loads(out)["event"] == "mail.sent"
    assert err == ""


def test_no_secret_reaches_the_log_by_its_settings() -> None:
    written = Written(SMTP_PASS="CANARY", SMTP_USER="u", MAILCULATOR_CALLBACK_HEADERS='{"X-A": "CANARY"}')
    ours = load({"SMTP_PASS": "CANARY", "MAILCULATOR_CALLBACK_HEADERS": '{"X-A": "CANARY"}'}, needs=())
    structlog.get_logger().info("settings", settings=ours, more={"password": ours.smtp_pass})
    text = written.stream.getvalue()
    assert '"event":"settings"' in text
    assert "CANARY" not in text


def test_a_terminal_without_utf_8_costs_no_line() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    log.configure(settings(), stream=stream)
    log.LogObserver(settings())(moved(note="è"))
    assert b"mail.sent" in raw.getvalue()
