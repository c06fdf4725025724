"""Lists of emails, an email's own page, and what is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aiohttp import web

from mailculator import words
from mailculator.insight import actions
from mailculator.insight.actions import PAST, Action
from mailculator.insight.view import View
from mailculator.insight.why import why
from mailculator.model import Row
from mailculator.stores.base import Steered, Store
from mailculator.web.admin import answers, documents
from mailculator.web.admin.actions import offers, offers_among
from mailculator.web.admin.answers import Refusal
from mailculator.web.admin.asking import WHY_LIMIT, Body, Call
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.documents import Text
from mailculator.web.admin.looks import Looks
from mailculator.web.admin.search import Filter, find

PAGE_LIMIT = 200
"""Emails on one page of a list, at the most; 50 where nobody says."""
IDS_LIMIT = 1000
"""Emails that one call does something to."""


class Emails:
    """The calls about emails.

    Arguments:
        text: what becomes of texts that others wrote.
    """

    def __init__(self, desk: Desk, looks: Looks, text: Text) -> None:
        self._desk = desk
        self._looks = looks
        self._text = text

    async def list(self, call: Call) -> web.StreamResponse:
        """GET /api/stores/{store}/emails"""
        store = self._desk.store(call.parameters["store"])
        wanted = Filter.of(
            status=call.query("status"),
            parked=call.flag("parked"),
            unknown=call.flag("unknown"),
            domain=call.query("domain"),
        )
        after, limit = call.query("after"), call.number("limit", 50, PAGE_LIMIT)
        email_id = call.query("id")
        if email_id is not None:
            row = await store.get(email_id)
            return self._page([] if row is None else [row], Filter())
        hindrance = wanted.hindrance(store)
        if hindrance is not None:
            return self._page([], wanted, note=hindrance)
        found = await find(store, wanted, after=after, limit=limit)
        return self._page(found.rows, wanted, after=found.after, note=wanted.note(store))

    async def one(self, call: Call) -> web.StreamResponse:
        """GET /api/stores/{store}/emails/{id}"""
        store = self._desk.store(call.parameters["store"])
        email_id = call.known("id")
        row = await store.get(email_id)
        if row is None:
            raise Refusal(404, f"There is no such email on {words.title(store.name)}.")
        history = await store.history(email_id)
        view = (await self._looks.one(store.name)).view
        now = _store_time(view)
        offered = [one.document() for one in offers(row, now)]
        return answers.json({"email": documents.email(row, history, why(row, history, view, now), offered, self._text)})

    async def act(self, call: Call) -> web.StreamResponse:
        """POST /api/stores/{store}/actions"""
        store = self._desk.store(call.parameters["store"])
        order = _Order.of(await call.body(), store)
        now = _store_time((await self._looks.one(store.name)).view)
        after = None
        ids: Sequence[str] = order.ids
        if order.filter is not None:
            applies = partial(actions.applies, order.action, now=now)
            page = await find(store, order.filter, after=order.after, limit=IDS_LIMIT, applies=applies, some=True)
            ids, after = [row.id for row in page.rows], page.after
        if order.dry_run:
            results = [await actions.would(store, order.action, one, now) for one in ids]
        else:
            results = await actions.carry_out(order.action, store, ids, who=call.operator, why=order.why) if ids else []
            self._looks.stale(store.name)
            done = results.count(Steered.DONE)
            if order.filter is not None and done:
                what = f"{PAST[order.action]} {words.emails(done)} {order.filter.text()}"
                await store.control.note(who=call.operator, what=what, why=order.why)
        return answers.json(_tally(ids, results, after))

    def _page(
        self, rows: Sequence[Row], of: Filter, *, after: str | None = None, note: str | None = None
    ) -> web.Response:
        emails = [documents.row(row, self._text) for row in rows]
        offered = [one.document() for one in offers_among(of.status, parked=of.parked, unknown=of.unknown)]
        return answers.json({"emails": emails, "next": after, "note": note, "actions": offered})


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be done to which emails."""

    action: Action
    ids: Sequence[str]
    filter: Filter | None
    after: str | None
    why: str
    dry_run: bool

    @classmethod
    def of(cls, body: Body, store: Store) -> _Order:
        """Errors: Refusal."""
        body.expect("action", "ids", "filter", "after", "why", "dry_run")
        try:
            action = Action(body.text("action") or "")
        except ValueError:
            raise Refusal(400, f"action must be one of {', '.join(Action)}.", field="action") from None
        ids, narrowed = body.ids("ids", IDS_LIMIT), _filter(body, store)
        if (ids is None) == (narrowed is None):
            raise Refusal(400, "Say which emails: either by ids or by a filter.", field="ids")
        return cls(action, ids or (), narrowed, body.text("after"), body.line("why", WHY_LIMIT), body.flag("dry_run"))


def _filter(body: Body, store: Store) -> Filter | None:
    inner = body.inner("filter")
    if inner is None:
        return None
    inner.expect("status", "parked", "unknown", "domain")
    found = Filter.of(
        status=inner.text("status"),
        parked=inner.flag("parked"),
        unknown=inner.flag("unknown"),
        domain=inner.text("domain"),
    )
    if not found.narrow:
        raise Refusal(400, "A filter must name a status, or be for parked or unknown mail.", field="filter")
    hindrance = found.hindrance(store)
    if hindrance is not None:
        raise Refusal(400, hindrance, field="filter")
    return found


def _tally(ids: Sequence[str], results: Sequence[Steered], after: str | None) -> dict[str, Any]:
    return {
        "done": results.count(Steered.DONE),
        "not_applicable": results.count(Steered.NOT_APPLICABLE),
        "missing": results.count(Steered.MISSING),
        "results": [{"id": one, "result": result.value} for one, result in zip(ids, results, strict=True)],
        "more": after is not None,
        "next": after,
    }


def _store_time(view: View) -> datetime:
    """Now, by the store's clock as far as it is known."""
    off = view.ping.clock_off if view.ping is not None else None
    return datetime.now(UTC) - timedelta(seconds=off or 0.0)
