"""What befell replicas, and what is to be known of it afterwards: what they held, and what became of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.chaos.evidence import Claim, Evidence
from tests.support.invariants import Standing


@dataclass(frozen=True, slots=True)
class Blow:
    """What befell a replica.

    Arguments:
        incarnation: of the process it befell; "" when that had written nothing yet.
        at: epoch seconds.
        held: what was left in its hands: each email's version under its claim.
        met: emails that it had in its hands when it was struck.
    """

    replica: str
    incarnation: str
    at: float
    held: Mapping[str, int]
    met: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """The log of a process that stood still, from the moment on when it went on.

    Arguments:
        lines: its whole log, which may still grow.
        heard: how many lines there were at that moment.
        gone: claims of its own that somebody else had gone past by then.
    """

    replica: str
    lines: Sequence[Mapping[str, Any]]
    heard: int
    gone: Mapping[str, int]

    def writes(self) -> Iterator[str]:
        """Lines that tell of a move that rested on such a claim: nobody may have let it pass."""
        for line in self.lines[self.heard :]:
            version = self.gone.get(line.get("email_id", ""))
            if version is not None and line.get("version") in (version, version + 1):
                yield f"{self.replica} had stood still and wrote all the same: {line}"

    def refusals(self) -> int:
        """How often it was told that a claim was lost."""
        return sum(line["event"] == "mail.claim_lost" for line in self.lines[self.heard :])


def overtaken(replica: str, held: Mapping[str, int], emails: Sequence[Standing]) -> dict[str, int]:
    """What was rescued from a replica, of what it held. What it wrote itself in its last moment is not that."""
    rescue = f"the lease of {replica} expired"
    return {
        email.id: held[email.id]
        for email in emails
        if email.id in held
        and any(note.version == held[email.id] + 1 and rescue in (note.reason or "") for note in email.history)
    }


def left_before_the_dot(blows: Sequence[Blow], evidence: Evidence) -> Iterator[str]:
    """What drained processes left in a working status though its message had not begun to leave."""
    dotted = {(one.incarnation, one.email_id, one.version) for one in evidence.claims if one.dot is not None}
    for blow in blows:
        for email_id, version in blow.held.items():
            if (blow.incarnation, email_id, version) not in dotted:
                yield f"{blow.replica} ended in good order and left {email_id} at version {version}"


def recoveries(blows: Sequence[Blow], evidence: Evidence) -> list[float]:
    """Seconds from each blow to the moment when the last of what was held was being worked on again.

    What is never begun again had its end written by the one that was struck, and counts for nothing.
    """
    claims = evidence.by_email()
    found = []
    for blow in blows:
        begun = [_begun_again(claims.get(email_id, ()), version) for email_id, version in blow.held.items()]
        later = [at / 1000 - blow.at for at in begun if at is not None]
        if later:
            found.append(max(0.0, *later))
    return found


def rescues(blows: Sequence[Blow], lines: Sequence[Mapping[str, Any]]) -> list[float]:
    """Seconds from each blow to the rescue of the last of what was held, as far as the logs tell of one.

    Arguments:
        lines: of all processes, in any order.
    """
    told: dict[tuple[str, str], list[float]] = {}
    for line in lines:
        if line["event"] == "mail.rescued":
            at = datetime.fromisoformat(line["timestamp"]).timestamp()
            told.setdefault((line["holder"], line["email_id"]), []).append(at)
    found = []
    for blow in blows:
        each = (told.get((blow.replica, email_id), ()) for email_id in blow.held)
        first = [min(after) for times in each if (after := [at for at in times if at >= blow.at])]
        if first:
            found.append(max(first) - blow.at)
    return found


def milliseconds(seconds: float) -> int:
    """As marks have it."""
    return int(seconds * 1000)


def _begun_again(claims: Sequence[Claim], version: int) -> int | None:
    return min((claim.begun for claim in claims if claim.version > version and claim.begun is not None), default=None)
