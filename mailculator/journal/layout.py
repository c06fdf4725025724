"""Where segments lie: `<journal>/<replica>/<incarnation>-<number>.log`, a replica's name being escaped, reversibly."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

_SEGMENT = re.compile(r"([0-9a-f]{32})-([0-9]{6,12})\.log", re.ASCII)
_NO_NAME = "%"
"""Stands for the empty name; no escaped name is a lone percent sign."""
_NAME_LIMIT = 200
"""Octets; file systems allow 255. A replica's name may have 100 characters, which can be 1,200 octets escaped."""
_DIGEST = re.compile(r"%%[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment's file.

    Arguments:
        modified: when it was last written, seconds since 1970 as the file system tells it.
    """

    path: Path
    incarnation: str
    number: int
    modified: float


def directory_name(replica: str) -> str:
    """A replica's name as one safe file name: letters, digits, `_`, `-`, `~` and inner dots stay, the rest is %XX.

    What would be too long for a file name is named by its SHA-256; the name itself stands in each segment.
    """
    name = quote(replica, safe="", errors="surrogatepass")
    if name.startswith("."):  # neither `.`, nor `..`, nor hidden
        name = "%2E" + name[1:]
    if len(name) > _NAME_LIMIT:
        return "%%" + hashlib.sha256(replica.encode("utf-8", "surrogatepass")).hexdigest()
    return name or _NO_NAME


def replica_name(directory: str) -> str | None:
    """The replica whose directory has this name; None when it is no replica's, or does not tell."""
    if directory == _NO_NAME:
        return ""
    try:
        replica = unquote(directory, errors="surrogatepass")
        return replica if directory_name(replica) == directory else None
    except ValueError:
        return None


def segment_name(incarnation: str, number: int) -> str:
    """The file name of an incarnation's segment; the first is number 1."""
    return f"{incarnation}-{number:06}.log"


def segments(directory: Path) -> Mapping[str, Sequence[Segment]]:
    """The segments in a replica's directory, by incarnation, in the order they were written.

    Files with other names, and what only looks like one of ours (a link, a directory), are nobody's.

    Errors: OSError.
    """
    found: defaultdict[str, list[Segment]] = defaultdict(list)
    with os.scandir(directory) as entries:
        for entry in entries:
            name = _SEGMENT.fullmatch(entry.name)
            if name is not None and entry.is_file(follow_symlinks=False):
                modified = entry.stat(follow_symlinks=False).st_mtime
                found[name[1]].append(Segment(Path(entry.path), name[1], int(name[2]), modified))
    return {incarnation: sorted(each, key=lambda one: one.number) for incarnation, each in found.items()}


def replica_directories(journal: Path) -> Iterator[Path]:
    """Every replica's directory. Errors: OSError."""
    with os.scandir(journal) as entries:
        for entry in entries:
            ours = replica_name(entry.name) is not None or _DIGEST.fullmatch(entry.name)
            if ours and entry.is_dir(follow_symlinks=False):
                yield Path(entry.path)
