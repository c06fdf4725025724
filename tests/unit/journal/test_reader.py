"""What is asked about is found; what cannot be read is said to be unreadable, and never taken for "no dot"."""

from __future__ import annotations

import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailculator.journal.framing import frame
from mailculator.journal.marks import Kind, Reply, encode
from mailculator.journal.reader import Journals, find_traces
from mailculator.journal.traces import Trace
from tests.unit.journal.files import INCARNATION, OTHER, key, mark, put

ACCEPTED, REFUSED = Reply(250, "250 ok"), Reply(550, "no")
WHOLE = [
    mark(Kind.BEGIN, "a", 1000),
    mark(Kind.BEGIN, "b", 1500),
    mark(Kind.DOT, "a", 2000),
    mark(Kind.ACCEPTED, "a", 3000, ACCEPTED),
    mark(Kind.DOT, "b", 4000),
    mark(Kind.BEGIN, "c", 5000),
]


def look(journal: Path, *names: str, holder: str = "one", since: datetime | None = None) -> list[Trace]:
    keys = [key(name) for name in names]
    traces = find_traces(journal, holder, keys, since)
    assert set(traces) == set(keys)
    return [traces[one] for one in keys]


async def test_only_what_is_asked_for_is_answered(tmp_path: Path) -> None:
    put(tmp_path, WHOLE)
    journals = Journals(tmp_path)
    assert await journals.look("one", [key("a"), key("nobody")]) == {
        key("a"): Trace(begun=True, dot=True, reply=ACCEPTED, outlived=4.0),
        key("nobody"): Trace(),
    }
    assert await journals.look("one", []) == {}
    journals.close()


def test_another_version_or_store_is_another_claim(tmp_path: Path) -> None:
    put(tmp_path, WHOLE)
    other_version, other_store = key("a").__class__("mysql", "a", 4), key("a").__class__("dynamodb", "a", 3)
    assert find_traces(tmp_path, "one", [other_version, other_store]) == {other_version: Trace(), other_store: Trace()}


def test_marks_of_one_claim_are_gathered_from_all_segments(tmp_path: Path) -> None:
    put(tmp_path, [mark(Kind.BEGIN, "a", 1000)], number=1)
    put(tmp_path, [mark(Kind.DOT, "a", 2000)], number=2)
    put(tmp_path, [mark(Kind.REFUSED, "a", 3000, REFUSED)], number=3)
    put(tmp_path, [mark(Kind.END, "a", 4500)], number=4)
    assert look(tmp_path, "a") == [Trace(begun=True, dot=True, reply=REFUSED, ended=True, outlived=3.5)]


def test_an_incarnation_is_not_outlived_by_another(tmp_path: Path) -> None:
    put(tmp_path, [mark(Kind.BEGIN, "a", 1000), mark(Kind.BEGIN, "b", 1200)])
    put(tmp_path, [mark(Kind.BEGIN, "c", 99_000_000)], incarnation=OTHER)
    assert [trace.outlived for trace in look(tmp_path, "a", "b", "c")] == [0.2, 0.0, 0.0]


def test_an_acceptance_stands_whatever_else_was_written(tmp_path: Path) -> None:
    for marks in ([Kind.ACCEPTED, Kind.REFUSED], [Kind.REFUSED, Kind.ACCEPTED]):
        put(tmp_path, [mark(kind, "a", 1, ACCEPTED if kind is Kind.ACCEPTED else REFUSED) for kind in marks])
        assert look(tmp_path, "a")[0].reply == ACCEPTED


# What cannot be read


def test_a_holder_without_a_journal_is_unreadable(tmp_path: Path) -> None:
    assert look(tmp_path, "a", holder="nobody") == [Trace(unreadable=True)]
    assert look(tmp_path / "gone", "a") == [Trace(unreadable=True)]
    (tmp_path / "empty").mkdir()
    assert look(tmp_path, "a", holder="empty") == [Trace(unreadable=True)]
    (tmp_path / "file").touch()
    assert look(tmp_path, "a", holder="file") == [Trace(unreadable=True)]


@pytest.mark.parametrize("holder", ["../secret", "..", "/etc", "a/../../b", "\0"])
def test_a_holders_name_leads_nowhere_else(tmp_path: Path, holder: str) -> None:
    journal = tmp_path / "journal"
    put(tmp_path, WHOLE, replica="secret")
    put(journal, WHOLE, replica=holder)
    assert {path.parent.parent for path in journal.rglob("*.log")} == {journal}
    assert look(journal, "a", holder=holder)[0].reply == ACCEPTED


def test_every_truncation_gives_the_marks_before_it_and_no_damage(tmp_path: Path) -> None:
    path = put(tmp_path, WHOLE)
    octets = path.read_bytes()
    ends = [len(octets) - len(b"".join(frame(encode(one)) for one in WHOLE[index:])) for index in range(len(WHOLE))]
    for length in range(len(octets)):
        path.write_bytes(octets[:length])
        a, b, c = look(tmp_path, "a", "b", "c")
        begun, dot, reply = (length >= end for end in [ends[1], ends[3], ends[4]])
        assert (a.begun, a.dot, a.reply) == (begun, dot, ACCEPTED if reply else None)
        assert (b.begun, b.dot) == (length >= ends[2], length >= ends[5])
        assert not c.begun
        assert not any(trace.unreadable for trace in (a, b, c))


def test_every_changed_octet_is_unreadable_and_invents_nothing(tmp_path: Path) -> None:
    path = put(tmp_path, WHOLE)
    octets = path.read_bytes()
    (full,) = look(tmp_path, "a")
    for place in range(len(octets)):
        for change in (1, 0x20, 0x80, octets[place] ^ ord("\n") or 2):
            path.write_bytes(octets[:place] + bytes([octets[place] ^ change]) + octets[place + 1 :])
            a, b, nobody = look(tmp_path, "a", "b", "nobody")
            assert b.unreadable, (place, change)
            assert nobody == Trace(unreadable=True)
            assert a.unreadable is (a.reply is None)
            assert a.reply in {None, ACCEPTED}
            assert a.begun <= full.begun
            assert not a.ended
            assert not b.ended
            assert b.reply is None


def test_what_an_earlier_segment_lost_makes_later_answers_doubtful_and_spares_replies(tmp_path: Path) -> None:
    path = put(tmp_path, [mark(Kind.BEGIN, "x", 1)] * 3, number=1)
    put(tmp_path, WHOLE, number=2)
    path.write_bytes(path.read_bytes()[:-20] + b"!" * 20)
    a, b, nobody = look(tmp_path, "a", "b", "nobody")
    assert a == Trace(begun=True, dot=True, reply=ACCEPTED, outlived=4.0)
    assert b == Trace(begun=True, dot=True, unreadable=True, outlived=3.5)
    assert nobody == Trace(unreadable=True)


@pytest.mark.parametrize(
    "tail",
    [
        frame(b"DOT 1 2 mysql a"),
        frame(b"FUTURE 1 2 mysql a 3"),
        frame(b"DOT x 2 mysql other 3"),
        frame(b"DOT 1 2 mysql a 3 4"),
        frame(b"SEGMENT 1 2 1 one " + INCARNATION.encode() + b" 1.0"),
    ],
)
def test_a_sound_record_that_is_not_understood_is_unreadable(tmp_path: Path, tail: bytes) -> None:
    path = put(tmp_path, WHOLE)
    path.write_bytes(path.read_bytes() + tail)
    assert look(tmp_path, "a", "b")[1].unreadable


@pytest.mark.parametrize(
    "first",
    [
        frame(encode(WHOLE[0])),
        frame(b"SEGMENT 1 2 2 one " + INCARNATION.encode() + b" 9.0"),
        frame(b"SEGMENT 1 2 1 two " + INCARNATION.encode() + b" 1.0"),
        frame(b"SEGMENT 1 2 1 one " + OTHER.encode() + b" 1.0"),
    ],
    ids=["none", "a later format", "another replica's", "another incarnation's"],
)
def test_a_segment_that_does_not_begin_as_its_name_says_is_unreadable(tmp_path: Path, first: bytes) -> None:
    path = put(tmp_path, [])
    path.write_bytes(first + frame(encode(WHOLE[0])))
    assert look(tmp_path, "a") == [Trace(unreadable=True)]


def test_a_segment_that_is_missing_between_two_is_unreadable_and_trimmed_ones_are_not_missed(tmp_path: Path) -> None:
    for number in (4, 5, 6):
        put(tmp_path, [mark(Kind.BEGIN, number, 1)], number=number)
    assert look(tmp_path, "a") == [Trace()]
    put(tmp_path, [], number=8)
    assert look(tmp_path, "a") == [Trace(unreadable=True)]


def test_a_segment_that_cannot_be_opened_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, WHOLE)

    def refuse(_path: Path, _mode: str) -> object:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "open", refuse)
    assert look(tmp_path, "a") == [Trace(unreadable=True)]


# What is read


def test_only_segments_written_since_are_read(tmp_path: Path) -> None:
    old = put(tmp_path, WHOLE, number=1)
    old.write_bytes(b"damage\n")
    os.utime(old, (1000, 1000))
    put(tmp_path, [mark(Kind.DOT, "new", 1)], number=2, modified=2000)

    def since(seconds: int) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    assert look(tmp_path, "new", "a", since=since(2000)) == [Trace(dot=True), Trace()]
    assert look(tmp_path, "a", since=since(1000)) == [Trace(unreadable=True)]
    assert look(tmp_path, "new", since=since(3000)) == [Trace()]


def test_memory_does_not_grow_with_the_segment(tmp_path: Path) -> None:
    path = put(tmp_path, WHOLE)
    filler = b"".join(frame(encode(mark(Kind.BEGIN, f"filler-{number}", number))) for number in range(1000))
    with path.open("ab") as stream:
        for _ in range(40):
            stream.write(filler)
    assert path.stat().st_size > 1_500_000
    tracemalloc.start()
    try:
        (trace,) = look(tmp_path, "b")
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert trace.dot


def test_nothing_older_than_the_claims_is_read(tmp_path: Path) -> None:
    """Whatever the journal's size: segments are read from the newest back, until every claim was met."""
    put(tmp_path, [mark(Kind.DOT, "a", 10)], number=1).write_bytes(b"damage")
    put(tmp_path, [mark(Kind.BEGIN, "claim", 1000), mark(Kind.BEGIN, "a", 1100)], number=2)
    put(tmp_path, [mark(Kind.DOT, "a", 2000), mark(Kind.BEGIN, "later claim", 2500)], number=3)
    keys = [key("a"), key("never begun")]
    found = find_traces(tmp_path, "one", keys, claims=[key("claim"), key("later claim")])
    assert found == {keys[0]: Trace(begun=True, dot=True, outlived=1.4), keys[1]: Trace()}
    # One claim that was not met may lie in what is damaged.
    missed = find_traces(tmp_path, "one", keys, claims=[key("claim"), key("other claim")])
    assert [trace.unreadable for trace in missed.values()] == [True, True]


def test_a_claim_met_in_one_life_of_a_replica_is_enough(tmp_path: Path) -> None:
    put(tmp_path, [mark(Kind.BEGIN, "claim", 50), mark(Kind.DOT, "a", 60)], modified=5000)
    put(tmp_path, [mark(Kind.DOT, "b", 70)], incarnation=OTHER, modified=6000)
    found = find_traces(tmp_path, "one", [key("a"), key("b")], claims=[key("claim")])
    assert [trace.dot for trace in found.values()] == [True, True]
