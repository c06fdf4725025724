"""Mutations of kept payload files and prepared messages, and what the fuzzers have found before.

A file that broke something belongs into the corpus: it is read as it stands, and from then on its like is tried.
"""

from __future__ import annotations

import pytest

from tests.fuzz import driver
from tests.fuzz.reading import KEPT, SENT, check_payload, check_prepared
from tests.fuzz.strategies import CORPUS, kept, mutations

PAYLOADS, PREPARED = 0.4, 0.2
_FILE = "tests/fuzz/test_fuzz_mutations.py"


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("*.json")))
def test_kept_payloads(name: str) -> None:
    assert check_payload((CORPUS / name).read_bytes()) == SENT


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("*.eml")))
def test_kept_messages(name: str) -> None:
    assert check_prepared((CORPUS / name).read_bytes()) == KEPT


@pytest.mark.timeout(0)
def test_mutated_payloads() -> None:
    driver.fuzz(_FILE, "payloads, mutated", mutations(kept(".json")), check_payload, PAYLOADS)


@pytest.mark.timeout(0)
def test_mutated_messages() -> None:
    driver.fuzz(_FILE, "prepared messages, mutated", mutations(kept(".eml")), check_prepared, PREPARED)
