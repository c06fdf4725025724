"""Prometheus's own program, which reads rules and works them over series that a test makes up."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
CASES = RULES.with_name("alerts_test.yml")


def promtool(*arguments: str | Path) -> None:
    """Run it. AssertionError with what it said where it is not content, or not there: a test of it never skips."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is not installed (Debian: prometheus)"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


# Read once: it takes a tenth of a second, and each of some hundred tests asks for them.
@functools.cache
def rules() -> list[dict[str, Any]]:
    """All rules that are shipped: alarms, and what is recorded."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


@functools.cache
def cases() -> list[dict[str, Any]]:
    """The tests that stand beside them."""
    found: list[dict[str, Any]] = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    return found
