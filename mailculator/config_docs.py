"""Writes .env.example and docs/configuration.md from the settings model: `python -m mailculator.config_docs`."""

from __future__ import annotations

import json
import shlex
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pydantic.fields import FieldInfo

from mailculator import environment
from mailculator.config import Settings

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 118

SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "MYSQL_PIPELINES_ENABLED": "Queues",
        "MYSQL_HOST": "MariaDB",
        "SQLITE_PATH": "SQLite",
        "EMAIL_OUTBOX_TABLE": "DynamoDB",
        "MAILCULATOR_DUPLICATE_GUARD": "Two queues at once",
        "SMTP_HOST": "Relay",
        "PIPELINE_CALLBACK_URL": "Callback",
        "ATTACHMENTS_BASE_PATH": "Mail",
        "PIPELINE_INTERVAL": "Work",
        "MAILCULATOR_HTTP_PORT": "Health, metrics, the page and logs",
    }
)
"""The first variable of each section, in the order of the model."""

NEEDED_WITH = MappingProxyType(
    {
        "mysql": "with MYSQL_PIPELINES_ENABLED",
        "dynamodb": "with DYNAMODB_PIPELINES_ENABLED",
        "smtp": "always",
        "callback": "always",
    }
)

_ENV_HEAD = """\
# Settings of mailculator. Written by `python -m mailculator.config_docs`; edit mailculator/settings/ instead.
# What is commented out shows its default. docs/configuration.md says more. The file is one for a shell and for compose,
# so values with blanks or quotes stand in single quotes; `docker run --env-file` wants them bare.
"""

_DOCS_HEAD = """\
# Configuration

Written by `python -m mailculator.config_docs` from the settings model, `mailculator/settings/`.

mailculator is configured by environment variables alone. An empty value counts as unset. `mailculator check` reports
everything that is wrong at once, one line each, with the variable's name; so does a start, which then exits with 78.

- Booleans are `true` or `false`, also `1`/`0`, `yes`/`no`, `on`/`off`, in any case.
- Values are taken as they are: nothing is expanded or unquoted, so a password may hold any character. Blanks around a
  value are dropped, but not around a secret's.
- Every secret can also be given as a file: `NAME_FILE` holds its path. One line end at the end of the file is dropped.
  Giving both is an error.
- A variable that begins with `MAILCULATOR_` and is none of these is reported at the start, and ignored.
- Variables and their meaning are stable. Names without the prefix are those of the service that mailculator replaces.
"""


def env_example() -> str:
    """The text of .env.example."""
    lines = [_ENV_HEAD]
    for name, (_, field) in environment.fields(Settings).items():
        if name in SECTIONS:
            title = f"--- {SECTIONS[name]} "
            lines.append(f"\n# {title:-<60}\n")
        lines.extend(f"# {line}\n" for line in textwrap.wrap(_sentence(field), WIDTH))
        default = _default(field)
        shown = f"{name}={shlex.quote(default) if default else ''}"
        lines.append(f"{shown}\n" if environment.marked(field, "required") else f"# {shown}\n")
    return "".join(lines)


def markdown() -> str:
    """The text of docs/configuration.md."""
    lines = [_DOCS_HEAD]
    for name, (_, field) in environment.fields(Settings).items():
        if name in SECTIONS:
            lines.append(
                f"\n## {SECTIONS[name]}\n\n| variable | meaning | values | default |\n| --- | --- | --- | --- |\n"
            )
        cells = (f"`{name}`", _meaning(name, field), environment.allowed(field), _shown_default(field))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(lines)


def write(root: Path) -> list[Path]:
    """Rewrite both files beneath `root`; returns their paths."""
    texts = {root / ".env.example": env_example(), root / "docs" / "configuration.md": markdown()}
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(texts)


def _sentence(field: FieldInfo) -> str:
    values = environment.allowed(field)
    told = f" Values: {values}." if values != "text" else ""
    kind = " Also as a file, NAME_FILE." if environment.is_secret(field) else ""
    return f"{field.description}{told}{kind}"


def _meaning(name: str, field: FieldInfo) -> str:
    secret = f" Also as `{name}_FILE`." if environment.is_secret(field) else ""
    return f"{field.description}{secret}"


def _default(field: FieldInfo) -> str:
    told = environment.marked(field, "default")
    if told or field.default is None or field.default_factory is not None:
        return ""
    if isinstance(field.default, dict):
        return json.dumps(field.default, separators=(",", ":"))
    return environment.shown(field, field.default)


def _shown_default(field: FieldInfo) -> str:
    needed = environment.marked(field, "required")
    if needed:
        return f"required {NEEDED_WITH[needed]}"
    told = environment.marked(field, "default")
    value = _default(field)
    return str(told) if told else f"`{value}`" if value else ""


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in write(ROOT))
