"""Threads of one's own for file work: a share that hangs must not take those that resolve names for everybody.

The standard library's executor wakes the loop through a pipe for each result, and mostly a thread for each job; that
costs more than reading a payload does. And threads that are awake together spend their time on handing the interpreter
to one another. Here one thread does what has come together and tells the results together; others are woken only where
jobs wait all the same, since a file hangs or the share is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 0.005
"""Seconds that a job waits for the threads that are awake before one more is woken."""
SLOW = 0.002
"""Seconds that jobs take on the whole from which on each is given a thread at once, as many as there are: then it is
files that they wait for, and threads that wait are in nobody's way."""
_SPAN = 8
"""Jobs that "on the whole" is about; a single one that hangs does not make it slow."""

_Result = tuple[asyncio.Future[Any], Any, BaseException | None]


class _Job(NamedTuple):
    future: asyncio.Future[Any]
    function: Callable[[], Any]
    put_at: float


class _Worker:
    """One thread.

    Arguments:
        gate: released to wake it.
        since: when it was woken or began its job, whichever was later.
        began: its CPU clock at that job's beginning; None between two jobs.
        clock: of its CPU.
    """

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.since = time.monotonic()
        self.began: float | None = None
        self.clock = 0


class Threads:
    """Runs functions in up to `count` threads; what finds none free waits. Used by one event loop.

    A job that hangs keeps its thread, and holds up the others for `patience` at the most; so do their results.
    The threads are daemons: what reads from a share that hangs must not keep the interpreter from ending.

    Arguments:
        name: begins the threads' names.
        patience, slow: seconds, see PATIENCE and SLOW.
    """

    def __init__(self, count: int, name: str, *, patience: float = PATIENCE, slow: float = SLOW) -> None:
        self._count = count
        self._name = name
        self._patience = patience
        self._slow = slow
        self._usual = 0.0
        self._jobs: deque[_Job] = deque()
        self._results: deque[_Result] = deque()
        self._workers: list[_Worker] = []
        self._asleep: list[_Worker] = []
        self._put = False
        self._next_look: asyncio.TimerHandle | None = None
        self._told = False
        self._closed = False

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread. A caller that is cancelled leaves the thread to end by itself.

        Errors: whatever `function` raises; RuntimeError after `close`.
        """
        if self._closed:
            raise RuntimeError(f"the {self._name} threads were closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.append(_Job(future, partial(function, *args, **kwargs), time.monotonic()))
        if not self._put:
            self._put = True
            loop.call_soon(self._begin, loop)  # once for all that this turn of the loop puts
        return await future

    def busiest(self) -> float:
        """Seconds of CPU that the busiest of the jobs under way has used. Asked from any thread."""
        used = [0.0]
        for worker in self._workers.copy():
            began = worker.began
            if began is not None:
                with contextlib.suppress(OSError):  # the thread has ended meanwhile
                    used.append(time.clock_gettime(worker.clock) - began)
        return max(used)

    def close(self) -> None:
        """Begin nothing more; waits for nobody."""
        self._closed = True
        while self._asleep:
            self._asleep.pop().gate.release()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._put = False
        self._look_later(loop)
        if self._usual > self._slow:
            for _ in range(len(self._jobs)):
                self._wake_one(loop)
            return
        limit = time.monotonic() - self._patience
        if not any(worker.since > limit for worker in self._workers):  # whoever is awake hangs
            self._wake_one(loop)

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._next_look is None and not self._closed:
            self._next_look = loop.call_later(self._patience, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Now and then while jobs wait: does one wait for too long, and has one ended behind which a slow one began?"""
        self._next_look = None
        with contextlib.suppress(IndexError):  # none waits: whoever took the last one tells all
            waited = time.monotonic() - self._jobs[0].put_at
            self._look_later(loop)
            if waited > self._patience:
                self._wake_one(loop)
        self._hand_out()

    def _wake_one(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the one that has slept the shortest, or start one; where all are awake none is left."""
        try:
            worker = self._asleep.pop()
        except IndexError:
            if len(self._workers) < self._count and not self._closed:
                self._start(loop)
        else:
            worker.since = time.monotonic()
            worker.gate.release()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        worker = _Worker()
        name = f"{self._name}_{len(self._workers)}"
        threading.Thread(target=self._work, args=(worker, loop), name=name, daemon=True).start()
        self._workers.append(worker)

    def _work(self, worker: _Worker, loop: asyncio.AbstractEventLoop) -> None:
        """One thread's life."""
        worker.clock = time.pthread_getcpuclockid(threading.get_ident())
        while not self._closed:
            try:
                job = self._jobs.popleft()
            except IndexError:
                self._tell(loop)
                self._sleep(worker)
                continue
            worker.since, worker.began = time.monotonic(), time.thread_time()
            self._results.append(self._call(job.future, job.function))
            worker.began = None
            took = min(time.monotonic() - worker.since, self._slow * _SPAN / 2)
            self._usual += (took - self._usual) / _SPAN
            del job  # a thread that waits keeps no message in memory
        self._tell(loop)

    def _sleep(self, worker: _Worker) -> None:
        worker.since = 0.0
        self._asleep.append(worker)
        if self._jobs or self._closed:  # since it looked: by whoever took it to be awake still
            with contextlib.suppress(IndexError):
                self._asleep.pop().gate.release()
        worker.gate.acquire()

    def _call(self, future: asyncio.Future[Any], function: Callable[[], Any]) -> _Result:
        try:
            return future, function(), None
        except BaseException as error:  # the caller's, whatever it is
            return future, None, error

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        # In this order: whoever finds it set put its result where the loop, which clears it first, still looks.
        if self._results and not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._told = False
        if self._next_look is not None and not self._jobs:
            self._next_look.cancel()
            self._next_look = None
        self._hand_out()

    def _hand_out(self) -> None:
        """On the loop: all results there are."""
        while self._results:
            future, value, error = self._results.popleft()
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
