"""`make audit` and `make sbom`: what is said of an answer, of half an answer, and of none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tools import supply_chain

SOUND: dict[str, Any] = {"name": "yarl", "version": "1.25.1", "vulns": []}
LEFT_OUT = {"name": "aiohttp", "skip_reason": "Dependency not found on PyPI and could not be audited: aiohttp (3.14.5)"}
KNOWN = {
    "name": "aiohttp",
    "version": "3.14.0",
    "vulns": [
        {"id": "GHSA-1", "aliases": ["CVE-2026-1"], "fix_versions": ["3.14.1", "3.15.0"], "description": "…"},
        {"id": "GHSA-2", "fix_versions": []},
    ],
}


def program(folder: Path, answer: str, *, code: int = 0, words: str = "") -> Path:
    """What stands for pip-audit, and for cyclonedx-py: it notes how it was called."""
    for name in ("pip-audit", "cyclonedx-py"):
        script = f'#!/bin/sh\necho "$@" >>{folder}/calls\necho {words!r} >&2\ncat {folder}/answer\nexit {code}\n'
        (folder / name).write_text(script, encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "answer").write_text(answer, encoding="utf-8")
    return folder


def answer(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND], 0, ["1 of 1 locked packages were audited, no known vulnerabilities"]),
        (
            [SOUND, KNOWN],
            1,
            [
                "aiohttp 3.14.0: GHSA-1, CVE-2026-1; mended in 3.14.1, 3.15.0",
                "aiohttp 3.14.0: GHSA-2; mended in no version yet",
                "2 of 2 locked packages were audited, 2 known vulnerabilities",
            ],
        ),
        (
            [LEFT_OUT],
            0,
            [
                f"aiohttp was not audited: {LEFT_OUT['skip_reason']}",
                "0 of 1 locked packages were audited, no known vulnerabilities",
            ],
        ),
    ],
)
def test_an_audit_fails_where_something_is_known_and_says_what_it_did_not_ask_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], packages: list[dict[str, Any]], code: int, said: list[str]
) -> None:
    # pip-audit itself ends with 1 where it knows something, and with 0 where it asked about nothing.
    assert supply_chain.audit(program(tmp_path, answer(*packages), code=code), []) == code
    assert capsys.readouterr().err.splitlines() == [f"mailculator: {line}" for line in said]


def test_an_audit_that_reached_nobody_says_so_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert supply_chain.audit(program(tmp_path, "", code=1, words="Failed to resolve api.osv.dev"), []) == 0
    assert "NOTHING was audited, for no list of vulnerabilities answered: Failed to" in capsys.readouterr().err


def test_every_lock_is_audited_by_its_hashes(tmp_path: Path) -> None:
    supply_chain.audit(program(tmp_path, answer(SOUND)), ["--ignore-vuln", "GHSA-1"])
    call = (tmp_path / "calls").read_text(encoding="utf-8")
    assert {word for word in call.split() if word.endswith(".lock")} == set(map(str, supply_chain.ROOT.glob("*.lock")))
    assert "--require-hashes --disable-pip " in call
    assert call.endswith(" --ignore-vuln GHSA-1\n")


def test_tools_that_cannot_be_installed_fail_the_bill_of_materials_and_not_the_audit(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Path:
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setattr(supply_chain, "programs", fail)
    assert (supply_chain.main("audit"), supply_chain.main("sbom")) == (0, 1)
    assert "NOTHING was done: requirements-audit.lock could not be installed" in capsys.readouterr().err


def test_the_bill_of_materials_is_made_of_what_the_image_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bill = tmp_path / "dist" / "bill.json"
    monkeypatch.setattr(supply_chain, "ROOT", tmp_path)
    monkeypatch.setattr(supply_chain, "SBOM", bill)
    bill.parent.mkdir()
    bill.write_text('{"components": []}', encoding="utf-8")
    assert supply_chain.sbom(program(tmp_path, "")) == 0
    assert (tmp_path / "calls").read_text(encoding="utf-8").startswith("requirements requirements.lock --pyproject ")
