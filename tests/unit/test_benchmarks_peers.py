"""The benchmark beside others: what it asks for, what it tells Postfix, and what it makes of the rates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import peer_servers, peers
from benchmarks.mail_parts import Letter, write_letters
from benchmarks.peers import Peer


async def unmeasured(_: Sequence[Letter]) -> float:
    return 0.0


def test_ratios_are_of_the_same_turn() -> None:
    service = Peer("service", unmeasured, rates=[200.0, 100.0, 300.0])
    slower = Peer("slower", unmeasured, 2.0, [100.0, 50.0, 100.0])
    faster = Peer("faster", unmeasured, 1.0, [400.0, 400.0, 200.0])
    assert peers.ratio(service, slower) == pytest.approx(2.0)
    assert "| slower | 100 | 50 … 100 | 2.00 | at least 2 |" in peers.table([service, slower])
    assert peers.failures([service, slower, faster]) == ["faster: 0.50 times is less than 1"]


def test_what_is_missing_is_named_by_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_servers, "program", lambda name: "/bin/x" if name == "postfix" else None)
    assert peer_servers.missing(["postfix", "redis-server", "initdb"]) == ["postgresql", "redis-server"]
    monkeypatch.setattr("sys.argv", ["peers", "--check"])
    assert peers.main() == peers.MISSING


def test_postfix_is_told_where_to_relay_and_to_touch_nothing_else(tmp_path: Path) -> None:
    told = dict(line.split(" = ", 1) for line in peer_servers.main_cf(tmp_path, 2525).splitlines())
    assert told["relayhost"] == "[127.0.0.1]:2525"
    assert told["inet_interfaces"] == "127.0.0.1"
    for place in ("queue_directory", "data_directory", "maillog_file"):
        assert told[place].startswith(str(tmp_path))
    assert told.items() >= peer_servers.POSTFIX.items()


def test_the_settings_are_printed() -> None:
    text = peers.settings()
    for said in (
        "task_acks_late",
        "--concurrency 8",
        "--appendfsync everysec",
        "in_flow_delay=0",
        "synchronous_commit=on",
    ):
        assert said in text


def test_every_package_of_the_peers_is_pinned() -> None:
    lines = peer_servers.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9.]+(post[0-9]+)?", pin) for pin in pins)
    assert {"celery", "redis", "procrastinate"} <= {pin.partition("==")[0] for pin in pins}


def test_the_peers_mail_says_what_the_payload_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import peer_steps

    [letter] = write_letters(tmp_path, 1)
    monkeypatch.setenv("PEER_LETTERS", str(tmp_path))
    mail = peer_steps.letter(letter.email_id)
    assert mail["To"] == "customer-0@example.org"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert 4000 < len(mail.as_bytes()) < 7000
