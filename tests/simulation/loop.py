"""Several processes on one event loop whose time is made up: where nothing can run, it is the next timer's moment.

Each process has the queue and the timers of an event loop of its own, and within it things happen in the order that
asyncio gives them. Whose turn it is next, and for how many steps, is the seed's to say, as it is the machine's in life.
What a process begins belongs to it: the owner stands in the context that asyncio hands on from task to task.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

MOST_STEPS = 12
"""Steps that a process takes before another may have its turn, at the most."""
_CLOSES = 50
"""Times that a coroutine is told to end: what awaits something on its way out has to be told again."""


class Step:
    """A handle, as much of one as asyncio looks at: of millions of them most of the time is spent."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._when = when
        self._cancelled = False

    def cancel(self) -> None:
        """See asyncio.TimerHandle, as with all that follows."""
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when


class RealWorld(AssertionError):
    """Something asked for a socket, a signal or a thread, of which there are none here."""


@dataclass(eq=False)
class Process:
    """What can be stopped, or vanish.

    Arguments:
        missed: timers whose moment came while it was frozen.
        fuse: steps until `blown` is called, between two of them; None while nothing awaits it.
    """

    name: str
    ready: deque[Step] = field(default_factory=deque)
    missed: list[Step] = field(default_factory=list)
    tasks: WeakSet[asyncio.Task[Any]] = field(default_factory=WeakSet)
    alive: bool = True
    frozen: bool = False
    fuse: int | None = None
    blown: Callable[[], None] | None = None
    steps: int = 0

    def __post_init__(self) -> None:
        self.context = copy_context()
        self.context.run(_OWNER.set, self)

    def light(self, steps: int, blown: Callable[[], None]) -> None:
        """Call this after so many more of its steps, or at once."""
        if steps:
            self.fuse, self.blown = steps, blown
        else:
            blown()

    def kill(self) -> None:
        """Nothing of it runs any more. Its coroutines are put away; whoever they would still tell has to look whether
        it is `alive`."""
        self.alive, self.fuse = False, None
        tasks = list(self.tasks)
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # what asyncio.gather does to its own
        for task in tasks:
            self.context.run(_put_away, task.get_coro())
        self.ready.clear()
        self.missed.clear()

    def thaw(self) -> None:
        """Go on after having been frozen: first with what was ready, then with what came due meanwhile."""
        self.frozen = False
        self.ready.extend(self.missed)
        self.missed.clear()


_OWNER: ContextVar[Process] = ContextVar("owner")


def owner() -> Process:
    """Whose step this is."""
    return _OWNER.get()


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of a whole world.

    Arguments:
        rng: whose turn it is.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.world = Process("world")
        self.processes = [self.world]
        self.failures: list[str] = []
        self._rng = rng
        self._now = 0.0
        self._numbers = 0
        self._timers: list[tuple[float, int, Step, Process]] = []
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """Seconds since the world began."""
        return self._now

    def add(self, name: str) -> Process:
        """A new process; those that are dead are forgotten."""
        process = Process(name)
        self.processes = [*(one for one in self.processes if one.alive), process]
        return process

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Whoever waited for a future may be dead; when Python finds that out is no part of any history.
        if "never retrieved" not in context["message"]:
            self.failures.append(repr(context))

    # What asyncio asks for.

    def call_soon(  # type: ignore[override]  # a Step is all that asyncio needs
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Step:
        """In the next turn of whose context it is."""
        context = copy_context() if context is None else context
        step = Step(callback, args, context, 0.0)
        process = context.get(_OWNER, self.world)
        if process.alive:
            process.ready.append(step)
        return step

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # there are no threads

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Step:
        """In a turn of whose context it is, once that moment has come."""
        context = copy_context() if context is None else context
        step = Step(callback, args, context, when)
        process = context.get(_OWNER, self.world)
        if process.alive:
            self._numbers += 1
            heapq.heappush(self._timers, (when, self._numbers, step, process))
        return step

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Step:
        """After so many seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(self, coro: Any, *, name: object = None, context: Any = None) -> Any:
        """A task of the process whose step this is."""
        task = asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context)
        _OWNER.get(self.world).tasks.add(task)
        return task

    def run_in_executor(  # type: ignore[override]  # what it returns is for who asks to know
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """There are no threads: at once, in one step, a moment later."""
        future: asyncio.Future[Any] = self.create_future()
        self.call_later(self._rng.uniform(0.0, 0.02), _run, future, func, args)
        return future

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    def _process_events(self, event_list: list[Any]) -> None:
        raise RealWorld("there are no sockets in this world")

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Refused, as is what follows."""
        raise RealWorld("there are no sockets in this world")

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        raise RealWorld("there are no sockets in this world")

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        raise RealWorld("there are no names in this world")

    # What it is.

    def _run_once(self) -> None:
        while not self._stopping:  # type: ignore[attr-defined]  # as asyncio's own loop does
            able = [one for one in self.processes if one.ready and not one.frozen]
            if not able:
                self._jump()
            elif len(able) == 1:
                self._give_turn(able[0])
            else:
                self._give_turn(able[int(self._rng.random() * len(able))])

    def _give_turn(self, process: Process) -> None:
        ready = process.ready
        for _ in range(min(len(ready), 1 + int(self._rng.random() * MOST_STEPS))):
            if not ready or process.frozen:
                return
            step = ready.popleft()
            if step._cancelled:
                continue
            try:
                step._context.run(step._callback, *step._args)
            except Exception as error:
                self.failures.append(repr(error))
            process.steps += 1
            if process.fuse is not None:
                self._burn(process)

    def _burn(self, process: Process) -> None:
        process.fuse = (process.fuse or 1) - 1
        if not process.fuse:
            blown, process.fuse, process.blown = process.blown, None, None
            if blown is not None:
                blown()

    def _jump(self) -> None:
        """To the next moment for which anybody has asked who can still come."""
        timers = self._timers
        found = False
        while timers and not (found and timers[0][0] > self._now):
            when, _, step, process = heapq.heappop(timers)
            if step._cancelled or not process.alive:
                continue
            self._now = max(self._now, when)
            if process.frozen:
                process.missed.append(step)
            else:
                process.ready.append(step)
                found = True
        if not found:
            raise RealWorld("nobody waits for any moment, and nothing can run: this would hang for ever")


def _run(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if future.done():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:
        future.set_exception(error)


def _put_away(coroutine: Coroutine[Any, Any, Any] | Generator[Any, Any, Any]) -> None:
    """Like the end of a process, but for what its `finally` does within it: of that nobody hears."""
    for _ in range(_CLOSES):
        try:
            coroutine.close()
            return
        except RuntimeError:  # it awaits something on its way out
            continue
        except BaseException:  # nobody is there any more who would hear of it
            return
