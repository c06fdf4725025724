"""What a soak takes for memory that is held is what the program holds, not what the C library keeps for its threads."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from tests.chaos.soak_peers import NOTHING_KEPT_BACK

_KEEPS = """
import ctypes, threading

class Told(ctypes.Structure):  # mallinfo(3)
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "a", "b", "c", "d", "e", "f", "used", "free", "g")]

library = ctypes.CDLL(None)
library.mallinfo2.restype = Told

def work(met):
    for size in range(528, 1024, 16):  # too large for Python's own allocator
        blocks = [bytes(size - 33) for _ in range(7)]
    del blocks
    met.wait()
    met.wait()

met, before = threading.Barrier(9), library.mallinfo2().used
for _ in range(8):
    threading.Thread(target=work, args=(met,)).start()
met.wait()
print(library.mallinfo2().used - before)
met.wait()
"""
"""Eight threads that have given everything back: prints how many octets of it are still counted as used."""
_STACKS = 64 << 10
"""Octets that eight threads may need for being there."""


def _kept(variables: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _KEEPS], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library, without such caches")
def test_what_threads_give_back_is_not_counted() -> None:
    usual = {"GLIBC_TUNABLES": ""}
    assert _kept(NOTHING_KEPT_BACK) < _STACKS < _kept(usual) // 4
