"""Replicas whose clocks are off by up to a day, or set by an hour as they send; servers in time zones, and nights in
which those change: who owns mail is decided as ever, and a clock that is off by more than a minute is spoken of.

`MAILCULATOR_TEST_CHAOS_CLOCKS=40` makes it a matter of a quarter of an hour.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from tests.chaos.clock_faking import ZONES, ZonedMariadb, library
from tests.chaos.clock_scenes import Clocks, silent
from tests.chaos.ground import DynamodbGround, Ground, SqlGround
from tests.chaos.harness import BLOWS, patience, prepare
from tests.chaos.load import Moods
from tests.chaos.record import Proof, Record
from tests.chaos.server_blows import LastingGround
from tests.support.counting_sink import CountingCallback
from tests.support.dynamodb_bench import Bench
from tests.support.mariadb_queue import new_mariadb_queue

RUNS = 5
"""Where the environment asks for nothing else."""
SCENES = ("apart", "jumps", "night", "sqlite", "dynamodb")
EMAILS, FEW = 30, 8
"""Mails a run, at the least; moto, which stands for DynamoDB, gets few."""
SCALE = 0.1
"""Of all durations: slower than in other runs, since nothing but a clock shall take mail from anybody."""
LEASE, SHORT_LEASE = 240.0, 60.0
"""Seconds before they are scaled to 24 and 6. A busy machine may let nobody renew for a while, which is no clock's
fault; the short one is for those that somebody has to wait for."""
MOMENT = 0.5
LONG = 3.0
"""Seconds before the relay's reply to a message, at the most: whenever a clock is set, some mail is in hand."""
HALF_A_YEAR = timedelta(days=183)

_databases = itertools.count(1)

pytestmark = pytest.mark.timeout(300 + patience(EMAILS))


def _scene(number: int) -> str:
    return SCENES[number % len(SCENES)]


def _zone(number: int) -> str:
    return ZONES[(number + number // len(SCENES)) % len(ZONES)]


def _runs() -> Iterator[ParameterSet]:
    """Numbers of runs, each with its scene for a name."""
    for number in range(int(os.environ.get(BLOWS["clocks"], RUNS))):
        marks = [pytest.mark.dynamodb, pytest.mark.long] if _scene(number) == "dynamodb" else []
        yield pytest.param(number, id=f"{number}-{_scene(number)}", marks=marks)


@dataclass
class Score:
    """What came of the runs of one scene."""

    seeds: list[int]
    seconds: float
    figures: Counter[str]


@pytest.fixture(scope="module")
def scores() -> Iterator[dict[str, Score]]:
    """By scene; kept as one record each when all have been played."""
    library()
    found: dict[str, Score] = defaultdict(lambda: Score([], 0.0, Counter()))
    yield found
    for scene, score in found.items():
        on = {"dynamodb": "DynamoDB (moto)", "sqlite": "SQLite"}.get(scene, f"MariaDB, {scene}")
        Proof.of("clocks", on, score.seeds, score.seconds, score.figures).keep()


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[ZonedMariadb]:
    async with ZonedMariadb() as running:
        yield running


@pytest.fixture(params=list(_runs()))
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
async def mariadb_ground(server: ZonedMariadb, number: int) -> AsyncIterator[LastingGround]:
    """A queue on a server in one of the zones, with a producer that lives there too."""
    name = f"clocks_{next(_databases)}"
    await server.wear(_zone(number))
    ground = LastingGround(await new_mariadb_queue(server, name))
    yield ground
    ground.queue.producer.close()


@pytest.fixture
def ground(request: pytest.FixtureRequest, number: int) -> Ground:
    if _scene(number) == "sqlite":
        return SqlGround(request.getfixturevalue("sqlite_queue"))
    if _scene(number) != "dynamodb":
        found: Ground = request.getfixturevalue("mariadb_ground")
        return found
    bench: Bench = request.getfixturevalue("bench")
    return DynamodbGround(bench.records, bench.variables)


async def test_chaos_clocks(
    number: int,
    ground: Ground,
    server: ZonedMariadb,
    scores: dict[str, Score],
    callback: CountingCallback,
    tmp_path: Path,
) -> None:
    scene = _scene(number)
    chaos = prepare(ground, callback, tmp_path, "clocks", 0, **_manner(scene))
    chaos.mails = FEW if scene == "dynamodb" else EMAILS
    clocks = Clocks(chaos, tmp_path, random.Random(chaos.seed))
    chaos.keep = partial(_count, scores[scene], clocks)
    if scene in ("night", "sqlite"):
        clocks.set_right()
    else:
        clocks.set_apart()
    if scene == "night":
        await server.stop()
    await chaos.run(partial(_play, scene, clocks, server, _zone(number)), 1)

    with chaos.explained():
        usurped = list(clocks.usurped())
        assert scene == "apart" or not usurped, f"mail was taken from the living: {usurped[:5]}"
        if scene == "night":
            assert not clocks.warnings(), "an hour that comes twice, or never, is no hour off"
        elif scene != "sqlite":  # whose clock is the machine's own
            assert not silent(clocks), "a clock is off, and nobody is told"


def _manner(scene: str) -> dict[str, Any]:
    """What is unusual about that run."""
    moods = Moods(dot=LONG)
    if scene == "sqlite":  # where nobody else could take its mail
        return {"moods": moods}
    lease = SHORT_LEASE if scene == "apart" else LEASE
    return {"moods": moods, "MAILCULATOR_TIME_SCALE": SCALE, "MAILCULATOR_LEASE": lease}


async def _play(scene: str, clocks: Clocks, server: ZonedMariadb, zone: str) -> None:
    if scene == "night":
        await clocks.night(server, zone, datetime.now(UTC) + clocks.rng.choice((timedelta(), HALF_A_YEAR)))
        return
    if scene == "sqlite":
        await clocks.step(MOMENT)
        return
    await clocks.warned()
    if scene == "apart":
        # What a dead one held is held for no longer than ever.
        await clocks.chaos.fleet.kill(MOMENT)
    else:
        await clocks.jump()


def _count(score: Score, clocks: Clocks, record: Record) -> None:
    score.seeds.append(clocks.chaos.seed)
    score.seconds += record.seconds
    found = {
        "runs": 1,
        "replicas killed": record.blows,
        "clocks set": clocks.moved,
        "mails": sum(record.mails.values()),
        "lost": record.lost,
        "stuck": record.stuck,
        "falsely final": record.falsely_final,
        "set aside": record.set_aside,
        "doubled in the window": record.doubled_in_window,
        "doubled elsewhere": record.doubled_after_pause + record.doubled_outside,
        "taken from the living": len(list(clocks.usurped())),
        "other faults": record.broken + record.complaints,
        "warnings": len(clocks.warnings()),
    }
    for name, count in found.items():
        score.figures[name] += count
