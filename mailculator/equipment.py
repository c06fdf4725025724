"""What all stores' pipelines share in one process: the relay's connections, the callback client, the journal, the
breakers, the rate, the memory for messages, the threads, and who watches over them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from mailculator import environment, lifecycle
from mailculator.clock import Clock
from mailculator.config import Settings
from mailculator.errors import ConfigError, Problem
from mailculator.events import Observer, RateChanged
from mailculator.journal.errors import JournalBroken
from mailculator.journal.reader import Journals
from mailculator.journal.writer import Journal
from mailculator.pipelines.base import Pipeline
from mailculator.pipelines.breaker import Breaker
from mailculator.pipelines.budget import ByteBudget
from mailculator.pipelines.callback import Callback
from mailculator.pipelines.checked import Checked
from mailculator.pipelines.death import death, watched
from mailculator.pipelines.inquest import Inquest
from mailculator.pipelines.intake import Intake
from mailculator.pipelines.sender import Sender
from mailculator.pipelines.solitude import Solitude
from mailculator.pipelines.threads import Threads
from mailculator.pipelines.unknown import Policy
from mailculator.pipelines.watchdog import Watchdog
from mailculator.transport.callback_format import CurrentFormat, callback_format
from mailculator.transport.domain_rate import DomainRate
from mailculator.transport.rate import Rate
from mailculator.transport.relay_settings import relay_settings
from mailculator.transport.smtp import SmtpRelay
from mailculator.transport.webhook import WebhookClient, callback_settings

FILE_THREADS = 16
"""Threads that look at files for intake, and as many for the sender."""
LEAST_SILENCE = 5.0
"""Seconds for which a loop may stand still however short leases are: a machine may just be busy."""
TRIM_EVERY = 3600.0
"""Seconds between two looks for segments of the journal that are older than their retention."""
CLOSE_WITHIN = 5.0
"""Seconds that the journal has for its last marks: a disk that does not answer must not keep the process."""


class Equipment:
    """Built once, before any store is opened.

    Arguments:
        on_death: called when the journal's thread, or a loop of these, ended though nobody had stopped it: a bug,
            already reported.
        marks: the journal of this process.
        solitude: see pipelines.solitude.
        rate: of the sender.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observer: Observer,
        clock: Clock,
        rng: random.Random,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._timing = timing = settings.timing
        self._observer = observer
        self._clock = clock
        self._rng = rng
        self._on_death = on_death
        self._relay = SmtpRelay(relay_settings(settings), timing, reread=_reread("SMTP_PASS"))
        self._webhook = WebhookClient(callback_settings(settings))
        self._format = CurrentFormat(callback_format(settings), _reread("MAILCULATOR_CALLBACK_SECRET"))
        self._budget = ByteBudget(settings.memory_limit)
        self.rate = Rate(settings.smtp_rate, on_change=self._paced)
        self._domain_rate = self._rate_of_domains()
        self._breakers = {name: self._breaker(name) for name in ("relay", "callback", "share")}
        # The journal itself finds out that it can be written again: no mail need be tried for that.
        self._breakers["journal"] = self._breaker("journal", threshold=1, probes=False)
        self.marks = Journal(
            settings.journal_dir,
            settings.replica,
            patience=timing.journal_patience,
            retry_every=timing.probe_every,
            on_change=self._journalled,
            on_death=partial(self._died, "journal"),
            clock=clock,
        )
        self._journals = Journals(settings.journal_dir)
        self.solitude = Solitude(clock, timing.solitude)
        stages = (lifecycle.INTAKE, lifecycle.SENDER)
        self._threads = {stage.name: Threads(FILE_THREADS, stage.name) for stage in stages}
        limit = max(timing.lease, LEAST_SILENCE)
        busiest = [threads.busiest for threads in self._threads.values()]
        self._watchdog = Watchdog(limit, cpu=timing.lease / 3, busiest=busiest)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to watch and to mark. Errors: ConfigError where the journal's directory cannot be used."""
        self._watchdog.start()
        self._begin("beat", self._beat())
        directory = self._settings.journal_dir
        try:
            if not directory.is_absolute():
                # Beneath where it was started, as the default is. Of an absolute path what is missing may be a share.
                await asyncio.to_thread(directory.parent.mkdir, parents=True, exist_ok=True)
            await self.marks.open()
        except OSError as error:
            raise ConfigError([Problem("MAILCULATOR_JOURNAL_DIR", f"{directory}: {error.strerror}")]) from error
        except JournalBroken as error:
            raise ConfigError([Problem("MAILCULATOR_JOURNAL_DIR", str(error))]) from error
        self._begin("journal-trim", self._trim())

    async def close(self) -> None:
        """Say goodbye to the relay, write the last marks, and give everything back."""
        try:
            await self._relay.close()
            await self._webhook.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self.marks.close()
        finally:
            self._journals.close()
            for threads in self._threads.values():
                threads.close()
            for task in self._tasks:
                task.cancel()
            self._watchdog.stop()

    async def reload(self) -> None:
        """Take secrets anew from their files, where a connection in use does not have to end for it."""
        await self._relay.reread_password()
        await self._format.reread_secrets()

    def halt(self) -> None:
        """The process stops: no breaker is probed any more."""
        for breaker in self._breakers.values():
            breaker.halt()

    def away(self) -> Mapping[str, str]:
        """What an open breaker says is away."""
        return {name: "away" for name, breaker in self._breakers.items() if breaker.is_open}

    def pipelines(self, store: str) -> list[Pipeline]:
        """The four pipelines of one store."""
        callbacks = [self._callback(stage) for stage in (lifecycle.SENT_CALLBACK, lifecycle.FAILED_CALLBACK)]
        found_fit = Checked(self._clock)
        return [self._intake(found_fit), self._sender(store, found_fit), *callbacks]

    def judge(self, store: str) -> Inquest:
        """Who says what became of one store's mail whose holder is gone."""
        policy = Policy(self._settings.outcome_unknown)
        return Inquest(store, self._journals, policy=policy, timing=self._timing, rng=self._rng)

    def _intake(self, found_fit: Checked) -> Intake:
        return Intake(
            self._settings,
            self._timing,
            share=self._breakers["share"],
            threads=self._threads[lifecycle.INTAKE.name],
            found_fit=found_fit,
            rng=self._rng,
            concurrency=FILE_THREADS,
        )

    def _sender(self, store: str, found_fit: Checked) -> Sender:
        return Sender(
            self._settings,
            self._timing,
            store=store,
            relay=self._relay,
            breaker=self._breakers["relay"],
            share=self._breakers["share"],
            journal=self._breakers["journal"],
            marks=self.marks,
            threads=self._threads[lifecycle.SENDER.name],
            found_fit=found_fit,
            rate=self.rate.take,
            turn=self._domain_rate.take,
            slowed=self.rate.slowed,
            budget=self._budget,
            clock=self._clock,
            rng=self._rng,
            observer=self._observer,
            concurrency=self._settings.smtp_connections,
        )

    def _rate_of_domains(self) -> DomainRate:
        return DomainRate(
            self._settings.smtp_domain_rate,
            # Most of the sender's places stay free for other domains, whatever one has to send.
            places=max(1, self._settings.smtp_connections // 4),
            patience=self._timing.wait / 5,
            least=self._timing.wait,
            most=self._timing.relay_backoff.cap,
            rng=self._rng,
            clock=self._clock.now,
        )

    def _callback(self, stage: lifecycle.Stage) -> Callback:
        return Callback(
            stage,
            self._timing,
            client=self._webhook,
            wording=self._format,
            breaker=self._breakers["callback"],
            clock=self._clock,
            rng=self._rng,
            observer=self._observer,
            concurrency=self._settings.callback_connections,
        )

    def _breaker(self, name: str, *, threshold: int = 5, probes: bool = True) -> Breaker:
        return Breaker(
            name,
            observer=self._observer,
            clock=self._clock,
            probe_every=self._timing.probe_every,
            probe_hold=self._timing.probe_hold,
            threshold=threshold,
            probes=probes,
        )

    def _journalled(self, trouble: str | None) -> None:
        """The journal can be written no more, or again."""
        if trouble is None:
            self._breakers["journal"].succeeded()
        else:
            self._breakers["journal"].failed(trouble)

    def _begin(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Run a loop beside all else, until `close`."""
        self._tasks.append(asyncio.create_task(watched(loop, partial(self._died, name)), name=name))

    def _died(self, name: str, error: BaseException) -> None:
        """As bad as a pipeline that has died, and for every store.

        The journal's thread: nothing will ever be marked again. What trims it: the disk would be full after weeks. The
        beat: the watchdog, which goes on looking, ends the process after a silence; the drain has as long as that.
        """
        self._observer(death("", name, error))
        self._on_death()

    def _paced(self, per_second: float, reason: str) -> None:
        self._observer(RateChanged(per_second, reason))

    async def _beat(self) -> None:
        """A loop that turns says so, to the end: what hangs while it stops would hang for ever."""
        never = asyncio.Event()
        while True:
            self._watchdog.beat()
            await self._clock.wait(never, self._watchdog.every)

    async def _trim(self) -> None:
        never = asyncio.Event()
        while True:
            with contextlib.suppress(JournalBroken):  # the next look may do better; nothing depends on it
                await self.marks.trim()
            await self._clock.wait(never, TRIM_EVERY)


def _reread(name: str) -> Callable[[], str | None]:
    return partial(environment.reread, name, os.environ)
