"""What is sent without another look at its file, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailculator.model import Email, Status
from mailculator.payload import AttachmentRef, Payload, parse
from mailculator.pipelines.checked import BEHIND, KEEP, LARGEST, MOVES, ROOM, Checked
from tests.support.clock import FakeClock
from tests.support.memory_store import email

RAW = b"""{"id": "550e8400-e29b-41d4-a716-446655440000", "from": "a@example.com", "reply_to": "a@example.com",
    "to": "b@example.org", "subject": "s", "body_text": "t"}"""
MAIL = parse(RAW)


class Memory:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.checked = Checked(self.clock)

    def put(self, name: str, *, mail: Payload = MAIL, size: int = len(RAW)) -> Email:
        """Intake finds it fit; returns it as the sender will claim it."""
        claimed = email(name, Status.INTAKING, version=2)
        self.checked.put(claimed, mail, size)
        return replace(claimed, status=Status.PROCESSING, version=claimed.version + MOVES)


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_what_was_found_fit_is_given_once(memory: Memory) -> None:
    ready = memory.put("one")

    assert memory.checked.take(ready) == (MAIL, len(RAW))
    assert memory.checked.take(ready) is None


@pytest.mark.parametrize("more", [1, 2, -1])
def test_mail_to_which_anything_else_has_happened_is_read_again(memory: Memory, more: int) -> None:
    ready = memory.put("requeued")

    assert memory.checked.take(replace(ready, version=ready.version + more)) is None


async def test_what_was_found_long_ago_is_read_again(memory: Memory) -> None:
    late, later = memory.put("late"), memory.put("later")

    await memory.clock.advance(KEEP - 0.001)
    assert memory.checked.take(late) is not None
    await memory.clock.advance(0.001)
    assert memory.checked.take(later) is None


def test_mail_with_attachments_and_large_mail_is_not_kept(memory: Memory) -> None:
    attached = memory.put("attached", mail=replace(MAIL, attachments=(AttachmentRef("/a.pdf", "a.pdf"),)))
    large, largest = memory.put("large", size=LARGEST + 1), memory.put("largest", size=LARGEST)

    assert memory.checked.take(attached) is None
    assert memory.checked.take(large) is None
    assert memory.checked.take(largest) is not None


def test_what_is_full_keeps_what_it_has_since_that_is_due_first(memory: Memory) -> None:
    kept = [memory.put(f"{number}", size=LARGEST) for number in range(ROOM // LARGEST)]
    refused = memory.put("no room", size=1)
    assert memory.checked.take(refused) is None

    assert memory.checked.take(kept[0]) is not None
    assert memory.checked.take(memory.put("room again", size=LARGEST)) is not None
    assert all(memory.checked.take(one) for one in kept[1:])


async def test_what_others_send_leaves_its_room_to_what_comes(memory: Memory) -> None:
    for number in range(ROOM // LARGEST - 1):
        memory.put(f"another's {number}", size=LARGEST)
    await memory.clock.advance(BEHIND)
    ours = memory.put("ours", size=LARGEST)
    assert memory.checked.take(memory.put("no room", size=1)) is None

    assert memory.checked.take(ours) is not None

    ready = [memory.put(f"{number}", size=LARGEST) for number in range(ROOM // LARGEST)]
    assert all(memory.checked.take(one) for one in ready)


async def test_what_was_found_long_ago_leaves_its_room(memory: Memory) -> None:
    for number in range(ROOM // LARGEST):
        memory.put(f"{number}", size=LARGEST)
    await memory.clock.advance(KEEP)

    assert memory.checked.take(memory.put("new", size=LARGEST)) is not None


def test_of_one_email_only_the_last_look_is_kept(memory: Memory) -> None:
    memory.put("one")
    other = replace(MAIL, subject="another")
    ready = memory.put("one", mail=other)

    assert memory.checked.take(ready) == (other, len(RAW))
