"""The API's documents as JSON Schema 2020-12: closed ones, so that a member that is not named here is a mistake."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mailculator import facts
from mailculator.insight.actions import Action
from mailculator.model import Status
from mailculator.stores.base import Steered
from mailculator.web.admin.asking import ID_LIMIT, NAME_LIMIT, WHY_LIMIT
from mailculator.web.admin.emails import IDS_LIMIT
from mailculator.web.admin.steering import LONGEST_PAUSE, PIPELINES

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
STATUS: Schema = {"enum": [str(status) for status in Status]}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": NAME_LIMIT}
WHY: Schema = {"type": "string", "minLength": 1, "maxLength": WHY_LIMIT}
ID: Schema = {"type": "string", "minLength": 1, "maxLength": ID_LIMIT}
PIPELINE: Schema = {"enum": list(PIPELINES)}


def ref(name: str) -> Schema:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def several(schema: Schema, **bounds: int) -> Schema:
    """A list of them."""
    return {"type": "array", "items": schema, **bounds}


def by_name(schema: Schema) -> Schema:
    """An object whose members have names of no fixed set."""
    return {"type": "object", "additionalProperties": schema}


def closed(members: Mapping[str, Schema], *, optional: tuple[str, ...] = ()) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
    }


_RATES = (facts.ENTERED, facts.SENT, facts.FAILED, facts.INVALID, facts.ACKNOWLEDGED, facts.RETRIED)

_ROW: Schema = {
    "id": TEXT,
    "status": STATUS,
    "version": {"type": "integer"},
    "attempts": {"type": "integer"},
    "parked": FLAG,
    "cancelled": maybe(TEXT),
    "recipient_domain": maybe(TEXT),
    "last_error": maybe(TEXT),
    "reason": maybe(TEXT),
    "created_at": TIME,
    "updated_at": TIME,
    "due_at": TIME,
    "crashes": {"type": "integer"},
    "claimed_by": maybe(TEXT),
    "generation": {"type": "integer"},
}
_FILTER: Schema = closed(
    {"status": maybe(STATUS), "parked": FLAG, "unknown": FLAG, "domain": maybe(TEXT)},
    optional=("status", "parked", "unknown", "domain"),
)
_SAID: Schema = maybe(closed({"at": TIME, "text": TEXT}))

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        "Problem": closed(
            {
                "type": {"const": "about:blank"},
                "title": TEXT,
                "status": {"type": "integer"},
                "detail": TEXT,
                "field": TEXT,
            },
            optional=("field",),
        ),
        "SignIn": closed({"name": NAME, "token": maybe(TEXT)}, optional=("token",)),
        "Session": closed(
            {
                "signed_in": FLAG,
                "token_needed": FLAG,
                "name": maybe(TEXT),
                "csrf": maybe(TEXT),
                "addresses_shown": FLAG,
                "version": TEXT,
                "replica": TEXT,
            }
        ),
        "Overview": closed(
            {
                "at": TIME,
                "stores": several(ref("Store")),
                "problems": several(ref("Trouble")),
                "cutover": maybe(ref("Cutover")),
            }
        ),
        "Store": closed(
            {
                "store": TEXT,
                "title": TEXT,
                "error": maybe(TEXT),
                "latency_ms": maybe(NUMBER),
                "writable": maybe(FLAG),
                "statuses": several(ref("StatusCount"), minItems=len(Status), maxItems=len(Status)),
                "backlog": COUNT,
                "parked": COUNT,
                "rates": closed(dict.fromkeys(_RATES, NUMBER)),
                "seconds_to_empty": maybe(NUMBER),
                "pauses": several(ref("Pause")),
                "replicas": several(ref("Replica")),
                "pipelines": several(TEXT),
                "can": closed({"search_domain": FLAG, "list_terminal": FLAG}),
            }
        ),
        "StatusCount": closed(
            {
                "status": STATUS,
                "count": maybe(COUNT),
                "parked": COUNT,
                "oldest_age_s": maybe(NUMBER),
                "counted_at": maybe(TIME),
            }
        ),
        "Pause": closed({"pipeline": TEXT, "who": TEXT, "why": TEXT, "since": TIME, "until": maybe(TIME)}),
        "Replica": closed(
            {
                "name": TEXT,
                "version": TEXT,
                "age_s": NUMBER,
                "silent": FLAG,
                "stopped": FLAG,
                "draining": FLAG,
                "in_flight": by_name({"type": "integer"}),
                "rates": by_name(NUMBER),
                "away": by_name(closed({"since": TIME, "reason": TEXT})),
                "relay": _SAID,
                "callback": _SAID,
                "rate": NUMBER,
                "rate_reason": TEXT,
            }
        ),
        "Trouble": closed(
            {
                "kind": TEXT,
                "store": TEXT,
                "severity": {"enum": ["critical", "warning", "info"]},
                "text": TEXT,
                "advice": TEXT,
                "status": maybe(STATUS),
                "parked": FLAG,
                "unknown": FLAG,
                "since": maybe(TIME),
            }
        ),
        "Cutover": closed(
            {"phase": TEXT, "title": TEXT, "next_step": maybe(TEXT), "ready": FLAG, "hindrances": several(TEXT)}
        ),
        "Row": closed(_ROW),
        "Emails": closed(
            {
                "emails": several(ref("Row")),
                "next": maybe(TEXT),
                "note": maybe(TEXT),
                "actions": several(ref("Offer")),
            }
        ),
        "Email": closed(
            {
                "email": closed(
                    {
                        **_ROW,
                        "payload_file_path": maybe(TEXT),
                        "eml_file_path": maybe(TEXT),
                        "ttl": maybe({"type": "integer"}),
                        "lease_until": maybe(TIME),
                        "reached_at": maybe(TIME),
                        "history": several(ref("Step")),
                        "why": several(TEXT),
                        "actions": several(ref("Offer")),
                    }
                )
            }
        ),
        "Step": closed(
            {
                "at": TIME,
                "status": TEXT,
                "version": maybe({"type": "integer"}),
                "attempt": {
                    **maybe({"type": "integer"}),
                    "description": "The how-manieth time it had been taken up at that stage since it came there, those"
                    " included that the count of tries leaves out. Null for what is no part of an attempt, and where"
                    " lines that are not there, of another program or no longer kept, leave it open.",
                },
                "note": maybe(TEXT),
            }
        ),
        "Offer": closed(
            {"action": {"enum": list(Action)}, "label": TEXT, "sends_mail": FLAG, "warning": TEXT, "undo": TEXT}
        ),
        "Order": {
            **closed(
                {
                    "action": {"enum": list(Action)},
                    "ids": several(ID, minItems=1, maxItems=IDS_LIMIT),
                    "filter": _FILTER,
                    "after": maybe(ID),
                    "why": WHY,
                    "dry_run": FLAG,
                },
                optional=("ids", "filter", "after", "dry_run"),
            ),
            "oneOf": [{"required": ["ids"]}, {"required": ["filter"]}],
        },
        "Results": closed(
            {
                "done": COUNT,
                "not_applicable": COUNT,
                "missing": COUNT,
                "results": several(closed({"id": TEXT, "result": {"enum": [one.value for one in Steered]}})),
                "more": FLAG,
                "next": maybe(TEXT),
            }
        ),
        "PauseOrder": closed(
            {
                "pipeline": PIPELINE,
                "seconds": maybe({"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_PAUSE}),
                "why": WHY,
            },
            optional=("seconds",),
        ),
        "ResumeOrder": closed({"why": WHY}),
        "Audit": closed({"entries": several(ref("Deed")), "next": maybe(TEXT)}),
        "Deed": closed({"at": TIME, "who": TEXT, "what": TEXT, "why": TEXT}),
    }
)
