"""Environments of their own: made once for what is required, and anew where one was left half made."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools import environments
from tools.environments import environment


class Pip:
    """What stands for making an environment and for pip in it; `fails` says whether the next call does."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.fails = False

    def create(self, home: Path, *, clear: bool, with_pip: bool) -> None:
        assert clear, "half of another try may lie there"
        assert with_pip
        (home / "bin").mkdir(parents=True, exist_ok=True)

    def run(self, command: Sequence[object], *, check: bool) -> None:
        assert check
        self.calls.append(list(map(str, command)))
        if self.fails:
            raise subprocess.CalledProcessError(1, "pip")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip()
    monkeypatch.setattr(environments, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(venv, "create", pip.create)
    monkeypatch.setattr(subprocess, "run", pip.run)
    return pip


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("yarl==1.25.1\n", encoding="utf-8")
    return path


def test_one_is_made_once_and_by_its_own_interpreter(pip: Pip, requirements: Path) -> None:
    programs = environment("peers", requirements, "--require-hashes")
    assert environment("peers", requirements, "--require-hashes") == programs
    [call] = pip.calls
    assert call[:4] == [str(programs / "python"), "-m", "pip", "install"]
    assert call[-5:] == ["--only-binary", ":all:", "--require-hashes", "-r", str(requirements)]


def test_other_requirements_and_other_purposes_have_others(pip: Pip, requirements: Path) -> None:
    before = environment("peers", requirements)
    assert environment("audit", requirements) != before
    requirements.write_text("yarl==1.25.2\n", encoding="utf-8")
    assert environment("peers", requirements) != before
    assert len(pip.calls) == 3


def test_one_that_was_left_half_made_is_made_anew(pip: Pip, requirements: Path) -> None:
    pip.fails = True
    with pytest.raises(subprocess.CalledProcessError):
        environment("peers", requirements)
    pip.fails = False
    environment("peers", requirements)
    environment("peers", requirements)
    assert len(pip.calls) == 2
