"""What the report says of samples that ended well, and of those that did not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailculator.demo import samples
from mailculator.demo.report import Report
from mailculator.demo.samples import Sample
from mailculator.demo.tracker import Tracker
from mailculator.model import Status

KINDS = {kind.name: kind for kind in samples.KINDS}
WRITTEN = [
    Sample("a", KINDS["plain text"], Path("a.json")),
    Sample("b", KINDS["plain text"], Path("b.json")),
    Sample("c", KINDS["no body"], Path("c.json")),
]


def tracked(*statuses: Status) -> Tracker:
    tracker = Tracker([sample.id for sample in WRITTEN])
    tracker.status = dict(zip(tracker.status, statuses, strict=True))
    return tracker


def end(tracker: Tracker, *, as_json: bool = False) -> bool:
    return Report(Path("/demo"), as_json=as_json).end(tracker, WRITTEN, seconds=1.5, mails=2, callbacks=1)


def test_what_ended_otherwise_than_it_should_is_named_and_is_not_good(capsys: pytest.CaptureFixture[str]) -> None:
    tracker = tracked(Status.SENT_ACKNOWLEDGED, Status.INVALID, Status.INVALID)
    tracker.reasons["b"] = "[bold]json_type[/bold]: none"

    assert end(tracker) is False

    out = capsys.readouterr().out
    assert "plain text    SENT-ACKNOWLEDGED                   1" in out
    assert "plain text    INVALID, not SENT-ACKNOWLEDGED      1" in out
    assert "[bold]json_type[/bold]: none" in out, "a reason is text, not markup"
    assert "the sink took 2 mails, the receiver 1 callback." in out
    assert not [line for line in out.splitlines() if line != line.rstrip()]


def test_the_document_counts_every_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert end(tracked(Status.SENT_ACKNOWLEDGED, Status.SENT_ACKNOWLEDGED, Status.INVALID), as_json=True) is True

    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert found["counts"] == {
        **{status.value: 0 for status in Status},
        "SENT-ACKNOWLEDGED": 2,
        "INVALID": 1,
    }
    assert found["as_expected"] is True
