"""Records of chaos runs, and the page that is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.record import RECORDS, Proof, Record, percentile

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


def test_the_table_stands_between_the_marks_and_nothing_else_is_touched(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- chaos -->\nold\n<!-- /chaos -->\nbelow\n", encoding="utf-8")
    folder = tmp_path / "records"
    folder.mkdir()
    report.main(folder, page)
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
    assert "- kills, MariaDB: seed 7; 1.5 minutes; 30 invalid, 1,330 valid. 2026-11-20, 2 cores." in text


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
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    proof = Proof.of("faults", "MariaDB / blackhole", (3,), 60.0, {"cells": 12, "lost": 0, "recovered after": "4.1 s"})
    RECORD.keep()
    proof.keep()
    assert report.load(tmp_path) == ([RECORD], [proof])
    report.main(tmp_path, page)
    text = page.read_text()
    assert "| faults | MariaDB / blackhole | cells 12, lost 0, recovered after 4.1 s |" in text
    assert "- faults, MariaDB / blackhole: seed 3; 1.0 minutes. " in text
    assert text.index("| kills |") < text.index("| faults |") < text.index(report.END)


def test_of_several_other_runs_the_newest_counts() -> None:
    runs = [Proof("fuzz", "payloads", f"2026-11-{day}T10:00:00+00:00", (day,), "", 1.0, {}) for day in (20, 19)]
    assert report.newest_proofs(runs) == [runs[0]]
