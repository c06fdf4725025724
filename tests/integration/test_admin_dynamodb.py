"""The page's API on DynamoDB: what is shown, listed, explained and done, and what it says it cannot do there."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mailculator import facts, lifecycle
from mailculator.lifecycle import FAILED_CALLBACK, INTAKE, SENDER, Acknowledged, Failed, Retry
from mailculator.model import NewEmail
from mailculator.stores.dynamodb.store import COUNT_EVERY
from mailculator.web.admin import emails, looks, search
from tests.support.admin_page import Stage, opened
from tests.support.clock import FakeClock
from tests.support.dynamodb_bench import OUTCOMES, Bench, Opened
from tests.support.dynamodb_records import status_record
from tests.support.older_dynamodb import OlderProducer

pytestmark = [pytest.mark.dynamodb, pytest.mark.timeout(300)]

STORE = "/api/stores/dynamodb"
LATER = Retry("450 4.2.1 try later", 3600.0)


@pytest.fixture
async def queue(bench: Bench) -> Opened:
    return await bench.open()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def stage(queue: Opened, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    # An emulator on a busy machine is not a store that is away.
    monkeypatch.setattr(looks, "PATIENCE", 120.0)
    async with opened(queue.store, clock=clock) as found:
        await found.operator.sign_in("anna")
        yield found


async def enqueued(queue: Opened, count: int) -> list[str]:
    """That many new emails of our own making, by their ids in order."""
    ids = sorted(str(uuid.uuid4()) for _ in range(count))
    await queue.store.enqueue([NewEmail(one, f"/payloads/{one}.json", None) for one in ids])
    return ids


async def brought(queue: Opened, ids: list[str], stage: lifecycle.Stage, outcome: lifecycle.Outcome) -> None:
    """All of them are claimed at a stage, and end like this there."""
    queue.time.at += 2.0  # so that the index is looked at anew
    claimed = await queue.claim_all(stage, len(ids))
    assert sorted(one.id for one in claimed) == ids
    await queue.record(*((one, outcome) for one in claimed))


async def ready(queue: Opened, count: int) -> list[str]:
    """That many that wait to be sent in an hour, after a first try."""
    ids = await enqueued(queue, count)
    await brought(queue, ids, INTAKE, OUTCOMES[INTAKE.name])
    await brought(queue, ids, SENDER, LATER)
    return ids


async def failed(queue: Opened, count: int) -> list[str]:
    """That many that were refused, and whose producer is not told yet."""
    ids = await enqueued(queue, count)
    await brought(queue, ids, INTAKE, OUTCOMES[INTAKE.name])
    await brought(queue, ids, SENDER, Failed("550 no"))
    return ids


async def shown(stage: Stage, clock: FakeClock) -> Any:
    """The overview of the store, counted anew."""
    await clock.advance(COUNT_EVERY + 1.0)
    overview = await stage.operator.get("/api/overview")
    [store] = overview["stores"]
    assert store["error"] is None
    return store


async def listed(stage: Stage, query: str) -> list[str]:
    """Every id of a list, page by page."""
    found: list[str] = []
    after = ""
    while True:
        page = await stage.operator.get(f"{STORE}/emails?{query}&after={after}")
        found += [one["id"] for one in page["emails"]]
        if page["next"] is None:
            return found
        after = page["next"]


async def act(stage: Stage, **order: Any) -> Any:
    answer = await stage.operator.ask("POST", f"{STORE}/actions", {"why": "a test", **order})
    assert answer.status == 200, answer.raw
    return answer.document


async def email(stage: Stage, email_id: str) -> Any:
    return (await stage.operator.get(f"{STORE}/emails/{email_id}"))["email"]


# ---- the overview ---------------------------------------------------------------------------------------------------


async def test_what_is_active_is_counted_and_what_has_ended_is_known_from_the_last_sweep(
    stage: Stage, queue: Opened, clock: FakeClock
) -> None:
    before = {one["status"]: one for one in (await shown(stage, clock))["statuses"]}
    assert [before[one]["count"] for one in lifecycle.TERMINAL] == [None] * 3, "nobody has counted them yet"

    ids = await ready(queue, 2)
    await queue.store.park(ids[:1], who="bert", why="a test")
    [done] = await failed(queue, 1)
    await brought(queue, [done], FAILED_CALLBACK, Acknowledged("200"))
    await queue.store.sweep()

    store = await shown(stage, clock)
    statuses = {one["status"]: one for one in store["statuses"]}
    assert (statuses["READY"]["count"], statuses["READY"]["parked"]) == (2, 1)
    assert (store["backlog"], store["parked"]) == (1, 1)
    assert (statuses["FAILED-ACKNOWLEDGED"]["count"], statuses["INVALID"]["count"]) == (1, 0)
    assert all(statuses[one]["counted_at"] for one in lifecycle.TERMINAL)
    assert store["can"] == {"search_domain": False, "list_terminal": False}


async def test_every_replica_is_shown_with_what_it_says(stage: Stage, queue: Opened, clock: FakeClock) -> None:
    said = facts.Facts(rates={facts.SENT: 2.5}, in_flight={"sender": 3})
    for name in ("blue", "green"):
        await queue.store.control.report(name, service="1.2.3", facts=said.document())
    store = await shown(stage, clock)
    assert [(one["name"], one["version"], one["silent"]) for one in store["replicas"]] == [
        ("blue", "1.2.3", False),
        ("green", "1.2.3", False),
    ]
    assert store["replicas"][0]["in_flight"] == {"sender": 3}
    assert store["rates"]["sent"] == 5.0


# ---- lists ----------------------------------------------------------------------------------------------------------


async def test_a_list_of_an_active_status_is_read_page_by_page_by_key(stage: Stage, queue: Opened) -> None:
    ids = await ready(queue, 5)
    await queue.store.park(ids[3:4], who="bert", why="a test")
    assert await listed(stage, "status=READY&limit=2") == ids
    assert await listed(stage, "status=READY&limit=5") == ids
    assert await listed(stage, "parked=1") == ids[3:4]
    assert await listed(stage, "status=SENT") == []


async def test_new_mail_that_nobody_has_taken_up_is_counted_and_listed(
    stage: Stage, queue: Opened, bench: Bench, clock: FakeClock
) -> None:
    # An older consumer, or who would keep those records, leaves one behind of what has gone on.
    [gone] = await ready(queue, 1)
    await bench.records.put(status_record(gone, "ACCEPTED"))
    ids = await enqueued(queue, 2)
    producer = OlderProducer(bench.records)
    for _ in range(3):
        ids.append(str(uuid.uuid4()))
        await producer.put(ids[-1], "/payload.json")
    assert await listed(stage, "status=ACCEPTED&limit=2") == sorted(ids)
    assert await listed(stage, "status=READY") == [gone]
    await bench.records.remove([(gone, "ACCEPTED")])
    statuses = {one["status"]: one for one in (await shown(stage, clock))["statuses"]}
    assert statuses["ACCEPTED"]["count"] == 5


async def test_mail_that_the_relay_may_have_is_found(stage: Stage, queue: Opened) -> None:
    await ready(queue, 1)
    ids = await enqueued(queue, 1)
    await brought(queue, ids, INTAKE, OUTCOMES[INTAKE.name])
    await brought(queue, ids, SENDER, Retry(f"{lifecycle.UNKNOWN}: lost", 3600.0))
    assert await listed(stage, "unknown=1") == ids


async def test_an_exact_id_is_found_in_whatever_status_and_case(stage: Stage, queue: Opened) -> None:
    [email_id] = await failed(queue, 1)
    await brought(queue, [email_id], FAILED_CALLBACK, Acknowledged("200"))
    assert await listed(stage, f"id={email_id}") == [email_id]
    assert await listed(stage, f"id={email_id.upper()}&status=READY") == [email_id]
    assert await listed(stage, f"id={uuid.uuid4()}") == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("domain=example.com", "by its recipient's domain"),
        ("status=READY&domain=example.com", "by its recipient's domain"),
        ("status=SENT-ACKNOWLEDGED", "does not list what has ended"),
        ("status=INVALID&parked=1", "does not list what has ended"),
        ("", "one active status at a time"),
    ],
)
async def test_what_cannot_be_searched_is_said_and_not_searched(
    stage: Stage, queue: Opened, monkeypatch: pytest.MonkeyPatch, query: str, words: str
) -> None:
    await ready(queue, 1)
    monkeypatch.setattr(queue.store, "page", None)
    page = await stage.operator.get(f"{STORE}/emails?{query}")
    assert (page["emails"], page["next"]) == ([], None)
    assert words in page["note"]
    assert "exact id" in page["note"]


# ---- one email ------------------------------------------------------------------------------------------------------


async def test_an_email_tells_its_history_and_why_it_does_not_move(stage: Stage, queue: Opened) -> None:
    [email_id] = await ready(queue, 1)
    found = await email(stage, email_id)
    assert (found["status"], found["version"], found["attempts"]) == ("READY", 5, 1)
    assert [one["version"] for one in found["history"]] == [None, 2, 3, 4, 5]
    assert "replica-1" in found["history"][1]["note"]
    assert "450 4.2.1 try later" in found["history"][-1]["note"]
    assert any("450 4.2.1 try later" in line for line in found["why"])
    assert any("Its next try at sender is due in" in line for line in found["why"])
    assert {one["action"] for one in found["actions"]} == {"retry", "park", "cancel"}
    assert (await stage.operator.ask("GET", f"{STORE}/emails/{uuid.uuid4()}")).status == 404


async def test_an_email_of_the_producer_explains_itself_before_anybody_has_taken_it_up(
    stage: Stage, bench: Bench
) -> None:
    email_id = str(uuid.uuid4())
    await OlderProducer(bench.records).put(email_id, "/payload.json")
    found = await email(stage, email_id)
    assert (found["status"], found["version"], found["payload_file_path"]) == ("ACCEPTED", 1, "/payload.json")
    assert [(one["status"], one["version"]) for one in found["history"]] == [("ACCEPTED", None)]
    assert found["why"][0] == "It waits, because no replica works on DynamoDB."
    assert {one["action"] for one in found["actions"]} == {"park", "cancel"}


# ---- actions --------------------------------------------------------------------------------------------------------


async def test_marks_on_ids_are_in_the_history_with_who_and_why(stage: Stage, queue: Opened) -> None:
    ids = await ready(queue, 3)
    assert (await act(stage, action="retry", ids=ids[:1]))["done"] == 1
    assert (await act(stage, action="park", ids=ids))["done"] == 3
    again = await act(stage, action="park", ids=[*ids, "nothing"])
    assert (again["done"], again["not_applicable"], again["missing"]) == (0, 3, 1)
    assert (await act(stage, action="release", ids=ids[:1]))["results"] == [{"id": ids[0], "result": "done"}]
    assert (await act(stage, action="cancel", ids=ids[1:2]))["done"] == 1
    first, second, third = [await email(stage, one) for one in ids]
    assert [first["parked"], second["parked"], third["parked"]] == [False, False, True]
    assert [one["note"] for one in first["history"][-3:]] == [
        f"{past} by anna: a test" for past in ("hastened", "parked", "released")
    ]
    assert second["cancelled"] == "a test"
    assert any("It is cancelled (a test)" in line for line in second["why"])
    assert "parked by anna: a test" in third["why"][0]
    assert (await stage.operator.get(f"{STORE}/audit"))["entries"] == [], "a single email's history has it"


async def test_what_failed_is_sent_anew_and_what_was_cancelled_as_well(stage: Stage, queue: Opened) -> None:
    [email_id] = await ready(queue, 1)
    await act(stage, action="cancel", ids=[email_id])
    queue.time.at += 2.0
    [claimed] = await queue.claim_all(SENDER, 1)
    ending = lifecycle.withdrawn(claimed)
    assert ending is not None
    await queue.record((claimed, ending))
    await brought(queue, [email_id], FAILED_CALLBACK, Acknowledged("200"))
    [offer] = (await email(stage, email_id))["actions"]
    assert (offer["action"], offer["sends_mail"]) == ("requeue", True)

    assert (await act(stage, action="requeue", ids=[email_id]))["done"] == 1

    found = await email(stage, email_id)
    assert (found["status"], found["generation"], found["cancelled"]) == ("READY", 1, None)
    assert found["history"][-1]["note"] == "requeued by anna: a test"


@pytest.mark.parametrize("action", ["park", "retry", "cancel", "release", "requeue"])
async def test_a_filter_is_worked_through_and_stands_on_the_audit_list(
    stage: Stage, queue: Opened, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setattr(emails, "IDS_LIMIT", 2)
    monkeypatch.setattr(search, "PAGE", 2)
    ids = await (failed if action == "requeue" else ready)(queue, 3)
    if action == "release":
        await queue.store.park(ids, who="bert", why="a test")
    narrowed = {"release": {"parked": True}, "requeue": {"status": "FAILED"}}.get(action, {"status": "READY"})

    would = await act(stage, action=action, filter=narrowed, dry_run=True)
    assert [(one["id"], one["result"]) for one in would["results"]] == [(one, "done") for one in ids[:2]]
    assert (await stage.operator.get(f"{STORE}/audit"))["entries"] == []

    first = await act(stage, action=action, filter=narrowed)
    assert (first["done"], first["more"]) == (2, True)
    rest = await act(stage, action=action, filter=narrowed, after=first["next"])
    assert (rest["done"], rest["more"]) == (1, False)
    assert (await act(stage, action=action, filter=narrowed))["done"] == 0, "there are none left"

    told = [(one["what"].split()[1], one["who"]) for one in (await stage.operator.get(f"{STORE}/audit"))["entries"]]
    assert told == [("1", "anna"), ("2", "anna")]
    for one in ids:
        assert (await email(stage, one))["history"][-1]["note"].endswith("by anna: a test")


async def test_a_dry_run_by_ids_changes_nothing_and_says_what_would_be(stage: Stage, queue: Opened) -> None:
    ids = await ready(queue, 2)
    await queue.store.park(ids[:1], who="bert", why="a test")
    would = await act(stage, action="park", ids=[*ids, "nothing"], dry_run=True)
    assert [one["result"] for one in would["results"]] == ["not applicable", "done", "missing"]
    assert not (await email(stage, ids[1]))["parked"]


@pytest.mark.parametrize("narrowed", [{"status": "FAILED-ACKNOWLEDGED"}, {"status": "READY", "domain": "example.com"}])
async def test_a_filter_that_cannot_be_searched_is_refused(stage: Stage, narrowed: Any) -> None:
    order = {"action": "requeue", "filter": narrowed, "why": "a test"}
    answer = await stage.operator.ask("POST", f"{STORE}/actions", order)
    assert (answer.status, answer.document["field"]) == (400, "filter")
    assert "exact id" in answer.document["detail"]


# ---- the queue as a whole -------------------------------------------------------------------------------------------


async def test_a_pipeline_is_paused_and_resumed_and_the_audit_list_tells(stage: Stage, clock: FakeClock) -> None:
    for pipeline, seconds in (("*", None), ("sender", 90.5)):
        order = {"pipeline": pipeline, "seconds": seconds, "why": "a test"}
        assert (await stage.operator.ask("POST", f"{STORE}/pauses", order)).status == 204
    paused = {one["pipeline"]: one for one in (await shown(stage, clock))["pauses"]}
    assert {name: one["until"] is None for name, one in paused.items()} == {"*": True, "sender": False}
    assert (paused["*"]["who"], paused["*"]["why"]) == ("anna", "a test")
    for name in ("%2A", "sender"):
        assert (await stage.operator.ask("DELETE", f"{STORE}/pauses/{name}", {"why": "done"})).status == 204
        assert (await stage.operator.ask("DELETE", f"{STORE}/pauses/{name}", {"why": "done"})).status == 404
    assert (await shown(stage, clock))["pauses"] == []

    first = await stage.operator.get(f"{STORE}/audit?limit=3")
    rest = await stage.operator.get(f"{STORE}/audit?limit=3&after={first['next']}")
    assert [one["what"] for one in [*first["entries"], *rest["entries"]]] == [
        "resumed sender", "resumed all pipelines", "paused sender for 90 s", "paused all pipelines"
    ]  # fmt: skip
    assert rest["next"] is None


async def test_records_that_nobody_can_work_on_are_told_in_words(stage: Stage, queue: Opened, bench: Bench) -> None:
    email_id = str(uuid.uuid4())
    await bench.records.put({"Id": email_id, "Status": "_META", "Attributes": {"Latest": "NONE"}})
    await queue.store.sweep()
    [problem] = [one for one in (await stage.operator.get("/api/overview"))["problems"] if one["kind"] == "poisoned"]
    assert email_id in problem["text"]
    answer = await stage.operator.ask("GET", f"{STORE}/emails/{email_id}")
    assert (answer.status, "NONE" in answer.document["detail"]) == (500, True)
