"""What is shipped gives nothing away and brings nothing along: tree, lock files, image and compose file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("mailculator", "tests", "docs", "deploy", "sql", "tools", "benchmarks", ".ci")
# A PEM private key, and the forms in which AWS, GitHub and Slack give out keys.
KEYS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}|\bxox[abp]-[0-9]{10}"
)
# What earlier versions are known to be wrong in, is in docs/security.md.
FLOORS = {"aiohttp": (3, 14, 1), "aiomysql": (0, 3, 2), "aiosmtpd": (1, 4, 5), "aiosmtplib": (5, 1, 3)}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = sorted(name for name, one in COMPOSE["services"].items() if one["image"].startswith("mailculator:"))


def files() -> Iterator[Path]:
    """Every file of ours."""
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_no_key_lies_in_the_tree() -> None:
    assert [str(path) for path in files() if KEYS.search(path.read_bytes())] == []
    assert [str(path) for path in files() if path.suffix in {".pem", ".key", ".p12", ".jks"}] == []


@pytest.mark.parametrize(
    "text", ["-----BEGIN " + "RSA PRIVATE KEY-----", "x AKIA" + "ABCDEFGHIJKLMNOP ", "ghp_" + "a1" * 18]
)
def test_a_key_would_be_found(text: str) -> None:
    assert KEYS.search(text.encode())


@pytest.mark.parametrize("package", FLOORS)
def test_nothing_is_locked_below_its_floor(package: str) -> None:
    (version,) = re.findall(rf"^{package}==([0-9.]+)", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    assert tuple(int(part) for part in version.split(".")) >= FLOORS[package]


def test_new_versions_are_taken_up_a_week_late() -> None:
    """Most poisoned releases are found sooner; they do their work when they are imported, so a lock is not enough."""
    (recipe,) = re.findall(r"^LOCK = .*?[^\\]$", (ROOT / "Makefile").read_text(), re.MULTILINE | re.DOTALL)
    assert '$(if $(UPGRADE),UV_EXCLUDE_NEWER="7 days")' in recipe
    assert "--generate-hashes" in recipe


def test_the_image_has_a_python_whose_mail_package_is_mended() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (version,) = re.findall(r"^ARG PYTHON=(\S+)", dockerfile, re.MULTILINE)
    assert tuple(int(part) for part in version.split(".")[:2]) >= (3, 13)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"python:${PYTHON}-slim-trixie${DIGEST}"}


def test_the_images_user_has_no_shell_and_no_home() -> None:
    (made,) = re.findall(r"useradd ([^\\\n]+)", (ROOT / "Dockerfile").read_text())
    assert "--uid 10001 " in made
    assert "--no-create-home" in made
    assert made.split().count("/usr/sbin/nologin") == 1


@pytest.mark.parametrize("name", OURS)
def test_a_crash_leaves_no_memory_on_disk(name: str) -> None:
    """A core dump would hold every password and every mail under way."""
    assert COMPOSE["services"][name]["ulimits"]["core"] == 0
