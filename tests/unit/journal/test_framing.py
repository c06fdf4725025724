"""No truncation and no changed octet makes a record that was not written, and damage is never taken for a torn tail."""

from __future__ import annotations

import io
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailculator.journal.framing import PAYLOAD_LIMIT, Records, frame

PAYLOADS = [b"BEGIN 1 2 mysql a 3", b"DOT 1 2 mysql a 3", b"x", b"ACC 1 2 mysql a 3 250 ok, taken"]
WHOLE = b"".join(frame(payload) for payload in PAYLOADS)
ENDS = [len(b"".join(frame(payload) for payload in PAYLOADS[:count])) for count in range(len(PAYLOADS) + 1)]


def read(octets: bytes) -> tuple[list[bytes], Records]:
    records = Records(io.BytesIO(octets))
    return list(records), records


def test_a_record_is_a_line_with_its_length_and_its_crc() -> None:
    assert frame(b"DOT 1 2 s a 3") == b"000d %08x DOT 1 2 s a 3\n" % zlib.crc32(b"DOT 1 2 s a 3")


def test_what_was_written_is_read() -> None:
    payloads, records = read(WHOLE)
    assert payloads == PAYLOADS
    assert (records.torn, records.damage) == (False, None)


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_cut_off_anywhere_it_gives_the_records_before_the_cut_and_no_damage(length: int) -> None:
    payloads, records = read(WHOLE[:length])
    assert payloads == PAYLOADS[: sum(end <= length for end in ENDS) - 1]
    assert records.torn is (length not in ENDS)
    assert records.damage is None


def test_a_changed_octet_anywhere_is_damage_from_that_record_on() -> None:
    for place in range(len(WHOLE)):
        for change in range(1, 256):
            octets = bytearray(WHOLE)
            octets[place] ^= change
            payloads, records = read(bytes(octets))
            before = sum(end <= place for end in ENDS) - 1
            assert payloads == PAYLOADS[:before], (place, change)
            assert records.damage is not None, (place, change)
            assert f"octet {ENDS[before]} " in records.damage


@pytest.mark.parametrize("tail", [b"\0", b"\0" * 5000, b"0013 \0\0", b"\n", b"0013 0000000g", b"00130"])
def test_a_tail_that_no_record_begins_with_is_damage(tail: bytes) -> None:
    payloads, records = read(WHOLE + tail)
    assert payloads == PAYLOADS
    assert records.damage is not None


@given(octets=st.binary() | st.lists(st.sampled_from([*PAYLOADS, b"\n", b"0"])).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_noise_is_never_a_record(octets: bytes) -> None:
    payloads, records = read(WHOLE + octets)
    assert payloads == PAYLOADS
    assert records.torn or records.damage or not octets


@given(places=st.sets(st.integers(0, len(WHOLE) - 1), min_size=2, max_size=6), change=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_several_changed_octets_never_invent_a_record(places: set[int], change: int) -> None:
    octets = bytearray(WHOLE)
    for place in places:
        octets[place] ^= change
    payloads, _ = read(bytes(octets))
    assert payloads == PAYLOADS[: len(payloads)]
    assert len(payloads) < len(PAYLOADS)


@given(order=st.permutations(range(len(PAYLOADS))), kept=st.integers(1, len(PAYLOADS)))
@settings(max_examples=50, deadline=None)
def test_records_are_read_in_the_order_they_stand_in(order: list[int], kept: int) -> None:
    chosen = [PAYLOADS[index] for index in order[:kept]]
    assert read(b"".join(map(frame, chosen)))[0] == chosen


def test_the_longest_record_is_read_and_a_longer_one_not_made() -> None:
    longest = b"x" * PAYLOAD_LIMIT
    assert read(frame(longest) + WHOLE)[0] == [longest, *PAYLOADS]
    for payload in (longest + b"x", b""):
        with pytest.raises(ValueError, match="a record holds"):
            frame(payload)


def test_a_line_without_end_is_not_read_into_memory() -> None:
    class Endless(io.RawIOBase):
        taken = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[:] = b"0" * len(buffer)
            self.taken += len(buffer)
            return len(buffer)

    endless = Endless()
    records = Records(io.BufferedReader(endless))
    assert list(records) == []
    assert records.damage is not None
    assert endless.taken < 200_000


def test_what_the_caller_rejects_ends_the_reading() -> None:
    records = Records(io.BytesIO(WHOLE))
    seen = []
    for payload in records:
        seen.append(payload)
        if len(seen) == 2:
            records.reject("why")
    assert seen == PAYLOADS[:2]
    assert records.damage == f"unreadable from octet {ENDS[1]} on: why"
