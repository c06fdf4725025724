"""What a column, an index or a table in MariaDB must offer, and what is wrong with one that is there.

An operator may widen columns and add columns and indexes: none of it is a difference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mailculator.model import Status

_WHOLE_NUMBERS = ("tinyint", "smallint", "mediumint", "int", "bigint")
_TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
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
