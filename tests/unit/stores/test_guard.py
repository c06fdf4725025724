"""What the guard says to either store when the other one is away, silent, or not open yet."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from mailculator.errors import StoreRejected, StoreUnavailable
from mailculator.events import StoreNoticed
from mailculator.model import Status
from mailculator.stores.guard import DuplicateGuard
from tests.support.clock import FakeClock
from tests.support.events import Recording
from tests.support.other_store import OtherStore

AWAY = StoreUnavailable("dynamodb", "guard", "no route")


class Keeper:
    """A store that keeps reservations: what it answers is set by the test."""

    def __init__(self) -> None:
        self.verdicts: dict[str, str | None] = {}
        self.error: Exception | None = None
        self.asked: list[tuple[str, list[tuple[str, int | None]]]] = []

    async def reserve_for(self, store: str, emails: Sequence[tuple[str, int | None]]) -> Mapping[str, str | None]:
        self.asked.append((store, list(emails)))
        if self.error is not None:
            raise self.error
        return self.verdicts


class Bench:
    """A guard between the two."""

    def __init__(self, *, patience: float = 20.0) -> None:
        self.clock = FakeClock()
        self.told = Recording()
        self.keeper = Keeper()
        self.other = OtherStore()
        self.guard = DuplicateGuard(observer=self.told, clock=self.clock, patience=patience, pause=30.0)

    def join(self) -> None:
        self.guard.joined("mysql", self.keeper)
        self.guard.joined("dynamodb", self.other)

    @property
    def notices(self) -> list[tuple[str, str, str | None]]:
        return [(event.store, event.kind, event.email_id) for event in self.told.of(StoreNoticed)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Sending from DynamoDB


async def test_a_claim_from_dynamodb_is_reserved_under_its_name_in_one_call(bench: Bench) -> None:
    bench.join()
    bench.keeper.verdicts = {"a": None, "b": "mysql"}
    assert await bench.guard.reserve([("a", 7), ("b", None)]) == {"a": None, "b": "mysql"}
    assert bench.keeper.asked == [("dynamodb", [("a", 7), ("b", None)])]
    assert bench.notices == [("dynamodb", "duplicate", "b")]


async def test_an_empty_claim_asks_nobody(bench: Bench) -> None:
    assert await bench.guard.reserve([]) == {}
    assert bench.keeper.asked == []


@pytest.mark.parametrize("closed", [False, True], ids=["not open yet", "closed again"])
async def test_sending_from_dynamodb_waits_until_mariadb_is_open(bench: Bench, closed: bool) -> None:
    if closed:
        bench.join()
        bench.guard.left("mysql")
    with pytest.raises(StoreUnavailable) as waits:
        await bench.guard.reserve([("a", None)])
    assert str(waits.value) == (
        "dynamodb claim: sending waits for MariaDB, which keeps the reservations: it has not been reached yet"
    )


@pytest.mark.parametrize("error", [StoreUnavailable, StoreRejected])
async def test_sending_from_dynamodb_waits_while_mariadb_is_away_and_says_why(
    bench: Bench, error: type[StoreUnavailable | StoreRejected]
) -> None:
    bench.join()
    bench.keeper.error = error("mysql", "reserve", "error 1142: no right")
    with pytest.raises(StoreUnavailable, match=r"^dynamodb claim: sending waits for MariaDB.*: error 1142: no right$"):
        await bench.guard.reserve([("a", None)])


# Mail of MariaDB


async def test_a_look_says_how_the_others_copies_stand(bench: Bench) -> None:
    bench.join()
    bench.other.put(["a"], Status.SENT)
    assert await bench.guard.look(["a", "b"]) == {"a": Status.SENT}
    assert bench.notices == []


async def test_an_outage_is_told_once_and_costs_one_look_a_pause(bench: Bench) -> None:
    bench.join()
    bench.other.error = AWAY
    for _ in range(3):
        for _ in range(4):
            assert await bench.guard.look(["a"]) is None
        await bench.clock.advance(30.0)
    assert len(bench.other.looks) == 3
    assert bench.notices == [("mysql", "guard_skipped", None)]
    assert bench.told.of(StoreNoticed)[0].detail == (
        "mail leaves without a look whether dynamodb has it too: dynamodb guard: no route"
    )


async def test_the_next_outage_is_told_again(bench: Bench) -> None:
    bench.join()
    for _ in range(2):
        bench.other.error = AWAY
        assert await bench.guard.look(["a"]) is None
        bench.other.error = None
        await bench.clock.advance(30.0)
        assert await bench.guard.look(["a"]) == {}
    assert len(bench.notices) == 2


async def test_a_store_that_hangs_holds_mail_up_for_no_longer_than_the_patience() -> None:
    bench = Bench(patience=0.05)
    bench.join()
    bench.other.hangs = True
    assert [await bench.guard.look(["a"]) for _ in range(3)] == [None, None, None]
    assert len(bench.other.looks) == 1
    assert bench.told.of(StoreNoticed)[0].detail.endswith("no answer within 0.05 s")


async def test_a_store_that_never_opens_holds_mail_up_for_no_longer_than_the_patience() -> None:
    bench = Bench(patience=0.05)
    assert [await bench.guard.look(["a"]) for _ in range(3)] == [None, None, None]
    assert len(bench.notices) == 1


async def test_mail_that_is_claimed_before_the_other_store_is_open_is_looked_up_all_the_same(bench: Bench) -> None:
    bench.other.put(["a"], Status.SENT)
    look = asyncio.create_task(bench.guard.look(["a"]))
    await asyncio.sleep(0)
    assert not look.done()
    bench.join()
    assert await look == {"a": Status.SENT}


async def test_a_store_that_has_just_been_opened_is_asked_at_once() -> None:
    bench = Bench(patience=0.05)
    assert await bench.guard.look(["a"]) is None
    bench.join()
    assert await bench.guard.look(["a"]) == {}
