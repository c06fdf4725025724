"""Samples: one of every kind, in order, each payload what its kind says."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mailculator import payload
from mailculator.demo import samples
from mailculator.errors import PayloadError
from mailculator.model import Status
from mailculator.pipelines import files


def write(directory: Path, count: int) -> list[samples.Sample]:
    return samples.write(directory / "payloads", directory / "attachments", count, random.Random(7))


def test_one_of_every_kind_comes_first(tmp_path: Path) -> None:
    written = write(tmp_path, len(samples.KINDS) + 20)
    assert [one.kind for one in written[: len(samples.KINDS)]] == list(samples.KINDS)
    assert len({one.id for one in written}) == len(written) == len(samples.KINDS) + 20


@pytest.mark.parametrize("count", [1, 3, len(samples.KINDS)])
def test_there_are_as_many_as_asked_for(tmp_path: Path, count: int) -> None:
    assert len(write(tmp_path, count)) == count


def test_intake_refuses_those_that_must_be_invalid_and_no_other(tmp_path: Path) -> None:
    for sample in write(tmp_path, len(samples.KINDS)):
        if sample.kind.ends is Status.INVALID:
            with pytest.raises(PayloadError):
                _take_in(sample, tmp_path)
        else:
            assert _take_in(sample, tmp_path) == sample.id


def _take_in(sample: samples.Sample, directory: Path) -> str:
    found = payload.parse(sample.path.read_bytes())
    files.check_attachments(found, directory / "attachments", 10_000_000)
    return found.id
