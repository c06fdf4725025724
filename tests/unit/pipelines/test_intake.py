"""Intake over real files: what is wrong with the mail ends it, what is wrong with the world does not."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mailculator import lifecycle
from mailculator.config import Settings
from mailculator.events import BreakerChanged
from mailculator.lifecycle import Failed, Invalid, Outcome, Park, Prepared, Retry, Wait
from mailculator.model import Email, Status
from mailculator.pipelines import files
from mailculator.pipelines.base import Pipeline
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.checked import MOVES, Checked
from mailculator.pipelines.intake import Intake
from mailculator.pipelines.threads import Threads
from mailculator.timing import Timing
from tests.support.clock import FakeClock
from tests.support.events import Recording

ID = "550e8400-e29b-41d4-a716-446655440000"
TIMING = Timing()
GOOD: dict[str, Any] = {
    "id": ID,
    "from": "sender@example.com",
    "reply_to": "reply@example.com",
    "to": "recipient@exämple.com",
    "subject": "Oggetto",
    "body_text": "x",
    "attachments": ["/a.pdf"],
}


class House:
    """A share with payloads and attachments, and an intake that reads from it."""

    def __init__(self, root: Path) -> None:
        self.payload = root / "payloads" / "p.json"
        self.base = root / "attachments"
        self.attachment = self.base / "a.pdf"
        self.payload.parent.mkdir()
        self.base.mkdir()
        self.attachment.write_bytes(b"A")
        (self.base / "other.pdf").touch()
        (self.payload.parent / "other.json").touch()
        self.write(GOOD)
        self.settings: dict[str, Any] = {"attachments_base_path": self.base}
        self.intake = self.build()

    def build(self, **settings: Any) -> Intake:
        self.clock, self.seen = FakeClock(), Recording()
        self.found_fit = Checked(self.clock)
        self.share = Breaker("share", observer=self.seen, clock=self.clock, probe_every=5, probe_hold=60)
        self.intake = Intake(
            Settings(**{**self.settings, **settings}),
            TIMING,
            share=self.share,
            threads=Threads(2, "test"),
            found_fit=self.found_fit,
            rng=random.Random(1),
            concurrency=32,
        )
        return self.intake

    def write(self, fields: object) -> None:
        self.payload.write_text(json.dumps(fields))

    def email(self, **changes: Any) -> Email:
        email = Email(ID, Status.INTAKING, 2, "token", str(self.payload), None, None, 1, 0, 0.0, expired=False,
                      created_at=datetime(2026, 11, 20, tzinfo=UTC), reached_at=None)  # fmt: skip
        return replace(email, **changes)

    async def handle(self, **changes: Any) -> Outcome:
        """One try; whatever comes of it must be a move that exists."""
        email = self.email(**changes)
        outcome = await self.intake.handle(email)
        assert lifecycle.move(email, outcome)
        return outcome


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


OVERDUE = {"attempts": 5, "failing_for": TIMING.payload_give_up}


def test_it_is_a_pipeline(house: House) -> None:
    pipeline: Pipeline = house.intake
    assert (pipeline.stage, pipeline.concurrency, pipeline.breakers) == (lifecycle.INTAKE, 32, (house.share,))


async def test_good_mail_is_prepared_with_its_recipients_domain(house: House) -> None:
    assert await house.handle() == Prepared("xn--exmple-cua.com", None)


async def test_what_is_found_fit_need_not_be_read_again(house: House) -> None:
    house.write({**GOOD, "attachments": []})
    await house.handle()

    kept = house.found_fit.take(house.email(status=Status.PROCESSING, version=house.email().version + MOVES))

    assert kept is not None
    assert (kept[0].subject, kept[1]) == (GOOD["subject"], house.payload.stat().st_size)


async def test_bad_input_12_a_differing_id_is_noted(house: House) -> None:
    other = "123E4567-E89B-42D3-A456-426614174000"
    house.write({**GOOD, "id": other})
    assert await house.handle() == Prepared("xn--exmple-cua.com", f"payload id differs: {other}")
    house.write({**GOOD, "id": ID.upper()})
    assert await house.handle() == Prepared("xn--exmple-cua.com", None)


async def test_bad_input_13_ignored_fields_are_noted(house: House) -> None:
    other = ID.replace("5", "6")
    house.write({**GOOD, "id": other, "priority": 1, "tags": []})
    assert await house.handle() == Prepared("xn--exmple-cua.com", f"payload id differs: {other}; ignored fields: 2")


async def test_expired_mail_is_failed_unread(house: House) -> None:
    assert await house.handle(expired=True, payload_file_path=None) == Failed("expired")


@pytest.mark.parametrize("paths", [(None, None), ("", None), (None, "/eml/a.eml")])
async def test_bad_input_47_a_row_without_a_payload_is_set_aside(
    house: House, paths: tuple[str | None, str | None]
) -> None:
    outcome = await house.handle(payload_file_path=paths[0], eml_file_path=paths[1])
    assert isinstance(outcome, Park)
    assert outcome.reason.startswith("row_corrupt: ")


async def test_bad_mail_is_invalid_with_a_readable_reason(house: House) -> None:
    house.write({**GOOD, "to": "a@b.com, c@d.com"})
    reason = "address_multiple: to: one address is expected (a comma in a name needs quotes)"
    assert await house.handle() == Invalid(reason)


async def test_g16_invalid_mail_is_called_back_where_the_setting_says_so(house: House) -> None:
    house.build(invalid_callback=True)
    house.write({**GOOD, "subject": "a\nBcc: e@x.com"})
    reason = "header_control: subject: holds a line break or another control character"
    assert await house.handle() == Failed(reason)
    house.payload.unlink()
    assert await house.handle(**OVERDUE) == Failed("payload_missing: payload: the file is not there")
    house.payload.write_text('{"id"')
    assert isinstance(await house.handle(attempts=3), Failed)


async def test_bad_input_27_the_allowed_sender_domains_come_from_the_settings(house: House) -> None:
    house.build(allowed_sender_domains="elsewhere.org")
    outcome = await house.handle()
    assert outcome == Invalid("sender_not_allowed: from: example.com is not an allowed sender domain")
    house.build(allowed_sender_domains="elsewhere.org, EXAMPLE.com")
    assert isinstance(await house.handle(), Prepared)


async def test_bad_input_38_the_largest_message_comes_from_the_settings(house: House) -> None:
    house.attachment.write_bytes(b"A" * 65_536)
    house.build(max_message_size=65_536)
    outcome = await house.handle()
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith("size: ")


async def test_bad_input_38_texts_alone_are_measured_by_what_they_hold_not_by_their_file(house: House) -> None:
    house.build(max_message_size=65_536)
    fields = {**GOOD, "attachments": []}
    house.write({**fields, "body_text": "é" * 32_768})
    assert house.payload.stat().st_size > 65_536
    assert isinstance(await house.handle(), Prepared)
    house.write({**fields, "body_text": "é" * 32_769})
    outcome = await house.handle()
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith("size: ")


@pytest.mark.parametrize("path", ["/../payloads/p.json", "http://169.254.169.254/", "/a.pdf\x00"])
async def test_bad_inputs_35_41_g10_attachments_elsewhere(house: House, path: str) -> None:
    house.write({**GOOD, "attachments": [path]})
    outcome = await house.handle()
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith(("attachment_path: ", "attachment_scheme: "))


async def test_bad_input_36_g10_an_attachment_that_is_a_link(house: House) -> None:
    house.attachment.unlink()
    house.attachment.symlink_to("/etc/passwd")
    outcome = await house.handle()
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith("attachment_not_regular: ")


async def test_attachments_are_looked_at_not_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    genuine = os.read

    def noted(fd: int, length: int) -> bytes:
        read.append(os.fstat(fd).st_ino)
        return genuine(fd, length)

    monkeypatch.setattr(os, "read", noted)
    assert isinstance(await house.handle(), Prepared)
    assert set(read) == {house.payload.stat().st_ino}


class TestMissing:
    @pytest.mark.parametrize("what", ["payload", "attachment"])
    async def test_bad_inputs_1_and_37_it_is_retried_then_invalid(self, house: House, what: str) -> None:
        getattr(house, what).unlink()
        for early in ({"attempts": 4, "failing_for": 1e6}, {"attempts": 99, "failing_for": 599.0}, {}):
            outcome = await house.handle(**early)
            assert isinstance(outcome, Retry)
        outcome = await house.handle(**OVERDUE)
        assert isinstance(outcome, Invalid)
        assert outcome.reason.startswith(f"{what}_missing: ")

    async def test_bad_input_1_it_may_come_late(self, house: House) -> None:
        house.payload.unlink()
        assert isinstance(await house.handle(), Retry)
        house.write(GOOD)
        assert isinstance(await house.handle(attempts=2), Prepared)

    @pytest.mark.parametrize("gone", ["payloads", "attachments"])
    @pytest.mark.parametrize("how", ["removed", "emptied"])
    async def test_bad_input_1_a_share_that_is_gone_costs_no_mail(self, house: House, gone: str, how: str) -> None:
        directory = house.payload.parent if gone == "payloads" else house.base
        directory.rename(directory.with_name("away"))
        if how == "emptied":
            directory.mkdir()
        for _ in range(4):
            assert isinstance(await house.handle(attempts=99, failing_for=1e6), Retry)
        probe = asyncio.create_task(house.handle(attempts=99, failing_for=1e6))
        await house.seen.expect(BreakerChanged, 1)
        await house.clock.until_waited_for(5.0)
        outcome = await house.handle(attempts=99, failing_for=1e6)
        assert isinstance(outcome, Wait)
        assert TIMING.wait / 2 <= outcome.delay <= TIMING.wait
        if how == "emptied":
            directory.rmdir()
        directory.with_name("away").rename(directory)
        await house.clock.advance(5.0)
        assert isinstance(await probe, Prepared)
        assert not house.share.is_open

    async def test_bad_input_1_when_most_files_are_missing_it_is_the_share(self, house: House) -> None:
        house.payload.unlink()
        for number in range(9):
            assert isinstance(await house.handle(id=f"missing-{number}"), Retry)
        assert isinstance(await house.handle(**OVERDUE), Retry)
        assert not house.share.is_open, "missing files stop nobody else's intake"
        house.write(GOOD)
        for number in range(10):
            assert isinstance(await house.handle(id=f"found-{number}"), Prepared)
        house.payload.unlink()
        assert isinstance(await house.handle(**OVERDUE), Invalid)

    async def test_bad_input_1_one_mail_tried_often_says_nothing_of_the_share(self, house: House) -> None:
        house.payload.unlink()
        for attempt in range(1, 30):
            assert isinstance(await house.handle(attempts=attempt), Retry)
        assert isinstance(await house.handle(**OVERDUE), Invalid)

    async def test_the_delay_grows_by_the_backoff(self, house: House) -> None:
        house.payload.unlink()
        for attempt in (1, 3, 20):
            outcome = await house.handle(attempts=attempt)
            assert isinstance(outcome, Retry)
            longest = min(TIMING.payload_backoff.cap, TIMING.payload_backoff.base * 2 ** (attempt - 1))
            assert longest * TIMING.payload_backoff.floor <= outcome.delay <= longest


async def test_attachments_without_a_base_path_are_tried_until_there_is_one(house: House) -> None:
    house.build(attachments_base_path=None)
    outcome = await house.handle(attempts=99, failing_for=1e6)
    assert isinstance(outcome, Retry)
    assert "ATTACHMENTS_BASE_PATH" in outcome.reason
    house.write({**GOOD, "attachments": []})
    assert isinstance(await house.handle(), Prepared)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("what", ["payload", "attachment"])
async def test_bad_input_2_trouble_of_the_file_system_is_never_invalid(
    house: House, monkeypatch: pytest.MonkeyPatch, what: str, code: int
) -> None:
    name = getattr(house, what).name
    genuine = os.open

    def broken(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).name == name:
            raise OSError(code, os.strerror(code))
        return genuine(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", broken)
    for attempts in (1, 5, 1000):
        outcome = await house.handle(attempts=attempts, failing_for=1e9)
        assert isinstance(outcome, Retry)
        assert errno.errorcode[code] in outcome.reason
    for number in range(30):
        assert isinstance(await house.handle(id=f"another-{number}"), Retry)
    assert not house.share.is_open, "single files hold nobody else up"


async def test_bad_input_4_a_payload_that_ends_early_is_given_three_tries(house: House) -> None:
    whole = house.payload.read_text()
    house.payload.write_text(whole[: len(whole) // 2])
    assert isinstance(await house.handle(attempts=1), Retry)
    assert isinstance(await house.handle(attempts=2), Retry)
    outcome = await house.handle(attempts=3)
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith("json_syntax: line 1, column ")
    house.payload.write_text(whole)
    assert isinstance(await house.handle(attempts=3), Prepared)


async def test_bad_input_4_a_plain_syntax_error_is_invalid_at_once(house: House) -> None:
    house.payload.write_text('{"id": x}')
    assert isinstance(await house.handle(attempts=1), Invalid)


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "json_empty"), (b"[" * 200_000, "json_depth"), (b"[]", "json_type")]
)
async def test_bad_inputs_3_5_7_are_invalid_at_once(house: House, content: bytes, code: str) -> None:
    house.payload.write_bytes(content)
    outcome = await house.handle()
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith(f"{code}: ")


async def test_bad_input_11_a_fifo_does_not_hold_intake_up(house: House) -> None:
    house.payload.unlink()
    os.mkfifo(house.payload)
    outcome = await house.handle()
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith("payload_not_regular: ")


async def test_what_is_not_foreseen_is_not_taken_for_bad_mail(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(path: str) -> bytes:
        raise ZeroDivisionError(path)

    monkeypatch.setattr(files, "read_payload", bug)
    with pytest.raises(ZeroDivisionError):
        await house.intake.handle(house.email())


async def test_a_reason_that_reaches_the_producer_holds_no_path(house: House) -> None:
    house.attachment.unlink()
    outcome = await house.handle(**OVERDUE)
    assert isinstance(outcome, Invalid)
    assert str(house.base) not in outcome.reason
