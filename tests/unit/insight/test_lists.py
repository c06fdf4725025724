from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from mailculator.insight.lists import lists
from mailculator.lifecycle import MAY_BE_UNKNOWN
from mailculator.model import Status
from mailculator.stores.base import Capabilities, Store


def store(*, looks_are_paid: bool) -> Store:
    capabilities = Capabilities(many_processes=True, looks_are_paid=looks_are_paid)
    return cast("Store", SimpleNamespace(capabilities=capabilities))


@pytest.mark.parametrize("paid", [True, False])
@pytest.mark.parametrize("unknown", [True, False])
@pytest.mark.parametrize("ended", [True, False])
def test_a_status_that_is_named_is_the_only_list(paid: bool, unknown: bool, ended: bool) -> None:
    assert lists(store(looks_are_paid=paid), Status.SENT, unknown=unknown, ended=ended) == (Status.SENT,)


def test_all_are_asked_for_at_once_where_nothing_is_left_out_by_that() -> None:
    assert lists(store(looks_are_paid=False), None, unknown=True, ended=True) == (None,)
    assert lists(store(looks_are_paid=True), None, unknown=False, ended=True) == (None,)


def test_mail_of_unknown_outcome_is_looked_for_status_by_status_where_looks_are_paid() -> None:
    paid = store(looks_are_paid=True)
    assert set(lists(paid, None, unknown=True, ended=True)) == MAY_BE_UNKNOWN
    assert set(lists(paid, None, unknown=True, ended=False)) == MAY_BE_UNKNOWN - {Status.FAILED_ACKNOWLEDGED}
