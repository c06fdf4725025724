"""What the examples under deploy/ come to: the settings that a container would start with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mailculator import config_checks, environment
from mailculator.app import ABORT_SHARE
from mailculator.config import Settings, load, unknown_variables

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MARGIN = 10.0
"""Seconds between the end of our own drain and the platform's kill."""


def started_with(given: Mapping[str, str]) -> Settings:
    """The settings of these variables; of a secret's file only its name is looked at.

    Errors: ConfigError for what would end the start; AssertionError for what nobody reads, or what it would warn of.
    """
    secrets = [name for name, (_, field) in environment.fields(Settings).items() if environment.is_secret(field)]
    files = {f"{name}_FILE": name for name in secrets}
    read = {files.get(name, name): "secret" if name in files else value for name, value in given.items()}
    known = set(environment.fields(Settings))
    assert set(read) <= known, set(read) - known
    assert unknown_variables(read) == []
    settings = load(read, needs={"store", "smtp", "callback"} if "SMTP_HOST" in read else {"store"})
    assert config_checks.warnings(settings) == []
    return settings


def secrets_in(given: Mapping[str, str]) -> set[str]:
    """Variables that hold a secret as it is."""
    fields = environment.fields(Settings)
    return {name for name in given if name in fields and environment.is_secret(fields[name][1])}


def works_for(settings: Settings) -> float:
    """Seconds for which mail under way goes on after a stop, before it is interrupted."""
    return settings.shutdown_grace - min(5.0, ABORT_SHARE * settings.shutdown_grace)
