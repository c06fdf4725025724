"""Sample payloads as producers write them: ordinary mail, mail that must be INVALID, mail that the relay refuses."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mailculator.demo.sink import GREYLISTED_DOMAIN, REFUSED_DOMAIN
from mailculator.model import Status

NAMES = ("Åsa Öberg", "Zoë Müller", "José Álvarez", "Chiara Nicolò", "Łukasz Wójcik", "Anna Rossi", "O'Brien, Pat")
SUBJECTS = (
    "La tua fattura è pronta",
    "Ihre Bestätigung",
    "Réunion déplacée à jeudi",
    "Rechnung № 2026-117 🎉",
    "Hello",
)

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of sample.

    Arguments:
        name: what it shows, for the final table.
        weight: how often it comes up.
        ends: the terminal status it must reach.
        shape: changes the fields of an ordinary payload into this kind.
    """

    name: str
    weight: int
    ends: Status
    shape: Callable[[Fields, int], None]


@dataclass(frozen=True, slots=True)
class Sample:
    """A payload file that was written."""

    id: str
    kind: Kind
    path: Path


def _html(fields: Fields, number: int) -> None:
    fields["body_html"] = f"<p>Gentile cliente,<br>il documento n. <b>{number}</b> è pronto: 12,50 €.</p>"


def _attachments(fields: Fields, number: int) -> None:
    _html(fields, number)
    fields["attachments"] = ["/2026/report.csv", {"path": "/2026/a.pdf", "name": f"fattura n° {number} – è qui.pdf"}]


def _headers(fields: Fields, number: int) -> None:
    fields["custom_headers"] = {"X-Campaign": f"autumn-{number}", "List-Unsubscribe": "<https://example.com/u>"}
    fields["reply_to"] = fields["from"]


def _greylisted(fields: Fields, number: int) -> None:
    fields["to"] = f"user{number}@{GREYLISTED_DOMAIN}"


def _refused(fields: Fields, number: int) -> None:
    fields["to"] = f"nobody{number}@{REFUSED_DOMAIN}"


def _two_recipients(fields: Fields, number: int) -> None:
    fields["to"] = "one@example.com, two@example.com"


def _no_body(fields: Fields, number: int) -> None:
    fields["body_text"] = ""


def _escaping(fields: Fields, number: int) -> None:
    fields["attachments"] = ["/../../etc/passwd"]


KINDS: tuple[Kind, ...] = (
    Kind("plain text", 6, Status.SENT_ACKNOWLEDGED, lambda fields, number: None),
    Kind("HTML and text, accents", 8, Status.SENT_ACKNOWLEDGED, _html),
    Kind("two attachments", 4, Status.SENT_ACKNOWLEDGED, _attachments),
    Kind("custom headers", 3, Status.SENT_ACKNOWLEDGED, _headers),
    Kind("deferred once by the relay", 2, Status.SENT_ACKNOWLEDGED, _greylisted),
    Kind("refused by the relay", 2, Status.FAILED_ACKNOWLEDGED, _refused),
    Kind("two recipients in one field", 1, Status.INVALID, _two_recipients),
    Kind("no body", 1, Status.INVALID, _no_body),
    Kind("attachment outside the base", 1, Status.INVALID, _escaping),
)


def write(directory: Path, attachments: Path, count: int, rng: random.Random) -> list[Sample]:
    """Write `count` payload files and the attachments they name.

    Arguments:
        directory: where the payload files go.
        attachments: the base path of attachments.
        count: of at least len(KINDS) one of every kind is there.
    """
    (attachments / "2026").mkdir(parents=True, exist_ok=True)
    (attachments / "2026" / "report.csv").write_text("giorno;€\nlunedì;12,50\n", encoding="utf-8")
    (attachments / "2026" / "a.pdf").write_bytes(b"%PDF-1.4\n" + rng.randbytes(30_000))
    directory.mkdir(parents=True, exist_ok=True)
    kinds = [*KINDS, *rng.choices(KINDS, [kind.weight for kind in KINDS], k=max(0, count - len(KINDS)))][:count]
    return [_write_one(directory, kind, number, rng) for number, kind in enumerate(kinds, start=1)]


def _write_one(directory: Path, kind: Kind, number: int, rng: random.Random) -> Sample:
    email_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    name = rng.choice(NAMES)
    fields: Fields = {
        "id": email_id,
        "from": '"Servizio clienti" <service@example.com>',
        "reply_to": "reply@example.com",
        "to": f'"{name}" <user{number}@example.com>',
        "subject": f"{rng.choice(SUBJECTS)} ({number})",
        "body_html": None,
        "body_text": f"Gentile {name},\n\nil documento n. {number} è pronto.\n",
        "attachments": [],
        "custom_headers": {},
    }
    kind.shape(fields, number)
    path = directory / f"{email_id}.json"
    path.write_bytes(orjson.dumps(fields))
    return Sample(email_id, kind, path)
