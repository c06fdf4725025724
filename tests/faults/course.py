"""A cell gone through as often as is asked for, on queues of its own, and what has to hold of all of it together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from mailculator.stores.sqlite_schema import SqliteSchema
from tests.chaos.ground import SqlGround
from tests.faults.cells import Cell, again, repeats
from tests.faults.circumstances import CIRCUMSTANCES, is_large
from tests.faults.tally import TIMED_FROM, Tally, too_late, too_slow
from tests.faults.trial import Outcome, Trial
from tests.support.producer import SqliteProducer
from tests.support.scenario import Queue

Prepare = Callable[[Cell, random.Random, Path, AsyncExitStack], Awaitable[Trial]]
"""Makes a run of a cell: its choices, its folder, and what is called when it is over."""


def time_limit() -> float:
    """Seconds after which a test has hung: every repeat after the other, and each as slow as one that fails."""
    return 300.0 * repeats()


async def embedded(folder: Path, exits: AsyncExitStack) -> SqlGround:
    """An empty queue in a file of its own."""
    path = folder / "queue.db"
    await SqliteSchema(path).apply(lambda _: None)
    producer = SqliteProducer(path)
    exits.callback(producer.close)
    return SqlGround(Queue("sqlite", {"SQLITE_PIPELINES_ENABLED": "true", "SQLITE_PATH": path}, producer))


async def go_through(cell: Cell, prepare: Prepare, tally: Tally, folder: Path) -> None:
    """All repeats of it, side by side as far as that dependency bears it.

    AssertionError with the seed and the command when anything does not hold. How fast things went is judged only where
    all cells are gone through, and often enough.
    """
    room = asyncio.Semaphore(CIRCUMSTANCES[cell.dependency].at_once)

    async def one(number: int) -> Outcome:
        own = folder / str(number)
        own.mkdir()
        async with room, AsyncExitStack() as exits:
            rng = random.Random(f"{tally.seed} {cell} {number}")
            trial = await prepare(cell, rng, own, exits)
            return await trial.run()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(repeats())]
        outcomes = [task.result() for task in tasks]
        tally.outcomes += outcomes
        wrong = [line for outcome in outcomes for line in outcome.wrong]
        if is_large() and repeats() >= TIMED_FROM:
            wrong += too_late(outcomes, CIRCUMSTANCES[cell.dependency].patience[cell.phase])
            wrong += too_slow(outcomes)
        assert not wrong, wrong[:5]
    except BaseException as error:
        error.add_note(f"seed {tally.seed}; again: {again(cell, tally.seed)}")
        raise
