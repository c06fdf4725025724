"""What the send journal is for: processes die at the moments that count, and its disk fails."""

from __future__ import annotations

import asyncio
import re
import resource
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mailculator.model import Status
from tests.support.counting_sink import CountingCallback, CountingSink, Step
from tests.support.outage_bench import Scene, accepted, probing, until
from tests.support.producer import write_payload
from tests.support.scenario import Queue, delivery
from tests.support.service import ServiceProcess, journal_of
from tests.support.smtp_peer import SmtpPeer

pytestmark = pytest.mark.timeout(240)

SCALE = 0.05
LATEST = 90 * SCALE + 10 * SCALE + 30.0
EMAILS = 20
CONNECTIONS = 10
NOTE = "rescued: the lease of first expired"


def settings(scene: Scene, replica: str, **changes: object) -> dict[str, object]:
    return scene.of_replica(replica, scale=SCALE, connections=CONNECTIONS, **changes)


async def kill(process: ServiceProcess) -> None:
    process.signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


def marks(variables: dict[str, object]) -> Counter[str]:
    """How many marks of each kind there are in all journals of the queue."""
    files = journal_of(variables).rglob("*.log")
    return Counter(
        kind for file in files for kind in re.findall(r"^\w{4} \w{8} (\w+) ", file.read_text(), re.MULTILINE)
    )


def copies(scene: Scene) -> Counter[str]:
    return Counter(mail.email_id for mail in accepted(scene.relay))


def unknown_to(rescuer: ServiceProcess) -> set[str]:
    """Of which emails it has found that nobody knows whether the relay took them."""
    rescued = [line for line in rescuer.lines if line["event"] == "mail.rescued"]
    return {line["email_id"] for line in rescued if line["outcome"] == "unknown"}


async def cut_short(scene: Scene, **changes: object) -> set[str]:
    """Kill a process whose messages the relay has taken, and has not yet said so. Returns whose."""
    scene.relay.hang("after_dot")
    await scene.put(EMAILS)
    async with ServiceProcess(settings(scene, "first", **changes)) as first:
        await scene.relay.delivered(CONNECTIONS)
        await kill(first)
    scene.relay.behave()
    cut = set(copies(scene))
    assert marks(scene.variables)["DOT"] == len(cut) == CONNECTIONS
    return cut


async def test_killed_between_the_dot_and_the_reply_it_is_sent_once_more(scene: Scene) -> None:
    cut = await cut_short(scene)
    async with ServiceProcess(settings(scene, "another")) as another:
        await scene.finished(LATEST)
        assert await another.stop() == 0
    # Nobody knows of these, and of none but these.
    assert unknown_to(another) == cut
    assert copies(scene) == Counter({email_id: 1 + (email_id in cut) for email_id in scene.expected})
    assert (await scene.counts()) == {Status.SENT_ACKNOWLEDGED: EMAILS}


@pytest.mark.parametrize("queue", ["sqlite"], indirect=True)
@pytest.mark.parametrize("policy", ["hold", "fail"])
async def test_killed_between_the_dot_and_the_reply_and_nothing_is_sent_twice(scene: Scene, policy: str) -> None:
    cut = await cut_short(scene)
    async with ServiceProcess(settings(scene, "another", MAILCULATOR_OUTCOME_UNKNOWN=policy)) as another:

        async def so() -> bool:
            counts = await scene.counts()
            return counts[Status.SENT_ACKNOWLEDGED] == EMAILS - len(cut) and (
                counts[Status.READY if policy == "hold" else Status.FAILED_ACKNOWLEDGED] == len(cut)
            )

        await until(so, f"they have ended, or are held: {policy}", LATEST)
        assert await another.stop() == 0
    assert copies(scene) == Counter(scene.expected)
    rows = await scene.query(
        "SELECT id, parked, COALESCE(reason, last_error) FROM emails WHERE status <> 'SENT-ACKNOWLEDGED'"
    )
    assert {email_id for email_id, _, _ in rows} == cut
    assert {bool(parked) for _, parked, _ in rows} == {policy == "hold"}
    assert {why for _, _, why in rows} == {f"outcome unknown: {NOTE}"}
    if policy == "fail":
        assert scene.acknowledged("failed") == cut


async def test_killed_before_the_dot_nothing_is_sent_twice_and_nothing_is_unknown(scene: Scene) -> None:
    scene.relay.hang("data")
    await scene.put(EMAILS)
    async with ServiceProcess(settings(scene, "first")) as first:
        await scene.standing_in(Status.PROCESSING, CONNECTIONS)
        await kill(first)
    scene.relay.behave()
    assert not marks(scene.variables)["DOT"]
    async with ServiceProcess(settings(scene, "another")) as another:
        await scene.finished(LATEST)
        outcomes = {line["outcome"] for line in another.lines if line["event"] == "mail.rescued"}
        assert await another.stop() == 0
    assert outcomes == {"rescued"}
    assert copies(scene) == Counter(scene.expected)
    await scene.check()


@contextmanager
def writers_locked_out(path: Path) -> Iterator[None]:
    """Somebody holds the file's write lock: to the service its database takes no writes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def test_killed_when_the_relay_had_said_yes_and_the_store_could_not_be_told(
    sqlite_queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path
) -> None:
    """Without the mark of the reply each of them would be sent again."""

    def slowly(step: Step) -> float:
        return 2.0 if step.phase == "dot" else 0.0

    async with CountingSink(delay=slowly) as sink:
        scene = Scene(dict(sqlite_queue.variables), sqlite_queue.producer, relay, callback, tmp_path)
        variables = sqlite_queue.variables | delivery(callback, sink.port)
        variables |= {"MAILCULATOR_TIME_SCALE": SCALE, "MAILCULATOR_SMTP_CONNECTIONS": CONNECTIONS}
        await scene.put(CONNECTIONS)
        async with ServiceProcess(variables | {"MAILCULATOR_REPLICA": "first"}) as first:

            async def all_dotted() -> bool:
                return marks(variables)["DOT"] == CONNECTIONS

            async def all_answered() -> bool:
                return marks(variables)["ACC"] == CONNECTIONS

            await until(all_dotted, "every dot is marked")
            path = Path(str(sqlite_queue.variables["SQLITE_PATH"]))
            with writers_locked_out(path):
                await until(all_answered, "every reply is marked")
                await kill(first)
            held = await scene.counts()
            assert held == {Status.PROCESSING: CONNECTIONS}
        async with ServiceProcess(variables | {"MAILCULATOR_REPLICA": "another"}) as another:
            await scene.finished(LATEST)
            rescued = [line for line in another.lines if line["event"] == "mail.rescued"]
            assert await another.stop() == 0
    assert {(line["to"], line["outcome"]) for line in rescued} == {("SENT", "sent")}
    assert Counter(mail.email_id for mail in sink.accepted) == Counter(scene.expected)
    notes = await scene.query("SELECT reason FROM email_status_history WHERE status = 'SENT'")
    assert len(notes) == CONNECTIONS
    assert all(note.startswith("250 ") and note.endswith(f"(by the journal; {NOTE})") for (note,) in notes)


async def test_a_full_disk_stops_new_sends_says_so_and_nothing_else(
    mariadb_queue: Queue, relay: SmtpPeer, callback: CountingCallback, tmp_path: Path
) -> None:
    scene = Scene(dict(mariadb_queue.variables), mariadb_queue.producer, relay, callback, tmp_path)
    async with ServiceProcess(settings(scene, "first")) as service:
        async with probing(service) as probes:
            await scene.put(5)
            await scene.finished(LATEST)
            # No file may grow any more: the limit stands for a full disk, and the service writes no other file.
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            await scene.put(EMAILS)
            await scene.standing_in(Status.READY, EMAILS)
            await service.expect("breaker.opened", 1, lambda line: line["breaker"] == "journal")
            await probes.worried("journal")
            await probes.unready("journal")
            assert len(scene.relay.accepted) == 5
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            await scene.finished(LATEST)
            await probes.content()
        assert await service.stop() == 0
    await scene.check()
    assert copies(scene) == Counter(scene.expected)


@pytest.mark.parametrize("poison", ["kill", "spin"])
async def test_mail_that_kills_its_process_is_found_and_its_neighbours_are_untouched(scene: Scene, poison: str) -> None:
    fatal = next(iter(await scene.put(1)))
    write_payload(scene.folder / f"{fatal}.json", subject=poison)
    await scene.put(EMAILS)
    deaths: list[int] = []
    unknown: set[str] = set()
    while True:
        service = ServiceProcess(settings(scene, f"life-{len(deaths)}"), module="tests.support.poisoned_service")
        async with service:
            ended = asyncio.create_task(service.wait())
            done = asyncio.create_task(scene.finished(120.0))
            await asyncio.wait({ended, done}, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                await done
                assert await service.stop() == 0
                break
            done.cancel()
            deaths.append(await ended)
        unknown |= unknown_to(service)
    # Once among others, three times alone.
    assert deaths == [-signal.SIGKILL if poison == "kill" else 70] * 4
    emails = {email.id: email for email in await scene.standings()}
    assert emails[fatal].status is Status.FAILED_ACKNOWLEDGED
    assert scene.reasons()[fatal] == "crashed 3 times"
    assert {email.status for email_id, email in emails.items() if email_id != fatal} == {Status.SENT_ACKNOWLEDGED}
    sent = copies(scene)
    assert set(sent) == scene.expected - {fatal}
    # Whoever had a dot out when that mail was begun met a process that died then, like any other.
    assert {email_id for email_id, count in sent.items() if count > 1} <= unknown
    assert max(sent.values()) <= 2
