"""A secret changes under the running service: nothing fails for it, and nothing is restarted."""

from __future__ import annotations

import base64
import hmac
import resource
import signal
from pathlib import Path

import pytest

from mailculator.model import Status
from tests.support.callback_peer import Call
from tests.support.outage_bench import Scene, probing
from tests.support.service import ServiceProcess

pytestmark = pytest.mark.timeout(120)

EMAILS = 30
KEYS = ("old", "new")


def settings(scene: Scene, password: Path) -> dict[str, object]:
    login = {"SMTP_USER": "mailer", "SMTP_PASS_FILE": password}
    return scene.settings(MAILCULATOR_TIME_SCALE=0.05, MAILCULATOR_SMTP_CONNECTIONS=4, **login)


@pytest.mark.parametrize("queue", ["sqlite"], indirect=True)
async def test_the_relays_password_is_changed_there_and_then_in_its_file(scene: Scene, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("old\n")
    scene.relay.users = {"mailer": "old"}
    async with ServiceProcess(settings(scene, password)) as service:
        async with probing(service) as probes:
            await scene.put(EMAILS)
            await scene.finished()
            scene.relay.users = {"mailer": "new"}
            # Sessions that are logged in are good for a while, scaled: for 1.5 s.
            await probes.outlasts(2.0)
            await scene.put(EMAILS)
            await service.expect("breaker.opened", 1, lambda line: line["breaker"] == "relay")
            await probes.worried("relay")
            password.write_text("new\n")
            await scene.finished()
            await probes.content()
        assert await service.stop() == 0
    assert await scene.counts() == {Status.SENT_ACKNOWLEDGED: 2 * EMAILS}
    assert not await scene.moves_into(Status.FAILED)
    await scene.check()


@pytest.mark.parametrize("queue", ["sqlite"], indirect=True)
async def test_a_hangup_takes_the_password_before_the_relay_has_refused_the_old_one(
    scene: Scene, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("old")
    scene.relay.users = {"mailer": "old"}
    async with ServiceProcess(settings(scene, password)) as service:
        await scene.put(1)
        await scene.finished()
        password.write_text("new")
        service.signal(signal.SIGHUP)
        await service.expect("service.reloaded")
        scene.relay.users = {"mailer": "new"}
        async with probing(service) as probes:
            await probes.outlasts(2.0)
        before = len(scene.relay.accepted)
        await scene.put(EMAILS)
        await scene.finished()
        assert len(scene.relay.accepted) == before + EMAILS
        assert not [line for line in service.lines if line["event"] == "breaker.opened"]
        assert not [line for line in service.lines if line["event"] == "mail.wait"]
        assert await service.stop() == 0


@pytest.mark.parametrize("queue", ["sqlite"], indirect=True)
async def test_a_hangup_takes_the_keys_that_callbacks_are_signed_with(scene: Scene, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    async with ServiceProcess(scene.settings(MAILCULATOR_CALLBACK_SECRET_FILE=keys)) as service:
        await scene.put(1)
        await scene.finished()
        keys.write_text("new old\n")
        service.signal(signal.SIGHUP)
        await service.expect("service.reloaded")
        await scene.put(1)
        await scene.finished()
        assert await service.stop() == 0
    assert [signed_by(call) for call in scene.callback.calls] == [["old"], ["new", "old"]]
    await scene.check()


def signed_by(call: Call) -> list[str]:
    """The keys of a callback's signatures, in their order (Standard Webhooks)."""
    signed = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    made = {"v1," + base64.b64encode(hmac.digest(key.encode(), signed, "sha256")).decode(): key for key in KEYS}
    return [made[one] for one in call.headers["webhook-signature"].split()]


@pytest.mark.parametrize("queue", ["sqlite"], indirect=True)
async def test_a_crash_leaves_no_core(scene: Scene) -> None:
    async with ServiceProcess(scene.settings()) as service:
        assert resource.prlimit(service.pid, resource.RLIMIT_CORE) == (0, 0)
        assert await service.stop() == 0
