"""What a replica says of itself, as the text that stores keep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson


def facts_text(facts: Mapping[str, Any]) -> str:
    """JSON."""
    return orjson.dumps(dict(facts), default=str).decode()


def facts_of(text: str) -> Mapping[str, Any]:
    """What it said; nothing where somebody else wrote there what is no JSON object."""
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
