"""A replica's name becomes one safe file name and comes back from it; what is not ours is not seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailculator.journal import layout

INCARNATION = "0123456789abcdef" * 2


@given(name=st.text(st.characters(), max_size=60) | st.text("./%\\ aé\0", max_size=30))
@settings(max_examples=400, deadline=None)
def test_any_name_is_one_file_name_and_comes_back(name: str) -> None:
    directory = layout.directory_name(name)
    assert directory
    assert directory.isascii()
    assert not directory.startswith(".")
    assert not set(directory) & set("/\\\0 ")
    assert len(directory) <= 200
    if not directory.startswith("%%"):
        assert layout.replica_name(directory) == name


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("web-1", "web-1"),
        ("web-1.example.org", "web-1.example.org"),
        ("", "%"),
        ("%", "%25"),
        (".", "%2E"),
        ("..", "%2E."),
        ("../../etc", "%2E.%2F..%2Fetc"),
        ("a/b", "a%2Fb"),
        ("büro", "b%C3%BCro"),
    ],
)
def test_names_are_escaped_as_the_documentation_says(name: str, directory: str) -> None:
    assert layout.directory_name(name) == directory
    assert layout.replica_name(directory) == name


@pytest.mark.parametrize("directory", ["lost+found", "%41", "%2e", "a b", ".hidden", "%zz", "%FF", "%%", "é"])
def test_a_directory_that_no_name_leads_to_is_no_replicas(directory: str) -> None:
    assert layout.replica_name(directory) is None


def test_names_too_long_for_a_file_name_still_differ(tmp_path: Path) -> None:
    names = ["é" * 99 + end for end in "ab"]
    directories = [layout.directory_name(name) for name in names]
    assert len(set(directories)) == 2
    for directory in directories:
        (tmp_path / directory).mkdir()
    assert sorted(path.name for path in layout.replica_directories(tmp_path)) == sorted(directories)


def test_segments_are_found_by_incarnation_in_the_order_they_were_written(tmp_path: Path) -> None:
    other = "f" * 32
    for name in (
        layout.segment_name(INCARNATION, 10),
        layout.segment_name(INCARNATION, 9),
        layout.segment_name(other, 1),
        layout.segment_name(INCARNATION, 1_000_000),
    ):
        (tmp_path / name).touch()
    os.utime(tmp_path / layout.segment_name(other, 1), (5, 5))
    found = layout.segments(tmp_path)
    assert [segment.number for segment in found[INCARNATION]] == [9, 10, 1_000_000]
    assert [(segment.number, segment.modified) for segment in found[other]] == [(1, 5.0)]


def test_what_is_not_ours_is_no_segment(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / f"{INCARNATION}-1.log").touch()
    (tmp_path / f"{INCARNATION.upper()}-000001.log").touch()
    (tmp_path / f"{layout.segment_name(INCARNATION, 1)}.bak").touch()
    (tmp_path / layout.segment_name(INCARNATION, 2)).mkdir()
    (tmp_path / layout.segment_name(INCARNATION, 3)).symlink_to("notes.txt")
    assert layout.segments(tmp_path) == {}


def test_links_and_files_are_no_replicas_directories(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "two").touch()
    (tmp_path / "three").symlink_to("one")
    assert list(layout.replica_directories(tmp_path)) == [tmp_path / "one"]
