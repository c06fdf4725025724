"""Every duration that is not an operator's setting, in one place, so that tests scale them all by one factor."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mailculator.retry import Backoff


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in seconds.

    Arguments:
        lease: how long a claim holds without renewal.
        renew_every: pause between two renewals of everything that is held.
        lease_margin: what must be left of a lease before the message may start to leave.
        foreign_hold: how long a working row without a lease of ours counts as another consumer's: half an hour, after
            which the older consumer itself takes a row for abandoned.
        rescue_every: pause between two scans for expired leases, and for rows to purge.
        check_every: pause between two background checks (ping, counts).
        follow_every: pause between two looks for what operators have paused.
        report_every: pause between two reports of how this process is.
        gather: under load results gather for up to this long between two writes, since a write costs the store, and
            this process, as much as dozens of the results in it.
        gather_each: the same where each result is a write of its own, so that only their ways share anything.
        store_timeout: a store's answer to one statement or transaction.
        smtp_connect, smtp_command, smtp_data, smtp_body, smtp_dot: RFC 5321 section 4.5.3.2, connect being ours.
        smtp_idle: an unused connection is closed after this long; smtp_age: a used one is not reused after it.
        relay_backoff, callback_backoff, payload_backoff: delays between tries, as data in the row.
        wait: the longest delay of mail that waits for a dependency; a share of it is random.
        relay_give_up: a mail that the relay defers is FAILED this long after its first deferral.
        callback_give_up: a callback that is never accepted is parked this long after its first failure.
        payload_give_up: a payload that never appears is INVALID this long after the first look (and five looks).
        probe_every: pause between two probes of an open breaker.
        probe_hold: how long one email serves as the probe before another takes its turn.
        journal_patience: how long a mark waits for the journal's disk.
        solitude: how long mail that a process may have died of waits for the others to end by themselves.
        not_ready_pause: pause between the tries that a callback's 409 asks for.
        store_backoff: pause after a store that was away, and between tries to write a result down.
    """

    lease: float = 90.0
    renew_every: float = 30.0
    lease_margin: float = 15.0
    foreign_hold: float = 1800.0
    rescue_every: float = 10.0
    check_every: float = 5.0
    follow_every: float = 2.0
    report_every: float = 5.0
    gather: float = 0.25
    gather_each: float = 0.05
    store_timeout: float = 30.0
    smtp_connect: float = 30.0
    smtp_command: float = 300.0
    smtp_data: float = 120.0
    smtp_body: float = 180.0
    smtp_dot: float = 600.0
    smtp_idle: float = 30.0
    smtp_age: float = 60.0
    relay_backoff: Backoff = Backoff(base=30.0, cap=1800.0)
    callback_backoff: Backoff = Backoff(base=2.0, cap=1800.0)
    payload_backoff: Backoff = Backoff(base=5.0, cap=600.0)
    wait: float = 5.0
    relay_give_up: float = 86400.0
    callback_give_up: float = 259200.0
    payload_give_up: float = 600.0
    probe_every: float = 5.0
    probe_hold: float = 15.0
    journal_patience: float = 10.0
    solitude: float = 30.0
    not_ready_pause: float = 5.0
    store_backoff: Backoff = Backoff(base=0.2, cap=5.0)

    def scaled(self, factor: float) -> Timing:
        """The same with every duration multiplied by `factor`; for tests."""
        changed: dict[str, float | Backoff] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Backoff):
                changed[item.name] = Backoff(value.base * factor, value.cap * factor, value.floor)
            else:
                changed[item.name] = value * factor
        return Timing(**changed)  # type: ignore[arg-type]  # the fields are those of this very class
