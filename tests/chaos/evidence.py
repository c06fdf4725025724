"""What the journals of all replicas say, read past the service: per claim, what was marked of it, when, and by whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from mailculator.journal.framing import Records
from mailculator.journal.layout import Segment, directory_name, replica_directories, segments
from mailculator.journal.marks import Kind, Mark, Opening, decode


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of one email, as its holder marked it. Times are epoch milliseconds; None where there is no such mark.

    Arguments:
        incarnation: of the process that held it.
        version: the row's under that claim.
        begun: BEGIN.
        dot: DOT.
        replied: ACC or REJ.
    """

    incarnation: str
    email_id: str
    version: int
    begun: int | None = None
    dot: int | None = None
    replied: int | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the journals say.

    Arguments:
        damage: what could not be read. The end of a record, torn off by a kill, is none.
    """

    claims: Sequence[Claim]
    damage: Sequence[str] = ()

    def by_email(self) -> Mapping[str, Sequence[Claim]]:
        """The claims of each email."""
        found: dict[str, list[Claim]] = {}
        for claim in self.claims:
            found.setdefault(claim.email_id, []).append(claim)
        return found


def read(journal: Path, store: str) -> Evidence:
    """All journals below that directory, as far as they are about one store."""
    found = (each for directory in replica_directories(journal) for each in segments(directory).values())
    return _evidence(chain.from_iterable(found), store)


def unanswered(journal: Path, replica: str, incarnation: str, store: str) -> frozenset[tuple[str, int]]:
    """Emails and versions of whose dot a process has left the mark by now, and of the reply to it has not."""
    claims = _evidence(segments(journal / directory_name(replica))[incarnation], store).claims
    return frozenset((one.email_id, one.version) for one in claims if one.dot is not None and one.replied is None)


def incarnations(journal: Path, replica: str) -> frozenset[str]:
    """Every process that ever wrote under that name."""
    directory = journal / directory_name(replica)
    return frozenset(segments(directory)) if directory.is_dir() else frozenset()


def _evidence(found: Iterable[Segment], store: str) -> Evidence:
    claims: dict[tuple[str, str, int], Claim] = {}
    damage: list[str] = []
    for segment in found:
        for mark in _marks(segment, damage):
            _add(claims, mark, segment.incarnation, store)
    return Evidence(list(claims.values()), damage)


def _marks(segment: Segment, damage: list[str]) -> Iterator[Mark]:
    with segment.path.open("rb") as stream:
        records = Records(stream)
        for payload in records:
            try:
                entry = decode(payload)
            except ValueError as error:
                records.reject(str(error))
                continue
            if not isinstance(entry, Opening):
                yield entry
    if records.damage is not None:
        damage.append(f"{segment.path.name}: {records.damage}")


def _add(claims: dict[tuple[str, str, int], Claim], mark: Mark, incarnation: str, store: str) -> None:
    # Version 0 is the claim's own mark: its token stands where an email's id would.
    if mark.key.store != store or not mark.key.version:
        return
    key = (incarnation, mark.key.email_id, mark.key.version)
    claim = claims.get(key) or Claim(*key)
    match mark.kind:
        case Kind.BEGIN:
            claim = replace(claim, begun=mark.wall)
        case Kind.DOT:
            claim = replace(claim, dot=mark.wall)
        case Kind.ACCEPTED | Kind.REFUSED:
            claim = replace(claim, replied=mark.wall)
    claims[key] = claim
