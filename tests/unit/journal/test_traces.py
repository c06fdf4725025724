"""The table of what the journal's marks mean."""

from __future__ import annotations

import itertools

import pytest

from mailculator.journal.marks import Reply
from mailculator.journal.traces import Trace, Verdict, crashed, verdict

LEASE = 90.0


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        (Trace(), Verdict.NOT_SENT),
        (Trace(begun=True), Verdict.NOT_SENT),
        (Trace(begun=True, ended=True), Verdict.NOT_SENT),
        (Trace(begun=True, dot=True), Verdict.UNKNOWN),
        (Trace(dot=True), Verdict.UNKNOWN),
        (Trace(begun=True, dot=True, ended=True), Verdict.UNKNOWN),
        (Trace(unreadable=True), Verdict.UNKNOWN),
        (Trace(begun=True, unreadable=True), Verdict.UNKNOWN),
        (Trace(begun=True, ended=True, unreadable=True), Verdict.UNKNOWN),
    ],
)
def test_without_a_reply_only_a_readable_journal_without_a_dot_means_not_sent(trace: Trace, expected: Verdict) -> None:
    assert verdict(trace) is expected


@pytest.mark.parametrize(("begun", "dot", "ended", "unreadable"), list(itertools.product([False, True], repeat=4)))
def test_a_reply_decides_whatever_else_is_there(begun: bool, dot: bool, ended: bool, unreadable: bool) -> None:
    def judged(code: int) -> Verdict:
        return verdict(Trace(begun, dot, Reply(code, ""), ended, unreadable))

    assert [judged(code) for code in (250, 299)] == [Verdict.ACCEPTED] * 2
    assert [judged(code) for code in (421, 451, 550, 599)] == [Verdict.REFUSED] * 4


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        (Trace(), False),
        (Trace(begun=True), True),
        (Trace(unreadable=True), True),
        (Trace(begun=True, dot=True), True),
        (Trace(dot=True), True),
        (Trace(begun=True, ended=True), False),
        (Trace(begun=True, ended=True, unreadable=True), False),
        (Trace(begun=True, dot=True, reply=Reply(250, "")), False),
        (Trace(begun=True, dot=True, reply=Reply(550, "")), False),
        (Trace(begun=True, outlived=LEASE), True),
        (Trace(begun=True, outlived=LEASE + 0.001), False),
        (Trace(begun=True, unreadable=True, outlived=LEASE + 1), False),
    ],
)
def test_a_crash_is_a_beginning_without_an_end_that_the_process_did_not_outlive(trace: Trace, expected: bool) -> None:
    assert crashed(trace, LEASE) is expected
