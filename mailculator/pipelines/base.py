"""A pipeline: what it claims, and what it does with one email. It never touches a store."""

from __future__ import annotations

from typing import Protocol

from mailculator.lifecycle import Outcome, Stage
from mailculator.model import Email
from mailculator.pipelines.breaker import Breaker


class Pipeline(Protocol):
    """One step of a mail's way.

    Arguments:
        stage: what it claims and holds.
        concurrency: emails under way at once, at the most.
        breakers: of what it depends on; while one is open, claims stop but for a probe.
    """

    stage: Stage
    concurrency: int
    breakers: tuple[Breaker, ...]

    async def handle(self, email: Email) -> Outcome:
        """Do this step for one claimed email.

        Whatever is foreseen ends as an outcome. An exception is a bug: the runner retries the email later and says so.
        """
