"""The benchmark of several processes on one queue: what it reads from their metrics, and what it holds that against."""

from __future__ import annotations

import pytest

from benchmarks import replicas
from benchmarks.replicas import Round, round_of, samples

BEFORE = """\
# TYPE mailculator_transitions_total counter
mailculator_transitions_total{store="mysql",from="ACCEPTED",to="INTAKING"} 10.0
mailculator_transitions_total{store="mysql",from="INTAKING",to="READY"} 10.0
"""
AFTER = """\
# TYPE mailculator_transitions_total counter
mailculator_transitions_total{store="mysql",from="ACCEPTED",to="INTAKING"} 60.0
mailculator_transitions_total{store="mysql",from="INTAKING",to="READY"} 58.0
mailculator_transitions_total{store="mysql",from="INTAKING",to="ACCEPTED"} 1.0
mailculator_transitions_total{store="mysql",from="READY",to="PROCESSING"} 50.0
mailculator_transitions_total{store="mysql",from="PROCESSING",to="SENT"} 50.0
# TYPE mailculator_claims_lost_total counter
mailculator_claims_lost_total{store="mysql",pipeline="intake"} 1.0
# TYPE mailculator_store_errors_total counter
mailculator_store_errors_total{store="mysql",op="claim"} 3.0
"""


def test_a_claim_without_a_result_on_record_is_wasted() -> None:
    before, after = samples(BEFORE), samples(AFTER)
    one = round_of(50, 2.0, 4, [before], [after])
    assert one == Round(50, 2.0, claimed=100, settled=98, lost=1, deadlocks=4, refused=3)
    assert one.rate == 25.0
    assert one.wasted == pytest.approx(0.02)
    two = round_of(100, 2.0, 0, [before, before], [after, after])
    assert (two.claimed, two.settled, two.lost, two.refused) == (200, 196, 2, 6)


def fine(rate: float) -> Round:
    return Round(1000, 1000 / rate, claimed=3000, settled=3000, lost=0, deadlocks=0, refused=0)


def test_throughput_is_held_against_that_of_one_process_in_the_same_turn() -> None:
    rounds = {1: [fine(100.0), fine(200.0), fine(90.0)], 2: [fine(110.0), fine(150.0), fine(95.0)]}
    assert replicas.relative(rounds, 2) == pytest.approx(95 / 90)
    assert replicas.failures(rounds) == []
    assert "| 2 | 110 | 95 … 150 | 1.06 | at least 1 | 0.00% | under 2% | 0 | 0 | 0 |" in replicas.table(rounds)


def test_what_misses_its_target_is_named() -> None:
    bad = Round(1000, 20.0, claimed=3100, settled=3000, lost=0, deadlocks=2, refused=1)
    assert len(replicas.failures({1: [fine(100.0)], 4: [bad]})) == 4
