"""The benchmark of how long an email waits: what it reads from the history, and what it holds that against."""

from __future__ import annotations

import random
from dataclasses import astuple
from pathlib import Path

import pytest

from benchmarks import latency
from benchmarks.latency import Figure, Journey, Seen
from benchmarks.mail_parts import write_letters
from benchmarks.mail_queues import sqlite_queue
from tests.support.producer import SqliteProducer


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(300, 0, -1)]
    assert latency.percentile(values, 0.5) == 150.0
    assert latency.percentile(values, 0.99) == 297.0
    assert latency.percentile([4.0], 0.5) == latency.percentile([4.0], 0.99) == 4.0


def test_each_part_of_the_interval_has_its_email() -> None:
    found = latency.pauses(50, random.Random(1))
    assert sorted(int(pause / latency.INTERVAL * 50) for pause in found) == list(range(50))
    assert found != sorted(found)


def test_the_disk_is_asked_how_long_a_durable_write_takes(tmp_path: Path) -> None:
    assert latency.durable_write(tmp_path) > 0
    assert (tmp_path / "durable").stat().st_size == 4096 * latency.WRITES


async def test_times_are_read_from_the_history_behind_a_moment(tmp_path: Path) -> None:
    before, one = write_letters(tmp_path / "letters", 2)
    async with sqlite_queue(tmp_path) as queue:
        producer = SqliteProducer(Path(queue.variables["SQLITE_PATH"]))
        queue.lay([before])
        queue.open_gate()
        since = queue.last_note()
        queue.lay([one])
        queue.open_gate()
        producer.run("UPDATE email_status_history SET created_at = 1000000")
        sql = "INSERT INTO email_status_history (email_id, status, version, created_at) VALUES (?, ?, ?, ?)"
        # The sender gave it back once: what counts is when it came to a status first.
        steps = ("INTAKING", 1400), ("READY", 1410), ("PROCESSING", 1412), ("READY", 1500), ("PROCESSING", 1505)
        for version, (status, moment) in enumerate((*steps, ("SENT", 1517)), start=2):
            producer.run(sql, one.email_id, status, version, 1_000_000 + moment)
        moments = queue.moments(since)
        producer.close()
    assert set(moments) == {one.email_id}
    [journey] = latency.journeys(moments, [one])
    assert astuple(journey) == pytest.approx((1000.0, 1001.41, 1001.412, 1001.517))
    with pytest.raises(KeyError):
        latency.journeys(moments, [before])


def sent_after(enqueued: float, sent: float) -> Journey:
    return Journey(enqueued, sent - 0.012, sent - 0.009, sent)


def test_figures_are_those_of_their_part() -> None:
    idle = [sent_after(0.0, 0.4), sent_after(2.0, 2.5), sent_after(4.0, 5.0)]
    loaded = [sent_after(10.0, 10.7), sent_after(10.5, 11.2), sent_after(11.0, 11.7)]
    assert latency.offered(loaded) == pytest.approx(2.0)
    found = latency.figures({"SQLite": Seen(idle, 4.0, latency.offered(loaded), loaded)})
    assert latency.table(found).splitlines()[2:] == [
        "| SQLite, idle: enqueue to SENT | 3 | 500 ms | at most 530 ms | 1,000 ms | at most 1,050 ms |",
        "| SQLite, idle: READY to SENT | 3 | 12.0 ms | at most 15 ms | 12.0 ms |  |",
        "| SQLite, idle: of these, READY to the claim | 3 | 3.0 ms |  | 3.0 ms |  |",
        "| SQLite, 2 emails/s of 4: enqueue to SENT | 3 | 700 ms |  | 700 ms |  |",
        "| SQLite, 2 emails/s of 4: READY to SENT | 3 | 12.0 ms |  | 12.0 ms |  |",
    ]
    assert latency.failures(found) == []


def test_what_misses_its_target_is_named() -> None:
    late = Figure("late", [0.4, 0.6, 1.2], latency.MEDIAN, latency.LAST_HUNDREDTH)
    slow = Figure("slow", [0.016], latency.HANDED_OVER)
    free = Figure("free", [99.0])
    assert latency.failures([late, slow, free]) == [
        "late: p50 is 600 ms, 530 ms are allowed",
        "late: p99 is 1,200 ms, 1,050 ms are allowed",
        "slow: p50 is 16.0 ms, 15.0 ms are allowed",
    ]
