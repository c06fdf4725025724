"""What the demo shows: progress as it goes, a table of what happened to each kind of mail, and where to look."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mailculator.demo import samples
from mailculator.demo.samples import Sample
from mailculator.demo.tracker import Tracker
from mailculator.model import Status

LINE_EVERY = 2.0
"""Seconds between two lines of progress where there is no terminal."""
FRAME_EVERY = 0.1
"""Seconds between two pictures of the bar on a terminal."""
WIDTH = 120
"""Columns of what is written to a file or a pipe."""

Update = Callable[[int], None]
"""Told how many samples have ended."""
QUEUES = {"sqlite": "a SQLite queue", "mysql": "a private MariaDB"}


class Report:
    """Writes to standard output; with `as_json` to standard error, and one document to standard output at the end.

    Arguments:
        directory: where the demo puts everything.
    """

    def __init__(self, directory: Path, *, as_json: bool) -> None:
        self._directory = directory
        self._as_json = as_json
        self._console = Console(stderr=as_json, highlight=False)
        if not self._console.is_terminal:
            self._console.width = WIDTH

    def say(self, text: str) -> None:
        """Say a line; paths in it stay whole, and brackets are no markup."""
        self._console.print(text, soft_wrap=True, markup=False)

    def begin(self, count: int, store: str) -> None:
        """Say what is about to happen."""
        mails = "1 sample mail" if count == 1 else f"{count} sample mails"
        self.say(f"{mails} on {QUEUES[store]}, everything in {self._directory}\n")

    @contextmanager
    def progress(self, total: int) -> Iterator[tuple[float, Update]]:
        """How often to report, in seconds, and whom to: a bar on a terminal, a line now and then elsewhere."""
        if not self._console.is_terminal:
            yield LINE_EVERY, lambda ended: self.say(f"{ended} of {total} have ended")
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task("have ended", total=total)
            yield FRAME_EVERY, lambda ended: progress.update(bar, completed=ended)

    def end(self, tracker: Tracker, written: Sequence[Sample], *, seconds: float, mails: int, callbacks: int) -> bool:
        """Tell what happened. Returns whether every sample ended as it should.

        Arguments:
            seconds: from the first insert on.
            mails: how many the sink took.
            callbacks: how many the receiver took.
        """
        good = all(tracker.status[sample.id] is sample.kind.ends for sample in written)
        rate = tracker.ended / seconds if seconds else 0.0
        if self._as_json:
            self._document(tracker, good=good, seconds=seconds, rate=rate)
            return good
        self.say("")
        self._show(_outcomes(tracker, written))
        if tracker.reasons:
            self.say("")
            self._show(_reasons(tracker, written))
        self.say(
            f"\n{tracker.ended} of {len(written)} ended in {seconds:.1f} s ({rate:.0f}/s, the waits before retries "
            f"included); the sink took {_number(mails, 'mail')}, the receiver {_number(callbacks, 'callback')}.\n"
        )
        for what, where in (
            ("mails", f"{self._directory}/mails/*.eml"),
            ("callbacks", f"{self._directory}/callbacks.jsonl"),
            ("log", f"{self._directory}/service.log"),
            ("page", f"http://127.0.0.1:{tracker.admin_port}/"),
            ("health", f"http://127.0.0.1:{tracker.http_port}/health"),
            ("metrics", f"http://127.0.0.1:{tracker.http_port}/metrics"),
        ):
            self.say(f"  {what:<10} {where}")
        return good

    def _show(self, table: Table) -> None:
        if self._console.is_terminal:
            self._console.print(table)
            return
        with self._console.capture() as capture:
            self._console.print(table)
        self.say("\n".join(line.rstrip() for line in capture.get().splitlines()))

    def _document(self, tracker: Tracker, *, good: bool, seconds: float, rate: float) -> None:
        counts = Counter(tracker.status.values())
        found = {
            "counts": {name.value: counts[name] for name in Status},
            "emails": len(tracker.status),
            "seconds": round(seconds, 3),
            "emails_per_second": round(rate, 1),
            "as_expected": good,
            "directory": str(self._directory),
        }
        print(json.dumps(found, indent=2))  # noqa: T201  # the one document


def _outcomes(tracker: Tracker, written: Sequence[Sample]) -> Table:
    """A line for each kind and how it ended."""
    table = _table("kind of mail", "ended as", numbers=("mails", "retried"))
    groups: dict[tuple[int, Status], list[str]] = defaultdict(list)
    for sample in written:
        groups[samples.KINDS.index(sample.kind), tracker.status[sample.id]].append(sample.id)
    for (number, status), ids in sorted(groups.items()):
        kind = samples.KINDS[number]
        ended = status.value if status is kind.ends else f"{status.value}, not {kind.ends.value}"
        retried = sum(1 for one in ids if tracker.retries[one])
        table.add_row(kind.name, ended, str(len(ids)), str(retried or ""))
    return table


def _reasons(tracker: Tracker, written: Sequence[Sample]) -> Table:
    """For each kind that did not go through at the first try, why: what most of them were told."""
    table = _table("kind of mail", "reason")
    table.columns[0].min_width = max(len(kind.name) for kind in samples.KINDS)  # in line with the table above
    for kind in samples.KINDS:
        given = [tracker.reasons[one.id] for one in written if one.kind is kind and one.id in tracker.reasons]
        for reason, _ in Counter(given).most_common(1):
            table.add_row(kind.name, Text(reason))  # brackets in it are no markup
    return table


def _table(*texts: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in texts:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
