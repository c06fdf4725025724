"""The generated documents are those of the model, and hold every variable once."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from mailculator import config_docs, environment
from mailculator.config import Settings, load

ROOT = Path(__file__).resolve().parents[2]
ADVICE = "run: python -m mailculator.config_docs"


def test_the_files_are_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == config_docs.env_example(), ADVICE
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == config_docs.markdown(), ADVICE


def test_write_makes_both_files(tmp_path: Path) -> None:
    paths = config_docs.write(tmp_path)
    assert [path.read_text(encoding="utf-8") for path in paths] == [config_docs.env_example(), config_docs.markdown()]


def test_every_variable_is_documented_once() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \|", config_docs.markdown(), re.MULTILINE)
    assert sorted(rows) == sorted(environment.fields(Settings))
    assigned = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", config_docs.env_example(), re.MULTILINE)
    assert assigned == list(environment.fields(Settings))


def test_every_variable_has_an_alias_and_a_description() -> None:
    for name, (attribute, field) in environment.fields(Settings).items():
        assert name.isupper(), attribute
        assert field.description, name
        assert field.description.endswith("."), name


def test_every_section_begins_with_a_variable_that_exists() -> None:
    assert set(config_docs.SECTIONS) <= set(environment.fields(Settings))


def test_the_example_shows_the_defaults() -> None:
    """As a shell reads it, with every comment mark removed, it is the default configuration."""
    found = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", config_docs.env_example(), re.MULTILINE)
    lines = {name: "".join(shlex.split(value)) for name, value in found}
    ours, default = load(lines, needs=()), load({}, needs=())
    assert ours.model_dump() == default.model_dump()
