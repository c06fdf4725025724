"""The figures of docs/reliability.md, from the records of runs: `python -m tests.chaos.report DIR`.

The records stay on the machine of the run. The one that counts for each kind on one store, or one other part, is
copied to docs/proof, which is all that the page is made of: a full run before a small one, and of equals the newest.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tests.chaos.record import FULL, SMALL, Proof, Record

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
PROOF = ROOT / "docs" / "proof"
BEGIN, END = "<!-- chaos -->", "<!-- /chaos -->"
_ORDER = ("kills", "freezes", "drains")
_STORES = {"mysql": "MariaDB", "sqlite": "SQLite", "dynamodb": "DynamoDB (moto)"}
_COLUMNS = (
    "run",
    "store",
    "replicas",
    "blows, with mail in hand",
    "mails",
    "lost",
    "stuck",
    "falsely final",
    "set aside",
    "second copy: in the window",
    "after a pause",
    "elsewhere",
    "other faults",
    "rescued after, p50 / p99",
    "at work again after, p50 / p99",
)
_HEAD = (f"| {' | '.join(_COLUMNS)} |", "|---|---|" + "---:|" * (len(_COLUMNS) - 2))


Run = TypeVar("Run", Record, Proof)

_OTHERS = ("| run | on | what came of it |", "|---|---|---|")


def load(folder: Path) -> tuple[list[Record], list[Proof]]:
    """Everything in a directory. Errors: TypeError or ValueError when a file is none of ours."""
    records, proofs = [], []
    for path in sorted(folder.glob("*.json")):
        one = read(path)
        if isinstance(one, Proof):
            proofs.append(one)
        else:
            records.append(one)
    return records, proofs


def read(path: Path) -> Record | Proof:
    """One record; what an older one does not say of its tree and size is unknown and small. Errors: those of load."""
    values = {"commit": "", "size": SMALL} | json.loads(path.read_text(encoding="utf-8"))
    values["seeds"] = tuple(values["seeds"])
    return Proof(**values) if "figures" in values else Record(**values)


def take_in(folder: Path, proof: Path) -> None:
    """Copy what counts for more than what is kept of the same row, and leave the rest. Errors: those of load."""
    proof.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.json")):
        one = read(path)
        kept = proof / f"{one.name}.json"
        if not kept.exists() or _weight(one) > _weight(read(kept)):
            shutil.copyfile(path, kept)


def _weight(one: Record | Proof) -> tuple[bool, datetime]:
    return one.size == FULL, datetime.fromisoformat(one.date)


def newest(records: Iterable[Record]) -> list[Record]:
    """The run of each kind on each store that counts, part by part, in the order of the page."""
    runs = _that_count(records, lambda one: (one.what, one.store))
    return sorted(runs, key=lambda one: (_ORDER.index(one.what), list(_STORES).index(one.store), one.part))


def newest_proofs(proofs: Iterable[Proof]) -> list[Proof]:
    """The run of each other kind on whatever it was made of that counts, by name, part by part."""
    runs = _that_count(proofs, lambda one: (one.what, one.on))
    return sorted(runs, key=lambda one: (one.what, one.on, one.part))


def _that_count(runs: Iterable[Run], row: Callable[[Run], tuple[str, str]]) -> list[Run]:
    found: defaultdict[tuple[str, str], dict[int, Run]] = defaultdict(dict)
    for run in sorted(runs, key=_weight):
        parts = found[row(run)]
        if any(other.parts != run.parts for other in parts.values()):
            parts.clear()  # of a run that was cut otherwise, and counts for less
        parts[run.part] = run
    return [run for parts in found.values() for run in parts.values()]


def other_table(proofs: Sequence[Proof]) -> str:
    """What stands below it, of all the other runs."""
    rows = [f"| {one.what} | {_with_part(one.on, one)} | {_figures(one)} |" for one in proofs]
    return "\n".join([*_OTHERS, *rows, "", "Each of them:", "", *map(_proof_origin, proofs)])


def table(records: Sequence[Record]) -> str:
    """What stands between the marks."""
    rows = [*_HEAD, *map(_row, records)]
    return "\n".join([*rows, "", "Each run, with the seed of its blows and mails:", "", *map(_origin, records)])


def put(page: Path, text: str) -> None:
    """Replace what stands between the marks of that page. Errors: ValueError when it lacks them."""
    before, found, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"{page.name} lacks {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _row(one: Record) -> str:
    copies = [one.doubled_in_window, one.doubled_after_pause, one.doubled_outside]
    faults = [one.lost, one.stuck, one.falsely_final, one.set_aside]
    cells = [
        one.what,
        _store(one),
        one.replicas,
        f"{one.blows}, {one.struck}",
        f"{sum(one.mails.values()):,}",
        *faults,
        *copies,
        one.broken + one.complaints,
        _seconds(one.rescue_p50, one.rescue_p99),
        _seconds(one.recovery_p50, one.recovery_p99),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _seconds(p50: float | None, p99: float | None) -> str:
    return "–" if p50 is None or p99 is None else f"{p50:.1f} s / {p99:.1f} s"


def _origin(one: Record) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in one.mails.items())
    return f"- {one.what}, {_store(one)}: {_run(one)}; {kinds}. {one.machine}"


def _store(one: Record) -> str:
    return _with_part(_STORES[one.store], one)


def _with_part(whole: str, one: Record | Proof) -> str:
    """With the part, where it is one of several: percentiles cannot be summed, and each has a seed of its own."""
    return whole + (f", part {one.part} of {one.parts}" if one.parts > 1 else "")


def _figures(one: Proof) -> str:
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in one.figures.items()
    )


def _proof_origin(one: Proof) -> str:
    return f"- {one.what}, {_with_part(one.on, one)}: {_run(one)}. {one.machine}"


def _run(one: Record | Proof) -> str:
    commit = f", commit {one.commit}" if one.commit else ""
    seeds = f"seed {', '.join(map(str, one.seeds))}; " if one.seeds else ""
    return f"{one.size} run of {one.date[:10]}{commit}; {seeds}{one.seconds / 60:.1f} minutes"


def main(folder: Path, page: Path = PAGE, proof: Path = PROOF) -> None:
    """Keep what counts of a directory, which need not exist, and put all that is kept on the page."""
    take_in(folder, proof)
    records, proofs = load(proof)
    parts = [table(newest(records))] if records else []
    parts += [other_table(newest_proofs(proofs))] if proofs else []
    put(page, "\n\n".join(parts))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tests.chaos.report DIR")
    main(Path(sys.argv[1]))
