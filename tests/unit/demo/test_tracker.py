"""The tracker knows where each sample stands, from the service's events alone."""

from __future__ import annotations

from mailculator.demo.tracker import Tracker
from mailculator.events import Lifetime, Moved
from mailculator.model import Status


def moved(email_id: str, to: Status, *, outcome: str = "sent", note: str | None = None) -> Moved:
    return Moved("sqlite", "sender", email_id, outcome, Status.PROCESSING, to, 2, 1, 0.1, 0.2, note)


def test_it_is_done_when_each_sample_has_ended() -> None:
    tracker = Tracker(["a", "b"])
    tracker(moved("a", Status.SENT_ACKNOWLEDGED))
    tracker(moved("elsewhere", Status.SENT_ACKNOWLEDGED))
    assert (tracker.ended, tracker.done.is_set()) == (1, False)
    tracker(moved("b", Status.INVALID, note="body_missing: none"))
    assert (tracker.ended, tracker.done.is_set()) == (2, True)
    assert tracker.status == {"a": Status.SENT_ACKNOWLEDGED, "b": Status.INVALID}


def test_it_keeps_why_a_mail_was_refused_or_tried_again_and_nothing_else() -> None:
    tracker = Tracker(["a", "b", "c"])
    tracker(moved("a", Status.READY, outcome="retry", note="451 later"))
    tracker(moved("a", Status.SENT, note="250 ok"))
    tracker(moved("b", Status.FAILED, outcome="failed", note="550 no"))
    tracker(moved("b", Status.FAILED_ACKNOWLEDGED, outcome="acknowledged", note="200"))
    assert tracker.reasons == {"a": "451 later", "b": "550 no"}
    assert (tracker.retries["a"], tracker.retries["b"]) == (1, 0)


def test_it_learns_the_health_port_at_the_start() -> None:
    tracker = Tracker([])
    tracker(Lifetime("started", (("http_port", 4321), ("admin_port", 4322))))
    assert (tracker.http_port, tracker.admin_port) == (4321, 4322)
    assert tracker.listening.is_set()
