"""Payload files written field by field, fit, nearly fit and hostile: refused in our own words, or rendered as they say.

`MAILCULATOR_TEST_FUZZ_SECONDS=1800` gives each of the fuzzers half an hour of CPU.
"""

from __future__ import annotations

import pytest

from tests.fuzz import driver
from tests.fuzz.reading import check_payload
from tests.fuzz.strategies import documents

SHARE = 0.4


@pytest.mark.timeout(0)
def test_payloads_written_by_field() -> None:
    driver.fuzz("tests/fuzz/test_fuzz_documents.py", "payloads by field", documents(), check_payload, SHARE)
