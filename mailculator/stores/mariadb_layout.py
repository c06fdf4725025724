"""The schema that stands in a MariaDB, held against what it must offer.

Only what the program relies on is compared. A database that came from the older service keeps its plain TIMESTAMPs, its
collation and its own names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mailculator.model import Status
from mailculator.stores.mariadb_columns import ActualColumn, Index, Table
from mailculator.stores.mariadb_tables import LAYOUT

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
