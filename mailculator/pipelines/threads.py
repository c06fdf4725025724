"""Threads of one's own for file work: a share that hangs must not take those that resolve names for everybody."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs functions in up to `count` threads; what finds none free waits.

    Arguments:
        name: begins the threads' names.
    """

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._at_work: dict[int, tuple[int, float]] = {}

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread. A caller that is cancelled leaves the thread to end by itself."""
        job = partial(self._metered, partial(function, *args, **kwargs))
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def busiest(self) -> float:
        """Seconds of CPU that the busiest of the jobs under way has used. Asked from any thread."""
        used = [0.0]
        for clock, began in list(self._at_work.values()):
            with contextlib.suppress(OSError):  # the thread has ended meanwhile
                used.append(time.clock_gettime(clock) - began)
        return max(used)

    def _metered(self, job: Callable[[], T]) -> T:
        thread = threading.get_ident()
        self._at_work[thread] = (time.pthread_getcpuclockid(thread), time.thread_time())
        try:
            return job()
        finally:
            del self._at_work[thread]

    def close(self) -> None:
        """Begin nothing more; waits for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)
