"""Threads of one's own for file work: a share that hangs must not take those that resolve names for everybody.

The standard library's executor wakes the loop through a pipe for each result, and mostly a thread for each job; that
costs more than reading a payload does. Here results that come together are told together.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[asyncio.Future[Any], Callable[[], Any]]
_Result = tuple[asyncio.Future[Any], Any, BaseException | None]


class Threads:
    """Runs functions in up to `count` threads; what finds none free waits. Used by one event loop.

    The threads are daemons: what reads from a share that hangs must not keep the interpreter from ending.

    Arguments:
        name: begins the threads' names.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._closed = False
        self._results: deque[_Result] = deque()
        self._told = False
        self._at_work: dict[int, tuple[int, float]] = {}

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread. A caller that is cancelled leaves the thread to end by itself.

        Errors: whatever `function` raises; RuntimeError after `close`.
        """
        if self._closed:
            raise RuntimeError(f"the {self._name} threads were closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._unfinished += 1
        if len(self._threads) < min(self._unfinished, self._count):
            self._start(loop)
        self._jobs.put((future, partial(function, *args, **kwargs)))
        return await future

    def busiest(self) -> float:
        """Seconds of CPU that the busiest of the jobs under way has used. Asked from any thread."""
        used = [0.0]
        for clock, began in list(self._at_work.values()):
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                used.append(time.clock_gettime(clock) - began)
        return max(used)

    def close(self) -> None:
        """Begin nothing more; waits for nobody."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._work, args=(loop,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """One thread's life."""
        thread = threading.get_ident()
        clock = time.pthread_getcpuclockid(thread)
        while (job := self._jobs.get()) is not None and not self._closed:
            self._at_work[thread] = (clock, time.thread_time())
            self._results.append(self._call(*job))
            del self._at_work[thread]
            del job  # a thread that waits keeps no message in memory
            # In this order: whoever finds it set put its result where the loop, which clears it first, still looks.
            if not self._told:
                self._told = True
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._tell)

    def _call(self, future: asyncio.Future[Any], function: Callable[[], Any]) -> _Result:
        try:
            return future, function(), None
        except BaseException as error:  # the caller's, whatever it is
            return future, None, error

    def _tell(self) -> None:
        """On the loop: hand out all results there are."""
        self._told = False
        while self._results:
            future, value, error = self._results.popleft()
            self._unfinished -= 1
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
