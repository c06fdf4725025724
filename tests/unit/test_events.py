from __future__ import annotations

from collections.abc import Collection

from mailculator.events import BreakerChanged, Event, Purged, fan_out


class Heeding:
    """Keeps what it is told."""

    def __init__(self, *heeds: type[Event]) -> None:
        self.heeds: Collection[type[Event]] = heeds
        self.told: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.told.append(event)


def test_every_event_goes_to_all_in_order_but_for_those_that_do_not_heed_its_kind() -> None:
    order: list[str] = []
    breakers, nothing = Heeding(BreakerChanged), Heeding()
    inner = fan_out(lambda _: order.append("first"), breakers)
    tell = fan_out(inner, nothing, lambda _: order.append("last"))
    opened, purged = BreakerChanged("relay", open=True, reason="away"), Purged("mysql", 3)
    for event in (opened, purged, opened):
        tell(event)
    assert breakers.told == [opened, opened]
    assert nothing.told == []
    assert order == ["first", "last"] * 3
