"""Values: frozen dataclasses that are made for every email."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(kind: type[T]) -> type[T]:
    """A dataclass with slots and a hash, frozen for mypy alone: to freeze one takes longer than to make it."""
    return dataclass(slots=True, unsafe_hash=True)(kind)
