"""Who is let in to the page and its API: names, tokens, sessions, CSRF, hosts, and those who only want to occupy it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from http.cookies import SimpleCookie

import aiohttp
import pytest

from mailculator.web import connections
from mailculator.web.admin import asking, openapi
from mailculator.web.admin.access import COOKIE, FREE_FAILURES
from mailculator.web.admin.page import Terms
from tests.support.admin_page import TOKEN, Operator, Stage, opened
from tests.support.sqlite_harness import SqliteHarness

CALLS = [
    (method.upper(), path, operation)
    for path, calls in openapi.document("0.0.0")["paths"].items()
    for method, operation in calls.items()
]
GUARDED = [(method, path) for method, path, operation in CALLS if operation["security"]]
ACTING = [(method, path) for method, path in GUARDED if method != "GET"]
OTHER_ADDRESS = "127.0.0.2"
"""This machine's too, but not the one that the page listens on without a token."""


def concrete(path: str) -> str:
    """A path of the document as somebody would ask for it."""
    names = {"{store}": "sqlite", "{id}": "an-id", "{pipeline}": "sender", "{name}": "app.js"}
    for name, value in names.items():
        path = path.replace(name, value)
    return path


@pytest.fixture
async def harness() -> AsyncIterator[SqliteHarness]:
    harness = SqliteHarness()
    yield harness
    await harness.close()


@pytest.fixture
async def stage(harness: SqliteHarness) -> AsyncIterator[Stage]:
    """A page for this machine alone."""
    async with opened(await harness.fresh()) as found:
        yield found


@pytest.fixture
async def guarded(harness: SqliteHarness) -> AsyncIterator[Stage]:
    """A page with a token."""
    async with opened(await harness.fresh(), terms=Terms(0, wanted=True, token=TOKEN)) as found:
        yield found


# ---- without a token ------------------------------------------------------------------------------------------------


async def test_without_a_token_no_other_address_is_answered(stage: Stage) -> None:
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await asyncio.open_connection(OTHER_ADDRESS, stage.port)
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.close()
    assert await reader.read() == b""


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_nothing_is_shown_or_done_before_somebody_has_signed_in(stage: Stage, method: str, path: str) -> None:
    answer = await stage.operator.ask(method, concrete(path), None if method == "GET" else {})
    assert answer.status == 401


async def test_a_name_is_all_that_is_asked_for_on_this_machine(stage: Stage) -> None:
    before = await stage.operator.get("/api/session")
    assert (before["signed_in"], before["token_needed"], before["name"], before["csrf"]) == (False, False, None, None)
    answer = await stage.operator.sign_in("  anna\n ")
    assert answer.document["name"] == "anna"
    assert await stage.operator.get("/api/session") == answer.document
    await stage.operator.get("/api/overview")


@pytest.mark.parametrize("name", ["", "   ", "\n\t", "x" * 101, None, 7, ["anna"]])
async def test_a_name_that_is_none_is_refused(stage: Stage, name: object) -> None:
    answer = await stage.operator.ask("POST", "/api/session", {"name": name})
    assert (answer.status, answer.document["field"]) == (400, "name")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "127.0.0.1:{port}", "[::1]:{port}"])
async def test_it_is_reached_by_the_names_of_this_machine(stage: Stage, host: str) -> None:
    answer = await stage.operator.ask("GET", "/api/session", headers={"Host": host.format(port=stage.port)})
    assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "rebound.example:8081",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example",
        "localhost@rebound.example",
        "127.0.0.2",
        "[::2]",
        "",
    ],
)
async def test_a_foreign_name_that_leads_here_is_refused(stage: Stage, host: str) -> None:
    forwarded = {"Host": host, "X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    for path in ("/api/session", "/", "/api/overview", "/openapi.json", "/nothing"):
        assert (await stage.operator.ask("GET", path, headers=forwarded)).status == 403


# ---- with a token ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), GUARDED)
@pytest.mark.parametrize("token", [None, "", TOKEN + "x", "caf\xe9"])
async def test_without_or_with_a_wrong_token_nothing_is_answered_at_another_address(
    guarded: Stage, method: str, path: str, token: str | None
) -> None:
    stranger = Operator(guarded.port, host=OTHER_ADDRESS)
    headers = {"X-Operator": "mallory", "X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    answer = await stranger.ask(method, concrete(path), None if method == "GET" else {}, headers=headers)
    await stranger.close()
    assert answer.status == 401


async def test_with_the_token_it_is_answered_at_every_address(guarded: Stage) -> None:
    for host in ("127.0.0.1", OTHER_ADDRESS):
        operator = Operator(guarded.port, host=host)
        assert (await operator.sign_in("anna", "wrong")).status == 401
        assert (await operator.ask("GET", "/api/overview")).status == 401
        assert (await operator.sign_in("anna", TOKEN)).status == 200
        assert (await operator.get("/api/overview"))["stores"][0]["store"] == "sqlite"
        await operator.close()


async def test_a_program_brings_the_token_and_says_who_answers_for_it(guarded: Stage) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}", "X-CSRF-Token": ""}
    assert (await guarded.operator.ask("GET", "/api/overview", headers=bearer)).status == 200
    pause = {"pipeline": "sender", "seconds": None, "why": "a test"}
    nameless = await guarded.operator.ask("POST", "/api/stores/sqlite/pauses", pause, headers=bearer)
    assert (nameless.status, nameless.document["field"]) == (400, "X-Operator")
    named = {**bearer, "X-Operator": "deploy script"}
    assert (await guarded.operator.ask("POST", "/api/stores/sqlite/pauses", pause, headers=named)).status == 204
    audit = await guarded.operator.ask("GET", "/api/stores/sqlite/audit", headers=bearer)
    assert [one["who"] for one in audit.document["entries"]] == ["deploy script"]


async def test_a_guesser_has_to_wait_and_sessions_go_on(guarded: Stage) -> None:
    await guarded.operator.sign_in("anna", TOKEN)
    guesser = Operator(guarded.port, host=OTHER_ADDRESS)
    statuses = [(await guesser.sign_in("mallory", f"guess {number}")).status for number in range(FREE_FAILURES + 2)]
    assert statuses == [401] * FREE_FAILURES + [429] * 2
    told = await guesser.sign_in("mallory", TOKEN)
    assert told.status == 429, "the right token is not looked at, or waiting would tell nothing"
    assert int(told.headers["Retry-After"]) >= 1
    await guesser.close()
    await guarded.operator.get("/api/overview")


# ---- cookies and CSRF -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("origin", "secure"), [("http://127.0.0.1:8081", False), ("https://mail.example", True)])
async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(
    guarded: Stage, origin: str, secure: bool
) -> None:
    headers = {"Origin": origin, "X-Forwarded-Proto": "https"}
    answer = await guarded.operator.ask("POST", "/api/session", {"name": "anna", "token": TOKEN}, headers=headers)
    [morsel] = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert morsel.key == COOKIE
    assert len(morsel.value) >= 43
    assert (morsel["httponly"], morsel["samesite"], morsel["path"], morsel["domain"]) == (True, "Strict", "/", "")
    assert bool(morsel["secure"]) is secure
    assert morsel["expires"] == morsel["max-age"] == ""
    assert morsel.value not in answer.raw.decode(), "a script that reads answers must not find it there"


@pytest.mark.parametrize(("method", "path"), [*ACTING, ("DELETE", "/api/session")])
@pytest.mark.parametrize("csrf", ["", "wrong"])
async def test_every_action_without_its_csrf_token_is_refused(stage: Stage, method: str, path: str, csrf: str) -> None:
    await stage.operator.sign_in()
    body: Mapping[str, str] | None = None if path == "/api/session" else {}
    answer = await stage.operator.ask(method, concrete(path), body, headers={"X-CSRF-Token": csrf})
    assert answer.status == 403
    assert (await stage.operator.get("/api/session"))["signed_in"]


async def test_another_sessions_csrf_token_does_not_do(stage: Stage) -> None:
    await stage.operator.sign_in("anna")
    other = Operator(stage.port)
    await other.sign_in("bert")
    pause = {"pipeline": "sender", "why": "a test"}
    headers = {"X-CSRF-Token": other.csrf}
    assert (await stage.operator.ask("POST", "/api/stores/sqlite/pauses", pause, headers=headers)).status == 403
    await other.close()


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
async def test_what_a_foreign_form_can_send_is_refused(stage: Stage, kind: str) -> None:
    url, body = f"{stage.operator.base}/api/session", b'{"name": "mallory"}'
    async with stage.operator.session.post(url, data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == 415
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_a_browser_says_comes_from_elsewhere_is_refused(stage: Stage, site: str) -> None:
    await stage.operator.sign_in()
    headers = {"Sec-Fetch-Site": site}
    assert (await stage.operator.ask("GET", "/api/overview", headers=headers)).status == 403
    assert (await stage.operator.ask("POST", "/api/session", {"name": "x"}, headers=headers)).status == 403


async def test_signing_out_ends_the_session_and_takes_the_cookie_back(stage: Stage) -> None:
    await stage.operator.sign_in()
    key = {one.key: one.value for one in stage.operator.session.cookie_jar}[COOKIE]
    answer = await stage.operator.ask("DELETE", "/api/session")
    assert answer.status == 204
    assert SimpleCookie(answer.headers["Set-Cookie"])[COOKIE]["max-age"] == "0"
    kept = await stage.operator.ask("GET", "/api/overview", headers={"Cookie": f"{COOKIE}={key}"})
    assert kept.status == 401


async def test_signing_in_again_makes_a_new_session_and_ends_the_one_before(stage: Stage) -> None:
    await stage.operator.sign_in("anna")
    key = {one.key: one.value for one in stage.operator.session.cookie_jar}[COOKIE]
    await stage.operator.sign_in("bert")
    stale = Operator(stage.port)
    answer = await stale.ask("GET", "/api/overview", headers={"Cookie": f"{COOKIE}={key}"})
    await stale.close()
    assert answer.status == 401


# ---- heads, and those who only want to occupy it --------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/session", "/api/overview", "/openapi.json", "/nothing", "/assets/none.js"])
async def test_every_answer_tells_browsers_to_make_nothing_more_of_it(stage: Stage, path: str) -> None:
    answer = await stage.operator.ask("GET", path)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert (
        answer.headers["Cross-Origin-Opener-Policy"] == answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    )
    assert answer.headers["Server"] == "mailculator"
    assert not any(name.lower().startswith("access-control-") for name in answer.headers)


async def test_a_body_that_is_too_large_is_refused_before_it_is_there(stage: Stage) -> None:
    head = (
        f"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {asking.BODY_LIMIT + 1}\r\n\r\n"
    )
    assert (await stage.operator.raw(head.encode())).startswith(b"HTTP/1.1 413 ")


async def test_a_body_without_end_is_read_no_further_than_its_limit(stage: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(
        b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    answered = asyncio.create_task(reader.readline())
    piece = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    for _ in range(asking.BODY_LIMIT // 0x8000 + 2):
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(20):
        assert (await answered).startswith(b"HTTP/1.1 413 ")
    writer.transport.abort()


async def test_a_body_that_drips_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "BODY_WITHIN", 0.3)
    head = b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 99\r\n\r\n{"
    async with asyncio.timeout(20):
        assert (await stage.operator.raw(head)).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(500)) + b"\r\n",
        b"nonsense <script>\r\n\r\n",
    ],
)
async def test_what_is_too_long_or_no_http_is_refused_and_not_quoted(
    stage: Stage, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await stage.operator.raw(sent)
    assert answer.split()[1] == b"400"
    assert b"script" not in answer.replace(b"script-src", b"")
    assert b"aaaa" not in answer
    assert b"aiohttp" not in answer.lower()
    assert caplog.records == []


async def test_whoever_says_nothing_is_cut_off(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "KEEP_ALIVE", 0.3)
    for sent in (b"", b"GET / HTTP/1.1\r\nHost: local"):
        async with asyncio.timeout(20):
            assert await stage.operator.raw(sent) == b""


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff", b"[" * 5000, b'{"name": "\\ud800"}'])
async def test_a_body_that_is_no_object_is_refused(stage: Stage, body: bytes) -> None:
    async with stage.operator.session.post(
        f"{stage.operator.base}/api/session", data=body, headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 400
        assert json.loads(await answer.read())["status"] == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("PUT", "/api/session", 405), ("POST", "/", 405), ("GET", "/api/session/", 404), ("GET", "/api/../etc", 404)],
)
async def test_what_is_not_there_is_told_in_a_problem_document(
    stage: Stage, method: str, path: str, status: int
) -> None:
    answer = await stage.operator.ask(method, path)
    assert (answer.status, answer.document["status"]) == (status, status)
    if status == 405:
        assert answer.headers["Allow"]


async def test_head_is_answered_as_get_without_a_body(stage: Stage) -> None:
    answer = await stage.operator.ask("HEAD", "/api/session")
    assert (answer.status, answer.raw) == (200, b"")


async def test_a_bug_of_ours_is_a_500_that_is_logged_and_tells_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> bytes:
        raise RuntimeError("CANARY")

    monkeypatch.setattr(stage.page, "_compose", fail)
    await stage.operator.sign_in()
    async with stage.operator.session.get(f"{stage.operator.base}/api/overview") as answer:
        assert answer.status == 500
        assert answer.content_type == "application/problem+json"
        assert b"CANARY" not in await answer.read()
    assert "CANARY" in caplog.text


async def test_one_session_is_enough_for_many_connections(stage: Stage) -> None:
    await stage.operator.sign_in()
    jar = stage.operator.session.cookie_jar
    async with (
        aiohttp.ClientSession(cookie_jar=jar) as second,
        second.get(f"{stage.operator.base}/api/overview") as got,
    ):
        assert got.status == 200
