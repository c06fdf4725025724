"""What the source may not do, since no single test of a behaviour could show that it never does it."""

from __future__ import annotations

import ast
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailculator.stores import mariadb_connection
from mailculator.transport import relay_settings, webhook
from mailculator.transport.relay_settings import RelaySettings

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "mailculator").rglob("*.py"))
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|REPLACE|FROM|WHERE|SET|VALUES|CREATE|ALTER|DROP|GRANT|KILL|CALL)\b")
# Numbers, columns and conditions of our own, named as constants are, and made from such alone.
CONSTANT = re.compile(r"_?[A-Z][A-Z_]*(\.format\(reached='reached_at'\))?|self\._patience")


def trees(folder: str) -> Iterator[tuple[str, ast.Module]]:
    for path in SOURCES:
        if path.is_relative_to(ROOT / "mailculator" / folder):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def spliced(tree: ast.AST) -> list[str]:
    """What stands in the f-strings and %-strings of a source that look like SQL, and is no constant of ours."""
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
            pieces = [ast.unparse(part.value) for part in node.values if isinstance(part, ast.FormattedValue)]
            found += [piece for piece in pieces if SQL.search(text) and not CONSTANT.fullmatch(piece)]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant):
            found += [ast.unparse(node.right)] if SQL.search(str(node.left.value)) else []
    return found


def test_no_statement_is_made_of_values() -> None:
    assert {name: pieces for name, tree in trees("stores") if (pieces := spliced(tree))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "f\"SELECT status FROM emails WHERE id = '{email_id}'\"",
        "f'UPDATE {table} SET x = 1'",
        "'SELECT %s FROM emails' % column",
    ],
)
def test_such_a_statement_would_be_found(source: str) -> None:
    assert len(spliced(ast.parse(source))) == 1


def test_dynamodb_is_asked_in_requests_and_never_in_partiql() -> None:
    words = {node.value for _, tree in trees("stores") for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert "update_item" in words
    assert words & {"execute_statement", "batch_execute_statement", "execute_transaction"} == set()


def test_no_message_is_written_by_the_standard_library() -> None:
    """Its generator has let headers be injected in versions that are in use; its parser of addresses is wanted."""
    written = {"email.generator", "email.message", "email.mime", "email.policy", "email.header", "email.contentmanager"}
    found = set()
    for name, tree in trees("."):
        for node in ast.walk(tree):
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {(name, one) for one in named if one in written or one.startswith("email.mime")}
    assert found == set()


def called(names: Iterator[tuple[str, ast.Module]], *, schema: bool) -> set[str]:
    """The operations of DynamoDB that are called by what applies the schema, or by all else, as IAM names them."""
    operation = re.compile(r"(batch_get|[a-z]+)_(item|table|time_to_live)|query|scan")
    found = set()
    for name, tree in names:
        if name.endswith("/schema.py") is not schema:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                first = str(node.args[0].value)
                found |= {first} if operation.fullmatch(first) else set()
    return {"".join(part.title() for part in one.split("_")) for one in found}


@pytest.mark.parametrize(("row", "schema"), [("IAM, the service", False), ("IAM, `schema apply`", True)])
def test_the_rights_on_dynamodb_that_are_documented_are_those_that_are_used(row: str, schema: bool) -> None:
    """`TransactWriteItems` is no right of its own: it takes those of the writes within it."""
    document = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    (line,) = [line for line in document.splitlines() if line.startswith(f"| {row} |")]
    assert set(re.findall(r"`dynamodb:(\w+)`", line)) == called(trees("stores/dynamodb"), schema=schema)


@pytest.mark.parametrize(
    "context",
    [
        relay_settings.tls_context(RelaySettings("relay.test", 25)),
        webhook._tls_context(None),
        mariadb_connection.tls_context("true", None),
    ],
    ids=["relay", "callback", "MariaDB"],
)
def test_tls_is_verified_and_not_older_than_1_2_by_default(context: ssl.SSLContext) -> None:
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
