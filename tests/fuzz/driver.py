"""How long the fuzzer runs, and how what it found is had again."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.chaos.record import Proof
from tests.fuzz.reading import KEPT, SENT

SEED = "MAILCULATOR_TEST_FUZZ_SEED"
EXAMPLES = "MAILCULATOR_TEST_FUZZ_EXAMPLES"
SECONDS = "MAILCULATOR_TEST_FUZZ_SECONDS"
ROUND = 1000
"""Examples under one seed, at the most: what one of them taught the generator is forgotten after that."""
_SEED_RANGE = 2**32


def fuzz(file: str, on: str, examples: st.SearchStrategy[bytes], check: Callable[[bytes], str], share: float) -> None:
    """Give one example after the other to the check.

    Arguments:
        file: of the test, for whoever has to run it again.
        on: what is fuzzed, for the record.
        share: of the examples that the environment asks for; of its seconds of CPU each fuzzer has all.

    Errors: whatever the check raises, with the example made as small as it can be, and the command.
    """
    first = seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(_SEED_RANGE))
    count = max(1, round(int(os.environ.get(EXAMPLES, "2000")) * share))
    cpu, begun, clock = float(os.environ.get(SECONDS, "0")), time.process_time(), time.monotonic()
    found: Counter[str] = Counter()
    while found.total() < count or time.process_time() - begun < cpu:
        left = ROUND if cpu else min(ROUND, count - found.total())
        try:
            _round(seed, left, examples, check, found)
        except BaseException as error:
            error.add_note(f"seed {seed}; again: {SEED}={seed} {EXAMPLES}={left / share:.0f} .venv/bin/pytest {file}")
            raise
        seed = (seed + 1) % _SEED_RANGE
    figures: dict[str, int | float | str] = {"examples": found.total(), "minutes of CPU": _minutes(begun)}
    figures |= {"other errors": 0, **dict(found.most_common(8))}
    Proof.of("fuzz", on, [first], time.monotonic() - clock, figures).keep()
    passed = sum(found[word] for word in (SENT, KEPT))
    assert found.total() > passed > found.total() / 20, f"hardly anything passed, or was refused: {found}"


def _round(
    seed: int, examples: int, strategy: st.SearchStrategy[bytes], check: Callable[[bytes], str], found: Counter[str]
) -> None:
    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.generate, Phase.target, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def one(raw: bytes) -> None:
        found[check(raw)] += 1

    one()


def _minutes(begun: float) -> float:
    return round((time.process_time() - begun) / 60, 1)
