"""Threads of one's own for file work: a share that hangs must not take those that resolve names for everybody."""

from __future__ import annotations

import asyncio
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

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread. A caller that is cancelled leaves the thread to end by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Begin nothing more; waits for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)
