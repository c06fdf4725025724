"""A queue that is obviously right: emails in a dictionary, and what the contract says of every verb.

It does not answer; it is told what a store has answered, says where that breaks the contract (`Broken`), and goes on
from there. Where the contract leaves something open (which of several emails equally due, when another program's hold
ends to the second) any answer is right.

Its time is in seconds from the example's beginning and stands still but for `pass_time`. All of a test's terms end half
a step of time away from where that may stand, so the seconds that a store really takes change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from mailculator.lifecycle import (
    FAILED_CALLBACK,
    REQUEUES,
    SENT_CALLBACK,
    TERMINAL,
    WAITING,
    WORKING,
    Move,
    Stage,
)
from mailculator.model import Email, NewEmail, Status, StatusCount
from mailculator.stores.base import Enqueued, Overdue, Recorded, Renewal, Steered
from mailculator.stores.sought import Sought
from tests.support.queue_mail import HOLD, SLACK, Mail, Rescue, Span, at, in_model_time, insist

_CALLBACKS = {status for stage in (SENT_CALLBACK, FAILED_CALLBACK) for status in (stage.waiting, stage.working)}


class QueueModel:
    """All of them.

    Arguments:
        kept: how many lines of a history a store keeps at least; None = all.
        prompt: whether a claim sees whatever was written before it. A store that looks at an index for some seconds at
            once sees what it was before time passed, and does not keep to the order to the second.
        own_tokens: whether the store itself gives tokens, to a new email and to one that another program has moved,
            which nobody has been told. No id may come again there.
    """

    def __init__(self, *, kept: int | None = None, prompt: bool = True, own_tokens: bool = False) -> None:
        self.mails: dict[str, Mail] = {}
        self.now = 0.0
        self.kept = kept
        self.prompt = prompt
        self.own_tokens = own_tokens

    def pass_time(self, seconds: float) -> None:
        """Nothing happens but that."""
        self.now += seconds

    # What producers do.

    def enqueued(self, emails: Sequence[NewEmail], ttl: float | None, answers: Sequence[Enqueued]) -> None:
        """An id that is there is left alone."""
        insist(len(answers) == len(emails), "answers", answers)
        for email, answer in zip(emails, answers, strict=True):
            right = Enqueued.EXISTS if email.id in self.mails else Enqueued.CREATED
            insist(answer is right, email.id, "is", right, "and not", answer)
            if answer is Enqueued.CREATED:
                self.produced(email.id, email.payload_file_path, ttl)

    def produced(self, email_id: str, path: str, ttl: float | None) -> None:
        """A new email, by whoever."""
        left = None if self.own_tokens else ""
        self.mails[email_id] = Mail(email_id, path, self.now, ttl, at(self.now), at(self.now), left=left)

    # What holders do.

    def claimed(self, stage: Stage, limit: int, emails: Sequence[Email], *, lease: float, holder: str) -> None:
        """Up to `limit` of what is due, oldest first, each moved and held."""
        waiting = [mail for mail in self.mails.values() if mail.status is stage.waiting and not mail.parked]
        ready = {mail.id: mail.due for mail in waiting if mail.due.passed(self.now) is not False}
        sure = {email_id for email_id, due in ready.items() if due.passed(self.now) and self._is_seen(email_id)}
        ids = [email.id for email in emails]
        insist(len(set(ids)) == len(ids) <= max(limit, 0), "claimed", ids, "with a limit of", limit)
        insist(set(ids) <= set(ready), "claimed what is not to be had:", set(ids) - set(ready))
        left = sure - set(ids)
        insist(not left or len(ids) == max(limit, 0), "left", left, "though there was room")
        order = [*ids, *sorted(left, key=lambda one: ready[one])[:1]]
        for older, younger in pairwise(order if self.prompt else []):
            insist(ready[older].first <= ready[younger].last, older, "was claimed before", younger, "which is older")
        for email in emails:
            self._claim(self.mails[email.id], stage, email, lease, holder)

    def _is_seen(self, email_id: str) -> bool:
        mail = self.mails[email_id]
        # No producer leaves out the ttl: such an email may have to be put right by one claim, for the next.
        odd = mail.ttl is None and mail.version == 1
        return self.prompt or (max(mail.moved.last, mail.due.last) < self.now and not odd)

    def _claim(self, mail: Mail, stage: Stage, email: Email, lease: float, holder: str) -> None:
        if mail.foreign:
            mail.forget_tries()
        if stage in (SENT_CALLBACK, FAILED_CALLBACK) and mail.reached is None:
            mail.reached = Span(mail.moved.first, self.now)
        mail.go(stage.working, f"claimed by {holder}", self.now)
        insist(email.claim_token not in {"", mail.token}, email.id, "was claimed under an old token")
        mail.token = mail.left = email.claim_token
        mail.holder, mail.claimed = holder, self.now
        mail.attempts, mail.rescued, mail.foreign = mail.attempts + 1, None, False
        mail.lease, mail.until = lease, at(self.now + lease)
        mail.check_email(email, self.now)

    def recorded(self, move: Move, answer: Recorded) -> None:
        """DONE for the claim that holds it, and again for what was applied; LOST for everybody else."""
        mail = self.mails.get(move.email.id)
        key = (move.email.version, move.email.claim_token)
        if mail is not None and mail.holds(move.email):
            insist(answer is Recorded.DONE, move, "rests on the claim that stands, and is", answer)
            mail.apply(move, self.now)
            mail.written[key] = (move.to, move.note)
        elif mail is not None and mail.written.get(key) == (move.to, move.note):
            folded = self.kept is not None and len(mail.lines) + 2 + len(mail.marks) > self.kept
            # Where another program raises no version, what it has written over cannot be told any more.
            hidden = mail.foreign and mail.version == move.email.version + 1
            insist(answer is Recorded.DONE or folded or hidden, move, "was applied, and is", answer)
        else:
            insist(answer is Recorded.LOST, move, "rests on a claim that does not stand, and is", answer)

    def renewed(self, emails: Sequence[Email], lease: float, answer: Renewal) -> None:
        """Whoever holds it goes on holding it, however late."""
        mails = {email.id: self.mails.get(email.id) for email in emails}
        held = {email.id for email in emails if (mail := mails[email.id]) is not None and mail.holds(email)}
        insist(answer == Renewal(frozenset(held), frozenset(mails.keys() - held)), "held are", held, "and not", answer)
        for mail in mails.values():
            if mail is not None and mail.id in held:
                mail.lease, mail.until, mail.moved = lease, at(self.now + lease), at(self.now)

    # What rescuers do.

    def is_overdue(self, mail: Mail) -> bool | None:
        """Whether nobody holds it any more; None where nobody can tell."""
        if mail.status not in WORKING:
            return False
        if mail.until is not None:
            return mail.until.passed(self.now)
        return Span(mail.moved.first + HOLD, mail.moved.last + HOLD).passed(self.now)

    def has_claim(self, email: Email) -> bool:
        """Whether that claim is the one that stands there."""
        mail = self.mails.get(email.id)
        return mail is not None and mail.stands(email)

    def looked(self, limit: int, found: Sequence[Overdue]) -> None:
        """`overdue` has told of these, and nothing has changed."""
        overdue = {mail.id: self.is_overdue(mail) for mail in self.mails.values()}
        ids = [one.email.id for one in found]
        insist(len(set(ids)) == len(ids) <= limit, "found", ids, "with a limit of", limit)
        for one in found:
            mail = self.mails.get(one.email.id)
            insist(mail is not None and overdue[mail.id] is not False, one, "is not overdue")
            assert mail is not None
            insist(mail.stands(one.email), one, "is not as it stands there:", mail)
            insist(one.holder == (None if mail.foreign else mail.holder), one, "was held by", mail.holder)
            mail.check_email(one.email, self.now)
            latest = mail.moved.last if mail.foreign else mail.claimed
            insist(
                in_model_time(one.since, self.now) < latest + SLACK, one, "is told to be later than its claim", latest
            )
        sure = {email_id for email_id, is_overdue in overdue.items() if is_overdue}
        insist(len(ids) == limit or sure <= set(ids), "not found, though there was room:", sure - set(ids))

    def rescued(self, move: Move, by: int, answer: Recorded) -> None:
        """DONE for what is overdue still, and again for the same rescuer until the next claim."""
        mail = self.mails.get(move.email.id)
        if mail is None:
            return insist(answer is Recorded.LOST, move, "is of an email that is gone, and is", answer)
        overdue = mail.stands(move.email) and self.is_overdue(mail)
        own = Rescue(by, move.email.version, move.to, move.note)
        if overdue is not False:
            insist(answer is Recorded.DONE or overdue is None, move, "is of what is overdue still, and is", answer)
            if answer is Recorded.DONE:
                self._rescue(mail, move, own)
        elif mail.rescued == own and mail.version == own.version + 1 and not mail.foreign:
            insist(answer is Recorded.DONE, move, "was applied, and is", answer)
        elif mail.rescued != own:
            insist(answer is Recorded.LOST, move, "must not be written, and is", answer)
        return None

    def _rescue(self, mail: Mail, move: Move, own: Rescue) -> None:
        if mail.foreign:
            mail.forget_tries()
        mail.apply(move, self.now)
        mail.token, mail.rescued, mail.foreign = None, own, False

    # What operators do.

    def requeued(self, ids: Sequence[str], note: str, ttl_extension: float, answers: Sequence[Steered]) -> None:
        """Along REQUEUES, anew."""
        for email_id, answer in zip(ids, answers, strict=True):
            mail = self.mails.get(email_id.lower())
            target = REQUEUES.get(mail.status) if mail else None
            self._steered(email_id, mail, target is not None, answer)
            if mail is None or target is None:
                continue
            mail.go(target, note, self.now)
            mail.forget_tries()
            mail.due, mail.parked, mail.foreign = at(self.now), False, False
            mail.token, mail.left, mail.cancelled = None, None, None
            if target in (Status.ACCEPTED, Status.READY):
                mail.generation, mail.reached, mail.reached_unsure = mail.generation + 1, None, False
            if mail.ttl is not None and mail.ttl <= self.now:
                mail.ttl = self.now + ttl_extension

    def marked(self, past: str, ids: Sequence[str], answers: Sequence[Steered]) -> None:
        """Released, parked, hastened, cancelled: no move."""
        for email_id, answer in zip(ids, answers, strict=True):
            mail = self.mails.get(email_id.lower())
            concerns = mail is not None and mail.is_for(past, self.now)
            self._steered(email_id, mail, answer is Steered.DONE if concerns is None else concerns, answer)
            if mail is not None and answer is Steered.DONE:
                mail.mark(past, self.now)

    def _steered(self, email_id: str, mail: Mail | None, applies: bool, answer: Steered) -> None:
        right = Steered.MISSING if mail is None else Steered.DONE if applies else Steered.NOT_APPLICABLE
        insist(answer is right, email_id, "is", right, "and not", answer)

    def retained(self, limit: int, count: int, there: set[str]) -> None:
        """Up to `limit` of what is terminal and past its ttl are gone, and nothing else."""
        late = {
            mail.id
            for mail in self.mails.values()
            if mail.status in TERMINAL and mail.ttl is not None and mail.ttl <= self.now
        }
        gone = set(self.mails) - there
        insist(gone <= late, "deleted before their time:", gone - late)
        insist(len(gone) == count == min(limit, len(late)), "deleted", count, gone, "of", late, "at most", limit)
        for email_id in gone:
            del self.mails[email_id]

    # What other programs do.

    def moved_as_older(self, email_id: str, target: Status, raised: int, reason: str | None) -> None:
        """It knows of no lease, no tries and no due time, and says when it did so, or not; the reason is its own."""
        mail = self.mails[email_id]
        mail.reason = reason
        mail.status, mail.foreign, mail.until, mail.token = target, True, None, None
        if self.own_tokens:
            mail.left = None
            mail.reached_unsure = mail.reached_unsure or target in _CALLBACKS
        mail.version, mail.raised = mail.version + raised, mail.raised + raised
        mail.moved = Span(mail.moved.first, self.now)
        mail.due = Span(min(mail.due.first, self.now), max(mail.due.last, self.now))

    def overtaken(self, email_id: str, raised: int) -> None:
        """Another program has moved it there and back: only the version tells."""
        mail = self.mails[email_id]
        self.moved_as_older(email_id, mail.status, raised, mail.reason)

    def restored(self, email_id: str, token: str) -> None:
        """Somebody has put a copy back, and claimed it; a rescuer may have to watch that claim for its whole lease."""
        mail = self.mails[email_id]
        assert mail.until is not None
        mail.token = mail.left = token
        mail.until = Span(mail.until.first, max(mail.until.last, self.now + mail.lease))

    def deleted(self, email_id: str) -> None:
        """It is gone; the same id may come again, and that is another email."""
        del self.mails[email_id]

    # What stands there.

    def check_counts(self, counts: Mapping[Status, StatusCount]) -> None:
        """All statuses, the terminal ones too."""
        insist(set(counts) == set(Status), "counts of", set(counts))
        for status, count in counts.items():
            mails = [mail for mail in self.mails.values() if mail.status is status]
            right = (len(mails), len([mail for mail in mails if mail.parked]))
            # What a producer has put into a store's inbox may for a while be counted there as well as where it is.
            twice = not self.prompt and status is Status.ACCEPTED and count.count > right[0]
            insist(twice or (count.count, count.parked) == right, status, "is", count, "and not", right)
            dues = [mail.due for mail in mails if not mail.parked]
            if status in WAITING and all(due.first == due.last for due in dues):
                age = max([0.0, *(self.now - due.first for due in dues)])
                insist(abs(count.oldest_age - age) < SLACK, status, "is", count.oldest_age, "old, and not", age)

    def page(self, sought: Sought, limit: int) -> list[str]:
        """Ids, in their order."""
        return sorted(
            mail.id
            for mail in self.mails.values()
            if sought.status in (None, mail.status)
            and sought.parked in (None, mail.parked)
            and (not sought.unknown or mail.is_unknown)
            and sought.domain in (None, mail.domain)
            and mail.id > (sought.after or "")
        )[:limit]
