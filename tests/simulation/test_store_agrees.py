"""The queue of the simulation does what every store does, or what is shown on it would show nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from mailculator.lifecycle import Move
from mailculator.model import Email
from mailculator.stores.base import Recorded
from tests.simulation.queues import Queue
from tests.simulation.rows import Entry
from tests.simulation.rows_harness import SimulatedHarness
from tests.support.model_machine import QueueMachine
from tests.support.model_steps import Bench
from tests.support.queue_mail import Broken

EXAMPLES = int(os.environ.get("MAILCULATOR_TEST_MODEL_EXAMPLES", "60"))
STEPS = int(os.environ.get("MAILCULATOR_TEST_MODEL_STEPS", "30"))

pytestmark = pytest.mark.timeout(900 + 20 * EXAMPLES)


@pytest.fixture
def bench() -> Iterator[Bench]:
    loop = asyncio.new_event_loop()
    yield Bench(SimulatedHarness(), loop)  # type: ignore[arg-type]  # it has what the machine asks for, and no schema
    loop.close()


def run(bench: Bench, examples: int, *phases: Phase) -> None:
    class MachineOnThisBench(QueueMachine):
        def __init__(self) -> None:
            super().__init__(bench)

    run_state_machine_as_test(
        MachineOnThisBench,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=True,
            phases=phases or tuple(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_whatever_happens_the_simulated_queue_does_what_the_model_says(bench: Bench) -> None:
    run(bench, EXAMPLES)


def without_its_version(self: Queue, entry: Entry, email: Email) -> bool:
    return (entry.status, entry.token) == (email.status, email.claim_token)


def forgetful(self: Queue, entry: Entry, move: Move, name: str | None) -> Recorded:
    return Recorded.LOST


@pytest.mark.parametrize(("verb", "wrong"), [("holds", without_its_version), ("_again", forgetful)])
def test_the_machine_would_see_a_queue_that_does_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, verb: str, wrong: object
) -> None:
    monkeypatch.setattr(Queue, verb, wrong)
    with pytest.raises((Broken, AssertionError)):
        run(bench, EXAMPLES, Phase.generate)


def test_a_version_is_written_once() -> None:
    entry = Entry("some", None, 1, 0.0, None, 0.0, 0.0)
    entry.write(entry.status, "once", 0.0)
    with pytest.raises(AssertionError, match="twice"):
        entry.write(entry.status, "again", 0.0)
