"""What operators do to a queue as a whole: pauses, and the list of who did what."""

from __future__ import annotations

from aiohttp import web

from mailculator import fleet
from mailculator.lifecycle import STAGES
from mailculator.web.admin import answers, documents
from mailculator.web.admin.answers import Refusal
from mailculator.web.admin.asking import WHY_LIMIT, Call
from mailculator.web.admin.desk import Desk
from mailculator.web.admin.documents import Text
from mailculator.web.admin.looks import Looks

LONGEST_PAUSE = 366 * 86_400.0
"""Seconds."""
AUDIT_LIMIT = 200
PIPELINES = (fleet.WHOLE, *(stage.name for stage in STAGES))
"""What can be paused."""


class Steering:
    """The calls about a queue as a whole.

    Arguments:
        text: what becomes of texts that others wrote.
    """

    def __init__(self, desk: Desk, looks: Looks, text: Text) -> None:
        self._desk = desk
        self._looks = looks
        self._text = text

    async def pause(self, call: Call) -> web.StreamResponse:
        """POST /api/stores/{store}/pauses"""
        store = self._desk.store(call.parameters["store"])
        body = await call.body()
        body.expect("pipeline", "seconds", "why")
        pipeline = _pipeline(body.text("pipeline"))
        seconds, why = body.seconds("seconds", LONGEST_PAUSE), body.line("why", WHY_LIMIT)
        await store.control.pause(pipeline, seconds=seconds, who=call.operator, why=why)
        self._looks.stale(store.name)
        return answers.empty()

    async def resume(self, call: Call) -> web.StreamResponse:
        """DELETE /api/stores/{store}/pauses/{pipeline}"""
        store = self._desk.store(call.parameters["store"])
        body = await call.body()
        body.expect("why")
        pipeline, why = _pipeline(call.parameters["pipeline"]), body.line("why", WHY_LIMIT)
        if not await store.control.resume(pipeline, who=call.operator, why=why):
            raise Refusal(404, f"There is no pause of {fleet.named(pipeline)} to end.")
        self._looks.stale(store.name)
        return answers.empty()

    async def audit(self, call: Call) -> web.StreamResponse:
        """GET /api/stores/{store}/audit"""
        store = self._desk.store(call.parameters["store"])
        after, limit = call.query("after"), call.number("limit", 50, AUDIT_LIMIT)
        found = await store.control.audit(after=after, limit=limit)
        entries = [documents.deed(one, self._text) for one in found]
        return answers.json({"entries": entries, "next": found[-1].key if len(found) == limit else None})


def _pipeline(name: str | None) -> str:
    if name not in PIPELINES:
        raise Refusal(400, f"pipeline must be one of {', '.join(PIPELINES)}.", field="pipeline")
    return name
