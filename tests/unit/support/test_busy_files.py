"""Which worker gets which file, by xdist's own scheduler with workers that are told what they would run."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.busy_files import BusyFilesApart, is_busy

FILES = ["tests/chaos/a.py", "tests/faults/b.py", "tests/syscalls/c.py"]
OTHERS = [f"tests/unit/{number}.py" for number in range(6)]
TESTS = 4
"""Of each file. The next one is given out when two of them are left."""


@dataclass(eq=False)
class Worker:
    name: str
    files: list[str] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    shutting_down: bool = False

    @property
    def gateway(self) -> SimpleNamespace:
        return SimpleNamespace(id=self.name)

    def send_runtest_some(self, indices: list[int]) -> None:
        self.left += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@dataclass
class Machine:
    """Three workers that have all collected the tests of these files."""

    files: list[str]
    workers: list[Worker] = field(default_factory=lambda: [Worker(name) for name in ("first", "second", "third")])

    def __post_init__(self) -> None:
        option = SimpleNamespace(loadscopereorder=False)
        config: Any = SimpleNamespace(option=option, getvalue=lambda _: ["popen"] * len(self.workers))
        self.tests = [f"{file}::test_{number}" for file in self.files for number in range(TESTS)]
        self.scheduler = BusyFilesApart(config)
        for worker in self.workers:
            self.join(worker)
        self.scheduler.schedule()

    def join(self, worker: Worker) -> None:
        self.scheduler.add_node(worker)
        self.scheduler.add_node_collection(worker, self.tests)

    def step(self, worker: Worker) -> None:
        """It runs one test."""
        index = worker.left.pop(0)
        file = self.tests[index].partition("::")[0]
        if file not in worker.files:
            worker.files.append(file)
        self.scheduler.mark_test_complete(worker, index)
        if not worker.left and worker.shutting_down:
            self.scheduler.remove_node(worker)

    def run(self, pace: dict[str, int]) -> None:
        """All of them until nothing is left, each so many tests in a turn."""
        for _ in range(1000):
            for worker in self.workers:
                for _ in range(pace[worker.name]):
                    if worker.left:
                        self.step(worker)
        assert self.scheduler.tests_finished
        assert sorted(file for worker in self.workers for file in worker.files) == sorted(self.files)


def test_one_worker_has_all_busy_files_and_the_others_have_the_rest() -> None:
    machine = Machine([*OTHERS[:2], *FILES, *OTHERS[2:]])
    machine.run({"first": 1, "second": 1, "third": 1})
    first, second, third = machine.workers
    assert first.files == FILES
    assert second.files + third.files != []
    assert not any(is_busy(file) for file in second.files + third.files)


def test_a_worker_without_busy_files_ends_and_leaves_the_machine_to_the_others() -> None:
    machine = Machine([*FILES[:1], *OTHERS])
    machine.run({"first": 4, "second": 1, "third": 1})
    first, second, third = machine.workers
    assert first.files == FILES[:1]
    assert sorted(second.files + third.files) == OTHERS


def test_when_nothing_else_is_left_one_more_takes_busy_files() -> None:
    machine = Machine([*FILES, *OTHERS[:2]])
    machine.run({"first": 1, "second": 4, "third": 4})
    busy = [[file for file in worker.files if is_busy(file)] for worker in machine.workers]
    assert sorted(map(len, busy)) == [0, 1, 2]


@pytest.mark.parametrize("files", [FILES, OTHERS, FILES[:1], OTHERS[:1]])
def test_files_of_one_kind_are_two_workers_work(files: list[str]) -> None:
    machine = Machine(files)
    machine.run({"first": 1, "second": 1, "third": 1})
    assert sum(bool(worker.files) for worker in machine.workers) == min(len(files), 2)


def test_a_worker_that_has_died_is_replaced_and_nothing_is_left_over() -> None:
    machine = Machine([*FILES, *OTHERS])
    first = machine.workers[0]
    machine.step(first)
    crashed = machine.scheduler.remove_node(first)
    assert crashed == machine.tests[first.left[0]]
    instead = Worker("instead")
    machine.workers[0] = instead
    machine.join(instead)
    machine.scheduler.schedule()
    for _ in range(200):
        for worker in machine.workers:
            if worker.left:
                machine.step(worker)
    assert not machine.scheduler.workqueue
    assert {file for worker in (first, *machine.workers) for file in worker.files} == {*FILES, *OTHERS}


@pytest.mark.parametrize(
    ("file", "busy"),
    [
        ("tests/chaos/test_chaos_kills.py", True),
        ("tests/unit/test_chaos_report.py", False),
        ("tests/integration/test_guard.py", False),
    ],
)
def test_busy_files_are_known_by_their_folder(file: str, busy: bool) -> None:
    assert is_busy(file) is busy
