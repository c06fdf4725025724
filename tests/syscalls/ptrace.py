"""As much of ptrace(2) as it takes to see the system calls of a process, and to strike before one of them happens.

strace cannot name a moment in the life of a mail: its `when=` counts each system call of each thread by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.syscalls.sieve import READY

_SEIZE, _GET_SYSCALL_INFO, _CONTINUE, _LISTEN = 0x4206, 0x420E, 7, 0x4208
_CLONE, _SECCOMP, _EXITKILL = 0x8, 0x80, 0x100000
_OPTIONS = _CLONE | _SECCOMP | _EXITKILL
_WALL = 0x40000000
_SECCOMP_STOP, _EVENT_STOP = 7, 128

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


class _Info(ctypes.Structure):
    """`struct ptrace_syscall_info` of a stop before a call."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("nr", ctypes.c_uint64),
        ("args", ctypes.c_uint64 * 6),
        ("spare", ctypes.c_uint64 * 2),
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """A thread that stands before a system call.

    Arguments:
        number: of the call, as this kind of machine numbers them.
    """

    thread: int
    number: int
    arguments: tuple[int, ...]


class Traced:
    """A process with all of its threads, those to come included; it has to be one that awaits its tracer.

    It belongs to the thread that made it, and dies with that. Errors: OSError when it cannot be traced.
    """

    def __init__(self, pid: int) -> None:
        self._process = pid
        met: set[int] = set()
        while fresh := {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()} - met:
            for thread in fresh:
                self._seize(thread)
            met |= fresh
        os.kill(pid, READY)

    def next(self) -> Entry | None:
        """Until some thread stands before a call, which `go_on` has to be told of; None once all of it has ended."""
        while True:
            try:
                thread, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                return None
            if not os.WIFSTOPPED(status):
                continue
            number, event = os.WSTOPSIG(status), status >> 16
            if event == _SECCOMP_STOP:
                return _entry(thread)
            if event == _EVENT_STOP and number != signal.SIGTRAP:
                _ptrace_if_there(_LISTEN, thread)  # SIGSTOP: it stays stopped, as it would without us
            else:
                self.go_on(thread, 0 if event else number)

    def go_on(self, thread: int, number: int = 0) -> None:
        """Let a thread go on; `number`: the signal that it was about to receive."""
        _ptrace_if_there(_CONTINUE, thread, 0, number)

    def kill(self) -> None:
        """SIGKILL. What a thread stands before does not happen; what another was just let go for may not."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)

    def _seize(self, thread: int) -> None:
        try:
            _ptrace(_SEIZE, thread, 0, _OPTIONS)
        except ProcessLookupError:  # it has ended since we looked
            if thread == self._process:
                raise
        except PermissionError:  # or else one that we have already has started it since, and it is ours by that
            if not _is_ours(thread):
                raise


def _entry(thread: int) -> Entry:
    info = _Info()
    _ptrace_if_there(_GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.addressof(info))
    return Entry(thread, info.nr, tuple(info.args))


def _is_ours(thread: int) -> bool:
    """Whether it is traced by this process; also when it has ended meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return f"TracerPid:\t{os.getpid()}\n" in Path(f"/proc/{thread}/status").read_text(encoding="utf-8")
    return True


def _ptrace(request: int, thread: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, thread, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request:#x} of {thread}: {os.strerror(number)}")


def _ptrace_if_there(request: int, thread: int, address: int = 0, data: int = 0) -> None:
    """A thread may be killed at any moment, also while it is stopped; its end is told by the next wait."""
    with contextlib.suppress(ProcessLookupError):
        _ptrace(request, thread, address, data)
