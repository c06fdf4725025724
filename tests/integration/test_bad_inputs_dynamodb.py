"""Bad inputs 52 to 55 by their numbers (docs/bad-inputs.md): records that other hands have spoilt, in a real table."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from mailculator.lifecycle import INTAKE, SENDER, Failed, Prepared
from mailculator.model import Status
from mailculator.stores.base import Recorded
from mailculator.stores.dynamodb.client import Client
from tests.support.dynamodb_bench import OUTCOMES, Bench
from tests.support.dynamodb_records import FAR, Item, meta, now, status_record
from tests.support.older_dynamodb import OlderProducer

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(300)]


def spoilt(name: str) -> Item:
    """A new email's record with one thing wrong."""
    item = meta(f"bad-{name}", Status.ACCEPTED, ttl=now() + 3600, PayloadFilePath="/odd.json")
    match name:
        case "no attributes":
            del item["Attributes"]
        case "attributes are text":
            item["Attributes"] = "ACCEPTED"
        case "an unknown status":
            item["Attributes"]["Latest"] = "EXPLODED"
        case "no status":
            del item["Attributes"]["Latest"]
        case "a path that is a list":
            item["Attributes"]["PayloadFilePath"] = ["/odd.json"]
    return item


SPOILT = ("no attributes", "attributes are text", "an unknown status", "no status", "a path that is a list")


async def put_good(bench: Bench) -> str:
    email_id = str(uuid.uuid4())
    await OlderProducer(bench.records).put(email_id, "/good.json")
    return email_id


async def test_bad_input_52_what_nobody_can_read_is_shown_and_holds_up_nobody(bench: Bench) -> None:
    odd = {item["Id"]: item for item in map(spoilt, SPOILT)}
    await bench.records.replace([*odd.values(), *(status_record(one, Status.ACCEPTED) for one in odd)])
    good = await put_good(bench)
    opened = await bench.open()

    worked = await opened.work(OUTCOMES)

    assert {email.id for email in worked} == {good}
    assert await bench.statuses([good]) == {good: Status.SENT_ACKNOWLEDGED}
    assert {email_id: await bench.meta(email_id) for email_id in odd} == odd, "left as they were"
    assert set(opened.notices("poisoned")) == set(odd)
    survey = await opened.store.sweep()
    assert (set(survey.poisoned), survey.poisoned_count) == (set(odd), len(odd))


@pytest.mark.parametrize("nil", ["<nil>", None, ""])
async def test_bad_input_52_a_path_that_an_older_program_printed_for_nothing_is_none(
    bench: Bench, nil: str | None
) -> None:
    email_id = str(uuid.uuid4())
    item = meta(email_id, Status.READY, ttl=now() + 3600, PayloadFilePath="/p.json")
    item["Attributes"]["EMLFilePath"] = nil
    await bench.records.put(item)
    opened = await bench.open()
    await opened.store.sweep()
    (email,) = await opened.claim(SENDER)
    assert (email.id, email.payload_file_path, email.eml_file_path) == (email_id, "/p.json", None)


@pytest.mark.parametrize("place", ["root", "attributes"])
async def test_bad_input_52_a_ttl_of_any_kind_and_place_is_taken(bench: Bench, place: str) -> None:
    at = now() + 3600
    given: dict[str, tuple[Any, bool]] = {
        "a string": (str(at), True),
        "with a fraction": (f"{at}.75", True),
        "a word": ("soon", False),
    }
    for name, (ttl, _) in given.items():
        item = meta(name, Status.ACCEPTED, PayloadFilePath="/p.json")
        (item if place == "root" else item["Attributes"])["TTL"] = ttl
        await bench.records.replace([item, status_record(name, Status.ACCEPTED)])
    opened = await bench.open()
    claimed = await opened.claim_all(INTAKE, len(given))
    assert {email.id: email.expires_in is not None for email in claimed} == {
        name: one for name, (_, one) in given.items()
    }
    assert opened.notices("poisoned") == []


async def test_bad_input_53_a_ttl_that_is_past_makes_it_expired_and_not_sent(bench: Bench) -> None:
    email_id = str(uuid.uuid4())
    await OlderProducer(bench.records).put(email_id, "/late.json", now() - 60)
    opened = await bench.open()
    (email,) = await opened.claim(INTAKE)
    assert email.expired, "its producer hears of it: FAILED, reason `expired`"
    assert (await bench.meta(email_id))["TTL"] == FAR, "DynamoDB must not delete it before that"


@pytest.mark.parametrize("moment", ["before the claim", "while it is held"])
async def test_bad_input_53_a_record_that_is_deleted_does_not_come_back(bench: Bench, moment: str) -> None:
    opened = await bench.open()
    gone, good = await put_good(bench), await put_good(bench)
    if moment == "while it is held":
        held = {email.id: email for email in await opened.claim_all(INTAKE, 2)}
        await bench.harness.delete(gone)
        assert (await opened.store.renew(list(held.values()), lease=60.0)).held == {good}
        answers = await opened.record(*((held[one], Prepared("d.it")) for one in (gone, good)))
        assert answers == [Recorded.LOST, Recorded.DONE]
    else:
        await bench.harness.delete(gone)
        await bench.records.put(status_record(gone, Status.ACCEPTED))  # what the query still finds of it
        assert [email.id for email in await opened.claim(INTAKE)] == [good]
        await opened.store.sweep()
    assert await bench.records.get(gone) is None
    assert await opened.store.get(gone) is None


async def test_bad_input_54_an_entry_that_lags_behind_costs_a_refused_write_and_no_mail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = await bench.open()
    email_id = await put_good(bench)
    (email,) = await behind.claim(INTAKE)
    await behind.record((email, Prepared("d.it")))
    stale = await bench.meta(email_id)
    ahead = await bench.open()
    assert [one.id for one in (await ahead.work(OUTCOMES))] == [email_id] * 2
    version = (await bench.meta(email_id))["Version"]

    # The first replica still believes what it wrote: READY.
    assert stale["Attributes"]["Latest"] == Status.READY
    call, writes = Client.call, []

    async def noted(client: Client, operation: str, op: str, **request: Any) -> dict[str, Any]:
        if operation == "update_item":
            writes.append(request["Key"]["Id"]["S"])
        return await call(client, operation, op, **request)

    monkeypatch.setattr(Client, "call", noted)
    assert await behind.claim(SENDER) == []
    assert writes == [email_id], "it was tried"
    assert (await bench.meta(email_id))["Version"] == version
    assert (await bench.meta(email_id))["Attributes"]["Latest"] == Status.SENT_ACKNOWLEDGED


async def test_bad_input_54_empty_and_repeated_pages_end_no_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = {await put_good(bench) for _ in range(3)}
    opened = await bench.open()
    call = Client.call
    pages = {"empty": 0, "repeated": 0}
    last: dict[str, dict[str, Any]] = {}

    async def odd(client: Client, operation: str, op: str, **request: Any) -> dict[str, Any]:
        """Every look begins with a page of nothing that says there is more, and its first real page comes twice."""
        key = repr(sorted((name, repr(value)) for name, value in request.items() if name != "ExclusiveStartKey"))
        start = request.pop("ExclusiveStartKey", None)
        if operation != "query" or "IndexName" not in request:
            return await call(client, operation, op, **request, **({"ExclusiveStartKey": start} if start else {}))
        if start is None:
            pages["empty"] += 1
            last.pop(key, None)
            return {"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": {"Odd": {"S": "empty"}}}
        answer = await call(client, operation, op, **request)
        if start == {"Odd": {"S": "empty"}} and answer["Items"]:
            pages["repeated"] += 1
            return {**answer, "LastEvaluatedKey": {"Odd": {"S": "again"}}}
        return answer

    monkeypatch.setattr(Client, "call", odd)
    worked = await opened.work(OUTCOMES)
    assert {email.id for email in worked} == ids
    assert len(worked) == 3 * len(ids), "nobody is handed out twice at a stage"
    assert set((await bench.statuses(sorted(ids))).values()) == {Status.SENT_ACKNOWLEDGED}
    assert min(pages.values()) > 0


async def test_bad_input_55_a_reason_of_a_megabyte_is_cut_and_a_large_record_still_moves(bench: Bench) -> None:
    email_id = str(uuid.uuid4())
    item = meta(email_id, Status.ACCEPTED, ttl=now() + 3600, PayloadFilePath="/p.json")
    # What an older program left there brings the record near DynamoDB's limit of 400 KB.
    item["Attributes"]["Reason"] = "x" * 380_000
    await bench.records.replace([item, status_record(email_id, Status.ACCEPTED)])
    opened = await bench.open()
    (email,) = await opened.claim(INTAKE)
    said = "bad\r\n\x00\x1b[31m" + "è" * 1_000_000

    assert await opened.record((email, Failed(said))) == [Recorded.DONE]

    reason = (await bench.meta(email_id))["Attributes"]["Reason"]
    assert len(reason.encode()) <= 200
    assert reason.startswith("bad [31mèè")
    assert reason.isprintable()
    (note,) = [one.reason for one in await opened.store.history(email_id) if one.status == Status.FAILED]
    assert note is not None
    assert len(note) == 1000, "the rest stands in a record of its own"
