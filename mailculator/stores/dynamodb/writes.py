"""The writes that move an email, as data: what each changes, and what it rests on.

Every write rests on the version, and on our copies of status and time being those that stand: the older programs
raise no version, but they do set both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mailculator.lifecycle import INTAKE, SENDER, STAMPS_REACHED, Move, Stage
from mailculator.model import Email, NewEmail, Status
from mailculator.stores.dynamodb import history, layout
from mailculator.stores.dynamodb.codec import Item
from mailculator.stores.dynamodb.draft import LEASE, TRIES, WORK, Draft, by_image, due_at, milliseconds
from mailculator.stores.dynamodb.expression import Update, Where
from mailculator.stores.dynamodb.record import HIGHEST, Record, stamp

IN_STEP = Where("{State} = {Attributes.Latest} AND {Seen} = {Attributes.UpdatedAt}")
"""The last write was ours."""


@dataclass(frozen=True, slots=True)
class Hold:
    """How a claim is held.

    Arguments:
        token: names the claim.
        lease: seconds.
        holder: the replica's name.
        at: epoch seconds of the claim.
    """

    token: str
    lease: float
    holder: str
    at: float

    def anew(self) -> Hold:
        """The same for another email: every claim has a token of its own."""
        return replace(self, token=layout.new_token())


def _fits(version: int, image: Record | None) -> Where:
    """No line of history stands where the next one belongs, and there is room for it."""
    room = "attribute_not_exists({Hist}) OR size({Hist}) < :kept"
    free = "(attribute_not_exists({HistVersion}) OR {HistVersion} <= :version) AND {Version} = :version"
    if image is None:
        return Where(f"{free} AND ({room})", {"version": version, "kept": layout.HISTORY_KEPT})
    return Where(free, {"version": version})


def new_email(email: NewEmail, *, at: float) -> Item:
    """An email that we put on the queue ourselves: ours from the start, so that nobody has to adopt it."""
    item: Item = {
        **layout.meta_key(email.id),
        layout.TTL: layout.FAR,
        layout.ATTRIBUTES: {
            layout.LATEST: str(INTAKE.waiting),
            layout.CREATED_AT: stamp(at),
            layout.UPDATED_AT: stamp(at),
            layout.REASON: "",
            layout.PAYLOAD: email.payload_file_path,
        },
        layout.VERSION: 1,
        layout.STATE: str(INTAKE.waiting),
        layout.SEEN: stamp(at),
        layout.WORK_KEY: layout.work_key(INTAKE, email.id),
        layout.DUE_AT: due_at(at),
        layout.HISTORY: [history.line(None, INTAKE.waiting, at, "enqueued")],
    }
    if email.ttl is not None:
        item[layout.EXPIRES] = email.ttl
    return item


def claim(stage: Stage, email_id: str, version: int, hold: Hold, *, image: Record | None = None) -> Update:
    """Take an email that stands in the stage's waiting status under that version.

    Arguments:
        image: the record as it was read; without it the history must have room for a line.
    """
    draft = Draft()
    draft.move(stage.working, hold.at)
    draft.log(version + 1, stage.working, hold.at, f"claimed by {hold.holder}", image)
    draft.sets |= {layout.VERSION: version + 1, **_held(hold)}
    draft.adds |= {layout.LEASE_SEQ: (0, 1), layout.ATTEMPTS: (0, 1)}
    where = Where(
        "{Attributes.Latest} = :waiting AND attribute_not_exists({Parked})"
        " AND (attribute_not_exists({Attempts}) OR {Attempts} < :most)",
        {"waiting": str(stage.waiting), "most": HIGHEST},
    )
    return Update(layout.meta_key(email_id), draft.done(), IN_STEP & where & _fits(version, image))


def _held(hold: Hold) -> dict[str, Any]:
    return {
        layout.TOKEN: hold.token,
        layout.LEASE_BY: history.clip(hold.holder, 64),
        layout.LEASE_UNTIL: milliseconds(hold.at + hold.lease),
        layout.LEASE_FOR: round(hold.lease * 1000),
    }


def take_in(stage: Stage, email_id: str, hold: Hold) -> Update:
    """Adopt and claim a new email of the older producer in one write."""
    draft = Draft()
    draft.move(stage.working, hold.at)
    draft.log(2, stage.working, hold.at, f"claimed by {hold.holder}", None)
    draft.stage(stage, email_id, hold.at)
    draft.sets |= {layout.VERSION: 2, layout.LEASE_SEQ: 1, layout.ATTEMPTS: 1, layout.TTL: layout.FAR, **_held(hold)}
    draft.keeps["Attributes.Reason"] = ""
    draft.copies |= {
        layout.EXPIRES: (layout.EXPIRES, layout.TTL),
        "Attributes.CreatedAt": ("Attributes.CreatedAt", "Attributes.UpdatedAt"),
    }
    where = Where(
        "{Attributes.Latest} = :waiting AND attribute_not_exists({State}) AND attribute_not_exists({Version})"
        " AND attribute_not_exists({Hist}) AND attribute_type({TTL}, :number) AND {TTL} < :far"
        " AND attribute_type({Attributes.UpdatedAt}, :text) AND attribute_type({Attributes.PayloadFilePath}, :text)"
        " AND (attribute_not_exists({Attributes.CreatedAt}) OR attribute_type({Attributes.CreatedAt}, :text))"
        " AND (attribute_not_exists({Attributes.Reason}) OR attribute_type({Attributes.Reason}, :text))"
        " AND (attribute_not_exists({Attributes.EMLFilePath}) OR attribute_type({Attributes.EMLFilePath}, :text))",
        {"waiting": str(stage.waiting), "number": "N", "text": "S", "far": layout.FAR},
    )
    return Update(layout.meta_key(email_id), draft.done(), where)


def as_claimed(email: Email) -> Where:
    """The claim stands."""
    return IN_STEP & Where(
        "{Attributes.Latest} = :status AND {Version} = :version AND {Token} = :token",
        {"status": str(email.status), "version": email.version, "token": email.claim_token},
    )


def renew(email: Email, *, lease: float, at: float) -> Update:
    """Hold on. `UpdatedAt` moves as well: the producer takes what has not been touched for long for stuck."""
    draft = Draft()
    draft.touch(at)
    draft.sets |= {layout.LEASE_UNTIL: milliseconds(at + lease), layout.LEASE_FOR: round(lease * 1000)}
    draft.adds[layout.LEASE_SEQ] = (0, 1)
    return Update(layout.meta_key(email.id), draft.done(), as_claimed(email))


def record(move: Move, *, at: float, image: Record | None = None) -> Update:
    """Write a result down."""
    email, draft = move.email, _moved(move, at, image)
    return Update(layout.meta_key(email.id), draft.done(), as_claimed(email) & _fits(email.version, image))


def rescue(move: Move, image: Record, *, at: float, name: str) -> Update:
    """Write down what became of an email whose holder is gone, upon its record as it was read.

    Arguments:
        name: what goes into the record in the place of the token, so that nothing the holder still writes can match.
    """
    draft = _moved(move, at, image)
    draft.sets[layout.TOKEN] = name
    if not move.forward and not image.ours:
        # Another program brought it there: its tries are an earlier stage's, and were mostly cleared when it was met.
        draft.removes |= set(TRIES)
    stage = layout.stage_of(move.to)
    if stage is not None and not move.forward and not move.park and not move.delay:
        draft.stage(stage, image.id, at)
    return by_image(image, draft)


def _moved(move: Move, at: float, image: Record | None) -> Draft:
    draft = Draft()
    version = move.email.version + 1
    draft.move(move.to, at)
    draft.log(version, move.to, at, move.note, image)
    draft.sets[layout.VERSION] = version
    draft.removes |= set(LEASE)
    if move.reason is not None:
        draft.sets["Attributes.Reason"] = history.clip(move.reason, layout.REASON_BYTES)
    if move.domain is not None:
        draft.sets[layout.DOMAIN] = history.clip(move.domain, 255)
    if move.crashes:
        draft.sets[layout.CRASHES] = move.crashes
    elif move.crashes is not None:
        draft.removes.add(layout.CRASHES)
    if move.forward:
        _forward(draft, move, at)
    else:
        _back(draft, move, at)
    return draft


def _forward(draft: Draft, move: Move, at: float) -> None:
    draft.removes |= set(TRIES)
    if move.to in STAMPS_REACHED:
        draft.sets[layout.REACHED_AT] = milliseconds(at)
    if move.to in (SENDER.waiting, Status.FAILED):
        # The older consumer prints an attribute that is missing as `<nil>`, and passes that on.
        draft.keeps |= {"Attributes.EMLFilePath": "", **({} if move.reason else {"Attributes.Reason": ""})}
    stage = layout.stage_of(move.to)
    if stage is None:
        _settle(draft)
    else:
        draft.stage(stage, move.email.id, at)


def _back(draft: Draft, move: Move, at: float) -> None:
    email = move.email
    draft.sets[layout.DUE_AT] = milliseconds(at + move.delay)
    draft.sets[layout.ATTEMPTS] = email.attempts if move.counts else max(0, email.attempts - 1)
    if move.failing:
        draft.keeps[layout.FAILING_SINCE] = milliseconds(at)
    if move.error is not None:
        draft.sets[layout.LAST_ERROR] = history.clip(move.error, layout.REASON_BYTES)
    if move.park:
        draft.sets |= {layout.PARKED: True, layout.WORK_KEY: layout.parked_key(email.id)}


def _settle(draft: Draft) -> None:
    """Nothing is left to do: out of the work index, and its true ttl where DynamoDB looks for it."""
    draft.copies[layout.TTL] = (layout.EXPIRES, layout.TTL)
    draft.removes |= {*WORK, *LEASE, layout.EXPIRES, layout.LEASE_SEQ, layout.PARKED}
