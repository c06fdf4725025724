"""The receiver acknowledges callbacks, keeps their bodies, and takes nothing else for one."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from mailculator.demo.receiver import Receiver


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
