"""The service, in which some mails are fatal: `python -m tests.support.poisoned_service run`.

What a mail does to the process stands in its subject: `kill`, or `spin`. Nothing of ours does that; a library's parser,
a codec or the machine's memory may.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from mailculator import message
from mailculator.__main__ import main

_render = message.render


def fatal(mail: Any, **rest: Any) -> bytes:
    """Instead of mailculator.message.render, in the thread where messages are rendered."""
    if mail.subject == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while mail.subject == "spin":
        pass
    return _render(mail, **rest)


message.render = fatal  # type: ignore[assignment]

if __name__ == "__main__":
    main()
