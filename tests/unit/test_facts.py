"""A replica's report survives the journey through a store, and what no replica of this version would write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from mailculator.facts import Away, Facts, Said

WHOLE = Facts(
    started=1_795_000_000.5,
    draining=True,
    in_flight={"sender": 3},
    paused=("intake",),
    totals={"sent": 7},
    rates={"sent": 2.5},
    away={"relay": Away(1_795_000_001.0, "connection refused")},
    relay=Said(1_795_000_002.0, "250 ok"),
    unknown=Said(1_795_000_003.0, "550e8400-e29b-41d4-a716-446655440000"),
    unknown_count=2,
    rate=12.5,
    rate_reason="421",
)


def test_it_comes_back_as_it_was() -> None:
    assert Facts.of(orjson.loads(orjson.dumps(WHOLE.document()))) == WHOLE


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"away": [], "in_flight": "x", "paused": None, "totals": {"sent": "many"}, "relay": "250", "rate": True},
        {"away": {"relay": None}, "rates": {"sent": None}, "started": [], "stopped": "no", "rate_reason": None},
    ],
)
def test_what_is_odd_reads_as_nothing_known(document: Mapping[str, Any]) -> None:
    found = Facts.of(document)

    assert (found.started, found.stopped, found.relay, found.rate, found.rate_reason) == (0.0, False, None, 0.0, "")
    assert sum(found.totals.values()) == sum(found.rates.values()) == 0
