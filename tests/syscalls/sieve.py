"""Has a process stop for its tracer before the system calls that count, and before no others.

To stop at every call and to sort out those that count afterwards costs ten times as much: a Python process takes and
gives its lock at every turn.
"""

from __future__ import annotations

import ctypes
import platform
import signal

from tests.syscalls.calls import numbered

READY = signal.SIGUSR2
"""From then on each call that counts needs a tracer's leave: without one it fails (ENOSYS)."""

_SET_PTRACER, _ANY, _NO_NEW_PRIVILEGES = 0x59616D61, -1, 38
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_FILTER, _ALL_THREADS = 1, 1
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _TRACE = 0x7FFF0000, 0x7FF00000


class _Step(ctypes.Structure):
    """`struct sock_filter`."""

    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Step)))


def await_tracer() -> None:
    """Let anybody trace this process, who is to send READY. To be called in the main thread.

    Debian and Ubuntu let nobody but root or a parent trace a process that has not said so (Yama, ptrace_scope 1).
    """
    # It fails where there is no Yama, which is where nobody needs it.
    ctypes.CDLL(None).prctl(_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0)
    signal.signal(READY, lambda *_: _install())


def _install() -> None:
    numbers = sorted(numbered())
    steps = [_Step(_LOAD, 0, 0, 0)]  # the call's number
    steps += [_Step(_IF_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    steps += [_Step(_RETURN, 0, 0, _ALLOW), _Step(_RETURN, 0, 0, _TRACE)]
    program = _Program(len(steps), (_Step * len(steps))(*steps))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if libc.syscall(_SECCOMP[platform.machine()], _SET_FILTER, _ALL_THREADS, ctypes.byref(program)) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
