"""Sync: a range arrives whole or not at all, whatever the stream does in between."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import sync
from protocols.records import Certificate, Record, to_payload
from protocols.sync import (
    CHUNK_BYTES,
    WINDOW_BYTES,
    BlocksRequest,
    Chunk,
    Credit,
    RangeEnd,
    RangeStart,
    Receiving,
    Sending,
    SyncError,
)
from tests.protocols.village import Village

VILLAGE = Village(3)
BLOCK = VILLAGE.block()


def certificate(height: int) -> Certificate:
    return VILLAGE.certificate(BLOCK, height=height)


def blocks_of(sizes: list[int]) -> list[bytes]:
    return [random.Random(number).randbytes(size) for number, size in enumerate(sizes)]


def server(request: BlocksRequest, blocks: list[bytes]) -> Sending:
    """Serves all of `blocks`, the first of which is the requested one."""
    last = request.from_height + len(blocks) - 1
    return Sending(request, sync.join(blocks), certificate(last), last)


def pump(sending: Sending, receiving: Receiving, messages: int = 10**6, answer: Any = None) -> int:
    """Carry messages until the server is done or so many have passed; returns bytes under way at most."""
    under_way = most = 0
    pending: list[Credit] = []
    carry = answer or (lambda message: message)
    for message in [sending.start]:
        receiving.receive(sync.read_answer(to_payload(carry(message))))
    for _ in range(messages):
        message = sending.next_message()
        if message is None:
            if sending.done or not pending:
                break
            sending.credit(sync.read_request(to_payload(pending.pop(0))))  # type: ignore[arg-type]
            under_way = 0
            continue
        if isinstance(message, Chunk):
            under_way += len(message.data)
            most = max(most, under_way)
        credit = receiving.receive(sync.read_answer(to_payload(carry(message))))
        if credit is not None:
            pending.append(credit)
    return most


sizes = st.lists(st.integers(1, 200_000), min_size=1, max_size=8)


@given(sizes, st.integers(1, 10**6))
def test_a_range_arrives_as_it_was_sent(lengths: list[int], first: int) -> None:
    blocks = blocks_of(lengths)
    receiving = Receiving(first)
    request = sync.read_request(to_payload(receiving.request()))
    assert request == BlocksRequest(from_height=first)
    most = pump(server(request, blocks), receiving)
    assert list(receiving.blocks) == blocks
    assert receiving.certificate == certificate(first + len(blocks) - 1)
    assert most <= WINDOW_BYTES


@given(sizes, st.lists(st.integers(0, 12), max_size=6))
def test_a_range_that_breaks_off_goes_on_at_another_peer(lengths: list[int], breaks: list[int]) -> None:
    blocks = blocks_of(lengths)
    receiving = Receiving(7)
    carried: list[Chunk] = []

    def note(message: Any) -> Any:
        if isinstance(message, Chunk):
            carried.append(message)
        return message

    for messages in [*breaks, 10**6]:
        pump(server(receiving.request(), blocks), receiving, messages, note)
        if receiving.certificate is not None:
            break
    assert list(receiving.blocks) == blocks
    assert b"".join(chunk.data for chunk in carried) == sync.join(blocks), "a byte was sent twice or left out"


def test_another_peer_that_ends_elsewhere_begins_again() -> None:
    blocks = blocks_of([150_000, 150_000, 10])
    receiving = Receiving(1)
    pump(server(receiving.request(), blocks), receiving, 2)
    request = receiving.request()
    assert (request.to_height, request.offset) == (3, 2 * CHUNK_BYTES)
    pump(server(request, blocks[:2]), receiving)
    assert list(receiving.blocks) == blocks[:2]
    assert not receiving.pieced_together


def test_the_server_waits_for_credit() -> None:
    sending = server(BlocksRequest(from_height=1), blocks_of([WINDOW_BYTES, WINDOW_BYTES]))
    sent = 0
    while (message := sending.next_message()) is not None:
        assert isinstance(message, Chunk)
        sent += len(message.data)
    assert WINDOW_BYTES - CHUNK_BYTES < sent <= WINDOW_BYTES
    sending.credit(Credit(received=sent))
    assert sending.next_message() is not None


def test_credit_for_what_was_not_sent_is_refused() -> None:
    sending = server(BlocksRequest(from_height=1), blocks_of([300_000]))
    sending.next_message()
    sending.credit(Credit(received=100))
    for wrong in (99, CHUNK_BYTES + 1):
        with pytest.raises(SyncError, match=f"credit for {wrong}"):
            sending.credit(Credit(received=wrong))


def test_a_changed_byte_is_noticed_and_nothing_is_kept() -> None:
    blocks = blocks_of([100_000])
    receiving = Receiving(1)

    def garble(message: Any) -> Any:
        if isinstance(message, Chunk) and message.offset:
            return msgspec.structs.replace(message, data=bytes(len(message.data)))
        return message

    with pytest.raises(SyncError, match="hash"):
        pump(server(receiving.request(), blocks), receiving, answer=garble)
    assert not receiving.pieced_together
    assert receiving.request() == BlocksRequest(from_height=1)
    pump(server(receiving.request(), blocks), receiving)
    assert list(receiving.blocks) == blocks


def test_garbage_of_the_first_peer_is_not_blamed_on_the_second() -> None:
    blocks = blocks_of([200_000])
    receiving = Receiving(1)
    liar = server(receiving.request(), blocks_of([0, 200_000])[1:])
    pump(liar, receiving, 1)
    with pytest.raises(SyncError, match="hash"):
        pump(server(receiving.request(), blocks), receiving)
    assert receiving.pieced_together


def test_a_peer_without_the_height_says_so() -> None:
    receiving = Receiving(9)
    receiving.request()
    receiving.receive(RangeStart(from_height=9, final_height=8))
    assert receiving.nothing
    with pytest.raises(SyncError, match="before the start"):
        receiving.receive(Chunk(offset=0, data=b"x"))


START = RangeStart(from_height=1, to_height=2, total_bytes=100, final_height=2)
CHUNK = Chunk(offset=0, data=bytes(100))
END = RangeEnd(total_bytes=100, digest=bytes(32), certificate=certificate(2))


@pytest.mark.parametrize(
    "messages",
    [
        [CHUNK],
        [END],
        [START, START],
        [START, END],
        [START, Chunk(offset=1, data=b"x")],
        [START, Chunk(offset=0, data=bytes(101))],
        [START, CHUNK, CHUNK],
        [START, CHUNK, END],  # the hash is wrong
        [START, CHUNK, RangeEnd(total_bytes=99, digest=bytes(32), certificate=certificate(2))],
        [START, CHUNK, RangeEnd(total_bytes=100, digest=bytes(32), certificate=certificate(1))],
        [RangeStart(from_height=2, to_height=2, total_bytes=100, final_height=2)],
        [RangeStart(from_height=1, to_height=2, total_bytes=100, final_height=1)],
        [RangeStart(from_height=1, to_height=10**9, total_bytes=100, final_height=10**9)],
        [RangeStart(from_height=1, to_height=2, final_height=2)],
        [RangeStart(from_height=1, to_height=2, total_bytes=100, offset=50, final_height=2)],
        [RangeStart(from_height=1, total_bytes=100)],
    ],
    ids=str,
)
def test_messages_out_of_place_are_refused(messages: list[Any]) -> None:
    receiving = Receiving(1)
    receiving.request()
    with pytest.raises(SyncError):
        for message in messages:
            receiving.receive(message)
    assert receiving.certificate is None


def test_no_message_is_larger_than_the_limit_of_its_frame() -> None:
    ten = Certificate(
        **{name: getattr(certificate(2**62), name) for name in ("validators", "ack_term", "height", "block")},
        signatures=tuple((number.to_bytes(8, "big"), bytes(64)) for number in range(20)),
    )
    largest: list[Record] = [
        BlocksRequest(from_height=2**62, to_height=2**62, offset=sync.MAX_RANGE_BYTES),
        Chunk(offset=sync.MAX_RANGE_BYTES, data=bytes(CHUNK_BYTES)),
        RangeEnd(total_bytes=sync.MAX_RANGE_BYTES, digest=bytes(32), certificate=ten),
    ]
    assert max(len(to_payload(message)) for message in largest) <= sync.MAX_MESSAGE_BYTES


@pytest.mark.parametrize("body", [b"\0", b"\0\0\0\5abc", sync.join([b"one"]), b"\xff\xff\xff\xff"])
def test_bytes_that_are_not_the_announced_blocks_are_refused(body: bytes) -> None:
    with pytest.raises(SyncError, match="range"):
        sync.split(body, 2)
