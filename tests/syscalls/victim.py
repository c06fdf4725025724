"""The service, which lets itself be traced: `python -m tests.syscalls.victim run`."""

from __future__ import annotations

from mailculator.__main__ import main
from tests.syscalls.sieve import await_tracer

if __name__ == "__main__":
    await_tracer()
    main()
