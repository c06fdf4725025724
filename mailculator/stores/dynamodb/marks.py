"""What an operator sets on an email without moving it, as writes upon its record as it was read.

None is a move: the version stays, and so does the token, by which a holder, or whoever parked it, knows its own write.
The line in the history refuses all writes upon an earlier image. `UpdatedAt` stays as well, but where parking ends: to
the older programs it is the time of the last move, and an older consumer calls back with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mailculator.lifecycle import UNSENT, WAITING, clean
from mailculator.stores.dynamodb import history, layout
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.draft import Draft, by_image, milliseconds
from mailculator.stores.dynamodb.expression import Update
from mailculator.stores.dynamodb.record import Record


@dataclass(frozen=True, slots=True)
class Mark:
    """One of them.

    Arguments:
        past: what was done, for the note (`parked by …`).
        draft: what is set, at which time (epoch seconds) and why; None where it does not concern the record.
    """

    past: str
    draft: Callable[[Record, float, str], Draft | None]

    def note(self, who: str, why: str) -> str:
        """What the history is told."""
        return clean(f"{self.past} by {who}: {why}")

    def upon(self, image: Record, *, at: float, who: str, why: str) -> Update | None:
        """The write; None where the mark does not concern the record."""
        draft = self.draft(image, at, why)
        if draft is None:
            return None
        draft.log(None, image.status, at, self.note(who, why), image)
        return by_image(image, draft)


def is_written(update: Update, item: Item | None) -> bool:
    """Whether a mark that was refused stands in the record all the same: its reply was lost, and it was sent again."""
    there = None if item is None else item.get(layout.HISTORY)
    return isinstance(there, list) and update.change.sets[layout.HISTORY][-1] in there


def _release(image: Record, at: float, _why: str) -> Draft | None:
    if not image.parked:
        return None
    draft = Draft()
    _due_now(draft, image, at)
    draft.touch(at)
    draft.removes |= {layout.PARKED, layout.ATTEMPTS, layout.FAILING_SINCE, layout.CRASHES}
    return draft


def _park(image: Record, _at: float, _why: str) -> Draft | None:
    if image.status not in WAITING or image.parked:
        return None
    return Draft(sets={layout.PARKED: True, layout.WORK_KEY: layout.parked_key(image.id)})


def _hasten(image: Record, at: float, _why: str) -> Draft | None:
    # What is due by the latest of all replicas' clocks may be claimed already.
    is_due = image.item.get(layout.DUE_AT, 0) <= milliseconds(at + layout.CLOCKS_DIFFER)
    if image.status not in WAITING or image.parked or is_due:
        return None
    draft = Draft()
    _due_now(draft, image, at)
    return draft


def _cancel(image: Record, at: float, why: str) -> Draft | None:
    if image.status not in UNSENT or image.cancelled is not None:
        return None
    draft = Draft(sets={layout.CANCELLED: history.clip(clean(why), layout.REASON_BYTES)})
    if image.status in WAITING:  # a holder says itself when it is due again
        _due_now(draft, image, at)
        draft.removes.add(layout.PARKED)
    return draft


def _due_now(draft: Draft, image: Record, at: float) -> None:
    stage = layout.stage_of(image.status)
    if stage is not None:
        draft.stage(stage, image.id, at)


RELEASE = Mark("released", _release)
PARK = Mark("parked", _park)
HASTEN = Mark("hastened", _hasten)
CANCEL = Mark("cancelled", _cancel)
