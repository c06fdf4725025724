"""The journal on real files, written by real processes that are killed, limited or refused."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mailculator.journal.disk import SystemDisk
from mailculator.journal.errors import JournalBroken
from mailculator.journal.layout import segments
from mailculator.journal.marks import Key
from mailculator.journal.reader import Journals, find_traces
from mailculator.journal.traces import Trace, Verdict, crashed, verdict
from mailculator.journal.writer import Journal

PRELUDE = r"""
import asyncio, os, resource, sys
from pathlib import Path
from mailculator.journal.errors import JournalBroken
from mailculator.journal.marks import Key
from mailculator.journal.writer import Journal

def key(name):
    return Key("mysql", str(name), 3)

def say(*words):
    # In one write, so that a kill leaves the whole line or none.
    os.write(1, " ".join(map(str, words)).encode() + b"\n")
"""

STEPS = """
async def main():
    journal = Journal(Path(sys.argv[1]), "worker/1")
    await journal.open()
    await journal.begin([key("begun")])
    await journal.begin([key("ended")])
    journal.end([key("ended")])
    await journal.begin([key("cut")])
    await journal.dot(key("cut"))
    await journal.begin([key("sent")])
    await journal.dot(key("sent"))
    await journal.accepted(key("sent"), "250 2.0.0 Ok")
    say("ready")
    await asyncio.Event().wait()
asyncio.run(main())
"""

BUSY = """
async def mail(journal, lane):
    for number in range(10**9):
        one = key(f"{lane}-{number}")
        await journal.begin([one])
        say("BEGIN", one.email_id)
        await journal.dot(one)
        say("DOT", one.email_id)
        await journal.accepted(one, "250 ok")
        say("ACC", one.email_id)

async def main():
    journal = Journal(Path(sys.argv[1]), "worker/1", segment_bytes=4000)
    await journal.open()
    await asyncio.gather(*[mail(journal, lane) for lane in range(8)])
asyncio.run(main())
"""

LIMITED = """
async def main():
    well, changes = asyncio.Event(), []
    def changed(trouble):
        changes.append(trouble)
        if trouble is None:
            well.set()
    journal = Journal(Path(sys.argv[1]), "worker/1", retry_every=0.01, on_change=changed)
    await journal.open()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
    number = 0
    try:
        while True:
            await journal.dot(key(number))
            say("DOT", number)
            number += 1
    except JournalBroken as error:
        assert "File too large" in str(error), error
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await well.wait()
    assert journal.trouble is None
    assert changes[0].endswith("File too large"), changes
    for number in range(number + 1, number + 20):
        await journal.dot(key(number))
        say("DOT", number)
    await journal.close()
asyncio.run(main())
"""


def key(name: object) -> Key:
    return Key("mysql", str(name), 3)


@asynccontextmanager
async def child(program: str, journal: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of its own; killed at the end, if it has not ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PRELUDE + program, str(journal), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def lines(process: asyncio.subprocess.Process, count: int) -> list[str]:
    assert process.stdout is not None
    return [(await process.stdout.readline()).decode().strip() for _ in range(count)]


async def test_a_killed_process_has_left_every_mark_that_it_had_made(tmp_path: Path) -> None:
    async with child(STEPS, tmp_path) as process:
        assert await lines(process, 1) == ["ready"]
        process.kill()
        await process.wait()
    journals = Journals(tmp_path)
    traces = await journals.look("worker/1", [key(name) for name in ("begun", "ended", "cut", "sent", "never")])
    journals.close()
    verdicts = {one.email_id: verdict(trace) for one, trace in traces.items()}
    assert verdicts == {
        "begun": Verdict.NOT_SENT,
        "ended": Verdict.NOT_SENT,
        "cut": Verdict.UNKNOWN,
        "sent": Verdict.ACCEPTED,
        "never": Verdict.NOT_SENT,
    }
    suspects = {one.email_id for one, trace in traces.items() if crashed(trace, 90.0)}
    assert suspects == {"begun", "cut"}


@pytest.mark.parametrize("count", [1, 40, 333])
async def test_killed_in_the_middle_of_many_marks_it_has_left_what_it_had_told(tmp_path: Path, count: int) -> None:
    async with child(BUSY, tmp_path) as process:
        told = await lines(process, count)
        process.kill()
        assert process.stdout is not None
        told += (await process.stdout.read()).decode().splitlines()
        await process.wait()
    pairs = [line.split() for line in told]
    traces = find_traces(tmp_path, "worker/1", [key(name) for _, name in pairs])
    for kind, name in pairs:
        trace = traces[key(name)]
        assert {"BEGIN": trace.begun, "DOT": trace.dot, "ACC": trace.reply is not None}[kind], (kind, name)
        assert not trace.unreadable


async def test_a_limit_on_file_size_breaks_it_and_a_new_segment_mends_it(tmp_path: Path) -> None:
    async with child(LIMITED, tmp_path) as process:
        assert process.stdout is not None
        told = (await process.stdout.read()).decode().splitlines()
        assert await process.wait() == 0
    names = [line.split()[1] for line in told]
    assert len(names) > 25
    refused = key(max(set(range(int(names[-1]))) - set(map(int, names))))
    traces = find_traces(tmp_path, "worker/1", [refused, *map(key, names)])
    assert [one.email_id for one, trace in traces.items() if not trace.dot] == [refused.email_id]
    assert not any(trace.unreadable for trace in traces.values())
    (written,) = segments(tmp_path / "worker%2F1").values()
    assert written[0].path.stat().st_size <= 2000  # ends in a torn record


class Swapped(SystemDisk):
    """A disk whose open file can be exchanged for a device, behind the back of who writes."""

    def create(self, path: Path) -> int:
        self.descriptor = super().create(path)
        return self.descriptor

    def swap(self, device: str) -> None:
        opened = os.open(device, os.O_WRONLY)
        os.dup2(opened, self.descriptor)
        os.close(opened)


# /dev/full refuses each write for want of space; /dev/null takes it, and refuses to be synced.
@pytest.mark.parametrize(
    ("device", "words"), [("/dev/full", "No space left on device"), ("/dev/null", "Invalid argument")]
)
async def test_a_device_that_refuses_breaks_it_and_a_new_segment_mends_it(
    tmp_path: Path, device: str, words: str
) -> None:
    told: asyncio.Queue[str | None] = asyncio.Queue()
    disk = Swapped()
    journal = Journal(tmp_path, "one", retry_every=0.01, on_change=told.put_nowait, disk=disk)
    await journal.open()
    await journal.dot(key("before"))
    disk.swap(device)
    with pytest.raises(JournalBroken, match=words):
        await journal.dot(key("lost"))
    trouble = await told.get()
    assert trouble is not None
    assert trouble.endswith(words)
    assert await told.get() is None
    await journal.dot(key("after"))
    await journal.close()
    traces = find_traces(tmp_path, "one", [key("before"), key("lost"), key("after")])
    assert list(map(verdict, traces.values())) == [Verdict.UNKNOWN, Verdict.NOT_SENT, Verdict.UNKNOWN]


class FullDisk(SystemDisk):
    """Opens, and takes nothing."""

    def create(self, path: Path) -> int:
        return os.open("/dev/full", os.O_WRONLY)


async def test_a_disk_that_is_full_at_the_start_is_told_and_stops_nothing_but_marks(tmp_path: Path) -> None:
    told: list[str | None] = []
    journal = Journal(tmp_path / "journal", "one", disk=FullDisk(), on_change=told.append)
    await journal.open()
    assert told == [journal.trouble]
    with pytest.raises(JournalBroken, match=f"{tmp_path}/journal cannot be written since .*: No space left on device"):
        await journal.begin([Key("mysql", "a", 2)])
    await journal.close()


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("file", "File exists"),
        ("file/journal", "Not a directory"),
        ("gone/journal", "No such file or directory"),
        ("/sys/journal", "Operation not permitted|Permission denied|Read-only file system"),
        ("x" * 300, "File name too long"),
    ],
)
async def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path, directory: str, words: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalBroken, match=f"{directory} cannot be opened: ({words})"):
        await Journal(tmp_path / directory, "one").open()


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "journal", "one")
        await journal.open()
        await journal.close()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [tmp_path / "journal", *tmp_path.rglob("one/**")]}
    assert modes == {"journal": 0o700, "one": 0o700}
    (segment,) = tmp_path.rglob("*.log")
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600


async def test_two_processes_of_one_name_and_a_restart_do_not_meet(tmp_path: Path) -> None:
    journals = [Journal(tmp_path, "one") for _ in range(3)]
    for number, journal in enumerate(journals):
        await journal.open()
        await journal.begin([key(number)])
    for journal in journals:
        await journal.close()
    assert len(segments(tmp_path / "one")) == 3
    traces = find_traces(tmp_path, "one", [key(number) for number in range(3)])
    assert list(traces.values()) == [Trace(begun=True)] * 3


async def test_trimming_and_reading_beside_a_writer_that_rotates(tmp_path: Path) -> None:
    journal, reader = Journal(tmp_path, "one", segment_bytes=2000), Journals(tmp_path)
    await journal.open()

    async def mails(lane: int) -> None:
        for number in range(15):
            one = key(f"{lane}-{number}")
            await journal.begin([one])
            await journal.dot(one)
            assert (await reader.look("one", [one]))[one].dot
            assert await journal.trim() == 0

    async with asyncio.TaskGroup() as group:
        for lane in range(5):
            group.create_task(mails(lane))
    await journal.close()
    reader.close()
    assert len(segments(tmp_path / "one")[journal.incarnation]) > 2
