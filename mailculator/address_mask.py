"""Mail addresses in texts that others wrote: their local parts are nobody's business."""

from __future__ import annotations

import re

_LOCAL = r'"(?:[^"\\]|\\.)*"|[^\s<>()\[\],;:"]+'
# The lookbehind keeps a long word without an @ from being scanned once for each of its characters.
_ADDRESS = re.compile(rf"(?<![^\s<>()\[\],;:\"])(?:{_LOCAL})@(?=[\w\[])")


def mask(text: str) -> str:
    """The text with the local part of everything that looks like a mail address replaced by `***`."""
    return _ADDRESS.sub("***@", text) if "@" in text else text
