"""Which file of tests goes to which worker, so that those that keep a machine busy run one after the other.

Such a file has replicas, a database server and a relay under load, and waits in real time besides: for leases to end,
for delays and time-outs. Two at once starve each other, and two processors are idle while both wait. So one worker has
them all, and the others have the rest, which uses what is left of the machine. Once a worker has run out of its kind,
those that remain take whatever there is.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # it ships no types
from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

BUSY = frozenset({"chaos", "faults", "syscalls"})
"""Folders of tests that have several processes under load."""
FEWEST = 3
"""Workers that this takes: with two, one of them would have nearly everything."""


class BusyFilesApart(LoadFileScheduling):  # type: ignore[misc]  # of a class without types
    """xdist's `--dist loadfile`, but for the choice of the next file."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        file = self._next_for(node)
        if file is None:
            node.shutdown()  # when it has run what it was given
            return
        self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)

    def _next_for(self, node: WorkerController) -> str | None:
        """None where it has run out of its kind, and is the first to."""
        left = [one for one in self.nodes if not one.shutting_down]
        wants_busy = node is left[0]
        own = (file for file in self.workqueue if is_busy(file) == wants_busy)
        any_at_all = self.workqueue if len(left) < self.numnodes else ()
        return next(own, None) or next(iter(any_at_all), None)


def is_busy(file: str) -> bool:
    """Whether it keeps a machine busy by itself; `file` as in the ids of its tests."""
    return PurePosixPath(file).parent.name in BUSY
