"""A tracer beside a process that runs, and what it saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.service import environment
from tests.syscalls.points import Point

PATIENCE = 120.0
"""Seconds for a tracer to attach, or to end; only a run that fails comes near it."""


@dataclass(frozen=True, slots=True)
class World:
    """What a process has to do with.

    Arguments:
        ports: of 127.0.0.1, and what listens there.
        paths: beginnings of paths, and what lies there; the first that fits counts.
    """

    ports: Mapping[int, str]
    paths: Sequence[tuple[Path, str]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a tracer saw.

    Arguments:
        calls: by name and target, in their order, up to the strike.
        struck: epoch seconds; None when it did not come to that.
    """

    calls: Sequence[str]
    struck: float | None


class Tracer:
    """Follows a process to its end; then `report` is done."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.report = asyncio.create_task(process.communicate())

    async def finish(self) -> Seen:
        """Kill the process, if it is still there. AssertionError when the tracer itself has failed."""
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(PATIENCE):
            out, errors = await asyncio.shield(self.report)
        assert self._process.returncode == 0, f"the tracer failed: {errors.decode()}"
        return Seen(**json.loads(out))

    async def end(self) -> None:
        """Whatever has come of it. What it follows dies with it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.report


@asynccontextmanager
async def traced(pid: int, world: World, strike: Point | None = None) -> AsyncIterator[Tracer]:
    """From now on every system call of that process waits to be seen, and one of them may be its last.

    Errors: AssertionError when the process cannot be traced.
    """
    order = {
        "pid": pid,
        "ports": dict(world.ports),
        "paths": [(str(path), name) for path, name in world.paths],
        "strike": None if strike is None else (strike.call, strike.number),
    }
    command = (sys.executable, "-S", "-m", "tests.syscalls.tracer", json.dumps(order))
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, limit=1 << 22
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            first = await process.stdout.readline()
    except BaseException:
        process.kill()
        await process.communicate()
        raise
    tracer = Tracer(process)
    try:
        if first != b"attached\n":
            _, errors = await process.communicate()
            raise AssertionError(f"{pid} cannot be traced (this needs ptrace): {errors.decode()}")
        yield tracer
    finally:
        await tracer.end()
