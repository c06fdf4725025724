"""The completion scripts, in the shells they are for: those that are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.cli_shell import type_in

LINES = [
    ("mailculator que", {"queue"}),
    ("mailculator queue wh", {"why"}),
    ("mailculator queue list --stat", {"--status"}),
    ("mailculator park --status REA", {"READY"}),
    ("mailculator pause --store my", {"mysql"}),
    ("mailculator pause sent", {"sent-callback"}),
]


def shell(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


async def script(name: str, folder: Path) -> Path:
    code, out, err = await type_in("completion", name, variables={})
    assert (code, err) == (0, "")
    path = folder / f"mailculator.{name}"
    path.write_text(out)
    return path


def run(*words: str) -> set[str]:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(("line", "words"), LINES)
async def test_bash(line: str, words: set[str], tmp_path: Path) -> None:
    typed = f'COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _mailculator; echo "${{COMPREPLY[@]}}"'
    assert run(shell("bash"), "-c", f"source {await script('bash', tmp_path)}; {typed}") == words


@pytest.mark.parametrize(("line", "words"), LINES)
async def test_fish(line: str, words: set[str], tmp_path: Path) -> None:
    typed = f"source {await script('fish', tmp_path)}; complete -C '{line}'"
    assert run(shell("fish"), "--no-config", "-c", typed) == words


async def test_zsh_takes_the_script(tmp_path: Path) -> None:
    typed = (
        f"autoload -Uz compinit && compinit -D -u; source {await script('zsh', tmp_path)}; echo $_comps[mailculator]"
    )
    assert "_mailculator" in run(shell("zsh"), "-f", "-c", typed)
