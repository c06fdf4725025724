"""The environment as it is found: names, values, files of secrets, and what is said of them.

Nothing here knows what a setting means; names, kinds and bounds come from the settings model's own fields.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mailculator.errors import Problem

PREFIX = "MAILCULATOR_"
MASK = "***"

# A service called `mailculator` makes Kubernetes set these in every pod of its namespace.
_SERVICE_LINK = re.compile(r"MAILCULATOR_((\w+_)?SERVICE_(HOST|PORT)(_\w+)?|(\w+_)?PORT(_\d+_(TCP|UDP)(_\w+)?)?)")
_OF_TESTS = "MAILCULATOR_TEST_"


def fields(model: type[BaseModel]) -> dict[str, tuple[str, FieldInfo]]:
    """The model's variables in order, each with its attribute's name and its field."""
    return {field.alias or name: (name, field) for name, field in model.model_fields.items()}


def marked(field: FieldInfo, key: str) -> Any:
    """What the model says of a field beyond its type: default, required, secret, url."""
    return field.json_schema_extra.get(key) if isinstance(field.json_schema_extra, dict) else None


def is_secret(field: FieldInfo) -> bool:
    """Whether its value is never shown, and may come from a file."""
    return field.annotation is SecretStr or bool(marked(field, "secret"))


def read(environ: Mapping[str, str], model: type[BaseModel]) -> tuple[dict[str, str], list[Problem]]:
    """The variables that are set, secrets also from the files that NAME_FILE names, and what is wrong with those files.

    Secrets are taken as they are. Other values lose the blanks around them, which `.env` files edited on other systems
    leave at the ends of lines.
    """
    values: dict[str, str] = {}
    problems: list[Problem] = []
    for name, (_, field) in fields(model).items():
        value = environ.get(name, "")
        if not is_secret(field):
            value = value.strip()
        elif path := environ.get(f"{name}_FILE", ""):
            if value:
                problems.append(Problem(name, f"is given twice: unset it or {name}_FILE"))
                continue
            try:
                value = _secret(path)
            except (OSError, ValueError) as error:
                problems.append(Problem(f"{name}_FILE", f"must name a readable file of UTF-8 text ({_why(error)})"))
                continue
        if not _is_text(value):
            problems.append(Problem(name, "must be UTF-8 text"))
        elif value:
            values[name] = value
    return values, problems


def reread(name: str, environ: Mapping[str, str]) -> str | None:
    """What the file of a secret holds now; None where it is not given as a file. Errors: OSError, ValueError."""
    path = environ.get(f"{name}_FILE", "")
    return _secret(path) if path else None


def _is_text(value: str) -> bool:
    # Bytes of the environment that are not UTF-8 arrive as lone surrogates (PEP 383).
    return not any("\ud800" <= ch <= "\udfff" for ch in value)


def _secret(path: str) -> str:
    """A secret's file without the line end that editors put there."""
    text = Path(path).read_bytes().decode("utf-8")
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def _why(error: OSError | ValueError) -> str:
    # A decoding error quotes the bytes it stumbled on: the secret.
    return error.strerror or "unreadable" if isinstance(error, OSError) else "not UTF-8"


def origin(environ: Mapping[str, str], name: str) -> str:
    """Where a variable's value came from."""
    if environ.get(name, "").strip():
        return "environment"
    return "file" if environ.get(f"{name}_FILE") else "default"


def unknown(environ: Mapping[str, str], model: type[BaseModel]) -> list[str]:
    """A sentence for each variable with our prefix that nobody reads, with the name that was probably meant."""
    variables = fields(model)
    known = set(variables)
    known |= {f"{name}_FILE" for name, (_, field) in variables.items() if is_secret(field)}
    ours = sorted(name for name in known if name.startswith(PREFIX))
    sentences = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in known or name.startswith(_OF_TESTS) or _SERVICE_LINK.fullmatch(name):
            continue
        # Without the prefix, which would make everything look alike.
        close = difflib.get_close_matches(name.removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in ours], n=1)
        meant = f"; did you mean {PREFIX}{close[0]}?" if close else ""
        sentences.append(f"{name} is not a setting of mailculator{meant}")
    return sentences


def problems(errors: Sequence[ErrorDetails], model: type[BaseModel], given: Mapping[str, str]) -> list[Problem]:
    """One problem for each variable that the model refused."""
    variables = fields(model)
    found: dict[str, Problem] = {}
    for error in errors:
        if error["type"] == "default_factory_not_called":
            continue  # a default that hangs on a value which is reported itself
        name = str(error["loc"][0])
        field = variables[name][1]
        if error["type"] == "value_error":
            message = error["msg"].removeprefix("Value error, ")
        else:
            message = f"must be {allowed(field)}"
        if not is_secret(field) and name in given:
            message += f" (got {_short(given[name])})"
            if given[name].startswith("tcp://"):
                message += "; Kubernetes sets it for a service of that name: set enableServiceLinks to false"
        found.setdefault(name, Problem(name, message))
    return list(found.values())


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")


_KINDS: Mapping[object, str] = MappingProxyType(
    {
        bool: "true or false",
        Path | None: "a path",
        Path: "a path",
        dict[str, str]: "a JSON object of strings",
        tuple[str, ...]: "names separated by commas",
    }
)


def allowed(field: FieldInfo) -> str:
    """The values a field takes, in words, without its variable's name."""
    if get_origin(field.annotation) is Literal:
        *most, last = get_args(field.annotation)
        return f"{', '.join(most)} or {last}"
    bounds = {key: getattr(item, key) for item in field.metadata for key in ("ge", "gt", "le") if hasattr(item, key)}
    if "le" in bounds:
        low = f"above {bounds['gt']} and at most " if "gt" in bounds else f"{bounds['ge']}.."
        return f"{low}{bounds['le']}"
    limit = next((item.max_length for item in field.metadata if hasattr(item, "max_length")), None)
    return f"at most {limit} characters" if limit else _KINDS.get(field.annotation, "text")


def shown(field: FieldInfo, value: object) -> str:
    """A value as it may be shown: secrets masked, a URL without its query."""
    if is_secret(field):
        empty = value.get_secret_value() == "" if isinstance(value, SecretStr) else not value
        return "" if empty else MASK
    if marked(field, "url") and isinstance(value, str):
        return _shown_url(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    return "" if value is None else str(value)


def _shown_url(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + (f"?{MASK}" if parts.query else "")
