"""The phase, the next step and what stands in its way, as an operator at three in the morning has to rely on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from mailculator.cutover.assessment import Assessment, Phase, Step, assess
from mailculator.cutover.evidence import NEW, OLD, Look, Situation
from mailculator.cutover.prerequisites import Prerequisite
from mailculator.model import Status, StatusCount
from mailculator.stores.base import Survey
from tests.support.cutover_story import (
    DAY,
    LAST,
    MINUTE,
    NOTHING,
    NOW,
    SWEPT,
    minute,
    minutes,
    new,
    old,
    situation,
)

QUIET = timedelta(days=1)
Change = Callable[[int, str], Mapping[str, object] | None]


def unmet(judged: Assessment) -> list[str]:
    return [one.name for one in judged.prerequisites if not one.met]


def line(judged: Assessment, name: str) -> Prerequisite:
    return next(one for one in judged.prerequisites if one.name == name)


def at_minute(wanted: int, **special: object) -> Change:
    """Something special in one minute, noted by both."""
    return lambda ago, _: special if ago == wanted else {}


class TestPhase:
    def test_dynamodb_alone(self) -> None:
        judged = assess(situation(old(), Look(NEW, enabled=False, configured=False)))
        assert judged.phase is Phase.OLD_ONLY
        assert not judged.safe
        assert unmet(judged) == ["mysql_ready"]
        assert "MYSQL_HOST" in line(judged, "mysql_ready").todo

    def test_dynamodb_alone_and_mariadb_made_ready(self) -> None:
        judged = assess(situation(old(), new(minutes=(), enabled=False, counts=NOTHING)))
        assert (judged.phase, judged.safe) == (Phase.OLD_ONLY, True)
        assert "MYSQL_PIPELINES_ENABLED=true" in judged.step

    def test_both_while_the_producer_writes_to_dynamodb(self) -> None:
        judged = assess(situation(old(lambda ago, replica: {"entered": 5, "left": 5}), new(at_minute(20, left=1))))
        assert (judged.phase, judged.safe) == (Phase.BOTH, True)
        assert "a new email came to DynamoDB" in judged.because[1]

    def test_test_messages_alone_are_no_switch_of_the_producer(self) -> None:
        """By hand into MariaDB, while the last of the producer's is older than they are but no ten minutes."""
        judged = assess(situation(old(at_minute(8, entered=1)), new(at_minute(2, entered=1, left=1))))
        assert judged.phase is Phase.BOTH

    def test_nothing_new_anywhere_is_no_switch_either(self) -> None:
        judged = assess(situation(old(at_minute(100, entered=1)), new(at_minute(200, entered=1, left=1))))
        assert judged.phase is Phase.BOTH
        assert "no new email came to MariaDB since" in judged.because[1]

    def test_the_producer_has_switched_and_dynamodb_drains(self) -> None:
        counts = {**NOTHING, Status.READY: StatusCount(12, 0, 40.0)}
        story = old(lambda ago, _: {"entered": int(ago > 30), "counts": counts, "left": 1}, counts=counts)
        judged = assess(situation(story, new()))
        assert (judged.phase, judged.safe) == (Phase.DRAINING, False)
        assert unmet(judged) == ["producer_switched", "empty", "empty_now"]
        assert "12 READY" in line(judged, "empty_now").evidence

    def test_empty_for_a_day_is_safe_to_switch_off(self) -> None:
        judged = assess(situation(old(), new()))
        assert (judged.phase, judged.safe, unmet(judged)) == (Phase.EMPTY, True, [])
        assert "DYNAMODB_PIPELINES_ENABLED=false" in judged.step

    def test_done(self) -> None:
        left = [replace(one, notes={"stores": NEW}) for one in new().minutes]
        judged = assess(situation(old(enabled=False, minutes=()), new(minutes=left)))
        assert (judged.phase, judged.safe) == (Phase.DONE, True)
        assert "DYNAMODB_PIPELINES_ENABLED=true" in judged.back

    def test_neither(self) -> None:
        judged = assess(situation(Look("sqlite", enabled=True, survey=Survey(exact=True))))
        assert (judged.phase, judged.safe, judged.prerequisites) == (Phase.NONE, False, ())

    @pytest.mark.parametrize(
        ("phase", "number"), [(Phase.NONE, -1), (Phase.OLD_ONLY, 0), (Phase.EMPTY, 3), (Phase.DONE, 4)]
    )
    def test_a_gauge_has_a_number_for_each(self, phase: Phase, number: int) -> None:
        assert phase.number == number

    def test_a_way_back_from_the_switch_shows_as_the_phase_it_leads_to(self) -> None:
        judged = assess(situation(old(at_minute(0, entered=3)), new()))
        assert judged.phase is Phase.BOTH

    def test_a_way_back_from_the_end_has_a_gap_to_live_down(self) -> None:
        """The switch was off from three hours ago until an hour ago: nobody knows what came meanwhile."""
        judged = assess(situation(old(lambda ago, _: None if 60 < ago < 180 else {}), new()))
        assert judged.phase is Phase.DRAINING
        assert unmet(judged) == ["recorded"]

    def test_a_step_can_be_asked_for_whatever_the_phase(self) -> None:
        busy = old(lambda ago, replica: {"entered": 5, "left": 5})
        story = situation(busy, new())
        assert assess(story).safe  # the switch of the producer
        judged = assess(story, Step.DISABLE)
        assert (judged.phase, judged.safe) == (Phase.BOTH, False)
        assert "DYNAMODB_PIPELINES_ENABLED=false" in judged.step


class TestUnknown:
    """What is not known is a no."""

    @pytest.mark.parametrize("away", [OLD, NEW])
    def test_a_store_that_is_away(self, away: str) -> None:
        gone = Look(away, enabled=True, trouble=f"{away} ping: connection refused")
        looks = {OLD: old(), NEW: new()} | {away: gone}
        judged = assess(situation(*looks.values()))
        assert not judged.safe
        assert {f"{away}_ready", "replicas"} <= set(unmet(judged))
        assert any("connection refused" in one for one in judged.attention)

    def test_nobody_can_tell_who_writes_where_when_the_last_minutes_have_a_gap(self) -> None:
        """Nothing may look safer for want of a record: this would else be the switch of the producer, all in order."""
        judged = assess(situation(old(lambda ago, _: None if 3 < ago < 7 else {}), new()))
        assert (judged.phase, judged.safe) == (Phase.BOTH, False)
        assert judged.title == "both run, and it is not on record to which the producer writes"
        assert unmet(judged) == ["producer_known"]

    def test_done_cannot_be_told_of_a_table_that_is_not_configured(self) -> None:
        judged = assess(situation(Look(OLD, enabled=False, configured=False), new()))
        assert (judged.phase, judged.safe) == (Phase.DONE, False)
        assert "EMAIL_OUTBOX_TABLE" in line(judged, "dynamodb_ready").todo

    def test_minutes_in_which_nobody_could_count_prove_nothing(self) -> None:
        judged = assess(situation(old(lambda ago, _: {"counts": {}} if ago == 400 else {}), new()))
        assert unmet(judged) == ["recorded"]
        begin, end = LAST - 400 * MINUTE, LAST - 399 * MINUTE
        evidence = line(judged, "recorded").evidence
        assert f"{begin:%H:%M:%SZ}" in evidence
        assert f"{end:%H:%M:%SZ}" in evidence

    def test_one_replica_that_counted_is_enough(self) -> None:
        judged = assess(situation(old(lambda ago, replica: {"counts": {}} if replica == "a" else {}), new()))
        assert judged.safe

    def test_a_store_without_a_memory(self) -> None:
        judged = assess(situation(old(minutes=()), new()))
        assert not judged.safe
        assert {"replicas", "producer_known"} <= set(unmet(judged))
        disable = assess(situation(old(minutes=()), new()), Step.DISABLE)
        assert {"recorded", "empty", "replicas"} <= set(unmet(disable))


def disable(story: Situation) -> Assessment:
    return assess(story, Step.DISABLE)


class TestDisable:
    @pytest.mark.parametrize("ago", [0, 1, 700, DAY - 1])
    def test_one_minute_with_mail_in_the_day_is_a_no(self, ago: int) -> None:
        counts = {**NOTHING, Status.CALLING_FAILED_CALLBACK: StatusCount(1)}
        judged = disable(situation(old(at_minute(ago, counts=counts)), new()))
        assert unmet(judged) == ["empty"]
        assert "1 CALLING-FAILED-CALLBACK" in line(judged, "empty").evidence
        assert "at the earliest" in line(judged, "empty").todo

    @pytest.mark.parametrize("ago", [DAY + 1, DAY + 4])
    def test_what_was_before_the_day_is_past(self, ago: int) -> None:
        counts = {**NOTHING, Status.READY: StatusCount(1)}
        assert disable(situation(old(at_minute(ago, counts=counts, entered=1)), new())).safe

    def test_mail_that_came_and_left_between_two_counts_is_a_no(self) -> None:
        judged = disable(situation(old(at_minute(300, left=1)), new()))
        assert unmet(judged) == ["empty"]
        judged = disable(situation(old(at_minute(300, entered=1)), new()))
        assert unmet(judged) == ["producer_switched", "empty"]

    def test_the_quiet_is_a_setting(self) -> None:
        story = old(at_minute(100, entered=1))
        assert not disable(situation(story, new())).safe
        assert disable(situation(story, new(), quiet=timedelta(hours=1))).safe

    def test_a_quiet_of_nothing_asks_for_now_alone(self) -> None:
        assert disable(situation(old(at_minute(11, entered=1)), new(), quiet=timedelta(0))).safe
        counts = {**NOTHING, Status.SENT: StatusCount(1, 1)}
        judged = disable(situation(old(counts=counts), new(), quiet=timedelta(0)))
        assert unmet(judged) == ["empty_now"]
        assert "1 SENT (1 parked)" in line(judged, "empty_now").evidence
        assert "--parked" in line(judged, "empty_now").todo

    @pytest.mark.parametrize("missing", [1, 300, DAY - 2])
    def test_one_minute_that_nobody_noted_is_a_no_with_its_time(self, missing: int) -> None:
        judged = disable(situation(old(lambda ago, _: None if ago == missing else {}), new()))
        assert unmet(judged) == ["recorded"]
        assert f"{LAST - missing * MINUTE:%Y-%m-%d %H:%M:%SZ}" in line(judged, "recorded").evidence

    def test_a_record_that_begins_too_late_is_a_no(self) -> None:
        assert unmet(disable(situation(old(lambda ago, _: None if ago > 1000 else {}), new()))) == ["recorded"]

    def test_a_record_that_ends_too_early_is_a_no(self) -> None:
        judged = disable(situation(old(lambda ago, _: None if ago < 4 else {}), new()))
        assert unmet(judged) == ["replicas", "recorded"]

    def test_a_minute_that_is_yet_to_come_covers_none_that_is_missing(self) -> None:
        ahead = [*old(lambda ago, _: None if ago < 10 else {}).minutes, minute(-60), minute(-60, "b")]
        judged = disable(situation(old(minutes=ahead), new()))
        assert unmet(judged) == ["replicas", "recorded"]
        assert "clock" in line(judged, "replicas").evidence

    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({"foreign_write": NOW - timedelta(hours=6)}, "no_foreign_write"),
            ({"swept_from": None, "swept_until": None, "swept": {}}, "swept"),
            ({"swept_from": NOW - timedelta(hours=31)}, "swept"),  # it was under way when somebody wrote
            ({"swept": {Status.READY: 1}}, "swept"),
            ({"poisoned": ("bad-1", "bad-2"), "poisoned_count": 2}, "poisoned"),
            ({"stopped": "3 foreign writes within a minute"}, "claims"),
        ],
        ids=["foreign", "unswept", "overtaken", "found", "poisoned", "stopped"],
    )
    def test_what_the_store_says_of_itself(self, changes: dict[str, object], name: str) -> None:
        survey = replace(SWEPT, **changes)  # type: ignore[arg-type]  # real fields
        judged = disable(situation(old(survey=survey), new()))
        assert unmet(judged) == [name]
        assert line(judged, name).todo

    def test_poisoned_records_are_named(self) -> None:
        survey = replace(SWEPT, poisoned=tuple(f"bad-{n}" for n in range(20)), poisoned_count=31)
        judged = disable(situation(old(survey=survey), new()))
        assert "31 of no use" in line(judged, "poisoned").evidence
        assert all(f"bad-{n}" in line(judged, "poisoned").evidence for n in range(20))
        assert any("bad-19" in one for one in judged.attention)

    def test_a_store_whose_counts_miss_nothing_needs_no_sweep(self) -> None:
        assert disable(situation(old(survey=Survey(exact=True)), new())).safe

    def test_a_replica_that_holds_something_is_a_no(self) -> None:
        holding = {"notes": {"held": "2", "guard": "on"}}
        judged = disable(situation(old(lambda ago, name: holding if (ago, name) == (0, "b") else {}), new()))
        assert unmet(judged) == ["held"]
        assert "b holds 2" in line(judged, "held").evidence

    def test_the_producer_must_be_seen_at_mariadb(self) -> None:
        judged = disable(situation(old(), new(lambda ago, _: {})))
        assert unmet(judged) == ["producer_switched"]


class TestReplicas:
    def test_one_that_runs_dynamodb_alone(self) -> None:
        judged = assess(situation(old(), new(lambda ago, name: None if name == "b" else {"entered": 1, "left": 1})))
        assert unmet(judged) == ["replicas"]
        assert "b does not work on MariaDB" in line(judged, "replicas").evidence

    def test_one_of_another_version(self) -> None:
        other = {"service": "1.2.2"}
        judged = assess(situation(old(lambda ago, name: other if name == "b" else {}), new()))
        assert unmet(judged) == ["replicas"]
        assert "b is version 1.2.2" in line(judged, "replicas").evidence

    @pytest.mark.parametrize(("silence", "missed"), [(2, []), (5, ["replicas"]), (14, ["replicas"]), (16, [])])
    def test_one_that_fell_silent_is_asked_about_until_it_is_forgotten(self, silence: int, missed: list[str]) -> None:
        def silent(**special: object) -> Change:
            return lambda ago, name: None if name == "b" and ago < silence else special

        judged = assess(situation(old(silent()), new(silent(entered=1, left=1))))
        assert unmet(judged) == missed

    def test_one_that_ended_in_good_order_is_not_missed(self) -> None:
        def ended(**special: object) -> Change:
            def change(ago: int, name: str) -> Mapping[str, object] | None:
                if name == "b" and ago <= 8:
                    return None if ago < 8 else {"notes": {"stopped": "yes"}}
                return special

            return change

        assert assess(situation(old(ended()), new(ended(entered=1, left=1)))).safe

    def test_none_at_all(self) -> None:
        quiet = minutes(lambda ago, _: None if ago < 30 else {})
        judged = assess(situation(old(minutes=quiet), new(minutes=quiet)))
        assert "no replica" in line(judged, "replicas").evidence

    def test_one_that_is_left_on_dynamodb_when_the_others_are_done(self) -> None:
        both = {"notes": {"stores": f"{NEW},{OLD}"}}
        alone = {"notes": {"stores": NEW}}
        judged = assess(
            situation(old(enabled=False, minutes=()), new(lambda ago, name: both if name == "b" else alone))
        )
        assert unmet(judged) == ["left_by_all"]
        assert line(judged, "left_by_all").evidence.startswith("b worked on DynamoDB")

    def test_a_guard_that_one_has_off(self) -> None:
        def off(_ago: int, name: str) -> Mapping[str, object]:
            return {"entered": 1, "left": 1, "notes": {"guard": "off" if name == "b" else "on"}}

        judged = assess(situation(old(off), new()))
        assert unmet(judged) == ["guard"]
        assert "b" in line(judged, "guard").evidence
        assert unmet(assess(situation(old(at_minute(0, entered=1)), new(), guard=False))) == ["guard"]


class TestSwitch:
    def test_no_test_message_went_through(self) -> None:
        judged = assess(situation(old(at_minute(0, entered=1)), new(lambda ago, _: {"entered": 1})))
        assert (judged.phase, unmet(judged)) == (Phase.BOTH, ["mail_through_mysql"])

    def test_mariadb_does_not_keep_up(self) -> None:
        counts = {**NOTHING, Status.READY: StatusCount(500, 0, 301.0)}
        judged = assess(situation(old(at_minute(0, entered=1)), new(counts=counts)))
        assert unmet(judged) == ["mysql_keeps_up"]


class TestAttention:
    def test_mail_that_nobody_works_on(self) -> None:
        counts = {**NOTHING, Status.ACCEPTED: StatusCount(4, 0, 900.0)}
        left = [replace(one, notes={"stores": NEW}) for one in new().minutes]
        judged = assess(situation(old(enabled=False, counts=counts, minutes=()), new(minutes=left)))
        assert unmet(judged) == ["empty_now"]
        assert "DYNAMODB_PIPELINES_ENABLED=true" in line(judged, "empty_now").todo
        assert any("4 ACCEPTED" in one and "nobody works on it" in one for one in judged.attention)

    def test_mariadbs_mail_after_a_way_back_too_far(self) -> None:
        judged = assess(situation(old(), new(enabled=False, minutes=())))
        assert judged.phase is Phase.OLD_ONLY
        assert any("MariaDB is switched off here and holds 3 READY" in one for one in judged.attention)

    def test_what_a_replica_says(self) -> None:
        told = {"notes": {"relay": "away", "guard": "on", "held": "0", "stores": OLD}}
        judged = assess(situation(old(lambda ago, name: told if name == "b" else {}), new()))
        assert judged.attention == ("DynamoDB: b says relay: away",)

    def test_all_is_well(self) -> None:
        assert assess(situation(old(), new())).attention == ()
