"""What the probes are told: computed from what was seen last, so that no probe ever touches a store.

The ladder of /health, worst first: a pipeline's loop has died, or has not turned for too long, or the process is
draining: fail, restarting or leaving it alone is right. A dependency is away: warn, restarting would not cure it.
The answers are open to all who reach the port: they hold no ids, no addresses and no words of a driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from mailculator.events import BreakerChanged, Event, Lifetime, PipelineFailed, StoreCalled, StoreNoticed
from mailculator.timing import Timing

STUCK_AFTER = 30.0
"""Seconds; a loop that has not turned for so long, and for ten intervals, is stuck."""
STUCK_INTERVALS = 10


@dataclass(frozen=True, slots=True)
class Report:
    """An answer to a probe: the HTTP status, and what goes out as JSON."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _StoreCheck:
    at: float
    ok: bool
    writable: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """When silence counts.

    Arguments:
        stuck: seconds after which a loop that does not turn is stuck.
        fresh: seconds for which a store's last answer is believed.
    """

    stuck: float
    fresh: float

    @classmethod
    def of(cls, timing: Timing, *, interval: float, time_scale: float = 1.0) -> Limits:
        """The limits for these durations, `interval` being the longest idle wait of a loop in seconds.

        A turn may legitimately take as long as a hanging store is waited for, and then pauses: that is the store's
        trouble, which a restart would not cure, so it must not look like a stuck loop.
        """
        hanging = 2 * timing.store_timeout + timing.store_backoff.cap
        return cls(
            stuck=max(STUCK_AFTER * time_scale, STUCK_INTERVALS * interval, hanging),
            fresh=timing.store_timeout + 3 * timing.check_every,
        )


class Health:
    """Keeps what was seen last; an observer of the core's events beside that.

    Arguments:
        version: of the program.
        stores: the enabled stores; each must have answered before we are ready.
        warnings: names of settings that are allowed but unsafe, shown as long as the process lives.
        clock: monotonic seconds.
    """

    heeds: Collection[type[Event]] = (BreakerChanged, StoreCalled, PipelineFailed, StoreNoticed, Lifetime)

    def __init__(
        self,
        version: str,
        limits: Limits,
        *,
        stores: Iterable[str],
        warnings: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._version = version
        self._limits = limits
        self._clock = clock
        self._started = clock()
        self._stores: dict[str, _StoreCheck | None] = dict.fromkeys(stores)
        self._warnings = tuple(warnings)
        self._beats: dict[tuple[str, str], Callable[[], float]] = {}
        self._breakers: dict[str, float | None] = {}
        self._died: set[tuple[str, str]] = set()
        self._refusing: set[tuple[str, str, str | None]] = set()
        self._stopped: set[str] = set()
        self._draining = False

    def __call__(self, event: Event) -> None:
        """Follow the core's events."""
        match event:
            case BreakerChanged(name=name, open=is_open):
                self._breakers[name] = self._clock() if is_open else None
            case StoreCalled(store=store, op="claim" | "record" as op, error=error, pipeline=pipeline):
                (self._refusing.discard if error is None else self._refusing.add)((store, op, pipeline))
            case PipelineFailed(store=store, pipeline=pipeline, fatal=True):
                self._died.add((store, pipeline))
            case StoreNoticed(store=store, kind="stopped" | "resumed" as kind):
                (self._stopped.add if kind == "stopped" else self._stopped.discard)(store)
            case Lifetime(name="stopping"):
                self._draining = True

    def register(self, store: str, pipeline: str, beat: Callable[[], float]) -> None:
        """Watch a loop: `beat` gives the monotonic time of its last turn."""
        self._beats[store, pipeline] = beat

    def store_answered(self, store: str, *, seconds: float, writable: bool) -> None:
        """A store answered a background check, in that many seconds."""
        self._stores[store] = _StoreCheck(self._clock(), ok=True, writable=writable, seconds=seconds)

    def store_silent(self, store: str) -> None:
        """A store did not answer a background check."""
        self._stores[store] = _StoreCheck(self._clock(), ok=False, writable=False, seconds=0.0)

    def live(self) -> Report:
        """/livez: whoever reads this has been answered by a turning event loop."""
        return Report(200, {"status": "pass"})

    def ready(self) -> Report:
        """/readyz: every enabled store answered recently and takes writes, as the journal does, and we do not drain."""
        reasons = ["draining"] if self._draining else []
        reasons += ["journal: cannot be written"] if self._breakers.get("journal") is not None else []
        reasons += [f"{key}: {check['detail']}" for key, check in self._store_checks().items() if "detail" in check]
        if reasons:
            return Report(503, {"status": "fail", "reasons": reasons})
        return Report(200, {"status": "pass", "reasons": []})

    def health(self) -> Report:
        """/health: whether this process can do its work."""
        checks = {
            **self._pipeline_checks(),
            **self._store_checks(),
            **self._claim_checks(),
            **self._breaker_checks(),
            **self._setting_checks(),
        }
        if self._draining:
            checks["lifetime"] = {"status": "fail", "detail": "draining"}
        found = {check["status"] for check in checks.values()}
        status = next((status for status in ("fail", "warn") if status in found), "pass")
        body = {
            "status": status,
            "version": self._version,
            "uptime_s": round(self._clock() - self._started, 1),
            "checks": checks,
        }
        return Report(503 if status == "fail" else 200, body)

    def _pipeline_checks(self) -> dict[str, dict[str, Any]]:
        checks: dict[str, dict[str, Any]] = {}
        for (store, pipeline), beat in self._beats.items():
            age = max(self._clock() - beat(), 0.0)
            check: dict[str, Any] = {"status": "pass", "age_s": round(age, 1)}
            if age > self._limits.stuck:
                check |= {"status": "fail", "detail": "stuck"}
            checks[f"pipeline:{store}/{pipeline}"] = check
        for died in sorted(self._died):
            # What is no store's has its own name alone.
            checks["pipeline:" + "/".join(filter(None, died))] = {"status": "fail", "detail": "died"}
        return checks

    def _store_checks(self) -> dict[str, dict[str, Any]]:
        return {f"store:{store}": self._store_check(store, seen) for store, seen in self._stores.items()}

    def _store_check(self, store: str, seen: _StoreCheck | None) -> dict[str, Any]:
        if seen is None:
            return {"status": "warn", "detail": "has not answered yet"}
        age = self._clock() - seen.at
        check: dict[str, Any] = {"status": "warn", "age_s": round(age, 1)}
        if not seen.ok:
            return {**check, "detail": "does not answer"}
        check |= {"latency_ms": round(seen.seconds * 1000.0, 1), "writable": seen.writable}
        if age > self._limits.fresh:
            return {**check, "detail": "has not answered for a while"}
        if not seen.writable:
            return {**check, "detail": "takes no writes"}
        if any(refusing == store for refusing, _, _ in self._refusing):
            return {**check, "detail": "answers, but refuses the work"}
        return {**check, "status": "pass"}

    def _claim_checks(self) -> dict[str, dict[str, Any]]:
        stopped = {"status": "warn", "detail": "stopped: another consumer writes there"}
        return {f"claims:{store}": dict(stopped) for store in sorted(self._stopped)}

    def _breaker_checks(self) -> dict[str, dict[str, Any]]:
        checks: dict[str, dict[str, Any]] = {}
        for name, opened in self._breakers.items():
            checks[name] = {"status": "pass"}
            if opened is not None:
                checks[name] = {"status": "warn", "detail": "away", "age_s": round(self._clock() - opened, 1)}
        return checks

    def _setting_checks(self) -> dict[str, dict[str, Any]]:
        return {f"setting:{name}": {"status": "warn", "detail": "unsafe"} for name in self._warnings}
