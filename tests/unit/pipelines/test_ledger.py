"""What a replica counts of one store's mail."""

from __future__ import annotations

from mailculator.events import Moved, Rescued
from mailculator.facts import Said
from mailculator.lifecycle import STAGE_BY_WORKING
from mailculator.model import Status
from mailculator.pipelines.ledger import Ledger


def moved(origin: Status, to: Status, *, store: str = "memory", version: int = 5, note: str | None = None) -> Moved:
    pipeline = STAGE_BY_WORKING[origin].name
    return Moved(store, pipeline, "id", "outcome", origin, to, version, 1, 0.1, 1.0, note)


def test_each_end_counts_as_what_it_is() -> None:
    ledger = Ledger("memory", epoch=lambda: 0.0)
    for origin, to in (
        (Status.INTAKING, Status.READY),
        (Status.INTAKING, Status.INVALID),
        (Status.INTAKING, Status.ACCEPTED),
        (Status.PROCESSING, Status.SENT),
        (Status.PROCESSING, Status.SENT),
        (Status.PROCESSING, Status.FAILED),
        (Status.PROCESSING, Status.READY),
        (Status.CALLING_SENT_CALLBACK, Status.SENT),
        (Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED),
        (Status.CALLING_FAILED_CALLBACK, Status.FAILED_ACKNOWLEDGED),
    ):
        ledger(moved(origin, to))
    ledger(moved(Status.INTAKING, Status.READY, version=3))
    ledger(moved(Status.PROCESSING, Status.SENT, store="other"))

    assert ledger.totals() == {
        "entered": 1,
        "sent": 2,
        "failed": 1,
        "invalid": 1,
        "acknowledged": 2,
        "retried": 3,
    }
    assert (ledger.entered, ledger.left) == (1, 3)


def test_lost_replies_are_counted_whoever_met_them() -> None:
    ledger = Ledger("memory", epoch=lambda: 7.0)
    unknown = Moved("memory", "sender", "a", "unknown", Status.PROCESSING, Status.READY, 5, 1, 0.1, 1.0, None)
    ledger(unknown)
    ledger(Rescued("memory", "b", Status.PROCESSING, Status.READY, "gone", "unknown"))
    ledger(Rescued("memory", "c", Status.PROCESSING, Status.READY, "gone"))
    ledger(Rescued("other", "d", Status.PROCESSING, Status.READY, "gone", "unknown"))

    assert (ledger.unknown, ledger.unknown_count) == (Said(7.0, "b"), 2)


def test_what_the_callback_said_last_is_kept_with_its_time() -> None:
    times = iter((7.0, 8.0))
    ledger = Ledger("memory", epoch=lambda: next(times))
    assert ledger.callback is None

    ledger(moved(Status.CALLING_SENT_CALLBACK, Status.SENT, note="503"))
    ledger(moved(Status.PROCESSING, Status.SENT, note="250 ok"))
    ledger(moved(Status.CALLING_SENT_CALLBACK, Status.SENT_ACKNOWLEDGED, note="200"))

    assert ledger.callback == Said(8.0, "200")
