"""What the chaos runs learn from journals and logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mailculator.journal.framing import frame
from mailculator.journal.marks import Key, Kind, Mark, Opening, Reply, claim_key, encode
from mailculator.model import Status
from tests.chaos import evidence
from tests.chaos.blows import Blow, Watch, left_before_the_dot, overtaken, recoveries, rescues
from tests.chaos.evidence import Claim, Evidence
from tests.support.invariants import Note, Standing

ONE, TWO = "1" * 32, "2" * 32


def mark(kind: Kind, email_id: str, version: int, at: int, store: str = "mysql") -> Mark:
    reply = Reply(250, "ok") if kind in (Kind.ACCEPTED, Kind.REFUSED) else None
    return Mark(kind, Key(store, email_id, version), at, at, reply)


def write(journal: Path, replica: str, incarnation: str, *marks: Mark) -> Path:
    path = journal / replica / f"{incarnation}-000001.log"
    path.parent.mkdir(exist_ok=True)
    entries: list[Mark | Opening] = [Opening(replica, incarnation, "1.0", 0, 0), *marks]
    path.write_bytes(b"".join(frame(encode(entry)) for entry in entries))
    return path


def test_each_claim_is_read_with_who_held_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        "first",
        ONE,
        Mark(Kind.BEGIN, claim_key("mysql", "token"), 4, 4),
        mark(Kind.BEGIN, "a", 4, 5),
        mark(Kind.DOT, "a", 4, 6),
        mark(Kind.ACCEPTED, "a", 4, 7),
        mark(Kind.BEGIN, "b", 4, 8),
        mark(Kind.END, "b", 4, 9),
        mark(Kind.DOT, "a", 4, 9, store="sqlite"),
    )
    write(tmp_path, "first", TWO, mark(Kind.DOT, "a", 6, 10), mark(Kind.REFUSED, "c", 2, 11))
    found = evidence.read(tmp_path, "mysql")
    assert set(found.claims) == {
        Claim(ONE, "a", 4, 5, 6, 7),
        Claim(ONE, "b", 4, 8),
        Claim(TWO, "a", 6, None, 10),
        Claim(TWO, "c", 2, None, None, 11),
    }
    assert not found.damage
    assert [claim.version for claim in found.by_email()["a"]] == [4, 6]
    assert evidence.incarnations(tmp_path, "first") == {ONE, TWO}
    assert evidence.incarnations(tmp_path, "second") == frozenset()


def test_a_claim_is_unanswered_from_its_dot_to_its_reply(tmp_path: Path) -> None:
    write(
        tmp_path,
        "first",
        ONE,
        mark(Kind.BEGIN, "begun", 4, 5),
        mark(Kind.DOT, "taken", 4, 6),
        mark(Kind.DOT, "left", 4, 6),
        mark(Kind.DOT, "refused", 4, 6),
        mark(Kind.ACCEPTED, "taken", 4, 7),
        mark(Kind.REFUSED, "refused", 4, 7),
        mark(Kind.DOT, "elsewhere", 4, 7, store="sqlite"),
        mark(Kind.DOT, "taken", 6, 8),
    )
    write(tmp_path, "first", TWO, mark(Kind.DOT, "another's", 6, 10))
    assert evidence.unanswered(tmp_path, "first", ONE, "mysql") == {("left", 4), ("taken", 6)}


def test_a_torn_end_is_no_damage_and_damage_is_told(tmp_path: Path) -> None:
    torn = write(tmp_path, "first", ONE, mark(Kind.DOT, "a", 4, 5), mark(Kind.ACCEPTED, "a", 4, 6))
    torn.write_bytes(torn.read_bytes()[:-3])
    assert evidence.read(tmp_path, "mysql") == Evidence([Claim(ONE, "a", 4, None, 5)], [])
    torn.write_bytes(torn.read_bytes().replace(b"DOT", b"dot") + b"\n")
    assert len(evidence.read(tmp_path, "mysql").damage) == 1


def test_recovery_is_the_next_handling_of_the_last_of_them() -> None:
    claims = [
        Claim(ONE, "a", 4, begun=9_000),
        Claim(TWO, "a", 6, begun=14_000),
        Claim(TWO, "a", 8, begun=90_000),
        Claim(TWO, "b", 3, begun=12_500),
    ]
    blows = [Blow("first", ONE, 10.0, {"a": 4, "b": 2, "c": 2}), Blow("first", ONE, 11.0, {})]
    assert recoveries(blows, Evidence(claims)) == [4.0]


def test_a_rescue_is_the_first_one_behind_the_blow() -> None:
    def line(email_id: str, second: int, holder: str = "first") -> dict[str, Any]:
        at = f"1970-01-01T00:00:{second:02}.5Z"
        return {"event": "mail.rescued", "timestamp": at, "email_id": email_id, "holder": holder}

    lines = [line("a", 40), line("a", 15), line("a", 9), line("b", 12), line("b", 11, "second"), {"event": "other"}]
    blows = [Blow("first", ONE, 10.0, {"a": 4, "b": 2, "c": 2}), Blow("second", TWO, 13.0, {"b": 6})]
    assert rescues(blows, lines) == [5.5]


def test_a_drained_process_may_leave_what_has_a_dot_of_its_own() -> None:
    claims = [Claim(ONE, "a", 4, 5, 6), Claim(ONE, "b", 4, 5), Claim(TWO, "c", 4, 5, 6), Claim(ONE, "d", 2, 5, 6)]
    blow = Blow("first", ONE, 10.0, {"a": 4, "b": 4, "c": 4, "d": 4})
    assert [line.split()[-4] for line in left_before_the_dot([blow], Evidence(claims))] == ["b", "c", "d"]


def test_what_was_rescued_is_overtaken_and_a_last_write_of_its_own_is_not() -> None:
    def email(email_id: str, reason: str) -> Standing:
        return Standing(email_id, Status.READY, 5, 0, (Note("PROCESSING", 4, "claimed by one"), Note("", 5, reason)))

    emails = [
        email("rescued", "rescued: the lease of one expired"),
        email("replayed", "250 ok (by the journal; rescued: the lease of one expired)"),
        email("written", "250 ok"),
        email("another's", "rescued: the lease of one expired"),
    ]
    held = {"rescued": 4, "replayed": 4, "written": 4}
    assert overtaken("one", held, emails) == {"rescued": 4, "replayed": 4}


def test_a_write_of_a_stale_claim_is_seen_in_the_log() -> None:
    def line(email_id: str, event: str = "mail.sent", **fields: object) -> dict[str, Any]:
        return {"event": event, "email_id": email_id, **fields}

    log = [
        line("a", version=4),
        line("a", "mail.claim_lost"),
        line("a", version=6),
        line("b", version=4),
        line("b", version=5),
        {"event": "service.started"},
    ]
    watch = Watch("one", log, 1, {"a": 4})
    assert (list(watch.writes()), watch.refusals()) == ([], 1)
    assert len(list(Watch("one", log, 0, {"a": 4}).writes())) == 1
    assert len(list(Watch("one", log, 1, {"b": 4}).writes())) == 2
