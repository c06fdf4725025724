"""What the benchmarks of mail are put together from: a figure must not come out of a round in which mail was lost."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import orjson
import pytest

from benchmarks import end_to_end, floor, mail_parts, report, sampler
from benchmarks.end_to_end import Contender, Round
from benchmarks.mail_parts import Letter, Peers, cpu_seconds, write_letters
from benchmarks.mail_queues import STEPS, Queue, sqlite_queue
from tests.support.producer import SqliteProducer

COUNT = 3


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with sqlite_queue(tmp_path) as opened:
        yield opened


@pytest.fixture
def letters(tmp_path: Path) -> list[Letter]:
    return write_letters(tmp_path / "letters", COUNT)


def finish(queue: Queue, letters: list[Letter]) -> SqliteProducer:
    """Bring them to their end by hand."""
    queue.lay(letters)
    queue.open_gate()
    producer = SqliteProducer(Path(queue.variables["SQLITE_PATH"]))
    for version, status in enumerate(STEPS, start=2):
        for letter in letters:
            producer.run("UPDATE emails SET status = ?, version = ? WHERE id = ?", status, version, letter.email_id)
            sql = "INSERT INTO email_status_history (email_id, status, version, created_at) VALUES (?, ?, ?, ?)"
            producer.run(sql, letter.email_id, status, version, 1_000_000 + 250 * version)
    return producer


async def test_a_queue_where_all_was_done_has_no_faults(queue: Queue, letters: list[Letter]) -> None:
    producer = finish(queue, letters)
    await queue.finished()
    assert queue.faults(COUNT) == []
    assert queue.seconds(0) == pytest.approx(1.25)
    producer.close()


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE emails SET status = 'SENT' WHERE rowid = (SELECT MIN(rowid) FROM emails)",
        "UPDATE emails SET version = 9 WHERE rowid = (SELECT MIN(rowid) FROM emails)",
        "DELETE FROM emails WHERE rowid = (SELECT MIN(rowid) FROM emails)",
        "DELETE FROM email_status_history WHERE id = (SELECT MAX(id) FROM email_status_history)",
        "UPDATE email_status_history SET status = 'FAILED' WHERE id = (SELECT MAX(id) FROM email_status_history)",
    ],
)
def test_what_is_missing_or_wrong_is_a_fault(queue: Queue, letters: list[Letter], harm: str) -> None:
    producer = finish(queue, letters)
    producer.run(harm)
    assert queue.faults(COUNT)
    producer.close()


def test_nothing_is_seen_before_the_gate_opens(queue: Queue, letters: list[Letter]) -> None:
    other = SqliteProducer(Path(queue.variables["SQLITE_PATH"]))
    queue.lay(letters)
    assert other.run("SELECT COUNT(*) FROM emails") == [(0,)]
    queue.open_gate()
    assert other.run("SELECT COUNT(*) FROM emails") == [(COUNT,)]
    other.close()


async def test_the_peers_count_what_came(tmp_path: Path) -> None:
    async with mail_parts.peers(tmp_path) as around:
        waiting = asyncio.create_task(around.called_back(2))
        await _post_twice(around)
        assert await waiting == 2
        assert around.taken() == 0
        await _send(around)
        assert around.taken() == 1


async def _post_twice(around: Peers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", around.callback_port)
    request = floor.callback(("id", ""), b"/callback", b"127.0.0.1")
    writer.write(request + request[:50])
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    writer.write(request[50:])
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def _send(around: Peers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", around.sink_port)
    writer.write(b"HELO t\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n")
    await reader.readuntil(b"354")
    writer.write(b"Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert b"221" in await reader.read()  # to the end of the session: by then it has counted
    writer.close()
    await writer.wait_closed()


def test_the_floor_sends_what_the_payload_says(letters: list[Letter]) -> None:
    one = letters[0]
    said = orjson.loads(one.path.read_bytes())
    commands, _, content = floor.message((one.email_id, str(one.path))).partition(b"\0")
    assert content.endswith(b"\r\n.\r\n")
    assert content.count(b"\r\n.") == 1
    mail = message_from_bytes(content[:-3], policy=policy.default)
    assert isinstance(mail, EmailMessage)
    assert not mail.defects
    assert f"RCPT TO:<{said['to']}>" in commands.decode()
    assert (mail["to"], mail["subject"], mail["from"]) == (said["to"], said["subject"], said["from"])
    texts = [part.get_content().replace("\r\n", "\n").rstrip("\n") for part in mail.iter_parts()]
    assert texts == [said["body_text"].rstrip("\n"), said["body_html"].rstrip("\n")]
    assert 4000 < len(content) < 4700


def test_figures_are_held_against_their_targets() -> None:
    base, service = (Contender(name, (), sqlite_queue) for name in ("floor", "service"))
    base.rounds = [Round(1000, seconds, 0.2) for seconds in (1.0, 2.0, 1.0)]
    service.rounds = [Round(1000, seconds, 0.3) for seconds in (4.0, 8.0, 9.0)]
    assert end_to_end.ratios(service, base) == pytest.approx([0.25, 0.25, 1 / 9])
    assert end_to_end.failures(base, [service]) == []
    assert "| 0.250 | at least 0.6 | 300 µs |" in end_to_end.table(base, [service])
    service.rounds = [Round(1000, 6.0, 1.0)] * 3
    assert len(end_to_end.failures(base, [service])) == 2


def test_the_cpu_of_a_process_is_read() -> None:
    with subprocess.Popen([sys.executable, "-c", "sum(range(3_000_000)); input()"], stdin=subprocess.PIPE) as process:
        before = 0.0
        while (used := cpu_seconds(process.pid)) == before:
            os.sched_yield()
        process.communicate(b"\n")
    assert used > 0


def work() -> None:
    """Some CPU in a function of a known name."""
    until = time.process_time() + 0.1
    while time.process_time() < until:
        sum(range(1000))


def test_a_sampler_finds_the_function_that_works() -> None:
    found = sampler.Sampler()
    found.toggle()
    work()
    found.toggle()
    took = sum(found.stacks.values())
    name, seconds = sampler.dearest(sampler.own(found.stacks))[0]
    assert name.endswith("(work)")
    assert seconds > 0.8 * took
    assert took > 0.05
    # A sample may find what the interpreter does between two of its steps, beneath it.
    assert seconds <= sampler.cumulative(found.stacks)[name] <= took + 1e-9


def test_time_goes_to_the_innermost_known_part() -> None:
    ours, others, unknown = work.__code__, write_letters.__code__, statistics.median.__code__
    stacks: sampler.Seconds[sampler.Stack] = defaultdict(float)
    stacks |= {(unknown, ours): 1.0, (others, ours): 2.0, (others,): 4.0, (unknown,): 8.0}
    parts, shared = ((sampler.path(ours), "ours"),), ((sampler.path(others), "shared"),)
    assert sampler.by_part(stacks, parts, shared) == {"ours": 3.0, "shared": 4.0, sampler.LOOP: 8.0}


def test_a_plot_has_a_bar_for_each() -> None:
    assert report.plot("Rates", "emails/s", {"a, b": 10.4, "c": 200.0}).splitlines() == [
        "```mermaid",
        "xychart-beta horizontal",
        '    title "Rates"',
        '    x-axis ["a, b", "c"]',
        '    y-axis "emails/s" 0 --> 220',
        "    bar [10, 200]",
        "```",
    ]
