"""What a replica says of itself in each store that it works on, every few seconds: the words of its report.

Other replicas and the command line read it, perhaps of another version: what is missing or odd reads as nothing known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ENTERED, SENT, FAILED, INVALID, ACKNOWLEDGED, RETRIED = (
    "entered",
    "sent",
    "failed",
    "invalid",
    "acknowledged",
    "retried",
)
"""What is counted of a store's emails: those taken in for the first time, sent, failed, found invalid, whose callback
was answered 2xx, and tries that are to be made again."""


@dataclass(frozen=True, slots=True)
class Away:
    """Something that mail depends on and that is not there.

    Arguments:
        since: epoch seconds.
        reason: the last failure.
    """

    since: float
    reason: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a peer answered last.

    Arguments:
        at: epoch seconds.
    """

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """A replica, as far as one store is concerned.

    Arguments:
        started: epoch seconds.
        stopped: it has ended in good order; it is not missed.
        draining: it claims nothing more.
        in_flight: emails in hand, by pipeline.
        paused: the pipelines that claim nothing because an operator wants it so.
        totals: what was counted since it started.
        rates: the same per second, since the report before.
        away: by the breaker's name (relay, callback, share, journal).
        relay, callback: the last answer of each; None before the first.
        unknown: the last mail whose reply was lost, so that the relay may have it; its text is the email's id.
        unknown_count: how many of those there were since it started.
        rate: mails a second that are offered to the relay at the most; 0 = any number.
        rate_reason: why they are held back; "" where they are not.
    """

    started: float = 0.0
    stopped: bool = False
    draining: bool = False
    in_flight: Mapping[str, int] = field(default_factory=dict)
    paused: tuple[str, ...] = ()
    totals: Mapping[str, int] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    away: Mapping[str, Away] = field(default_factory=dict)
    relay: Said | None = None
    callback: Said | None = None
    unknown: Said | None = None
    unknown_count: int = 0
    rate: float = 0.0
    rate_reason: str = ""

    def document(self) -> dict[str, Any]:
        """For Control.report."""
        return asdict(self)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Facts:
        """From Replica.facts."""
        away = _mapping(document.get("away"))
        return cls(
            started=_number(document.get("started")),
            stopped=document.get("stopped") is True,
            draining=document.get("draining") is True,
            in_flight={str(name): int(_number(value)) for name, value in _mapping(document.get("in_flight")).items()},
            paused=tuple(str(name) for name in _list(document.get("paused"))),
            totals={str(name): int(_number(value)) for name, value in _mapping(document.get("totals")).items()},
            rates={str(name): _number(value) for name, value in _mapping(document.get("rates")).items()},
            away={
                str(name): Away(_number(_mapping(one).get("since")), str(_mapping(one).get("reason") or ""))
                for name, one in away.items()
            },
            relay=_said(document.get("relay")),
            callback=_said(document.get("callback")),
            unknown=_said(document.get("unknown")),
            unknown_count=int(_number(document.get("unknown_count"))),
            rate=_number(document.get("rate")),
            rate_reason=str(document.get("rate_reason") or ""),
        )


def _said(value: object) -> Said | None:
    found = _mapping(value)
    return Said(_number(found.get("at")), str(found.get("text") or "")) if found else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
