"""Lists, single emails, actions, pauses and the audit list by the page's API, on MariaDB and on SQLite."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from mailculator import lifecycle
from mailculator.fleet import WHOLE
from mailculator.lifecycle import INTAKE, SENDER, Failed, Invalid, Prepared, Retry, Stage
from mailculator.model import NewEmail, Row, Status
from mailculator.stores.base import Store
from mailculator.web.admin import emails, search
from mailculator.web.admin.page import Terms
from tests.support.admin_page import Stage as PageStage
from tests.support.admin_page import opened
from tests.support.mariadb_harness import MariadbHarness
from tests.support.sqlite_harness import SqliteHarness

Harness = MariadbHarness | SqliteHarness
HOSTILE = "</script><script>alert(1)</script> \" ' \u202e =cmd|' \\"


@pytest.fixture(scope="module", params=[SqliteHarness, MariadbHarness], ids=["sqlite", "mysql"])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    made: Harness = request.param()
    yield made
    await made.close()


@pytest.fixture
async def store(harness: Harness) -> Store:
    return await harness.fresh()


@pytest.fixture
async def stage(store: Store) -> AsyncIterator[PageStage]:
    async with opened(store) as found:
        await found.operator.sign_in("anna")
        yield found


def path(stage: PageStage, rest: str) -> str:
    return f"/api/stores/{stage.desk.names[0]}/{rest}"


async def accepted(store: Store, count: int) -> list[str]:
    """That many new emails, by their ids in order."""
    ids = sorted(str(uuid.UUID(int=number + 1)) for number in range(count))
    await store.enqueue([NewEmail(one, f"/payloads/{one}.json") for one in ids])
    return ids


async def through(store: Store, stage: Stage, outcome: lifecycle.Outcome) -> list[str]:
    """Everything that waits at a stage is claimed, and ends like this there."""
    claimed = await store.claim(stage, 5000, lease=60.0, holder="replica-7")
    await store.record([lifecycle.move(one, outcome) for one in claimed])
    return sorted(one.id for one in claimed)


async def listed(stage: PageStage, query: str = "") -> list[str]:
    """Every id of a list, page by page."""
    found: list[str] = []
    after = ""
    while True:
        page = await stage.operator.get(path(stage, f"emails?{query}&after={after}"))
        found += [one["id"] for one in page["emails"]]
        if page["next"] is None:
            return found
        after = page["next"]


async def act(stage: PageStage, **order: Any) -> Any:
    answer = await stage.operator.ask("POST", path(stage, "actions"), {"why": "a test", **order})
    assert answer.status == 200, answer.raw
    return answer.document


async def row(store: Store, email_id: str) -> Row:
    found = await store.get(email_id)
    assert found is not None
    return found


# ---- lists ----------------------------------------------------------------------------------------------------------


async def test_a_list_is_read_page_by_page_by_key(stage: PageStage, store: Store) -> None:
    ids = await accepted(store, 7)
    assert await listed(stage, "limit=3") == ids
    assert await listed(stage, "limit=7") == ids
    last = await stage.operator.get(path(stage, f"emails?limit=3&after={ids[5]}"))
    assert ([one["id"] for one in last["emails"]], last["next"]) == (ids[6:], None)


async def test_a_list_is_narrowed_by_status_parking_and_domain(stage: PageStage, store: Store) -> None:
    ids = await accepted(store, 3)
    await through(store, INTAKE, Prepared("xn--mnchen-3ya.example"))
    new = str(uuid.UUID(int=99))
    await store.enqueue([NewEmail(new, "/payloads/99.json")])
    await store.park([ids[1]], who="bert", why="a test")
    assert await listed(stage, "status=READY") == ids
    assert await listed(stage, "status=ACCEPTED") == [new]
    assert await listed(stage, "parked=1") == [ids[1]]
    assert await listed(stage, "domain=m%C3%BCnchen.example") == ids
    assert await listed(stage, f"id={new}") == [new]
    assert await listed(stage, f"id={uuid.UUID(int=5000)}") == []


async def test_a_list_says_what_can_be_done_with_all_of_it(stage: PageStage) -> None:
    ready, parked = [
        (await stage.operator.get(path(stage, f"emails?{query}")))["actions"] for query in ("status=READY", "parked=1")
    ]
    assert {one["action"]: one["sends_mail"] for one in ready} == {
        "retry": True, "park": False, "release": True, "cancel": False
    }  # fmt: skip
    assert {one["action"] for one in parked} == {"requeue", "release", "cancel"}


async def test_mail_that_the_relay_may_have_is_found_wherever_it_stands(
    stage: PageStage, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGE", 4)
    monkeypatch.setattr(search, "READ_LIMIT", 8)
    ids = await accepted(store, 40)
    await through(store, INTAKE, Prepared("example.com"))
    claimed = sorted(await store.claim(SENDER, 5000, lease=60.0, holder="replica-7"), key=lambda one: one.id)
    unknown: list[str] = []
    moves = []
    for number, one in enumerate(claimed):
        lost = number % 9 == 0
        text = f"{lifecycle.UNKNOWN}: lost" if lost else "450 later"
        moves.append(lifecycle.move(one, Failed(text) if number % 2 else Retry(text, 60.0)))
        unknown += [one.id] if lost else []
    await store.record(moves)
    assert await listed(stage, "unknown=1&limit=2") == unknown
    assert await listed(stage, "unknown=1&status=FAILED") == [ids[number] for number in (9, 27)]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=ready", "status"),
        ("status=READY'--", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=-1", "limit"),
        ("parked=yes", "parked"),
        ("domain=a@b.example", "domain"),
        ("domain=no", "domain"),
        ("after=" + "x" * 256, "after"),
        ("id=%00", "id"),
        ("id=%ED%A0%80" + "x" * 256, "id"),
    ],
)
async def test_a_question_that_makes_no_sense_is_told_by_its_field(stage: PageStage, query: str, field: str) -> None:
    answer = await stage.operator.ask("GET", path(stage, f"emails?{query}"))
    assert (answer.status, answer.document["field"]) == (400, field)


# ---- one email ------------------------------------------------------------------------------------------------------


async def test_an_email_tells_its_history_and_why_it_does_not_move(stage: PageStage, store: Store) -> None:
    [email_id] = await accepted(store, 1)
    await through(store, INTAKE, Prepared("example.com"))
    await through(store, SENDER, Retry("450 4.2.1 try later", 600.0))
    found = (await stage.operator.get(path(stage, f"emails/{email_id}")))["email"]
    assert (found["status"], found["version"], found["attempts"]) == ("READY", 5, 1)
    assert [one["version"] for one in found["history"]] == [None, 2, 3, 4, 5]
    assert [one["attempt"] for one in found["history"]] == [None, 1, 1, 1, 1]
    assert "450 4.2.1 try later" in found["history"][-1]["note"]
    assert any("450 4.2.1 try later" in line for line in found["why"])
    assert {one["action"] for one in found["actions"]} == {"retry", "park", "cancel"}
    assert found["payload_file_path"] == f"/payloads/{email_id}.json"


async def test_an_email_that_is_not_there(stage: PageStage) -> None:
    for email_id in ("nothing", "a%2Fb", "%3Cscript%3E", "x" * 255, "%E2%80%AE"):
        assert (await stage.operator.ask("GET", path(stage, f"emails/{email_id}"))).status == 404
    assert (await stage.operator.ask("GET", path(stage, f"emails/{'x' * 256}"))).status == 400
    assert (await stage.operator.ask("GET", "/api/stores/dynamodb/emails/x")).status == 404


async def test_hostile_text_comes_back_as_text(stage: PageStage, store: Store) -> None:
    [email_id] = await accepted(store, 1)
    order = {"action": "park", "ids": [email_id, HOSTILE], "why": HOSTILE}
    answer = await stage.operator.ask("POST", path(stage, "actions"), order)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.document["results"][1] == {"id": HOSTILE, "result": "missing"}
    found = (await stage.operator.get(path(stage, f"emails/{email_id}")))["email"]
    cleaned = lifecycle.clean(HOSTILE)
    assert found["history"][-1]["note"] == f"parked by anna: {cleaned}"
    await stage.operator.ask("POST", path(stage, "pauses"), {"pipeline": "sender", "why": HOSTILE})
    [pause] = (await stage.operator.get("/api/overview"))["stores"][0]["pauses"]
    assert pause["why"] == cleaned


@pytest.mark.parametrize("shown", [False, True])
async def test_addresses_are_shown_only_where_the_setting_says_so(store: Store, shown: bool) -> None:
    [email_id] = await accepted(store, 1)
    await through(store, INTAKE, Invalid("550 <somebody@example.com> is not known"))
    async with opened(store, terms=Terms(0, wanted=True, addresses=shown)) as stage:
        session = await stage.operator.sign_in("anna")
        assert session.document["addresses_shown"] is shown
        pages = [f"emails/{email_id}", "emails", "audit"]
        await stage.operator.ask(
            "POST", path(stage, "pauses"), {"pipeline": "sender", "why": "somebody@example.com complained"}
        )
        texts = [(await stage.operator.ask("GET", path(stage, one))).raw for one in pages]
        texts.append((await stage.operator.ask("GET", "/api/overview")).raw)
        assert [b"somebody@example.com" in one for one in texts] == [shown] * 4
        assert [b"***@example.com" in one for one in texts] == [not shown] * 4


# ---- actions --------------------------------------------------------------------------------------------------------


async def test_actions_on_ids_are_in_the_history_with_who_and_why(stage: PageStage, store: Store) -> None:
    ids = await accepted(store, 3)
    assert (await act(stage, action="park", ids=ids))["done"] == 3
    parked = await act(stage, action="park", ids=[*ids, "nothing"])
    assert (parked["done"], parked["not_applicable"], parked["missing"]) == (0, 3, 1)
    assert (await act(stage, action="release", ids=ids[:1]))["results"] == [{"id": ids[0], "result": "done"}]
    assert (await act(stage, action="cancel", ids=ids[1:2], why="a  second\treason"))["done"] == 1
    assert [(await row(store, one)).parked for one in ids] == [False, False, True]
    notes = [entry.reason for entry in await store.history(ids[1])]
    assert notes[-2:] == ["parked by anna: a test", "cancelled by anna: a second reason"]
    assert (await stage.operator.get(path(stage, "audit")))["entries"] == [], "a single email's history has it"


async def test_what_waits_is_tried_now_and_what_failed_is_sent_anew(stage: PageStage, store: Store) -> None:
    [email_id] = await accepted(store, 1)
    await through(store, INTAKE, Prepared("example.com"))
    await through(store, SENDER, Retry("450 later", 600.0))
    assert (await act(stage, action="retry", ids=[email_id]))["done"] == 1
    assert await through(store, SENDER, Failed("550 no")) == [email_id]
    found = (await stage.operator.get(path(stage, f"emails/{email_id}")))["email"]
    [offer] = [one for one in found["actions"] if one["action"] == "requeue"]
    assert (offer["sends_mail"], offer["label"]) == (True, "Requeue")
    assert (await act(stage, action="requeue", ids=[email_id]))["done"] == 1
    assert ((await row(store, email_id)).status, (await row(store, email_id)).generation) == (Status.READY, 1)


async def test_a_dry_run_changes_nothing_and_says_what_would_be(stage: PageStage, store: Store) -> None:
    ids = await accepted(store, 2)
    await store.park(ids[:1], who="bert", why="a test")
    by_ids = await act(stage, action="park", ids=[*ids, "nothing"], dry_run=True)
    assert [one["result"] for one in by_ids["results"]] == ["not applicable", "done", "missing"]
    by_filter = await act(stage, action="park", filter={"status": "ACCEPTED"}, dry_run=True)
    assert [one["id"] for one in by_filter["results"]] == ids[1:]
    assert not (await row(store, ids[1])).parked
    assert (await stage.operator.get(path(stage, "audit")))["entries"] == []


@pytest.mark.parametrize("resumes", [True, False], ids=["with next", "asked alike again and again"])
async def test_a_filter_is_worked_through_call_by_call_and_stands_on_the_audit_list(
    stage: PageStage, store: Store, monkeypatch: pytest.MonkeyPatch, resumes: bool
) -> None:
    monkeypatch.setattr(emails, "IDS_LIMIT", 3)
    monkeypatch.setattr(search, "PAGE", 2)
    monkeypatch.setattr(search, "READ_LIMIT", 2)
    ids = await accepted(store, 10)
    await store.park(ids[:4], who="bert", why="a test")
    done: list[str] = []
    after = None
    for _ in range(20):
        order = {"action": "cancel", "filter": {"status": "ACCEPTED"}, "after": after}
        answer = await act(stage, **order)
        assert answer["done"] == len(answer["results"]) <= 3
        done += [one["id"] for one in answer["results"]]
        if not answer["more"]:
            break
        after = answer["next"] if resumes else None
    assert done == ids, "each once, and all of them"
    entries = (await stage.operator.get(path(stage, "audit?limit=2")))["entries"]
    assert len(entries) == 2
    assert all(one["who"] == "anna" and one["why"] == "a test" for one in entries)
    assert all(one["what"].startswith("cancelled ") and "in ACCEPTED" in one["what"] for one in entries)


async def test_the_audit_list_is_read_page_by_page_newest_first(stage: PageStage, store: Store) -> None:
    for number in range(5):
        await store.control.note(who="bert", what=f"deed {number}", why="a test")
    first = await stage.operator.get(path(stage, "audit?limit=3"))
    rest = await stage.operator.get(path(stage, f"audit?limit=3&after={first['next']}"))
    assert [one["what"] for one in [*first["entries"], *rest["entries"]]] == [
        f"deed {number}" for number in range(4, -1, -1)
    ]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({}, "action"),
        ({"action": "delete", "ids": ["a"]}, "action"),
        ({"action": "park"}, "ids"),
        ({"action": "park", "ids": ["a"], "filter": {"status": "READY"}}, "ids"),
        ({"action": "park", "ids": []}, "ids"),
        ({"action": "park", "ids": "a"}, "ids"),
        ({"action": "park", "ids": [7]}, "ids"),
        ({"action": "park", "ids": ["a"] * 1001}, "ids"),
        ({"action": "park", "ids": ["x" * 256]}, "ids"),
        ({"action": "park", "ids": ["a"], "why": ""}, "why"),
        ({"action": "park", "ids": ["a"], "why": " \x00\n"}, "why"),
        ({"action": "park", "ids": ["a"], "why": "\n\t "}, "why"),
        ({"action": "park", "ids": ["a"], "why": "x" * 501}, "why"),
        ({"action": "park", "ids": ["a"], "dry_run": "no"}, "dry_run"),
        ({"action": "park", "ids": ["a"], "dryrun": True}, "dryrun"),
        ({"action": "park", "filter": {}}, "filter"),
        ({"action": "park", "filter": {"domain": "example.com"}}, "filter"),
        ({"action": "park", "filter": {"statuss": "READY"}}, "statuss"),
        ({"action": "park", "filter": {"status": "NONE"}}, "status"),
        ({"action": "park", "filter": "READY"}, "filter"),
    ],
)
async def test_an_order_that_is_not_clear_is_not_carried_out(stage: PageStage, order: Any, field: str) -> None:
    answer = await stage.operator.ask("POST", path(stage, "actions"), {"why": "a test", **order})
    assert (answer.status, answer.document["field"]) == (400, field)


# ---- pauses ---------------------------------------------------------------------------------------------------------


async def test_a_pipeline_is_paused_and_resumed_with_who_and_why(stage: PageStage, store: Store) -> None:
    for pipeline, seconds in ((WHOLE, None), ("sender", 90.5)):
        order = {"pipeline": pipeline, "seconds": seconds, "why": "a test"}
        assert (await stage.operator.ask("POST", path(stage, "pauses"), order)).status == 204
    shown = (await stage.operator.get("/api/overview"))["stores"][0]["pauses"]
    assert {one["pipeline"]: one["until"] is None for one in shown} == {"*": True, "sender": False}
    assert {one.pipeline for one in await store.control.pauses()} == {"*", "sender"}
    for name in ("%2A", "sender"):
        assert (await stage.operator.ask("DELETE", path(stage, f"pauses/{name}"), {"why": "done"})).status == 204
        assert (await stage.operator.ask("DELETE", path(stage, f"pauses/{name}"), {"why": "done"})).status == 404
    assert await store.control.pauses() == []
    entries = (await stage.operator.get(path(stage, "audit")))["entries"]
    assert [one["what"] for one in entries] == [
        "resumed sender", "resumed all pipelines", "paused sender for 90 s", "paused all pipelines"
    ]  # fmt: skip
    assert {one["who"] for one in entries} == {"anna"}


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"pipeline": "everything"}, "pipeline"),
        ({"pipeline": None}, "pipeline"),
        ({"pipeline": "sender", "seconds": 0}, "seconds"),
        ({"pipeline": "sender", "seconds": -5}, "seconds"),
        ({"pipeline": "sender", "seconds": True}, "seconds"),
        ({"pipeline": "sender", "seconds": "60"}, "seconds"),
        ({"pipeline": "sender", "seconds": 1e12}, "seconds"),
        ({"pipeline": "sender", "why": " "}, "why"),
    ],
)
async def test_a_pause_that_is_not_clear_is_refused(stage: PageStage, order: Any, field: str) -> None:
    answer = await stage.operator.ask("POST", path(stage, "pauses"), {"why": "a test", **order})
    assert (answer.status, answer.document["field"]) == (400, field)


# ---- stores that are away -------------------------------------------------------------------------------------------


async def test_a_store_that_is_not_open_is_shown_as_such(store: Store) -> None:
    async with opened(store, names=(store.name, "dynamodb")) as stage:
        await stage.operator.sign_in()
        stage.desk.failed("dynamodb", "dynamodb open: connection refused")
        shown = (await stage.operator.get("/api/overview"))["stores"]
        assert [one["error"] for one in shown] == [None, "dynamodb open: connection refused"]
        answer = await stage.operator.ask("GET", "/api/stores/dynamodb/emails")
        assert (answer.status, "connection refused" in answer.document["detail"]) == (503, True)
        stage.desk.left(store.name)
        assert (await stage.operator.ask("GET", path(stage, "emails"))).status == 503


async def test_a_store_that_does_not_answer_is_told_in_words(stage: PageStage, store: Store) -> None:
    await store.close()
    assert (await stage.operator.ask("GET", path(stage, "emails"))).status in {500, 503}
    shown = (await stage.operator.get("/api/overview"))["stores"][0]
    assert shown["error"]
    assert shown["statuses"][0]["count"] is None
    problems = (await stage.operator.get("/api/overview"))["problems"]
    assert ("store_away", "critical") in {(one["kind"], one["severity"]) for one in problems}


async def test_many_look_at_once_and_the_store_is_asked_once(stage: PageStage, store: Store) -> None:
    asked: Sequence[Any] = await asyncio.gather(*(stage.operator.get("/api/overview") for _ in range(8)))
    assert {one["stores"][0]["statuses"][0]["counted_at"] for one in asked} == {
        asked[0]["stores"][0]["statuses"][0]["counted_at"]
    }
