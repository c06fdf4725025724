"""What mail is measured with: letters, Postfix's smtp-sink, the callback server, the CPU that a process has used.

Sink and callback server are processes of their own: what they use is not counted to whom they serve.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import ROOT

SINK = "smtp-sink"
BACKLOG = "512"
"""Connections that may wait to be taken."""
SENDER = "bounces@example.com"
PATIENCE = 300.0
"""Seconds for one round; more is a fault, not a figure."""

_TICK = os.sysconf("SC_CLK_TCK")
_TEXT = "Gentile cliente, la fattura di questo mese è pronta: può scaricarla dalla Sua area riservata, n. {}.\n"
_HTML = '<p style="margin:0 0 12px">Gentile cliente, la fattura di questo mese <b>è pronta</b>, n. {}.</p>\n'


@dataclass(frozen=True, slots=True)
class Letter:
    """An email as its producer knows it: the row's id, and the file with what is to be sent."""

    email_id: str
    path: Path


def write_letters(folder: Path, count: int) -> list[Letter]:
    """That many payload files, each a mail of two parts that is about 4 KB long on the wire."""
    letters = []
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        email_id = str(uuid.uuid4())
        payload = {
            "id": email_id,
            "from": "Società Però <billing@example.com>",
            "reply_to": "help@example.com",
            "to": f"customer-{number}@example.org",
            "subject": f"La fattura n. {number} è pronta",
            "body_text": "".join(_TEXT.format(f"{number}/{line}") for line in range(13)),
            "body_html": "".join(_HTML.format(f"{number}/{line}") for line in range(18)),
        }
        letter = Letter(email_id, folder / f"{email_id}.json")
        letter.path.write_text(json.dumps(payload, ensure_ascii=False), encoding="utf-8")
        letters.append(letter)
    return letters


def cpu_seconds(pid: int) -> float:
    """What a process has used by now, itself and the kernel for it (proc(5), utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@dataclass
class Peers:
    """The relay and the callback URL of one round, both new, so that they count that round alone."""

    sink_port: int
    callback_port: int
    sink_says: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """What leads the service, or the floor, there."""
        return {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(self.sink_port),
            "SMTP_FROM": SENDER,
            "MAILCULATOR_SMTP_TLS": "none",
            "PIPELINE_CALLBACK_URL": f"http://127.0.0.1:{self.callback_port}/callback",
        }

    async def called_back(self, count: int) -> int:
        """Wait for that many callbacks. Returns how many there were then; TimeoutError after PATIENCE."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.callback_port)
            writer.write(b"GET /when/%d HTTP/1.1\r\n\r\n" % count)
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.rpartition(b":")[2]))
            writer.close()
            await writer.wait_closed()
        return int(body)

    def taken(self) -> int:
        """Mails that the sink said 250 to, by its own count."""
        counts = re.findall(rb"mesg=(\d+)", self.sink_says.read_bytes()[-400:])
        return int(counts[-1]) if counts else 0


@asynccontextmanager
async def peers(directory: Path) -> AsyncIterator[Peers]:
    """Start both, end both."""
    program = shutil.which(SINK, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("smtp-sink is missing: apt-get install postfix")
    says, port = directory / "sink.txt", _free_port()
    with says.open("wb") as out:
        # It counts, and as root it runs only when told whom to be.
        user = pwd.getpwuid(os.getuid()).pw_name
        sink = await asyncio.create_subprocess_exec(
            program, "-c", "-u", user, f"127.0.0.1:{port}", BACKLOG, stdout=out, stderr=out
        )
    callbacks = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.callback_server", stdout=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert callbacks.stdout is not None
        told = await asyncio.wait_for(callbacks.stdout.readline(), PATIENCE)
        await _answers(sink, port)
        yield Peers(port, int(told), says)
    finally:
        for process in (sink, callbacks):
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _answers(sink: asyncio.subprocess.Process, port: int) -> None:
    """Until it listens. AssertionError when it ended instead."""
    async with asyncio.timeout(PATIENCE):
        while True:
            assert sink.returncode is None, f"{SINK} ended: {sink.returncode}"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                await writer.wait_closed()
                return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
