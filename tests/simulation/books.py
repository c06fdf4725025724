"""What a world has written down, as the one checker reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mailculator.journal.framing import Records
from mailculator.journal.layout import Segment
from mailculator.journal.marks import DURABLE, Mark, decode
from tests.chaos import evidence
from tests.chaos.evidence import Claim, Evidence
from tests.chaos.verdict import Account, Pause
from tests.simulation.chronicle import milliseconds
from tests.simulation.disk import Share
from tests.simulation.replica import JOURNAL
from tests.simulation.store import NAME
from tests.support.invariants import Note, Standing

if TYPE_CHECKING:
    from tests.simulation.world import World

_DURABLE = tuple(f"{kind} ".encode() for kind in sorted(DURABLE))
_CUT = "/cut"
"""Ends the name of the incarnation of a claim that alone was cut short."""


@dataclass
class Struck:
    """What befell processes.

    Arguments:
        ended: incarnations that were killed or told to stop.
        pauses: of those that stood still.
    """

    ended: set[str] = field(default_factory=set)
    pauses: list[Pause] = field(default_factory=list)


def account(world: World) -> Account:
    """Everything that was written down."""
    marks = _read(world.share)
    claims = [_told(claim, world) for claim in marks.claims]
    ended = {*world.struck.ended, *(claim.incarnation for claim in claims if claim.incarnation.endswith(_CUT))}
    return Account(
        promised={email_id: kind for email_id, (kind, _) in world.promised.items()},
        emails=list(_standings(world)),
        accepted=world.peers.accepted,
        refused=frozenset(world.peers.refused),
        answers=world.peers.answers,
        evidence=Evidence(claims, marks.damage),
        dots=world.peers.dots,
        ended=frozenset(ended),
        pauses=[*world.struck.pauses, *_cut_off(world)],
    )


def _read(share: Share) -> Evidence:
    """As tests.chaos.evidence does it, but for BEGIN and END, of which the checker asks nothing and there are most."""
    claims: dict[tuple[str, str, int], Claim] = {}
    damage: list[str] = []
    for folder in share.replica_directories(JOURNAL):
        for each in share.segments(folder).values():
            for segment in each:
                for mark in _durable(segment, damage):
                    evidence._add(claims, mark, segment.incarnation, NAME)
    return Evidence(list(claims.values()), damage)


def _durable(segment: Segment, damage: list[str]) -> Iterator[Mark]:
    with segment.path.open("rb") as stream:
        records = Records(stream)
        for payload in records:
            if payload.startswith(_DURABLE) and isinstance(mark := decode(payload), Mark):
                yield mark
    if records.damage is not None:
        damage.append(f"{segment.path.name}: {records.damage}")


def _standings(world: World) -> Iterator[Standing]:
    for entry in world.queue.entries.values():
        history = tuple(Note(line.status, line.version, line.reason) for line in entry.lines)
        yield Standing(entry.id, entry.status, entry.version, entry.generation, history)


def _told(claim: Claim, world: World) -> Claim:
    """Its times by the world's clock. Where its connection died after the dot, or the disk would not take the reply,
    that claim was cut short as if its process had ended, though that goes on."""
    one = next(one for one in world.everyone if one.id == claim.incarnation)
    name = (claim.email_id, claim.version)
    dot, replied = (at and at - one.skew * 1000 for at in (claim.dot, claim.replied))
    if replied is not None and name in one.disk.replied:
        replied = milliseconds(one.disk.replied[name])
    claim = replace(claim, dot=dot, replied=replied)
    if replied is None and (name in one.unmarked or (claim.incarnation, *name) in world.peers.lost):
        return replace(claim, incarnation=claim.incarnation + _CUT)
    return claim


def _cut_off(world: World) -> Iterator[Pause]:
    """Who cannot reach the queue for longer than its lease is, to all others, one who stands still."""
    timing = world.ground.timing
    for spell in world.weather.spells:
        if spell.what == "cut off":
            # No lease holds for longer than that without the queue, and without a lease no dot may leave.
            until = min(spell.until + timing.store_timeout + timing.store_backoff.cap, spell.since + timing.lease)
            for one in world.everyone:
                if one.replica == spell.replica:
                    yield Pause(one.id, one.process.name, milliseconds(spell.since), milliseconds(until))
