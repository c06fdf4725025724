"""What the tables in MariaDB must offer, held against what is there.

Only what the program relies on is compared. A database that came from the older service keeps its plain TIMESTAMPs, its
collation and its own names, and an operator may widen columns and add columns and indexes: none of it is a difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mailculator.model import Status

_WHOLE_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
_TEXT = 65535
_CHARSET = "utf8mb4"


@dataclass(frozen=True, slots=True)
class Column:
    """A column the program reads or writes.

    Arguments:
        kind: `text`, `status`, `timestamp`, or the narrowest of the whole number types that will do.
        size: characters of a text; digits of a timestamp's fraction of a second.
        default: in lower case, a function without its brackets; None for one that the program never leaves out.
        extra: what information_schema's EXTRA must contain.
        free: whether what relays, people and file systems say goes in, in whatever script.
    """

    name: str
    kind: str
    size: int = 0
    nullable: bool = True
    default: str | None = None
    extra: str = ""
    free: bool = False

    def differs(self, actual: ActualColumn) -> str | None:
        """What is wrong with the column that is there, in words; None when it will do."""
        if not self._holds(actual):
            return f"is {actual.type}, which does not do for {self.kind}" + (f"({self.size})" if self.size else "")
        if self.free and actual.charset != _CHARSET:
            return f"is in {actual.charset}, which does not hold every character, and should be in {_CHARSET}"
        if self.nullable != actual.nullable:
            return "should be NULL" if self.nullable else "should be NOT NULL"
        if self.default is not None and self.default != actual.default:
            return f"should have the default {self.default}"
        if self.extra not in actual.extra:
            return f"lacks {self.extra}"
        return None

    def _holds(self, actual: ActualColumn) -> bool:
        match self.kind:
            case "text":
                return actual.base in _TEXTS and actual.size >= self.size
            case "timestamp":
                return actual.base == "timestamp" and actual.size >= self.size
            case "status":
                return actual.base == "enum" and actual.choices >= set(Status)
            case narrowest:
                return actual.base in _WHOLE_NUMBERS[_WHOLE_NUMBERS.index(narrowest) :]


@dataclass(frozen=True, slots=True)
class ActualColumn:
    """A row of information_schema.COLUMNS, as far as it matters here."""

    type: str
    base: str
    size: int
    nullable: bool
    default: str | None
    extra: str
    charset: str | None

    @property
    def choices(self) -> set[str]:
        """The values of an ENUM."""
        return set(re.findall(r"'([^']*)'", self.type))


@dataclass(frozen=True, slots=True)
class Index:
    """An index that a statement needs to be fast, or right.

    Arguments:
        name: for one that a statement forces by name, and would fail without.
    """

    columns: tuple[str, ...]
    unique: bool = False
    name: str | None = None

    def serves(self, wanted: Index) -> bool:
        """Whether this one, found in the database, does for one that is wanted."""
        if wanted.name not in (None, self.name):
            return False
        if wanted.unique:
            return self.unique and self.columns == wanted.columns
        return self.columns[: len(wanted.columns)] == wanted.columns

    def __str__(self) -> str:
        words = ("unique " if self.unique else "") + "index " + (f"{self.name} " if self.name else "")
        return f"{words}on ({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class Table:
    """A table or, with `view`, an updatable view."""

    columns: tuple[Column, ...]
    indexes: tuple[Index, ...] = ()
    view: bool = False

    @property
    def word(self) -> str:
        """What people call it."""
        return "view" if self.view else "table"


_NOW = "current_timestamp"

LAYOUT: Mapping[str, Table] = MappingProxyType(
    {
        "emails": Table(
            (
                Column("id", "text", 36, nullable=False),
                Column("status", "status", nullable=False),
                Column("eml_file_path", "text", 500, free=True),
                Column("payload_file_path", "text", 500, free=True),
                Column("reason", "text", _TEXT, free=True),
                Column("version", "int", nullable=False, default="1"),
                Column("ttl", "bigint"),
                Column("created_at", "timestamp", nullable=False, default=_NOW),
                Column("updated_at", "timestamp", nullable=False, default=_NOW, extra="on update"),
                Column("attempts", "int", nullable=False, default="0"),
                Column("generation", "int", nullable=False, default="0"),
                Column("due_at", "timestamp", 6, nullable=False, default=_NOW),
                Column("parked", "tinyint", nullable=False, default="0"),
                Column("claim_token", "text", 32),
                Column("claimed_by", "text", 128),
                Column("lease_until", "timestamp", 6),
                Column("lease_version", "int"),
                Column("failing_since", "timestamp", 6),
                Column("last_error", "text", _TEXT, free=True),
                Column("reached_at", "timestamp", 6),
                Column("recipient_domain", "text", 255),
                Column("crashes", "int", nullable=False, default="0"),
            ),
            (
                Index(("id",), unique=True),
                Index(("status", "parked", "due_at"), name="idx_emails_due"),
                Index(("status", "ttl")),
            ),
        ),
        "email_status_history": Table(
            (
                Column("id", "bigint", nullable=False, extra="auto_increment"),
                Column("email_id", "text", 36, nullable=False),
                Column("status", "text", 50, nullable=False),
                Column("reason", "text", _TEXT, free=True),
                Column("created_at", "timestamp", nullable=False, default=_NOW),
                Column("version", "int"),
            ),
            (Index(("id",), unique=True), Index(("email_id", "version"), unique=True)),
        ),
        "email_statuses": Table(
            (
                Column("id", "bigint", nullable=False),
                Column("email_id", "text", 36, nullable=False),
                Column("status", "text", 50, nullable=False),
                Column("reason", "text", _TEXT),
                Column("created_at", "timestamp", nullable=False),
            ),
            view=True,
        ),
        "mailculator_schema": Table((Column("name", "text", 128, nullable=False),)),
        "mailculator_meta": Table(
            (Column("name", "text", 64, nullable=False), Column("value", "text", 255, nullable=False))
        ),
        "mailculator_reservations": Table(
            (
                Column("email_id", "text", 255, nullable=False, free=True),
                Column("store", "text", 32, nullable=False),
                Column("reserved_at", "timestamp", 6, nullable=False, default=_NOW),
                Column("settled", "tinyint", nullable=False, default="0"),
                Column("keep_until", "bigint", nullable=False),
            ),
            (Index(("email_id",), unique=True), Index(("keep_until",))),
        ),
        "mailculator_minutes": Table(
            (
                Column("began_at", "timestamp", 6, nullable=False),
                Column("replica", "text", 128, nullable=False),
                Column("service", "text", 64, nullable=False),
                Column("counts", "text", 4096, nullable=False),
                Column("entered", "int", nullable=False),
                Column("ended", "int", nullable=False),
                Column("notes", "text", 4096, nullable=False, free=True),
            ),
            (Index(("began_at", "replica"), unique=True),),
        ),
    }
)

TABLES_SQL = (
    "SELECT t.table_name, t.table_type, v.is_updatable FROM information_schema.tables t"
    " LEFT JOIN information_schema.views v ON v.table_schema = t.table_schema AND v.table_name = t.table_name"
    " WHERE t.table_schema = DATABASE() AND (t.table_name LIKE 'email%' OR t.table_name LIKE 'mailculator%')"
)
COLUMNS_SQL = (
    "SELECT table_name, column_name, column_type, data_type,"
    " COALESCE(character_maximum_length, datetime_precision, 0), is_nullable = 'YES', column_default, extra,"
    " character_set_name FROM information_schema.columns"
    " WHERE table_schema = DATABASE() AND (table_name LIKE 'email%' OR table_name LIKE 'mailculator%')"
)
INDEXES_SQL = (
    "SELECT table_name, index_name, non_unique = 0, GROUP_CONCAT(column_name ORDER BY seq_in_index)"
    " FROM information_schema.statistics"
    " WHERE table_schema = DATABASE() AND (table_name LIKE 'email%' OR table_name LIKE 'mailculator%')"
    " GROUP BY table_name, index_name, non_unique"
)
CASCADE_SQL = (
    "SELECT 1 FROM information_schema.referential_constraints WHERE constraint_schema = DATABASE()"
    " AND table_name = 'email_status_history' AND referenced_table_name = 'emails' AND delete_rule = 'CASCADE'"
)

Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Found:
    """The answers to the four statements above."""

    tables: Rows
    columns: Rows
    indexes: Rows
    cascade: Rows

    def differences(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What no statement of the program can do without, and what else does not match; one line each."""
        missing: list[str] = []
        others: list[str] = []
        kinds = {str(name): (kind == "VIEW", updatable) for name, kind, updatable in self.tables}
        for name, table in LAYOUT.items():
            if name not in kinds:
                # The service needs no view, and a user without a right on it does not see it.
                words = f"{table.word} {name} is missing, or this user has no right on it"
                (others if table.view else missing).append(words)
                continue
            is_view, updatable = kinds[name]
            if is_view != table.view:
                missing.append(f"{name} is a {'view' if is_view else 'table'} and should be a {table.word}")
            elif is_view and updatable != "YES":
                others.append(f"view {name} cannot be written through")
            lacking, differing = self._columns_of(name, table)
            (others if table.view else missing).extend(lacking)
            others += differing
            for index in self._lacking_indexes(name, table):
                (missing if index.name else others).append(f"{name} has no {index}")
        if "email_status_history" in kinds and not self.cascade:
            others.append("email_status_history has no foreign key to emails with ON DELETE CASCADE")
        return tuple(missing), tuple(others)

    def _columns_of(self, name: str, table: Table) -> tuple[list[str], list[str]]:
        actual = {str(row[1]): _actual(row) for row in self.columns if row[0] == name}
        missing = [f"{name}.{column.name} is missing" for column in table.columns if column.name not in actual]
        differing = []
        for column in table.columns:
            words = column.differs(actual[column.name]) if column.name in actual else None
            if words is not None:
                differing.append(f"{name}.{column.name} {words}")
            elif column.kind == "status" and column.name in actual:
                differing += _foreign_statuses(name, column.name, actual[column.name])
        return missing, differing

    def _lacking_indexes(self, name: str, table: Table) -> list[Index]:
        actual = [
            Index(tuple(str(columns).split(",")), bool(unique), str(index))
            for owner, index, unique, columns in self.indexes
            if owner == name
        ]
        return [wanted for wanted in table.indexes if not any(index.serves(wanted) for index in actual)]


def _foreign_statuses(table: str, name: str, column: ActualColumn) -> list[str]:
    foreign = column.choices - set(Status)
    if not foreign:
        return []
    return [f"{table}.{name} also allows {', '.join(sorted(foreign))}, which mean nothing to this program"]


def _actual(row: tuple[Any, ...]) -> ActualColumn:
    _, _, column_type, base, size, nullable, default, extra, charset = row
    plain = None if default is None else re.sub(r"\(\d*\)$", "", str(default).lower())
    kind, extras = str(base).lower(), str(extra).lower()
    return ActualColumn(str(column_type), kind, int(size), bool(nullable), plain, extras, charset)
