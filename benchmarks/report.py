"""Where figures go: between two marks in docs/performance.md, with the day and the machine."""

from __future__ import annotations

import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "performance.md"


def machine(*more: str, when: str = "before it began") -> str:
    """What it was measured on, and how busy that was; to be asked before anything is measured.

    Arguments:
        more: what else belongs to it.
        when: this is asked, if not then.
    """
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    minute, *_ = os.getloadavg()
    facts = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{len(os.sched_getaffinity(0))} cores of {model[1].strip() if model else platform.machine()}",
        f"Python {platform.python_version()}",
        *more,
    ]
    return f"{', '.join(facts)}; load average {when}: {minute:.1f}."


def yardstick() -> float:
    """Milliseconds of CPU that a fixed piece of work takes right now: neighbours on the machine slow down the CPU, too.

    Figures of CPU can be compared where this one is the same.
    """

    def once() -> float:
        before = time.process_time()
        sum(range(1_000_000))
        return (time.process_time() - before) * 1000

    return statistics.median(once() for _ in range(5))


def plot(title: str, unit: str, bars: Mapping[str, float]) -> str:
    """A bar for each, as a block that GitHub and GitLab draw (https://mermaid.js.org/syntax/xyChart.html).

    Arguments:
        title: what all of them are.
        unit: of the values.
        bars: values from 0 on by their names, which stand beneath them.
    """
    names = ", ".join(f'"{name}"' for name in bars)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta horizontal",
            f'    title "{title}"',
            f"    x-axis [{names}]",
            f'    y-axis "{unit}" 0 --> {1.1 * max(bars.values()):.0f}',
            f"    bar [{', '.join(f'{value:.0f}' for value in bars.values())}]",
            "```",
        ]
    )


def write(name: str, text: str) -> None:
    """Put the text between the marks of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = REPORT.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{REPORT} lacks {begin} … {end}")
    REPORT.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def conclude(name: str, text: str, wrong: Sequence[str], *, check: bool) -> int:
    """Print what was measured, and write it down; or, to check, say what is wrong with it. Returns the exit code.

    Arguments:
        name: of the marks.
        wrong: figures that are off, in words.
    """
    print(text)
    if not check:
        write(name, text)
        return 0
    print(*wrong, sep="\n", file=sys.stderr)
    return int(bool(wrong))
