"""Writes upon a record as it was read: what is put right, put off, or requeued by an operator."""

from __future__ import annotations

from mailculator.lifecycle import REQUEUES, UNSENT
from mailculator.model import Status
from mailculator.stores.dynamodb import history, layout
from mailculator.stores.dynamodb.draft import LEASE, TRIES, WORK, Draft, by_image, milliseconds
from mailculator.stores.dynamodb.expression import Update
from mailculator.stores.dynamodb.record import Record, moment, stamp

_CARRIED_OUT = tuple(str(status) for status in Status if status not in UNSENT)
"""Where a cancellation has had its effect, or has come too late. What is put back from there is to be sent, as after an
operator's requeue; what is put back before that is cancelled still."""


def sync(image: Record, *, at: float, note: str | None) -> Update:
    """Take over what another program has left: copies, work key, ttl. No move: the version stays.

    Arguments:
        note: a line for the history; None for a record that we meet for the first time.
    """
    draft = Draft()
    stated = moment(image.updated)
    moved, updated = (at, stamp(at)) if stated is None else (image.updated_at.timestamp(), image.updated)
    if moment(image.item[layout.ATTRIBUTES].get(layout.CREATED_AT)) is None:
        # It is the Date of the message, which must not change from try to try.
        draft.sets["Attributes.CreatedAt"] = updated
    draft.sets |= {
        "Attributes.UpdatedAt": updated,
        layout.STATE: str(image.status),
        layout.SEEN: updated,
        layout.VERSION: image.version,
        layout.TOKEN: layout.new_token(),
    }
    # The older consumer prints an attribute that is missing as `<nil>`, and passes that on.
    for name in (layout.REASON, layout.PAYLOAD, layout.EML):
        if image.item[layout.ATTRIBUTES].get(name) is None:
            draft.sets[f"Attributes.{name}"] = ""
    draft.removes |= {*LEASE, layout.LEASE_BY, *TRIES, layout.PARKED}
    if image.state in _CARRIED_OUT and image.status in UNSENT:
        draft.removes.add(layout.CANCELLED)
    if note is not None:
        draft.log(None, image.status, at, note, image)
    stage = layout.stage_of(image.status)
    if stage is None:
        draft.sets[layout.TTL] = image.expires if image.expires is not None else layout.FAR
        draft.removes |= {*WORK, layout.EXPIRES}
    else:
        draft.stage(stage, image.id, min(moved, at))
        draft.keep_alive(image)
        if stage.name.endswith("callback"):
            draft.keeps[layout.REACHED_AT] = milliseconds(moved)
    return by_image(image, draft)


def index_again(image: Record, *, at: float) -> Update:
    """Give a record that is still to be worked on its place in the work index back."""
    draft = Draft()
    stage = layout.stage_of(image.status)
    if stage is not None:
        draft.stage(stage, image.id, at)
    if image.parked:
        draft.sets[layout.WORK_KEY] = layout.parked_key(image.id)
    return by_image(image, draft)


def postpone(image: Record, *, at: float, hold: float, why: str) -> Update:
    """Leave a working record that cannot be moved for later, with the reason, so that it crowds nobody out."""
    draft = Draft()
    draft.sets |= {
        layout.LAST_ERROR: history.clip(why, layout.REASON_BYTES),
        layout.LEASE_UNTIL: milliseconds(at + hold),
        layout.LEASE_FOR: round(hold * 1000),
    }
    draft.keeps[layout.TOKEN] = layout.new_token()
    draft.adds[layout.LEASE_SEQ] = (0, 1)
    return by_image(image, draft)


def set_aside(image: Record, *, why: str) -> Update:
    """Park a waiting record that no claim can move. No move: it stays where and as it is."""
    draft = Draft()
    draft.sets |= {
        layout.PARKED: True,
        layout.LAST_ERROR: history.clip(why, layout.REASON_BYTES),
        layout.WORK_KEY: layout.parked_key(image.id),
    }
    return by_image(image, draft)


def requeue(image: Record, *, at: float, note: str, ttl_extension: float) -> Update:
    """An operator's requeue: a move that starts everything anew."""
    draft = Draft()
    target = REQUEUES[image.status]
    stage = layout.stage_of(target)
    assert stage is not None  # noqa: S101  # no requeue leads to a terminal status
    draft.move(target, at)
    draft.log(image.version + 1, target, at, note, image)
    draft.stage(stage, image.id, at)
    draft.sets |= {layout.VERSION: image.version + 1, layout.TOKEN: layout.new_token(), layout.TTL: layout.FAR}
    draft.removes |= {*LEASE, *TRIES, layout.PARKED, layout.CANCELLED}
    if image.expires is not None:
        extended = int(at) + max(1, round(ttl_extension))
        draft.sets[layout.EXPIRES] = image.expires if image.expires > at else extended
    if target in (Status.ACCEPTED, Status.READY):
        draft.adds[layout.GENERATION] = (0, 1)
        draft.removes.add(layout.REACHED_AT)
    return by_image(image, draft)
