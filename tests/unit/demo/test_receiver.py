"""The receiver acknowledges callbacks, keeps their bodies, and takes nothing else for one."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp

from mailculator.demo.receiver import Receiver
from tests.support.service import environment


async def test_a_callback_is_counted_and_kept_and_anything_else_is_refused(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "callbacks.jsonl")
    await receiver.start()
    url = f"http://127.0.0.1:{receiver.port}"
    try:
        async with aiohttp.ClientSession() as session:
            codes = []
            for body in (b'{"code":"TRAVELING"}', b"[]", b"no JSON", b'{"code":"TRAVELING"}'):
                async with session.post(f"{url}/callback", data=body) as answer:
                    codes.append(answer.status)
            async with session.get(f"{url}/health") as answer:
                health = await answer.json()
    finally:
        await receiver.stop()
    assert codes == [200, 400, 400, 200]
    assert health == {"status": "pass", "received": {"TRAVELING": 2}}
    assert (tmp_path / "callbacks.jsonl").read_bytes() == b'{"code":"TRAVELING"}\n' * 2


async def test_on_its_own_it_prints_what_it_was_told_and_hears_a_stop() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mailculator.demo.receiver", "0", env=environment(), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int((await process.stdout.readline()).rsplit(maxsplit=1)[1])
    url, body = f"http://127.0.0.1:{port}/callback", b'{"code":"TRAVELING"}'
    async with aiohttp.ClientSession() as session, session.post(url, data=body) as answer:
        assert answer.status == 200
    assert await process.stdout.readline() == b'{"code":"TRAVELING"}\n'
    process.terminate()
    assert await process.wait() == 0
