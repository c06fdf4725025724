"""Imports go one way: cli, demo → app → pipelines, stores, transport, journal, web → vocabulary."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mailculator"

# A module that stands here belongs to that room, and so does all beneath it. What stands nowhere is vocabulary, so a
# new module at the top may import nothing but vocabulary until somebody decides otherwise here.
ROOMS = {
    "mailculator.__main__": "cli",
    "mailculator.cli": "cli",
    "mailculator.demo": "demo",
    "mailculator.app": "app",
    "mailculator.equipment": "app",
    "mailculator.pipelines": "pipelines",
    "mailculator.stores": "stores",
    "mailculator.transport": "transport",
    "mailculator.web": "web",
    "mailculator.journal": "journal",
    "mailculator.log": "listeners",
    "mailculator.log_lines": "listeners",
    "mailculator.metrics": "listeners",
    "mailculator.metric_parts": "listeners",
    "mailculator.cutover": "cutover",
    "mailculator.insight": "insight",
    "mailculator.cutover_metrics": "listeners",
    "mailculator.config_docs": "cli",
}
MAY_IMPORT = {
    "cli": {
        "cli",
        "demo",
        "app",
        "pipelines",
        "stores",
        "transport",
        "journal",
        "web",
        "listeners",
        "cutover",
        "insight",
        "vocabulary",
    },
    "demo": {
        "demo",
        "app",
        "pipelines",
        "stores",
        "transport",
        "journal",
        "web",
        "listeners",
        "cutover",
        "insight",
        "vocabulary",
    },
    "app": {
        "app",
        "pipelines",
        "stores",
        "transport",
        "journal",
        "web",
        "listeners",
        "cutover",
        "insight",
        "vocabulary",
    },
    "pipelines": {"pipelines", "stores", "transport", "journal", "vocabulary"},
    "stores": {"stores", "vocabulary"},
    "transport": {"transport", "vocabulary"},
    "journal": {"journal", "vocabulary"},
    "web": {"web", "insight", "stores", "cutover", "vocabulary"},
    "insight": {"insight", "stores", "vocabulary"},
    "cutover": {"cutover", "stores", "vocabulary"},
    "listeners": {"listeners", "cutover", "stores", "vocabulary"},
    "vocabulary": {"vocabulary"},
}
# `watched` wraps any Store and knows no backend.
INTERFACES = {
    "mailculator.journal",
    "mailculator.journal.base",
    "mailculator.journal.errors",
    "mailculator.journal.marks",
    "mailculator.journal.traces",
    "mailculator.stores",
    "mailculator.stores.base",
    "mailculator.stores.control",
    "mailculator.stores.watched",
    "mailculator.transport",
    "mailculator.transport.base",
}
MAY_SEE_CONCRETE = {"cli", "demo", "app"}

# What a driver raises is mapped where the driver is met, so few may meet it.
DRIVERS = {
    "aiomysql": {"stores", "demo"},  # the demo makes a database on a server of its own
    "pymysql": {"stores"},
    "sqlite3": {"stores"},
    "aioboto3": {"stores"},
    "aiobotocore": {"stores"},
    "botocore": {"stores"},
    "aiosmtplib": set(),  # a test dependency alone
    "aiohttp": {"transport", "web", "demo"},
    "aiosmtpd": {"demo"},
    "structlog": {"listeners"},
    "prometheus_client": {"listeners", "web", "app"},  # app makes the registry
    "typer": {"cli"},
    "uvloop": {"cli"},
}

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room(module: str) -> str:
    while module:
        if module in ROOMS:
            return ROOMS[module]
        module = module.rpartition(".")[0]
    return "vocabulary"


def imports(module: str, source: str, *, package: bool = False) -> Iterator[str]:
    """Every module that the source imports: at the top, in functions, for types only, by name through importlib."""
    tree = ast.parse(source)
    dynamic = "import_module" in source
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".") if package else module.split(".")[:-1]
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base
        elif dynamic and isinstance(node, ast.Constant) and re.fullmatch(r"mailculator(\.\w+)+", str(node.value)):
            yield str(node.value)


def violations(module: str, source: str, *, package: bool = False) -> list[str]:
    here = room(module)
    found = []
    for target in imports(module, source, package=package):
        top = target.partition(".")[0]
        if here not in DRIVERS.get(top, {here}):
            found.append(f"{module} ({here}) meets the driver {target}")
        if top != "mailculator" or target == "mailculator":
            continue
        there = room(target)
        if there not in MAY_IMPORT[here]:
            found.append(f"{module} ({here}) imports {target} ({there})")
        elif (
            there in {"stores", "transport", "journal"}
            and here not in {there, *MAY_SEE_CONCRETE}
            and target not in INTERFACES
        ):
            found.append(f"{module} ({here}) imports {target}, which is no interface")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    path = MODULES[module]
    assert violations(module, path.read_text(encoding="utf-8"), package=path.name == "__init__.py") == []


@pytest.mark.parametrize("module", sorted(INTERFACES))
def test_an_interface_knows_no_implementation(module: str) -> None:
    ours = [name for name in imports(module, MODULES[module].read_text(encoding="utf-8")) if "mailculator." in name]
    assert [name for name in ours if room(name) != "vocabulary" and name not in INTERFACES] == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mailculator.model", "from mailculator.stores.base import Store"),
        ("mailculator.model", "import mailculator.app"),
        ("mailculator.model", "from .stores import base"),
        ("mailculator.errors", "from pymysql.err import OperationalError"),
        ("mailculator.anything_new", "from mailculator.log import configure"),
        ("mailculator.stores.base", "from mailculator.pipelines.runner import Runner"),
        ("mailculator.stores.sqlite", "from ..transport import base"),
        ("mailculator.stores.sqlite", "def f():\n    import mailculator.app"),
        ("mailculator.transport.smtp", "from mailculator.stores.base import Store"),
        ("mailculator.pipelines.runner", "from mailculator.app import Application"),
        ("mailculator.pipelines.runner", "from mailculator.stores import registry"),
        ("mailculator.pipelines.sender", "if TYPE_CHECKING:\n    from mailculator.transport.smtp import Relay"),
        ("mailculator.pipelines.runner", "import_module('mailculator.stores.sqlite')"),
        ("mailculator.pipelines.sender", "import aiosmtplib"),
        ("mailculator.app", "from mailculator.cli import main"),
        ("mailculator.app", "from mailculator.demo import mariadbd"),
        ("mailculator.demo.show", "from mailculator.cli import main"),
        ("mailculator.web.health", "import aiomysql"),
    ],
)
def test_an_import_against_it_is_found(module: str, line: str) -> None:
    assert len(violations(module, line)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mailculator.pipelines.sender", "from mailculator.transport.base import MailTransport"),
        ("mailculator.pipelines.runner", "from mailculator.stores import base"),
        ("mailculator.stores.registry", "import_module('mailculator.stores.sqlite')"),
        ("mailculator.app", "from mailculator.transport.smtp import Relay"),
        ("mailculator.cli.main", "from mailculator import demo"),
    ],
)
def test_an_import_along_it_is_not(module: str, line: str) -> None:
    assert violations(module, line) == []


def test_help_imports_nothing_heavy() -> None:
    heavy = {"pydantic", "pydantic_settings", "aiohttp", "aiomysql", "pymysql", "structlog", "aiosmtplib", "aiosmtpd",
             "prometheus_client", "sqlite3"}  # fmt: skip
    command = [sys.executable, "-X", "importtime", "-m", "mailculator", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Usage" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "mailculator" in imported
    assert {name for name in imported if name.partition(".")[0] in heavy} == set()
