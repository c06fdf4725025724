"""Each of the twelve seeded bugs is caught by the test that is named for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.seeded_bugs import BUGS, Bug

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The source and its tests, where they may be broken."""
    for name in ("mailculator", "tests", "sql", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))
def test_a_seeded_bug_is_caught(bug: Bug, copy: Path) -> None:
    bug.plant(copy / "mailculator")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--timeout", "100"]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*command, bug.caught_by], cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    # 1: tests ran and failed. Anything else would mean that it was not the bug that was met.
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-1000:]
    assert "ImportError" not in done.stdout
    assert " failed" in done.stdout


def test_there_are_twelve() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) == 12
