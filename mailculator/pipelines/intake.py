"""Intake: ACCEPTED mail is checked, so that what becomes READY can be sent.

What is wrong with the mail makes it INVALID; what is wrong with the world around it is tried again. Attachments are
looked at, not read: the sender reads them.
"""

from __future__ import annotations

import random

from mailculator import lifecycle, payload
from mailculator.config import Settings
from mailculator.errors import PayloadError, PayloadUnavailable
from mailculator.lifecycle import Failed, Invalid, Outcome, Park, Prepared, Retry, Wait
from mailculator.model import Email
from mailculator.payload import Payload
from mailculator.pipelines import files
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.checked import Checked
from mailculator.pipelines.threads import Threads
from mailculator.retry import spread
from mailculator.strictjson import Truncated
from mailculator.timing import Timing

MISSING_TRIES = 5
"""Looks for a file before it counts as missing for good; `Timing.payload_give_up` must have passed as well."""
TRUNCATED_TRIES = 3
"""Looks at a payload that ends too early before it counts as written so."""


class Looks:
    """Whether the last emails' files were found: when most were not, it is the share, not the mail.

    Arguments:
        window: emails that are remembered.
        least: emails without which nothing is concluded.
    """

    def __init__(self, window: int = 20, least: int = 10) -> None:
        self._window = window
        self._least = least
        self._found: dict[str, bool] = {}

    def add(self, email_id: str, *, found: bool) -> None:
        """One more look has ended; of one email only the last counts, however often it is tried."""
        self._found.pop(email_id, None)
        self._found[email_id] = found
        if len(self._found) > self._window:
            del self._found[next(iter(self._found))]

    def blame_share(self) -> bool:
        """Whether most of the last emails' files were not found."""
        missing = sum(not found for found in self._found.values())
        return len(self._found) >= self._least and missing * 2 > len(self._found)


class Intake:
    """The pipeline ACCEPTED → READY.

    Arguments:
        share: the breaker of the file system that payloads lie on, shared with the sender.
        threads: where files are read.
        found_fit: told what the sender need not read again.
        rng: for the jitter of delays.
        concurrency: emails under way at once; each occupies a thread while its files are looked at.
    """

    stage = lifecycle.INTAKE

    def __init__(
        self,
        settings: Settings,
        timing: Timing,
        *,
        share: Breaker,
        threads: Threads,
        found_fit: Checked,
        rng: random.Random,
        concurrency: int,
    ) -> None:
        self.breakers: tuple[Breaker, ...] = (share,)
        self.concurrency = concurrency
        self._share = share
        self._threads = threads
        self._found_fit = found_fit
        self._settings = settings
        self._timing = timing
        self._rng = rng
        self._looks = Looks()

    async def handle(self, email: Email) -> Outcome:
        """Check one email's payload and attachments."""
        if (ending := lifecycle.withdrawn(email)) is not None:
            return ending
        if not email.payload_file_path:
            return Park("row_corrupt: an ACCEPTED email needs a payload_file_path")
        path = email.payload_file_path
        return await self._share.guard(lambda: self._attempt(email, path))

    async def _attempt(self, email: Email, path: str) -> Outcome:
        try:
            checked, size = await self._threads.run(self._check, path)
        except Truncated as error:
            self._found(email)
            return self._retry(email, str(error)) if email.attempts < TRUNCATED_TRIES else self._refuse(str(error))
        except PayloadError as error:
            self._found(email)
            return self._refuse(str(error))
        except PayloadUnavailable as error:
            self._looks.add(email.id, found=not error.missing)
            return self._postpone(email, error)
        self._found(email)
        self._found_fit.put(email, checked, size)
        return Prepared(checked.to.domain, _note(email, checked))

    def _found(self, email: Email) -> None:
        self._looks.add(email.id, found=True)
        self._share.succeeded()

    def _check(self, path: str) -> tuple[Payload, int]:
        raw, limit = files.read_payload(path), self._settings.max_message_size
        checked = payload.parse(raw, allowed_sender_domains=self._settings.allowed_sender_domains)
        if checked.attachments or len(raw) > limit:  # no text is longer than the file that it comes from
            files.check_attachments(checked, self._settings.attachments_base_path, limit)
        return checked, len(raw)

    def _refuse(self, reason: str) -> Outcome:
        return Failed(reason) if self._settings.invalid_callback else Invalid(reason)

    def _postpone(self, email: Email, error: PayloadUnavailable) -> Outcome:
        if error.shared:
            self._share.failed(error.detail)
            if self._share.is_open:  # it is the share that is away: due as soon as claims go on
                return Wait(error.detail, spread(self._timing.wait, self._rng))
            return self._retry(email, error.detail)
        if not error.missing or not self._is_overdue(email):
            return self._retry(email, error.detail)
        if self._looks.blame_share():
            return self._retry(email, f"{error.detail}; so are most others: the share?")
        return self._refuse(error.detail)

    def _is_overdue(self, email: Email) -> bool:
        return email.attempts >= MISSING_TRIES and email.failing_for >= self._timing.payload_give_up

    def _retry(self, email: Email, reason: str) -> Retry:
        return Retry(reason, self._timing.payload_backoff.delay(email.attempts, self._rng))


def _note(email: Email, checked: Payload) -> str | None:
    notes = []
    if checked.id.lower() != email.id.lower():
        notes.append(f"payload id differs: {checked.id}")
    if checked.ignored:
        notes.append(f"ignored fields: {checked.ignored}")
    return "; ".join(notes) or None
