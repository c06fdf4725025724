"""pause, resume, audit: what operators ask of all replicas of a queue."""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from mailculator.cli import output
from mailculator.cli.service import Json
from mailculator.cli.signing import Who, Why, signed
from mailculator.cli.stores import StoreName, StoreOption, load, load_one, opened

if TYPE_CHECKING:
    from datetime import datetime

    from mailculator.config import Settings
    from mailculator.stores.base import Store


class PipelineName(StrEnum):
    """What a pipeline's argument takes; the names of lifecycle.STAGES, which --help would be slower with."""

    INTAKE = "intake"
    SENDER = "sender"
    SENT_CALLBACK = "sent-callback"
    FAILED_CALLBACK = "failed-callback"


Pipeline = Annotated[
    PipelineName | None,
    typer.Argument(help="intake, sender, sent-callback or failed-callback. Default: all of them.", metavar="PIPELINE"),
]
AllStores = Annotated[bool, typer.Option("--all-stores", help="In every enabled queue.")]


def pause(
    pipeline: Pipeline = None,
    *,
    why: Why,
    who: Who = "",
    length: Annotated[
        str, typer.Option("--for", help="How long: 90s, 30m, 2h, 1d. Default: until resumed.", metavar="LENGTH")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", help="Until when: 2026-11-28T06:00, UTC unless it says else.", metavar="TIME")
    ] = "",
    store: StoreOption = None,
    all_stores: AllStores = False,
    as_json: Json = False,
) -> None:
    """Have a pipeline of every replica take up nothing more.

    What is in hand goes on to its end. Every replica obeys within seconds, and a restart forgets nothing. No mail is
    lost by it: it waits. A second pause of the same takes the place of the first.
    """
    from mailculator.cli import spans

    if length and until:
        raise output.misused("--until", "give --for or --until, not both")
    end = spans.moment(until, "--until") if until else None
    seconds = spans.seconds(length, "--for") if length else None
    output.run(_pause(pipeline, seconds, end, *signed(who, why), store, every=all_stores, as_json=as_json))


def resume(
    pipeline: Pipeline = None,
    *,
    why: Why,
    who: Who = "",
    store: StoreOption = None,
    all_stores: AllStores = False,
    as_json: Json = False,
) -> None:
    """Let a paused pipeline go on, or all of them.

    Without a name, all that are paused.
    Exit code 1 when it stays paused all the same, since all pipelines are.
    """
    raise typer.Exit(output.run(_resume(pipeline, *signed(who, why), store, every=all_stores, as_json=as_json)))


def audit(
    after: Annotated[
        str, typer.Option(help="Only what is older than this one: the last of the page before.", metavar="KEY")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Lines at the most.", metavar="N")] = 50,
    store: StoreOption = None,
    as_json: Json = False,
) -> None:
    """Say what operators did to the queue as a whole.

    Newest first. What concerns a single email stands in its history: `queue show ID`.
    """
    output.run(_audit(store, after, limit, as_json=as_json))


def _stores(store: StoreName | None, *, every: bool) -> tuple[Settings, tuple[str, ...]]:
    """The settings, and the stores that are meant. Errors: ConfigError; BadParameter."""
    if every and store is not None:
        raise output.misused("--all-stores", "give --store or --all-stores, not both")
    if every:
        return load(None)
    settings, name = load_one(store)
    return settings, (name,)


async def _pause(
    pipeline: PipelineName | None,
    seconds: float | None,
    end: datetime | None,
    who: str,
    why: str,
    store: StoreName | None,
    *,
    every: bool,
    as_json: bool,
) -> None:
    from mailculator import fleet

    settings, names = _stores(store, every=every)
    name = pipeline.value if pipeline else fleet.WHOLE
    for place in names:
        async with opened(settings, place) as queue:
            length = seconds if end is None else await _until(queue, end)
            await queue.control.pause(name, seconds=length, who=who, why=why)
            if not as_json:
                print(f"{place}: {fleet.paused(name, length)}")
                undo = " ".join(["mailculator resume", *([name] if pipeline else []), f"--store {place} --why …"])
                print(f"undo: {undo}", file=sys.stderr)
    if as_json:
        output.document({"paused": fleet.named(name), "stores": names})


async def _until(queue: Store, end: datetime) -> float:
    """Seconds from now, by the store's clock, which is the one that ends the pause."""
    from datetime import UTC, datetime

    from mailculator.cli import spans

    ping = await queue.ping()
    left = (end - datetime.now(UTC)).total_seconds() + (ping.clock_off or 0.0)
    if not 0 < left <= spans.LONGEST:
        raise output.misused("--until", "must be in the future, and at most 365 days from now")
    return left


async def _resume(
    pipeline: PipelineName | None, who: str, why: str, store: StoreName | None, *, every: bool, as_json: bool
) -> int:
    from mailculator import fleet

    settings, names = _stores(store, every=every)
    code, told = output.OK, {}
    for place in names:
        async with opened(settings, place) as queue:
            standing = [one.pipeline for one in await queue.control.pauses()]
            wanted = [pipeline.value] if pipeline else standing
            ended = [one for one in wanted if await queue.control.resume(one, who=who, why=why)]
        told[place] = [fleet.named(one) for one in ended]
        if not as_json:
            print(f"{place}: {', '.join(fleet.resumed(one) for one in ended) or 'no such pause'}")
        if pipeline is not None and fleet.WHOLE in standing:
            code = output.FAILURE
            undo = f"mailculator resume --store {place} --why …"
            print(f"{place}: all pipelines are paused still: {undo}", file=sys.stderr)
    if as_json:
        output.document(told)
    return code


async def _audit(store: StoreName | None, after: str, limit: int, *, as_json: bool) -> None:
    settings, name = load_one(store)
    async with opened(settings, name) as queue:
        deeds = await queue.control.audit(after=after or None, limit=limit)
    if as_json:
        output.document([asdict(deed) for deed in deeds])
        return
    if not deeds:
        print("nothing on record" if not after else "nothing older")
        return
    output.table(("when", "who", "what", "why"), [(deed.at, deed.who, deed.what, deed.why) for deed in deeds])
    if len(deeds) == limit:
        print(f"next page: --after {deeds[-1].key}", file=sys.stderr)
