"""Records of chaos runs, and the page that is made of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.parts import PARTS, parts
from tests.chaos.record import COMMIT, FULL, RECORDS, SIZE, SMALL, Proof, Record, percentile

RECORD = Record(
    what="kills",
    store="mysql",
    date="2026-11-20T10:00:00+00:00",
    seeds=(7,),
    machine="2026-11-20, 2 cores.",
    seconds=90.0,
    replicas=3,
    blows=30,
    struck=25,
    mails={"invalid": 30, "valid": 1330},
    lost=0,
    stuck=0,
    falsely_final=0,
    set_aside=0,
    doubled_in_window=2,
    doubled_after_pause=0,
    doubled_outside=0,
    broken=0,
    complaints=0,
    refused_writes=0,
    rescue_p50=4.54,
    rescue_p99=5.5,
    recovery_p50=5.04,
    recovery_p99=9.96,
    commit="",
    size=SMALL,
)


def changed(**values: object) -> Record:
    return Record(**{**{name: getattr(RECORD, name) for name in RECORD.__slots__}, **values})


UNTROUBLED = changed(store="sqlite", rescue_p50=None, rescue_p99=None, recovery_p50=None, recovery_p99=None)


def test_a_record_is_kept_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RECORDS, raising=False)
    RECORD.keep()
    monkeypatch.setenv(RECORDS, str(tmp_path / "new"))
    RECORD.keep()
    assert report.load(tmp_path / "new") == ([RECORD], [])
    assert report.load(tmp_path) == ([], [])


def test_the_newest_of_each_in_the_order_of_the_page() -> None:
    older, drains = changed(date="2026-11-19T10:00:00+00:00"), changed(what="drains")
    sqlite = changed(store="sqlite")
    assert report.newest([drains, sqlite, RECORD, older]) == [RECORD, sqlite, drains]


def part(number: int, of: int, seed: int, day: int = 20) -> Record:
    return changed(what="freezes", seeds=(seed,), date=f"2026-11-{day}T10:00:00+00:00", part=number, parts=of)


def test_each_part_of_a_run_is_kept_and_shown_with_its_own_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RECORDS, str(tmp_path))
    cut = [part(number, 3, seed) for number, seed in ((1, 11), (2, 12), (3, 13))]
    for one in cut:  # which end in the same second
        one.keep()
    assert sorted(report.load(tmp_path)[0], key=lambda one: one.part) == cut
    text = report.table(report.newest(reversed(cut)))
    for number, seed in (1, 11), (2, 12), (3, 13):
        assert f"| freezes | MariaDB, part {number} of 3 | 3 | 30, 25 |" in text
        assert f"- freezes, MariaDB, part {number} of 3: small run of 2026-11-20; seed {seed};" in text


def test_parts_of_a_run_that_was_cut_otherwise_do_not_stand_beside_the_one_that_counts() -> None:
    before, after = part(1, 1, 1, day=18), [part(1, 2, 3), part(2, 2, 4)]
    older = [part(number, 3, 2, day=19) for number in (1, 2, 3)]
    assert report.newest([before, *older]) == older
    assert report.newest([*after, *older, before]) == after


def test_parts_of_other_runs_are_kept_and_shown_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RECORDS, str(tmp_path))
    monkeypatch.setenv(PARTS, "2")
    cut = [Proof.of("model", "mysql", (one.number,), 60.0, {"examples": 10}, part=one) for one in parts()]
    for one in cut:
        one.keep()
    assert sorted(report.load(tmp_path)[1], key=lambda one: one.part) == cut
    whole = Proof("model", "mysql", "2026-11-20T10:00:00+00:00", (7,), "", 1.0, {})
    assert report.newest_proofs([*reversed(cut), whole]) == cut
    text = report.other_table(cut)
    assert "| model | mysql, part 2 of 2 | examples 10 |" in text
    assert "- model, mysql, part 2 of 2: small run of" in text


@pytest.mark.parametrize(("amount", "shares"), [(300, [100, 100, 100]), (10, [4, 3, 3]), (2, [1, 1, 1])])
def test_the_shares_of_the_parts_are_the_whole(amount: int, shares: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PARTS, "3")
    assert [one.share(amount) for one in parts()] == shares
    assert [one.label("mysql") for one in parts()] == [f"mysql-{number}-of-3" for number in (1, 2, 3)]
    monkeypatch.delenv(PARTS)
    assert [(one.share(amount), one.label("mysql")) for one in parts()] == [(amount, "mysql")]


def test_the_table_stands_between_the_marks_and_nothing_else_is_touched(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- chaos -->\nold\n<!-- /chaos -->\nbelow\n", encoding="utf-8")
    folder = tmp_path / "records"
    folder.mkdir()
    report.main(folder, page, tmp_path / "proof")
    report.put(page, report.table([RECORD, UNTROUBLED]))
    text = page.read_text(encoding="utf-8")
    assert text.startswith("above\n<!-- chaos -->\n| run |")
    assert text.endswith("\n<!-- /chaos -->\nbelow\n")
    assert "old" not in text
    assert (
        "| kills | MariaDB | 3 | 30, 25 | 1,360 | 0 | 0 | 0 | 0 | 2 | 0 | 0 | 0 | 4.5 s / 5.5 s | 5.0 s / 10.0 s |"
        in text
    )
    assert "| kills | SQLite | 3 | 30, 25 | 1,360 | 0 | 0 | 0 | 0 | 2 | 0 | 0 | 0 | – | – |" in text
    assert (
        "- kills, MariaDB: small run of 2026-11-20; seed 7; 1.5 minutes; 30 invalid, 1,330 valid. 2026-11-20, 2 cores."
        in text
    )


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- /chaos --><!-- chaos -->", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page\.md lacks"):
        report.put(page, "text")


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 2.0), (0.99, 4.0), (0.0, 1.0), (1.0, 4.0)])
def test_percentiles_by_nearest_rank(share: float, wanted: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == wanted


def test_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) is None


def test_other_runs_stand_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RECORDS, str(tmp_path))
    monkeypatch.delenv(SIZE, raising=False)
    monkeypatch.delenv(COMMIT, raising=False)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    proof = Proof.of("faults", "MariaDB / blackhole", (3,), 60.0, {"cells": 12, "lost": 0, "recovered after": "4.1 s"})
    RECORD.keep()
    proof.keep()
    assert report.load(tmp_path) == ([RECORD], [proof])
    report.main(tmp_path, page, tmp_path / "proof")
    text = page.read_text()
    assert "| faults | MariaDB / blackhole | cells 12, lost 0, recovered after 4.1 s |" in text
    assert f"- faults, MariaDB / blackhole: small run of {proof.date[:10]}; seed 3; 1.0 minutes. " in text
    assert text.index("| kills |") < text.index("| faults |") < text.index(report.END)


def test_of_several_other_runs_the_newest_counts() -> None:
    runs = [Proof("fuzz", "payloads", f"2026-11-{day}T10:00:00+00:00", (day,), "", 1.0, {}) for day in (20, 19)]
    assert report.newest_proofs(runs) == [runs[0]]


def run(day: int, size: str) -> Proof:
    return Proof("fuzz", "payloads / all", f"2026-11-{day}T10:00:00+00:00", (day,), "", 1.0, {}, "0123abc", size)


@pytest.mark.parametrize(
    ("kept", "came", "stays"),
    [
        (run(19, SMALL), run(20, SMALL), False),
        (run(20, SMALL), run(19, SMALL), True),
        (run(19, FULL), run(20, FULL), False),
        (run(20, FULL), run(19, FULL), True),
        (run(19, FULL), run(20, SMALL), True),
        (run(20, SMALL), run(19, FULL), False),
    ],
)
def test_a_full_run_outweighs_a_small_one_and_then_the_newest_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Proof, came: Proof, stays: bool
) -> None:
    proof = tmp_path / "proof"
    for name, one in ("first", kept), ("second", came):
        monkeypatch.setenv(RECORDS, str(tmp_path / name))
        one.keep()
        report.take_in(tmp_path / name, proof)
    assert [path.name for path in proof.iterdir()] == ["fuzz-payloads-all.json"]
    assert report.load(proof) == ([], [kept if stays else came])
    assert report.newest_proofs([kept, came]) == [kept if stays else came]


def test_the_page_is_made_of_what_is_kept_though_this_machine_has_run_nothing(tmp_path: Path) -> None:
    page, proof = tmp_path / "page.md", tmp_path / "proof"
    page.write_text(f"{report.BEGIN}{report.END}", encoding="utf-8")
    proof.mkdir()
    (proof / "fuzz-payloads.json").write_text(json.dumps(asdict(run(20, FULL))), encoding="utf-8")
    report.main(tmp_path / "none", page, proof)
    assert "- fuzz, payloads / all: full run of 2026-11-20, commit 0123abc; seed 20; 0.0 minutes." in page.read_text()


def test_an_older_record_says_nothing_of_its_tree_whatever_is_run_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(COMMIT, "0123abc")
    monkeypatch.setenv(SIZE, FULL)
    values = {name: value for name, value in asdict(RECORD).items() if name not in {"commit", "size"}}
    (tmp_path / "old.json").write_text(json.dumps(values), encoding="utf-8")
    assert report.load(tmp_path) == ([RECORD], [])


def test_a_run_says_what_was_run_and_is_full_only_where_all_of_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMIT, "0123abc-dirty")
    monkeypatch.setenv(SIZE, FULL)
    whole, part = (Proof.of("faults", "MariaDB", (3,), 60.0, {}, whole=whole) for whole in (True, False))
    assert (whole.commit, whole.size, part.size) == ("0123abc-dirty", FULL, SMALL)
    monkeypatch.delenv(SIZE)
    assert Proof.of("faults", "MariaDB", (3,), 60.0, {}).size == SMALL


def test_what_is_published_holds() -> None:
    """The README's promise rests on it: a run that has shown a fault is made again when that is mended."""
    records, proofs = report.load(report.PROOF)
    assert records
    assert proofs
    published: list[Record | Proof] = [*records, *proofs]
    assert {one.name: one.faults for one in published if one.faults} == {}


@pytest.mark.parametrize(
    ("one", "faults"),
    [
        (RECORD, {}),
        (changed(lost=1, doubled_outside=2), {"lost": 1, "doubled elsewhere": 2}),
        (changed(broken=1, complaints=2), {"other faults": 3}),
        (Proof.of("model", "MariaDB", [7], 1.0, {"examples": 20, "disagreements": 0}), {}),
        (Proof.of("model", "MariaDB", [7], 1.0, {"examples": 20, "disagreements": 1}), {"disagreements": 1}),
    ],
)
def test_a_record_tells_its_faults(one: Record | Proof, faults: dict[str, int]) -> None:
    assert one.faults == faults
