"""What all replicas of a queue share beside its mail: what is paused, who is there, and what operators did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

WHOLE = "*"
"""In the place of a pipeline's name: all pipelines of the store."""

GONE_AFTER = 86_400.0
"""Seconds of silence after which a replica is no longer told of: it is not coming back under that name."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A pipeline that claims nothing, because an operator wants it so.

    Arguments:
        pipeline: its name, or WHOLE.
        since, until: UTC, on the store's clock; `until` None where it lasts until somebody resumes it.
    """

    pipeline: str
    who: str
    why: str
    since: datetime
    until: datetime | None = None

    def stops(self, pipeline: str) -> bool:
        """Whether this pipeline has to claim nothing."""
        return self.pipeline in (WHOLE, pipeline)


@dataclass(frozen=True, slots=True)
class Deed:
    """What an operator did that concerns no single email.

    Arguments:
        key: its place in the list; what comes after it is older.
        at: UTC, on the store's clock.
        what: in the past tense (`paused sender`).
    """

    key: str
    at: datetime
    who: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Replica:
    """A process as it last described itself in the store.

    Arguments:
        age: seconds since then, on the store's clock.
        service: its version.
        facts: what it says of itself: see pipelines.reporting.
    """

    name: str
    service: str
    age: float
    facts: Mapping[str, Any]


def paused(pipeline: str, seconds: float | None) -> str:
    """A pause as the audit list tells it."""
    return f"paused {named(pipeline)}" + ("" if seconds is None else f" for {round(seconds)} s")


def resumed(pipeline: str) -> str:
    """Its end as the audit list tells it."""
    return f"resumed {named(pipeline)}"


def named(pipeline: str) -> str:
    """A pipeline, or all of them, in a sentence."""
    return "all pipelines" if pipeline == WHOLE else pipeline
