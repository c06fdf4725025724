"""Where the schema files are found, and which service versions may start on which schema."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from mailculator.stores.schema_files import pending, refusal, schema_files, version_key


@pytest.mark.parametrize("backend", ["sqlite", "mariadb"])
def test_a_checkout_has_the_files_of_every_backend(backend: str) -> None:
    files = schema_files(backend)

    assert files[0].name == "0001_queue"
    assert "CREATE TABLE" in files[0].sql


def test_an_installed_package_has_them_inside_and_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "sql" / "sqlite"
    folder.mkdir(parents=True)
    for name in ("0010_c.sql", "0002_b.sql", "0001_a.sql", "notes.txt", "draft.sql"):
        (folder / name).write_text(f"-- {name}", encoding="utf-8")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)

    assert [(file.name, file.sql) for file in schema_files("sqlite")] == [
        ("0001_a", "-- 0001_a.sql"),
        ("0002_b", "-- 0002_b.sql"),
        ("0010_c", "-- 0010_c.sql"),
    ]


def test_an_installation_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sql" / "sqlite").mkdir(parents=True)
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)

    with pytest.raises(FileNotFoundError, match="sqlite"):
        schema_files("sqlite")


def test_pending_is_what_is_not_on_record() -> None:
    files = schema_files("sqlite")

    assert pending(files, ()) == tuple(file.name for file in files)
    assert pending(files, [file.name for file in files] + ["9999_later"]) == ()


@pytest.mark.parametrize(
    ("lacks", "oldest", "version", "words"),
    [
        ((), "0.1.0", "0.1.0", None),
        ((), "0.1.0", "0.2.0", None),
        ((), "0.1", "0.1.0", None),
        ((), "0.9.0", "0.10.0", None),
        ((), "0.10.0", "0.9.0", "upgrade the service"),
        ((), "1.0.0", "0.9.9", "serves mailculator 1.0.0 and later, and this is 0.9.9"),
        (("0002_more",), "0.1.0", "0.2.0", "lacks 0002_more; run: mailculator schema apply"),
        (("0001_queue",), None, "0.1.0", "no mailculator schema; run: mailculator schema apply"),
        (("0002_more",), "9.0.0", "0.2.0", "upgrade the service"),
    ],
)
def test_who_may_start_and_what_the_others_should_do(
    lacks: tuple[str, ...], oldest: str | None, version: str, words: str | None
) -> None:
    answer = refusal(lacks, oldest, version=version)

    if words is None:
        assert answer is None
    else:
        assert answer is not None
        assert words in answer


def test_versions_compare_by_number() -> None:
    assert version_key("0.10.0") > version_key("0.9.12")
    assert version_key("1.2.0rc1") == version_key("1.2")
    assert version_key("1") < version_key("1.0.1")
    with pytest.raises(ValueError, match="not a version"):
        version_key("unknown")
