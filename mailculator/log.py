"""The log: one of the two listeners to the core's events. What a line looks like is in log_lines.py."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol, TextIO

import structlog

from mailculator import log_lines
from mailculator.config import Settings
from mailculator.events import (
    BreakerChanged,
    CallbackAttempted,
    Claimed,
    ClaimLost,
    Event,
    Lifetime,
    Moved,
    PauseChanged,
    PipelineFailed,
    Purged,
    RateChanged,
    Rescued,
    SmtpAttempted,
    StoreCalled,
    StoreNoticed,
)

_KNOWN_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)

_LEVELS: Mapping[str, int] = MappingProxyType(
    {"failed": logging.WARNING, "invalid": logging.WARNING, "park": logging.WARNING, "unknown": logging.WARNING}
)
"""Outcomes that somebody may have to act on; every other one is daily business."""


_NOTICES: Mapping[str, int] = MappingProxyType(
    {
        "stopped": logging.ERROR,
        "poisoned": logging.WARNING,
        "unworkable": logging.WARNING,
        "foreign_write": logging.WARNING,
        "duplicate": logging.WARNING,
        "guard_skipped": logging.WARNING,
        "clock": logging.WARNING,
        "clock_off": logging.WARNING,
        "throttled": logging.WARNING,
        "past": logging.WARNING,
        "without_ttl": logging.WARNING,
        "sweep_failed": logging.WARNING,
        "note_lost": logging.WARNING,
        "resumed": logging.INFO,
        "clock_right": logging.INFO,
        "producer_requeue": logging.INFO,
    }
)
"""What a store saw and somebody may have to act on, or asks about later. All else is how it works."""


class Logger(Protocol):
    """What the listener needs of structlog's bound logger."""

    def log(self, level: int, event: str, **fields: Any) -> Any:
        """Write one line."""


def configure(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Arguments:
        stream: where the lines go: standard output in `run` (None), standard error in the other commands.
    """
    output = sys.stdout if stream is None else stream
    if isinstance(output, io.TextIOWrapper):
        output.reconfigure(errors="backslashreplace")  # a terminal that knows no UTF-8 costs no line
    terminal = output.isatty()
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not terminal)
    lines = log_lines.Output(output)
    structlog.configure(
        processors=log_lines.processors(
            as_json=as_json,
            addresses=settings.log_addresses,
            colors=terminal and "NO_COLOR" not in os.environ,
        ),
        wrapper_class=structlog.make_filtering_bound_logger(_level(settings)),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_Library()]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _level(settings: Settings) -> int:
    return logging.getLevelNamesMapping()[settings.log_level.upper()]


class _Library(logging.Handler):
    """Passes what libraries log through the same chain."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record of the standard library's logging."""
        fields: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0]:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        level = max((known for known in _KNOWN_LEVELS if known <= record.levelno), default=logging.DEBUG)
        with contextlib.suppress(OSError, ValueError):
            structlog.get_logger().log(level, record.getMessage(), **fields)


@dataclass(frozen=True, slots=True)
class _Outage:
    """A store's verb that fails: since when, how often, and when that was last said."""

    since: float
    failures: int
    told: float


class LogObserver:
    """Writes the core's events as lines, one an outcome.

    A verb of a store that fails is told once, then again only now and then, and when it works again: an outage must not
    bury what else there is to read.

    Arguments:
        settings: replica's name.
        logger: where lines go; None is structlog's, as `configure` has set it up by now.
        clock: monotonic seconds.
        remind_every: seconds between two lines about one verb that goes on failing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        logger: Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
        remind_every: float = 60.0,
    ) -> None:
        self._replica = settings.replica
        self._out: Logger = structlog.get_logger().bind() if logger is None else logger
        self._least = _level(settings)
        self._clock = clock
        self._remind_every = remind_every
        self._outages: dict[tuple[str, str, str | None], _Outage] = {}
        self._opened: dict[str, float] = {}
        self._writers = self._by_event()

    def _by_event(self) -> Mapping[type[Event], Callable[[Any], None]]:
        """Who writes which event. What is told at debug alone costs nothing at another level."""
        writers: dict[type[Event], Callable[[Any], None]] = {
            Moved: self._moved,
            StoreCalled: self._store,
            StoreNoticed: self._noticed,
            BreakerChanged: self._breaker,
            RateChanged: self._paced,
            PauseChanged: self._paused,
            PipelineFailed: self._bug,
            Lifetime: self._lifetime,
            ClaimLost: self._claim_lost,
            Rescued: self._rescued,
            Purged: self._purged,
        }
        if self._least <= logging.DEBUG:
            writers |= {Claimed: self._claimed, SmtpAttempted: self._smtp, CallbackAttempted: self._callback}
        return writers

    def __call__(self, event: Event) -> None:
        """Write the event down. A log that cannot be written to stops no mail."""
        write = self._writers.get(type(event))
        if write is None:
            return
        try:
            write(event)
        except (OSError, ValueError):
            return

    def _moved(self, event: Moved) -> None:
        level = _LEVELS.get(event.outcome, logging.INFO)
        if level < self._least:
            return
        fields: dict[str, Any] = {"reason": event.note} if event.note else {}
        if event.parked:
            fields["parked"] = True
        self._out.log(
            level,
            f"mail.{event.outcome}",
            email_id=event.email_id,
            store=event.store,
            pipeline=event.pipeline,
            attempt=event.attempt,
            status=str(event.to),
            version=event.version,
            duration_ms=_milliseconds(event.seconds),
            age_s=round(event.age, 3),
            **fields,
        )

    def _claimed(self, event: Claimed) -> None:
        if event.count:
            self._line(logging.DEBUG, "mail.claimed", event, "store", "pipeline", "count", "seconds")

    def _smtp(self, event: SmtpAttempted) -> None:
        self._line(logging.DEBUG, "smtp.attempt", event, "result", "code", "seconds")

    def _callback(self, event: CallbackAttempted) -> None:
        self._line(logging.DEBUG, "callback.attempt", event, "kind", "result", "seconds")

    def _claim_lost(self, event: ClaimLost) -> None:
        self._line(logging.WARNING, "mail.claim_lost", event, "email_id", "store", "pipeline", "outcome")

    def _rescued(self, event: Rescued) -> None:
        self._line(logging.WARNING, "mail.rescued", event, "email_id", "store", "origin", "to", "holder", "outcome")

    def _purged(self, event: Purged) -> None:
        if event.count:
            self._line(logging.INFO, "mail.purged", event, "store", "count")

    def _lifetime(self, event: Lifetime) -> None:
        level = logging.WARNING if event.name == "warning" else logging.INFO
        self._out.log(level, f"service.{event.name}", **{"replica": self._replica, **dict(event.fields)})

    def _line(self, level: int, name: str, event: Event, *attributes: str) -> None:
        fields = {attribute: getattr(event, attribute) for attribute in attributes}
        if "seconds" in fields:
            fields["duration_ms"] = _milliseconds(fields.pop("seconds"))
        self._out.log(level, name, **fields)

    def _store(self, event: StoreCalled) -> None:
        if event.error is None and not self._outages:
            return
        key, now = (event.store, event.op, event.pipeline), self._clock()
        fields: dict[str, Any] = {"store": event.store, "op": event.op}
        fields |= {"pipeline": event.pipeline} if event.pipeline else {}
        outage = self._outages.get(key)
        if event.error is None:
            if outage is not None:
                del self._outages[key]
                fields |= {"failures": outage.failures, "outage_s": round(now - outage.since, 1)}
                self._out.log(logging.INFO, "store.recovered", **fields)
            return
        failures = 1 if outage is None else outage.failures + 1
        since = now if outage is None else outage.since
        tell = outage is None or now - outage.told >= self._remind_every
        told = now if outage is None or tell else outage.told
        self._outages[key] = _Outage(since, failures, told)
        if tell:
            fields |= {"failures": failures, "outage_s": round(now - since, 1)}
            self._out.log(logging.WARNING, "store.failing", error=event.error, **fields)

    def _noticed(self, event: StoreNoticed) -> None:
        fields = {"email_id": event.email_id} if event.email_id else {}
        fields |= {"detail": event.detail} if event.detail else {}
        level = _NOTICES.get(event.kind, logging.DEBUG)
        self._out.log(level, f"store.{event.kind}", store=event.store, **fields)

    def _breaker(self, event: BreakerChanged) -> None:
        if event.open:
            self._opened[event.name] = self._clock()
            self._out.log(logging.WARNING, "breaker.opened", breaker=event.name, reason=event.reason)
            return
        since = self._opened.pop(event.name, None)
        fields = {} if since is None else {"outage_s": round(self._clock() - since, 1)}
        self._out.log(logging.INFO, "breaker.closed", breaker=event.name, **fields)

    def _paced(self, event: RateChanged) -> None:
        if event.reason:
            self._out.log(logging.WARNING, "smtp.slowed", per_second=round(event.per_second, 2), reason=event.reason)
        else:
            self._out.log(logging.INFO, "smtp.full_speed", per_second=event.per_second)

    def _paused(self, event: PauseChanged) -> None:
        if event.paused:
            fields = {"store": event.store, "pipeline": event.pipeline, "by": event.who, "why": event.why}
            self._out.log(logging.WARNING, "pipeline.paused", **fields)
        else:
            self._out.log(logging.INFO, "pipeline.resumed", store=event.store, pipeline=event.pipeline)

    def _bug(self, event: PipelineFailed) -> None:
        level, name = (logging.CRITICAL, "pipeline.died") if event.fatal else (logging.ERROR, "pipeline.failed")
        fields: dict[str, Any] = {"store": event.store} if event.store else {}
        fields |= {"pipeline": event.pipeline, "error": event.error}
        fields |= {"email_id": event.email_id} if event.email_id else {}
        fields |= {"traceback": event.traceback} if event.traceback else {}
        self._out.log(level, name, **fields)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000.0, 1)
