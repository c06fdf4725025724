"""The ladder of /health and the conditions of /readyz, on a clock that stands still."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mailculator.config import load
from mailculator.events import BreakerChanged, Lifetime, PipelineFailed, StoreCalled, StoreNoticed
from mailculator.timing import Timing
from mailculator.web.health import Health, Limits

LIMITS = Limits(stuck=30.0, fresh=20.0)


class Process:
    """A process with one store and one pipeline, in which time passes when told."""

    def __init__(self, *stores: str, warnings: tuple[str, ...] = ()) -> None:
        self.now = 5000.0
        self.turned = 5000.0
        names = stores or ("mysql",)
        self.health = Health("9.9.9", LIMITS, stores=names, warnings=warnings, clock=lambda: self.now)
        for name in names:
            self.health.register(name, "sender", lambda: self.turned)
            self.answer(name)

    def answer(self, store: str = "mysql", *, writable: bool = True) -> None:
        self.health.store_answered(store, seconds=0.0021, writable=writable)

    def check(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.health.health().body["checks"][name]
        return found


def test_all_is_well() -> None:
    process = Process()
    process.now += 4.0
    report = process.health.health()
    assert report.status == 200
    assert report.body == {
        "status": "pass",
        "version": "9.9.9",
        "uptime_s": 4.0,
        "checks": {
            "pipeline:mysql/sender": {"status": "pass", "age_s": 4.0},
            "store:mysql": {"status": "pass", "age_s": 4.0, "latency_ms": 2.1, "writable": True},
        },
    }
    assert process.health.ready().status == 200
    assert process.health.live().body == {"status": "pass"}


def test_a_loop_that_does_not_turn_fails_only_after_its_time() -> None:
    process = Process()
    process.now += 30.0
    assert process.health.health().status == 200
    process.now += 0.1
    assert process.health.health().status == 503
    assert process.check("pipeline:mysql/sender") == {"status": "fail", "age_s": 30.1, "detail": "stuck"}
    process.turned = process.now
    assert process.check("pipeline:mysql/sender")["status"] == "pass"


def test_a_loop_that_died_fails_for_good() -> None:
    process = Process()
    process.health(PipelineFailed("mysql", "sender", "boom", email_id="x"))
    assert process.health.health().status == 200, "one email's bug is not the loop's end"
    process.health(PipelineFailed("mysql", "sender", "boom", fatal=True))
    assert process.health.health().status == 503
    assert process.check("pipeline:mysql/sender") == {"status": "fail", "detail": "died"}
    process.health(PipelineFailed("", "journal", "boom", fatal=True))
    assert process.check("pipeline:journal") == {"status": "fail", "detail": "died"}


@pytest.mark.parametrize("op", ["claim", "record"])
def test_a_store_that_answers_and_refuses_the_work_is_no_ready_store(op: str) -> None:
    process = Process()
    process.health(StoreCalled("mysql", op, 0.1, "error 1142"))
    process.answer()
    assert process.health.health().status == 200, "restarting would not cure it"
    assert process.check("store:mysql")["detail"] == "answers, but refuses the work"
    assert process.health.ready().status == 503
    process.health(StoreCalled("mysql", op, 0.1))
    assert process.health.ready().status == 200


def test_one_pipeline_whose_claims_are_refused_is_not_hidden_by_another_whose_are_not() -> None:
    process = Process()
    process.health(StoreCalled("mysql", "claim", 0.1, "denied", "sender"))
    process.health(StoreCalled("mysql", "claim", 0.1, pipeline="intake"))
    assert process.check("store:mysql")["detail"] == "answers, but refuses the work"
    process.health(StoreCalled("mysql", "claim", 0.1, pipeline="sender"))
    assert "detail" not in process.check("store:mysql")


def test_a_count_that_takes_too_long_makes_no_store_unready() -> None:
    process = Process()
    process.health(StoreCalled("mysql", "counts", 30.0, "no answer"))
    assert process.health.ready().status == 200


def test_draining_fails_and_is_not_ready() -> None:
    process = Process()
    process.health(Lifetime("stopping"))
    assert process.health.health().status == 503
    assert process.health.ready().body == {"status": "fail", "reasons": ["draining"]}
    assert process.health.live().status == 200


def test_a_store_that_is_away_is_a_warning_and_not_ready() -> None:
    process = Process("mysql", "sqlite")
    process.health.store_silent("mysql")
    report = process.health.health()
    assert (report.status, report.body["status"]) == (200, "warn")
    ready = process.health.ready()
    assert (ready.status, ready.body["reasons"]) == (503, ["store:mysql: does not answer"])
    process.answer()
    assert process.health.ready().status == 200


def test_a_store_that_never_answered_is_not_ready() -> None:
    health = Health("9.9.9", LIMITS, stores=("mysql",), clock=lambda: 0.0)
    assert health.ready().body["reasons"] == ["store:mysql: has not answered yet"]
    assert health.health().body["status"] == "warn"


def test_an_old_answer_is_believed_for_a_while_only() -> None:
    process = Process()
    process.now = process.turned = process.now + 20.0
    assert process.health.ready().status == 200
    process.now = process.turned = process.now + 0.1
    assert process.health.ready().body["reasons"] == ["store:mysql: has not answered for a while"]
    assert process.health.health().status == 200


def test_a_store_that_takes_no_writes_is_not_ready() -> None:
    process = Process()
    process.answer(writable=False)
    assert process.health.ready().body["reasons"] == ["store:mysql: takes no writes"]
    assert process.check("store:mysql")["status"] == "warn"


def test_a_dependency_that_is_away_is_a_warning_and_keeps_us_ready() -> None:
    process = Process()
    process.health(BreakerChanged("relay", open=True, reason="535 5.7.8 <jane@example.com>"))
    process.now += 3.0
    assert process.health.health().status == 200
    assert process.check("relay") == {"status": "warn", "detail": "away", "age_s": 3.0}
    assert process.health.ready().status == 200
    process.health(BreakerChanged("relay", open=False, reason=""))
    assert process.check("relay") == {"status": "pass"}


def test_claims_that_a_foreign_consumer_has_stopped_are_a_warning_until_they_go_on() -> None:
    process = Process("dynamodb")
    process.health(StoreNoticed("dynamodb", "stopped", detail="3 writes, the last: 0f-1d READY -> FAILED"))
    assert process.check("claims:dynamodb") == {"status": "warn", "detail": "stopped: another consumer writes there"}
    assert process.health.ready().status == 200

    process.health(StoreNoticed("dynamodb", "resumed"))

    assert "claims:dynamodb" not in process.health.health().body["checks"]


def test_an_unsafe_setting_is_shown_as_a_warning() -> None:
    process = Process(warnings=("SMTP_ALLOW_INSECURE_TLS",))
    assert process.check("setting:SMTP_ALLOW_INSECURE_TLS") == {"status": "warn", "detail": "unsafe"}
    assert process.health.health().status == 200


def test_the_worst_decides() -> None:
    process = Process()
    process.health.store_silent("mysql")
    process.health(Lifetime("stopping"))
    assert process.health.health().body["status"] == "fail"


def test_no_answer_holds_ids_addresses_or_words_of_a_driver() -> None:
    process = Process()
    process.health(BreakerChanged("relay", open=True, reason="535 <jane@example.com> at db.internal"))
    process.health(PipelineFailed("mysql", "sender", "jane@example.com", "550e8400", fatal=True))
    text = json.dumps([report().body for report in (process.health.health, process.health.ready, process.health.live)])
    for canary in ("jane", "db.internal", "550e8400", "535"):
        assert canary not in text


def test_limits_leave_a_hanging_store_its_time() -> None:
    usual = Limits.of(Timing(), interval=1.0)
    assert usual.stuck == 65.0, "two answers that never come and a pause"
    assert usual.fresh == 45.0
    assert Limits.of(Timing(), interval=60.0).stuck == 600.0
    quick = load({"MAILCULATOR_TIME_SCALE": "0.01", "PIPELINE_INTERVAL": "0.05"}, needs=())
    assert Limits.of(quick.timing, interval=0.05, time_scale=0.01).stuck == pytest.approx(0.65)
