"""The proxy of the faults: each does in each phase what it says, and heals; which cells there are, and what passes."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.chaos.verdict import Verdict
from tests.faults.cells import CELLS, FEW, NONE_SUCH, Cell, Dependency, Fault, chosen
from tests.faults.proxy import FaultProxy
from tests.faults.relay_talk import RelayTalk
from tests.faults.tally import Tally, too_late, too_slow
from tests.faults.toxics import (
    Bandwidth,
    Blackhole,
    CutAfter,
    Fin,
    HalfOpen,
    Jitter,
    Latency,
    Phase,
    Reset,
    Slicer,
    Toxic,
)
from tests.faults.trial import Outcome

NEVER = 3600.0
SYN_SENT, ESTABLISHED = 2, 1
"""States of a socket, as Linux numbers them."""

pytestmark = pytest.mark.timeout(60)

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Peer:
    """Answers each line with it, doubled; the end of a connection is an event."""

    received: bytes = b""
    ended: int = 0
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(100):
                await self._note(data)
                if data.endswith(b"\n"):
                    writer.write(data[:-1] + data)
        except OSError:
            pass
        finally:
            self.ended += 1
            await self._note(b"")
            writer.close()

    async def _note(self, data: bytes) -> None:
        self.received += data
        async with self.news:
            self.news.notify_all()

    async def has(self, data: bytes, ended: int = 0) -> None:
        """Until it has received just that, and so many connections are over."""
        async with self.news:
            await self.news.wait_for(lambda: self.received == data and self.ended >= ended)


@dataclass
class Overheard:
    """What went through, piece by piece."""

    up: list[bytes] = field(default_factory=list)
    down: list[bytes] = field(default_factory=list)
    over: list[int] = field(default_factory=list)

    def handed_over(self, link: int, data: bytes) -> None:
        self.up.append(data)

    def delivered(self, link: int, data: bytes) -> None:
        self.down.append(data)

    def ended(self, link: int) -> None:
        self.over.append(link)


@dataclass
class Scene:
    proxy: FaultProxy
    dependency: Peer
    heard: Overheard

    async def over(self) -> None:
        """Until no connection is left."""
        while self.proxy._tasks:
            await asyncio.sleep(0)

    async def connect(self) -> Client:
        return await asyncio.open_connection("127.0.0.1", self.proxy.port)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with _scene() as scene:
        yield scene


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    dependency, heard = Peer(), Overheard()
    server = await asyncio.start_server(dependency.serve, "127.0.0.1", 0)
    async with FaultProxy(server.sockets[0].getsockname()[1], heard) as proxy:
        yield Scene(proxy, dependency, heard)
    server.close()
    for writer in dependency.writers:
        writer.close()
    await asyncio.sleep(0)


async def _ask(client: Client, line: bytes = b"one\n") -> bytes:
    client[1].write(line)
    return await client[0].readexactly(2 * len(line) - 1)


async def _end(client: Client) -> None:
    client[1].close()
    await asyncio.gather(client[1].wait_closed(), return_exceptions=True)


async def test_in_order_it_passes_everything_on_and_the_end_as_well(scene: Scene) -> None:
    client = await scene.connect()
    assert await _ask(client) == b"oneone\n"
    client[1].write_eof()
    assert await client[0].read() == b""
    await scene.dependency.has(b"one\n", ended=1)
    await _end(client)


@pytest.mark.parametrize(
    "toxic", [Latency(NEVER), Jitter(NEVER, random.Random(1)), Bandwidth(0.001), Blackhole(lambda: False)]
)
@pytest.mark.parametrize("phase", [Phase.REQUEST, Phase.REPLY])
async def test_what_is_held_up_comes_when_it_heals(scene: Scene, toxic: Toxic, phase: Phase) -> None:
    client = await scene.connect()
    await _ask(client)
    await scene.proxy.sicken(phase, toxic)
    answer = asyncio.create_task(_ask(client, b"two\n"))
    await scene.proxy.met.wait()
    if phase is Phase.REPLY:
        await scene.dependency.has(b"one\ntwo\n")
    assert scene.dependency.received == (b"one\n" if phase is Phase.REQUEST else b"one\ntwo\n")
    assert scene.heard.down == [b"oneone\n"]
    assert not answer.done()
    await scene.proxy.heal()
    assert await answer == b"twotwo\n"
    await _end(client)


async def test_late_from_the_beginning(scene: Scene) -> None:
    await scene.proxy.sicken(Phase.CONNECT, Latency(NEVER))
    client = await scene.connect()
    client[1].write(b"one\n")
    await scene.proxy.met.wait()
    assert not scene.dependency.writers
    await scene.proxy.heal()
    assert await client[0].readexactly(7) == b"oneone\n"
    await _end(client)


async def test_so_many_bytes_at_a_time(scene: Scene) -> None:
    await scene.proxy.sicken(Phase.REPLY, Bandwidth(10_000.0))
    client = await scene.connect()
    client[1].write(b"x" * 99 + b"\n")
    await client[0].readexactly(199)
    assert max(map(len, scene.heard.down)) <= 500
    await scene.proxy.sicken(Phase.REPLY, Bandwidth(20.0))
    await _ask(client, b"y\n")
    assert scene.heard.down[-3:] == [b"y", b"y", b"\n"]
    await _end(client)


async def test_one_byte_at_a_time(scene: Scene) -> None:
    await scene.proxy.sicken(Phase.REPLY, Slicer())
    client = await scene.connect()
    assert await _ask(client) == b"oneone\n"
    assert scene.heard.down == [b"o", b"n", b"e", b"o", b"n", b"e", b"\n"]
    await _end(client)


async def test_refused_when_it_is_to_be_made(scene: Scene) -> None:
    there = await scene.connect()
    await _ask(there)
    await scene.proxy.sicken(Phase.CONNECT, Reset())
    assert await there[0].read() == b"", "what was there has to be made anew"
    with pytest.raises(ConnectionRefusedError):
        await scene.connect()
    await scene.proxy.heal()
    client = await scene.connect()
    assert await _ask(client, b"two\n") == b"twotwo\n"
    await _end(there)
    await _end(client)


@pytest.mark.parametrize("phase", [Phase.REQUEST, Phase.REPLY])
@pytest.mark.parametrize("toxic", [Reset(), Fin()])
async def test_ended_amid_the_talk(scene: Scene, toxic: Toxic, phase: Phase) -> None:
    client = await scene.connect()
    await _ask(client)
    await scene.proxy.sicken(phase, toxic)
    client[1].write(b"two\n")
    if isinstance(toxic, Reset):
        with pytest.raises(ConnectionResetError):
            await client[0].read()
    else:
        assert await client[0].read() == b""
    await scene.dependency.has(b"one\n" if phase is Phase.REQUEST else b"one\ntwo\n", ended=1)
    assert scene.heard.down == [b"oneone\n"]
    await scene.over()
    assert scene.heard.over == [1]
    await _end(client)


async def test_hung_up_on(scene: Scene) -> None:
    await scene.proxy.sicken(Phase.CONNECT, Fin())
    client = await scene.connect()
    assert await client[0].read() == b""
    assert not scene.dependency.writers
    await _end(client)


async def test_nobody_answers_a_knock(scene: Scene) -> None:
    await scene.proxy.sicken(Phase.CONNECT, Blackhole(lambda: False))
    with socket.socket() as knocking:
        knocking.setblocking(False)
        knocking.connect_ex(("127.0.0.1", scene.proxy.port))
        assert _state(knocking) == SYN_SENT
        await scene.proxy.heal()
        # The kernel knocks again by itself.
        await asyncio.get_running_loop().sock_sendall(knocking, b"one\n")
        assert _state(knocking) == ESTABLISHED
        assert await asyncio.get_running_loop().sock_recv(knocking, 100) == b"oneone\n"


async def test_what_a_black_hole_took_arrives_though_nobody_waits_any_more(scene: Scene) -> None:
    client = await scene.connect()
    await scene.proxy.sicken(Phase.REQUEST, Blackhole(lambda: False))
    client[1].write(b"one\n")
    await scene.proxy.met.wait()
    await _end(client)
    assert scene.dependency.received == b""
    await scene.proxy.heal()
    await scene.dependency.has(b"one\n", ended=1)
    await scene.over()
    assert not scene.heard.down, "it reached nobody"


async def test_what_is_said_into_a_black_hole_is_heard_to_the_end(scene: Scene) -> None:
    """Else nobody would know that a message's last dot had left."""
    client = await scene.connect()
    await scene.proxy.sicken(Phase.REQUEST, Blackhole(lambda: True))
    client[1].write(b"one\n")
    await scene.proxy.met.wait()
    client[1].write(b"two\n")
    await _end(client)
    await scene.over()
    assert b"".join(scene.heard.up) == b"one\ntwo\n"


async def test_a_black_hole_also_takes_the_dependency_s_end(scene: Scene) -> None:
    client = await scene.connect()
    await _ask(client)
    await scene.proxy.sicken(Phase.REPLY, Blackhole(lambda: False))
    scene.dependency.writers[0].close()
    end = asyncio.create_task(client[0].read())
    await scene.proxy.met.wait()
    told, _ = await asyncio.wait({end}, timeout=0.2)
    assert not told
    await scene.proxy.heal()
    assert await end == b""
    await _end(client)


@pytest.mark.parametrize("phase", [Phase.REQUEST, Phase.REPLY])
async def test_a_connection_that_was_forgotten_stays_dark(scene: Scene, phase: Phase) -> None:
    client = await scene.connect()
    await _ask(client)
    await scene.proxy.sicken(phase, Blackhole(lambda: True))
    answer = asyncio.create_task(_ask(client, b"two\n"))
    await scene.proxy.met.wait()
    if phase is Phase.REPLY:
        await scene.dependency.has(b"one\ntwo\n")
    await scene.proxy.heal()
    other = await scene.connect()
    await _ask(other, b"three\n")
    assert not answer.done()
    assert b"twotwo\n" not in scene.heard.down
    answer.cancel()
    await _end(client)
    await scene.dependency.has(b"one\nthree\n" if phase is Phase.REQUEST else b"one\ntwo\nthree\n", ended=1)
    await _end(other)


async def test_the_dependency_is_gone_and_nobody_says_so(scene: Scene) -> None:
    client = await scene.connect()
    await _ask(client)
    await scene.proxy.sicken(Phase.REQUEST, HalfOpen(Phase.REQUEST))
    client[1].write(b"two\n")
    end = asyncio.create_task(client[0].read())
    await scene.dependency.has(b"one\n", ended=1)
    assert not end.done()
    await scene.proxy.heal()
    with pytest.raises(ConnectionResetError):
        await end
    await _end(client)


async def test_it_is_gone_with_its_answer_and_nobody_is_ever_told(scene: Scene) -> None:
    client = await scene.connect()
    await scene.proxy.sicken(Phase.REPLY, HalfOpen(Phase.REPLY))
    answer = asyncio.create_task(_ask(client))
    await scene.dependency.has(b"one\n", ended=1)
    assert scene.proxy.met.is_set()
    await scene.proxy.heal()
    other = await scene.connect()
    await _ask(other, b"two\n")
    assert not answer.done()
    answer.cancel()
    await _end(client)
    await _end(other)


async def test_made_with_nobody(scene: Scene) -> None:
    await scene.proxy.sicken(Phase.CONNECT, HalfOpen(Phase.CONNECT))
    client = await scene.connect()
    answer = asyncio.create_task(_ask(client))
    await scene.proxy.met.wait()
    await scene.proxy.heal()
    other = await scene.connect()
    await _ask(other, b"two\n")
    assert not answer.done()
    assert scene.dependency.received == b"two\n"
    answer.cancel()
    await _end(client)
    await _end(other)


@pytest.mark.parametrize("phase", [Phase.REQUEST, Phase.REPLY])
async def test_cut_after_so_many_bytes(scene: Scene, phase: Phase) -> None:
    await scene.proxy.sicken(phase, CutAfter(lambda: 9))
    client = await scene.connect()
    assert await _ask(client, b"ab\n") == b"abab\n"
    client[1].write(b"cdefghij\n")
    assert await client[0].read() == (b"" if phase is Phase.REQUEST else b"cdef")
    await scene.dependency.has(b"ab\ncdefgh" if phase is Phase.REQUEST else b"ab\ncdefghij\n", ended=1)
    await _end(client)


async def test_two_faults_at_once(scene: Scene) -> None:
    await scene.proxy.sicken(Phase.REPLY, Slicer(), CutAfter(lambda: 4))
    client = await scene.connect()
    client[1].write(b"one\n")
    assert await client[0].read() == b"oneo"
    assert scene.heard.down == [b"o", b"n", b"e", b"o"]
    await _end(client)


def _state(knocking: socket.socket) -> int:
    return knocking.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


MESSAGE = b"Date: now\r\nMessage-ID: <one@mta.example>\r\n\r\nDATA \r\n"


def _talked(*pieces: bytes) -> RelayTalk:
    talk = RelayTalk()
    for piece in (b"EHLO web.test\r\n", b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDA", b"TA\r\n", *pieces):
        talk.handed_over(1, piece)
    return talk


def test_a_message_is_unanswered_until_the_whole_reply_has_come() -> None:
    talk = _talked(MESSAGE)
    talk.delivered(1, b"250 ok\r\n")
    assert not talk.unanswered
    talk.handed_over(1, b"\r\n.\r")
    assert not talk.unanswered
    talk.handed_over(1, b"\n")
    assert [(dot.email_id, dot.client) for dot in talk.unanswered] == [("one", "web.test")]
    talk.delivered(2, b"250 ok\r\n")
    talk.delivered(1, b"250-first\r\n250 2.0.0 Ok: queu")
    assert talk.unanswered
    talk.delivered(1, b"ed\r\n")
    assert not talk.unanswered


def test_a_message_that_was_begun_is_torn_when_its_connection_ends() -> None:
    whole = _talked(MESSAGE, b"\r\n.\r\n")
    whole.ended(1)
    assert not whole.torn
    begun = _talked(MESSAGE)
    begun.ended(2)
    assert not begun.torn
    begun.ended(1)
    assert [(dot.email_id, dot.client) for dot in begun.torn] == [("one", "web.test")]
    assert not begun.unanswered


def test_a_command_after_data_is_no_message() -> None:
    talk = _talked(b"RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n", MESSAGE + b"\r\n.\r\n", b"QUIT\r\n")
    assert [dot.email_id for dot in talk.unanswered] == ["one"]


def test_there_are_108_cells_and_each_that_is_none_says_why() -> None:
    assert len(set(CELLS)) == 108
    none = [cell for cell in CELLS if cell.reason is not None]
    assert len(none) == 4 * len(NONE_SUCH) == 12
    for dependency in Dependency:
        assert [cell for cell in FEW if cell.dependency is dependency]
    assert not FEW & set(none)
    assert {cell.fault for cell in FEW} == set(Fault)


def test_a_run_of_all_tests_takes_the_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAILCULATOR_TEST_FAULTS", raising=False)
    assert {cell for dependency in Dependency for cell in chosen(dependency)} == FEW
    monkeypatch.setenv("MAILCULATOR_TEST_FAULTS", "all")
    assert len([cell for dependency in Dependency for cell in chosen(dependency)]) == 96


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_has_what_does_it(fault: Fault) -> None:
    cell = Cell(Dependency.RELAY, fault, Phase.REPLY)
    assert cell.toxic(0.05, random.Random(1)).__doc__ != Toxic.__doc__


CLEAN = Verdict()


def _outcome(share: float | None = 1.0, ended: float = 1.0, verdict: Verdict = CLEAN, bug: str = "") -> Outcome:
    cell = Cell(Dependency.RELAY, Fault.FIN, Phase.REPLY)
    return Outcome(cell, 10, verdict, 0.5, ended, share, (bug,) if bug else ())


def test_the_others_have_kept_their_pace_when_most_repeats_say_so() -> None:
    assert not too_slow([])
    assert not too_slow([_outcome(None)])
    assert not too_slow([_outcome(0.1), _outcome(0.8), _outcome(0.9)])
    assert too_slow([_outcome(0.1), _outcome(0.79), _outcome(0.9)])


def test_half_a_minute_beside_its_own_patience() -> None:
    assert not too_late([_outcome(ended=42.0)], 12.0)
    assert not too_late([_outcome(ended=99.0), _outcome(), _outcome()], 12.0)
    assert too_late([_outcome(ended=42.1), _outcome(ended=42.2), _outcome()], 12.0)


def test_second_copies_in_the_window_are_no_fault_and_the_rest_is() -> None:
    assert not _outcome(verdict=Verdict(doubled_in_window=("one",))).wrong
    assert _outcome(verdict=Verdict(doubled_outside=("one",))).wrong
    assert _outcome(bug="it ended with 1").wrong


def test_the_record_counts_every_outcome() -> None:
    verdicts = [Verdict(doubled_in_window=("a", "b")), Verdict(stuck=("c",), broken=("d",))]
    outcomes = [_outcome(1.0, 2.0, verdicts[0]), _outcome(0.5, 40.0, verdicts[1], "e")]
    figures = Tally(Dependency.RELAY, 1, outcomes).figures()
    counts = ["mails", "stuck", "doubled in the window", "doubled elsewhere", "other faults"]
    assert [figures[name] for name in counts] == [20, 1, 2, 0, 2]
    assert figures["all ended after p50 / p99 / max"] == "2.0 s / 40.0 s / 40.0 s"
    assert figures["least share of the others' pace"] == "75%"
