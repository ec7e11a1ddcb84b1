"""Sync: how a node fetches final blocks from another, in ranges that prove themselves.

    client -> server   BlocksRequest   from which height, from which byte on
    server -> client   RangeStart      which heights it sends, how many bytes they have
    server -> client   Chunk           at most 64 KiB at an offset, ...
    client -> server   Credit          ... at most a window beyond what the client confirmed
    server -> client   RangeEnd        length, SHA-256, certificate of the last height

A range is the concatenation of its blocks, each with its length before it (as a
frame). It ends at a height that the server has a certificate for, so that the client
can check all of it. Blocks are the same bytes on all nodes, certificates are not:
the certificate stands outside the hash, and a transfer that broke off goes on at any
peer that can serve the same heights. A stream carries one request after the other.

No I/O and no clock: messages in, messages out. What the blocks say is not checked here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated

from protocols.cose import HASH_BYTES
from protocols.frames import FrameError, FrameReader, frame
from protocols.records.agreement import Certificate
from protocols.records.genesis import MAX_BLOCK_BYTES
from protocols.records.schema import Bytes, Field, Nested, Record, Uint, from_payload, register

CHUNK_BYTES = 64 * 1024
# What may be under way and unconfirmed: hides a round trip of 50 ms at 10 MB/s, and is
# all that a slow reader makes the server hold in the stream.
WINDOW_BYTES = 512 * 1024
# A client confirms when it has got so much more; half a window keeps the server sending.
CREDIT_EVERY_BYTES = WINDOW_BYTES // 2
# A server ends a range at the last certificate within this size: a second of checking on
# a Raspberry Pi. A client must be able to hold one range.
RANGE_BYTES = 512 * 1024
# Where certificates stand further apart, a range goes on to the next, up to here.
MAX_RANGE_BYTES = 4 * 1024 * 1024
# An encoded block has more than a hundred bytes, so a range cannot hold more blocks.
MAX_RANGE_BLOCKS = MAX_RANGE_BYTES // 100
# A message with a chunk and what frames it; all others, also one with a certificate, are smaller.
MAX_MESSAGE_BYTES = CHUNK_BYTES + 64

# A range that is full but for a byte may take one more block, of any legal size.
assert RANGE_BYTES + MAX_BLOCK_BYTES <= MAX_RANGE_BYTES

RangeBytes = Uint(MAX_RANGE_BYTES)


class SyncError(ValueError):
    """A message that no honest peer sends at this point."""


@register(56)
class BlocksRequest(Record, frozen=True, kw_only=True):
    """Send blocks from a height on; with `to_height`, go on with a range that broke off."""

    from_height: Annotated[int, Field(1, Uint(), "first block wanted")]
    to_height: Annotated[int, Field(2, Uint(), "last block of the range that is to go on")] = 0
    offset: Annotated[int, Field(3, RangeBytes, "bytes of that range that the client has")] = 0


@register(57)
class RangeStart(Record, frozen=True, kw_only=True):
    """What the server sends now. Without `to_height` it cannot send that height."""

    from_height: Annotated[int, Field(1, Uint(), "as requested")]
    to_height: Annotated[int, Field(2, Uint(), "last block of the range")] = 0
    total_bytes: Annotated[int, Field(3, RangeBytes, "length of the whole range")] = 0
    offset: Annotated[int, Field(4, RangeBytes, "where it begins to send")] = 0
    final_height: Annotated[int, Field(5, Uint(), "of the server")] = 0


@register(58)
class Chunk(Record, frozen=True, kw_only=True):
    """A piece of the range."""

    offset: Annotated[int, Field(1, RangeBytes, "of the first byte")]
    data: Annotated[bytes, Field(2, Bytes(1, CHUNK_BYTES), "the bytes")]


@register(59)
class Credit(Record, frozen=True, kw_only=True):
    """The client has the range up to here."""

    received: Annotated[int, Field(1, RangeBytes, "bytes of the range")]


@register(60)
class RangeEnd(Record, frozen=True, kw_only=True):
    """The range is complete."""

    total_bytes: Annotated[int, Field(1, RangeBytes, "as at the start")]
    digest: Annotated[bytes, Field(2, Bytes(HASH_BYTES), "SHA-256 of the whole range")]
    certificate: Annotated[Certificate, Field(3, Nested(Certificate), "of the last block")]


TO_SERVER: Mapping[int, type[Record]] = {message.KIND: message for message in (BlocksRequest, Credit)}
TO_CLIENT: Mapping[int, type[Record]] = {message.KIND: message for message in (RangeStart, Chunk, RangeEnd)}


def read_request(payload: bytes) -> BlocksRequest | Credit:
    """A message of a client.

    Raises:
        RecordError: not one of `TO_SERVER`.
    """
    message = from_payload(payload, TO_SERVER)
    assert isinstance(message, BlocksRequest | Credit)
    return message


def read_answer(payload: bytes) -> RangeStart | Chunk | RangeEnd:
    """A message of a server.

    Raises:
        RecordError: not one of `TO_CLIENT`.
    """
    message = from_payload(payload, TO_CLIENT)
    assert isinstance(message, RangeStart | Chunk | RangeEnd)
    return message


def join(blocks: Sequence[bytes]) -> bytes:
    """The bytes of a range."""
    return b"".join(frame(block) for block in blocks)


def split(body: bytes, count: int) -> list[bytes]:
    """The blocks of a range.

    Raises:
        SyncError: they are not `count` whole blocks.
    """
    reader = FrameReader(MAX_BLOCK_BYTES)
    try:
        blocks = list(reader.feed(body))
    except FrameError as error:
        raise SyncError(f"range: {error}") from error
    if reader.pending or len(blocks) != count:
        raise SyncError(f"range: {len(blocks)} blocks and {reader.pending} bytes more, expected {count} blocks")
    return blocks


class Sending:
    """The server's side of one range.

    Args:
        request: its `from_height` is the first of the range.
        body: `join` of the blocks from there to the height of `certificate`.
        final_height: of the server.
    Attributes:
        start: what to send first.
        done: everything has been given out by `next_message`.

    Invariant: `_sent <= _confirmed + WINDOW_BYTES`.
    """

    def __init__(self, request: BlocksRequest, body: bytes, certificate: Certificate, final_height: int) -> None:
        same = request.to_height == certificate.height and request.offset <= len(body)
        offset = request.offset if same else 0
        self.start = RangeStart(
            from_height=request.from_height,
            to_height=certificate.height,
            total_bytes=len(body),
            offset=offset,
            final_height=final_height,
        )
        self.done = False
        self._body = body
        self._certificate = certificate
        self._sent = self._confirmed = offset

    def credit(self, message: Credit) -> None:
        """The client confirms.

        Raises:
            SyncError: less than before, or more than was sent.
        """
        if not self._confirmed <= message.received <= self._sent:
            raise SyncError(f"credit for {message.received} bytes, expected {self._confirmed} to {self._sent}")
        self._confirmed = message.received

    def next_message(self) -> Chunk | RangeEnd | None:
        """What to send now; None if the window is full, or all is sent (`done`)."""
        if self.done:
            return None
        if self._sent == len(self._body):
            self.done = True
            digest = hashlib.sha256(self._body).digest()
            return RangeEnd(total_bytes=len(self._body), digest=digest, certificate=self._certificate)
        room = self._confirmed + WINDOW_BYTES - self._sent
        size = min(CHUNK_BYTES, len(self._body) - self._sent)
        if size > room:
            return None
        chunk = Chunk(offset=self._sent, data=self._body[self._sent : self._sent + size])
        self._sent += size
        return chunk


class Receiving:
    """The client's side of one range; survives the stream that it began on.

    Attributes:
        blocks: of the complete range, else empty.
        certificate: of the last of them, as sent; not checked here.
        nothing: the server of this stream does not have the height that was asked for.
    """

    def __init__(self, from_height: int) -> None:
        self.blocks: tuple[bytes, ...] = ()
        self.certificate: Certificate | None = None
        self.nothing = False
        self._from = from_height
        self._to = 0
        self._total = 0
        self._data = bytearray()
        self._started = False
        self._confirmed = 0
        self._pieced = False

    @property
    def pieced_together(self) -> bool:
        """Whether the bytes came over several streams: then no single peer answers for a wrong hash."""
        return self._pieced

    def request(self) -> BlocksRequest:
        """What to send first on a new stream; goes on where the last stream ended."""
        self._started = False
        self.nothing = False
        if not self._data:
            return BlocksRequest(from_height=self._from)
        return BlocksRequest(from_height=self._from, to_height=self._to, offset=len(self._data))

    def receive(self, message: RangeStart | Chunk | RangeEnd) -> Credit | None:
        """Take a message of the server; returns what to answer.

        Raises:
            SyncError: it does not belong here. A range whose end does not fit is forgotten,
                so that the transfer begins again.
        """
        if isinstance(message, RangeStart):
            self._start(message)
            return None
        if not self._started or self.nothing:
            raise SyncError(f"{type(message).__name__} before the start of a range")
        if isinstance(message, Chunk):
            return self._take(message)
        self._end(message)
        return None

    def _start(self, start: RangeStart) -> None:
        if self._started or start.from_height != self._from:
            raise SyncError(f"range from {start.from_height}, expected one from {self._from}")
        self._started = True
        if start.to_height == 0:
            if start.total_bytes or start.offset:
                raise SyncError(f"{start.total_bytes} bytes of no range")
            self.nothing = True
            return
        blocks = start.to_height - self._from + 1
        if not 1 <= blocks <= MAX_RANGE_BLOCKS or start.to_height > start.final_height or start.total_bytes == 0:
            raise SyncError(f"range to {start.to_height} of {start.total_bytes} bytes is none")
        same = (start.to_height, start.total_bytes, start.offset) == (self._to, self._total, len(self._data))
        if start.offset and not same:
            raise SyncError(f"range goes on at byte {start.offset}, expected {len(self._data)} or 0")
        if not start.offset:
            self._data.clear()
        self._pieced = bool(start.offset)
        self._to, self._total = start.to_height, start.total_bytes
        self._confirmed = len(self._data)

    def _take(self, chunk: Chunk) -> Credit | None:
        end = len(self._data) + len(chunk.data)
        if chunk.offset != len(self._data) or end > self._total or end > self._confirmed + WINDOW_BYTES:
            raise SyncError(
                f"chunk of bytes {chunk.offset} to {chunk.offset + len(chunk.data)}, have {len(self._data)}"
            )
        self._data += chunk.data
        if end - self._confirmed < CREDIT_EVERY_BYTES:
            return None
        self._confirmed = end
        return Credit(received=end)

    def _end(self, end: RangeEnd) -> None:
        body = bytes(self._data)
        self._data.clear()
        if len(body) != self._total or end.total_bytes != self._total:
            raise SyncError(f"range ends after {len(body)} of {self._total} bytes")
        if end.certificate.height != self._to:
            raise SyncError(f"certificate of height {end.certificate.height} for a range to {self._to}")
        if hashlib.sha256(body).digest() != end.digest:
            raise SyncError("range does not have the hash that its end names")
        self.blocks = tuple(split(body, self._to - self._from + 1))
        self.certificate = end.certificate
