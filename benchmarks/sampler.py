"""Where the CPU goes in a process with one event loop and a few threads of its own.

The loop's thread is sampled by its own CPU (ITIMER_PROF): Python runs signal handlers there and nowhere else, so of the
other threads a sample would tell only where they let go of the interpreter. Their time is read from their clocks
instead: as a whole for each thread, and for each function that was asked for.
"""

from __future__ import annotations

import functools
import re
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from types import CodeType, FrameType
from typing import Any, TypeVar

EVERY = 0.002
"""Seconds of CPU between two samples."""
LOOP = "event loop"

K = TypeVar("K")

Seconds = defaultdict[K, float]
Stack = tuple[CodeType, ...]
"""Innermost first."""
Parts = tuple[tuple[str, str], ...]
"""The beginning of a path, and the part it belongs to; the first that fits counts."""

_PREFIX = re.compile(r".*/site-packages/|.*/lib/python3\.\d+/|.*/(?=mailculator/|benchmarks/)")


class Sampler:
    """Starts and stops as often as it is asked to; what it found adds up."""

    def __init__(self) -> None:
        self.stacks: Seconds[Stack] = defaultdict(float)
        """Seconds of the loop's thread."""
        self.jobs: Seconds[tuple[str, str]] = defaultdict(float)
        """Seconds in a function, by the thread's group: those called by one that is counted too are in both."""
        self.calls: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[str] = Counter()
        """Calls of a function."""
        self.threads: Seconds[str] = defaultdict(float)
        """Seconds of each group of threads, the loop's excepted."""
        self.process = 0.0
        """Seconds of the process."""
        self._began: Mapping[str, float] = {}
        self._began_at = 0.0
        self._last = 0.0
        self._on = False

    def toggle(self) -> None:
        """Start, or stop. To be called in the main thread."""
        self._on = not self._on
        if self._on:
            signal.signal(signal.SIGPROF, self._sample)
            self._began, self._began_at = _thread_seconds(), time.process_time()
            self._last = time.thread_time()
            signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
            return
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        self.process += time.process_time() - self._began_at
        for group, used in _thread_seconds().items():
            self.threads[group] += used - self._began.get(group, 0.0)

    def watch(self, owner: Any, name: str) -> None:
        """Count what a function takes in whichever thread calls it. To be asked before anything calls it."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            begin = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                if self._on:
                    key = (_group(threading.current_thread().name), f"{owner.__name__.rpartition('.')[2]}.{name}")
                    self.jobs[key] += time.thread_time() - begin
                    self.calls[key] += 1

        setattr(owner, name, counted)

    def count(self, owner: Any, name: str) -> None:
        """Count how often a function is called, on the loop's thread or in others."""
        function = getattr(owner, name)
        key = f"{owner.__name__}.{name}"

        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.counts[key] += self._on
            return function(*args, **kwargs)

        setattr(owner, name, counted)

    def _sample(self, _number: int, frame: FrameType | None) -> None:
        if not self._on:  # the last signal may come after the stop
            return
        used = time.thread_time() - self._last
        stack = []
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        self.stacks[tuple(stack)] += used
        self._last = time.thread_time()  # what this took is nobody's


def _thread_seconds() -> Mapping[str, float]:
    """CPU of every thread but this one, by group. A thread that ends in between takes its time along."""
    seconds: Seconds[str] = defaultdict(float)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.ident is not None:
            seconds[_group(thread.name)] += time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return seconds


def _group(name: str) -> str:
    return re.sub(r"[-_]\d+$", "", name)


def place(code: CodeType) -> str:
    """Where a function stands: file:line(name), the file from its package on."""
    return f"{path(code)}:{code.co_firstlineno}({code.co_qualname})"


def path(code: CodeType) -> str:
    """The file from its package on, as `asyncio/tasks.py`."""
    return _PREFIX.sub("", code.co_filename, count=1)


def own(stacks: Seconds[Stack]) -> Seconds[str]:
    """Seconds in each function itself, with what it calls in C."""
    return _sum((place(stack[0]), seconds) for stack, seconds in stacks.items())


def cumulative(stacks: Seconds[Stack]) -> Seconds[str]:
    """Seconds in each function and in what it calls."""
    return _sum((name, seconds) for stack, seconds in stacks.items() for name in {place(code) for code in stack})


def by_part(stacks: Seconds[Stack], parts: Parts, shared: Parts = ()) -> Seconds[str]:
    """Seconds by the part that the innermost known function of a stack belongs to; what has none is the loop's.

    Arguments:
        shared: asked where no function of a stack belongs to any of `parts`: what several of these use.
    """

    @functools.cache
    def part(code: CodeType, among: Parts) -> str | None:
        where = path(code)
        return next((name for begin, name in among if where.startswith(begin)), None)

    def whose(stack: Stack) -> str:
        found = (part(code, among) for among in (parts, shared) for code in stack)
        return next((name for name in found if name is not None), LOOP)

    return _sum((whose(stack), seconds) for stack, seconds in stacks.items())


def _sum(pairs: Iterable[tuple[str, float]]) -> Seconds[str]:
    total: Seconds[str] = defaultdict(float)
    for name, seconds in pairs:
        total[name] += seconds
    return total


def dearest(found: Mapping[str, float]) -> list[tuple[str, float]]:
    """The names with their seconds, the most first."""
    return sorted(found.items(), key=lambda one: -one[1])


def lines(found: Mapping[str, float], emails: int, *, whole: float = 0.0, most: int = 25) -> list[str]:
    """The dearest, one a line: microseconds an email, share, name.

    Arguments:
        whole: seconds that are 100 %; 0 = all of these.
    """
    whole = whole or sum(found.values()) or 1.0
    return [
        f"{seconds / emails * 1e6:9.1f} µs {seconds / whole:6.1%}  {name}" for name, seconds in dearest(found)[:most]
    ]
