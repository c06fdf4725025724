"""What `mailculator cutover status` looks at, and how it tells what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mailculator import __version__, config, config_checks, environment
from mailculator.cli import output
from mailculator.cli.stores import opened
from mailculator.config import Settings
from mailculator.cutover import evidence
from mailculator.cutover.assessment import Assessment, Step, assess
from mailculator.cutover.evidence import ACTIVE, NEW, OLD, WINDOW, Look, Rates, Situation
from mailculator.errors import ConfigError, StoreError, StoreUnavailable
from mailculator.pipelines.minutes import MINUTE
from mailculator.stores import registry
from mailculator.stores.base import Minute, Store
from mailculator.words import at, span, title

NOT_SAFE = 3
"""The step is not safe."""

_WORST = (output.CONFIG, output.UNAVAILABLE, output.FAILURE)


async def report(step: str | None, *, as_json: bool) -> int:
    """Look, judge, tell. Returns the exit code. Errors: ConfigError for settings."""
    settings = config.load(needs={"store"})
    situation, troubles = await look(settings, datetime.now(UTC))
    judged = assess(situation, None if step is None else Step(step))
    if as_json:
        output.document(_document(situation, judged))
    else:
        _tell(situation, judged)
    # What is told is not all there is to know, so it can be neither 0 nor a mere "not yet".
    trouble = next((code for code in _WORST if code in troubles), None)
    return trouble or (output.OK if judged.safe else NOT_SAFE)


async def look(settings: Settings, now: datetime) -> tuple[Situation, set[int]]:
    """Everything that can be known from here, and exit codes for what should be and is not."""
    quiet, minute = timedelta(seconds=settings.cutover_quiet), timedelta(seconds=MINUTE * settings.time_scale)
    span_read = (now - evidence.reaches_back(quiet, minute), now)
    enabled = registry.enabled(settings)
    # At once: a store that is away takes its time to be found so.
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_look(settings, name, span_read, enabled=name in enabled))
            for name in registry.NAMES
            if name in enabled or name in (OLD, NEW)
        ]
    found = [task.result() for task in tasks]
    situation = Situation(
        now=now,
        service=__version__,
        guard=settings.duplicate_guard,
        quiet=quiet,
        stores={one.name: one for one, _ in found},
        minute=minute,
    )
    return situation, {code for _, code in found}


async def _look(
    settings: Settings, name: str, span_read: tuple[datetime, datetime], *, enabled: bool
) -> tuple[Look, int]:
    """One store. One that is switched off is opened as well where the settings say where it is."""
    if not enabled and not _is_configured(settings, name):
        return Look(name, enabled=False, configured=False), output.OK
    wrong = config_checks.problems(settings, frozenset({name}))  # type: ignore[arg-type]  # each store is a need
    if wrong:
        return Look(name, enabled=enabled, trouble=str(ConfigError(wrong))), output.OK
    try:
        async with opened(settings, name) as store:
            counts = await store.counts()
            minutes = await _minutes(store, *span_read)
            survey = await store.survey()
    except ConfigError as error:
        # A schema that is yet to be applied is what the way begins with, and no fault of the service.
        return Look(name, enabled=enabled, trouble=str(error)), output.CONFIG if enabled else output.OK
    except StoreError as error:
        code = output.UNAVAILABLE if isinstance(error, StoreUnavailable) else output.FAILURE
        return Look(name, enabled=enabled, trouble=str(error)), code
    return Look(name, enabled=enabled, counts=counts, minutes=minutes, survey=survey), output.OK


async def _minutes(store: Store, since: datetime, until: datetime) -> list[Minute]:
    """The minutes since then. What was noted while we looked is no sign of a clock that runs ahead: it is left out."""
    found = await store.minutes(since)
    read_at = datetime.now(UTC)
    return [one for one in found if not until < one.at <= read_at]


def _is_configured(settings: Settings, name: str) -> bool:
    """Whether any of what the store cannot do without is given; what is missing then is told."""
    return any(
        getattr(settings, attribute)
        for attribute, field in environment.fields(Settings).values()
        if environment.marked(field, "required") == name
    )


def _tell(situation: Situation, judged: Assessment) -> None:
    looks = [one for one in situation.stores.values() if one.configured]
    known = [one for one in looks if one.known]
    print(f"at {at(situation.now)}")
    print()
    output.table(("emails now", *(_heading(one) for one in looks)), _counts(looks))
    print()
    output.table(
        ("last minutes", "came", "left", "of them on record", "empty"), [_rates(situation, one) for one in known]
    )
    print()
    print(f"phase {judged.phase.value}: {judged.title}")
    for line in judged.because:
        print(output.clean(f"  {line}"))
    print()
    print(f"next: {judged.step}")
    if judged.prerequisites:
        lines = [("yes" if one.met else "NO", one.name, one.evidence) for one in judged.prerequisites]
        output.table(("met", "prerequisite", "evidence"), lines)
        print(f"this step is {'safe' if judged.safe else 'NOT safe'}")
    for one in judged.prerequisites:
        if not one.met:
            print(output.clean(f"  {one.name}: {one.todo}"))
    if judged.attention:
        print()
        print("look at")
        for line in judged.attention:
            print(output.clean(f"  {line}"))
    print()
    print(f"way back: {judged.back}")


def _heading(look: Look) -> str:
    return f"{title(look.name)} ({'on' if look.enabled else 'off'})"


def _counts(looks: Sequence[Look]) -> list[tuple[str, ...]]:
    rows = [(status.value, *(_count(one, status) for one in looks)) for status in ACTIVE]
    ages = tuple(span(one.oldest_age) if one.known and one.active else _none(one) for one in looks)
    return [*rows, ("oldest due for", *ages)]


def _count(look: Look, status: Any) -> str:
    if not look.known:
        return "?"
    found = look.counts.get(status)
    if found is None or not found.count:
        return "0"
    return f"{found.count} ({found.parked} parked)" if found.parked else str(found.count)


def _none(look: Look) -> str:
    return "-" if look.known else "?"


def _rates(situation: Situation, look: Look) -> tuple[str, ...]:
    rates = evidence.rates(situation, look)
    return (
        f"{title(look.name)}, {at(rates.begin)} to {at(rates.end)[11:]}",
        _per_minute(rates.entered_per_minute),
        _per_minute(rates.left_per_minute),
        f"{rates.recorded} of {WINDOW}",
        _empty(situation, look, rates),
    )


def _per_minute(rate: float | None) -> str:
    return "?" if rate is None else f"{rate:.1f}/min"


def _empty(situation: Situation, look: Look, rates: Rates) -> str:
    if not look.active:
        since = evidence.empty_since(look.minutes, situation.minute)
        return "now" if since is None else f"since {at(since)}"
    seconds = rates.empty_in(look.active)
    if seconds is None:
        return "not at this rate"
    return f"in {span(seconds)}, at {at(situation.now + timedelta(seconds=seconds))}"


def _document(situation: Situation, judged: Assessment) -> dict[str, Any]:
    return {
        "at": situation.now,
        "quiet_s": situation.quiet.total_seconds(),
        "stores": {name: _store(situation, one) for name, one in situation.stores.items()},
        "phase": {"id": judged.phase.value, "title": judged.title, "because": judged.because},
        "next": {
            "step": judged.step,
            "safe": judged.safe,
            "prerequisites": [
                {"name": one.name, "met": one.met, "evidence": one.evidence, "todo": one.todo}
                for one in judged.prerequisites
            ],
        },
        "back": judged.back,
        "attention": judged.attention,
    }


def _store(situation: Situation, look: Look) -> dict[str, Any]:
    plain: dict[str, Any] = {"enabled": look.enabled, "configured": look.configured, "trouble": look.trouble}
    if not look.known or look.survey is None:
        return plain
    rates = evidence.rates(situation, look)
    survey = look.survey
    return plain | {
        "counts": {
            status.value: {"count": one.count, "parked": one.parked, "oldest_age_s": round(one.oldest_age, 1)}
            for status, one in look.counts.items()
        },
        "active": look.active,
        "oldest_age_s": round(look.oldest_age, 1),
        "rate": {
            "from": rates.begin,
            "until": rates.end,
            "minutes_on_record": rates.recorded,
            "entered_per_minute": rates.entered_per_minute,
            "left_per_minute": rates.left_per_minute,
        },
        "empty_in_s": rates.empty_in(look.active),
        "empty_since": evidence.empty_since(look.minutes, situation.minute),
        "survey": {
            "exact": survey.exact,
            "swept_from": survey.swept_from,
            "swept_until": survey.swept_until,
            "swept": {status.value: count for status, count in survey.swept.items()},
            "foreign_write": survey.foreign_write,
            "poisoned": survey.poisoned,
            "poisoned_count": survey.poisoned_count,
            "stopped": survey.stopped,
        },
    }
