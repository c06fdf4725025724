"""Counts the system calls of a process, and kills it before one of them: a program of its own.

It says `attached` once every call waits for it, and when it is over all calls that it saw. SIGTERM makes it kill the
process there and then.

    python -S -m tests.syscalls.tracer '{"pid": 1, "ports": {"25": "relay"}, "paths": [], "strike": ["write log", 3]}'
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from typing import Any

from tests.syscalls.calls import Targets, numbered
from tests.syscalls.ptrace import Entry, Traced


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Follow it to its end.

    Arguments:
        order: pid; ports and paths as Targets has them; strike: a call's name and target, and its how manieth; or None.
    """
    traced = Traced(order["pid"])
    signal.signal(signal.SIGTERM, lambda *_: traced.kill())
    if (first := traced.next()) is not None:
        traced.go_on(first.thread)
    _say("attached")
    ports = {int(port): name for port, name in order["ports"].items()}
    targets = Targets(order["pid"], ports, [(path, name) for path, name in order["paths"]])
    names, seen, counts = numbered(), [], Counter[str]()
    struck: float | None = None
    strike = tuple(order["strike"]) if order["strike"] else None
    while (entry := traced.next()) is not None:
        label = None if struck else _label(entry, names, targets)
        if label is not None:
            seen.append(label)
            counts[label] += 1
            if (label, counts[label]) == strike:
                struck = time.time()
                traced.kill()
                continue
        traced.go_on(entry.thread)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may come when there is nobody left to kill
    return {"calls": seen, "struck": struck}


def _label(entry: Entry, names: dict[int, str], targets: Targets) -> str | None:
    name = names.get(entry.number)
    target = None if name is None else targets.of(name, entry.arguments)
    return None if target is None else f"{name} {target}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _say(json.dumps(main(json.loads(sys.argv[1]))))
