"""The schema files, `sql/<backend>/NNNN_name.sql`, and what they mean for this version of the service.

Each file can be applied by hand, any number of times, and records itself: its name in `mailculator_schema`, and in
`mailculator_meta` under `oldest_service` the oldest service version that the schema serves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import mailculator

APPLY = "run: mailculator schema apply"

_NAME = re.compile(r"(\d{4}_\w+)\.sql")


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One file of a backend's schema.

    Arguments:
        name: without the ending, as `mailculator_schema` records it (`0001_queue`).
        sql: its text.
    """

    name: str
    sql: str


def schema_files(backend: str) -> tuple[SchemaFile, ...]:
    """The files of one backend (`sqlite`, `mariadb`), in the order in which they are applied.

    Errors: FileNotFoundError when this installation has none.
    """
    found = [(match[1], entry) for entry in _folder(backend).iterdir() if (match := _NAME.fullmatch(entry.name))]
    if not found:
        raise FileNotFoundError(f"no schema files for {backend}")
    found.sort(key=lambda pair: pair[0])
    return tuple(SchemaFile(name, entry.read_text(encoding="utf-8")) for name, entry in found)


def _folder(backend: str) -> Traversable:
    """Inside the package where it was installed from a wheel; at the top of a checkout."""
    installed = resources.files(mailculator) / "sql" / backend
    if installed.is_dir():
        return installed
    return Path(mailculator.__file__).parents[1] / "sql" / backend


def pending(files: Sequence[SchemaFile], applied: Collection[str]) -> tuple[str, ...]:
    """Names of the files that a database still lacks, in order."""
    return tuple(file.name for file in files if file.name not in applied)


def refusal(
    pending_names: Sequence[str], oldest_service: str | None, *, version: str = mailculator.__version__
) -> str | None:
    """Why this version of the service must not start on a schema, and what to do; None when it may.

    Files in the database that this version does not know are no reason: the newer version that applied them says with
    `oldest_service` whether the two run side by side.

    Arguments:
        pending_names: what the database lacks of the files this version knows.
        oldest_service: what the database states; None when it states nothing.
    """
    if oldest_service is None:
        return f"the database has no mailculator schema; {APPLY}"
    if version_key(version) < version_key(oldest_service):
        return f"the schema serves mailculator {oldest_service} and later, and this is {version}: upgrade the service"
    if pending_names:
        return f"the schema is older than this mailculator ({version}) and lacks {', '.join(pending_names)}; {APPLY}"
    return None


def version_key(version: str) -> tuple[int, ...]:
    """The numbers of a version, comparable: `0.10.2` → (0, 10, 2). Endings such as `rc1` do not count.

    Errors: ValueError for what is no version.
    """
    match = re.match(r"\d+(?:\.\d+)*", version)
    if match is None:
        raise ValueError(f"not a version: {version!r}")
    numbers = [int(part) for part in match[0].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
