"""Frames: how messages are cut out of a byte stream.

A frame is a 4-byte big-endian length, then that many bytes of deterministic
CBOR. No I/O here: bytes in, payloads out.
"""

from __future__ import annotations

from collections.abc import Iterator

# The largest messages are an append of blocks and a genesis for a newcomer; both keep well below this.
MAX_FRAME_BYTES = 1024 * 1024
_LENGTH_BYTES = 4


class FrameError(ValueError):
    """A stream that announces a frame over the limit; the connection is of no further use."""


def frame(payload: bytes) -> bytes:
    """`payload` with its length before it.

    Raises:
        FrameError: more than `MAX_FRAME_BYTES`.
    """
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"frame of {len(payload)} bytes to be sent, the limit is {MAX_FRAME_BYTES}")
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


class FrameReader:
    """Collects received bytes and gives out whole payloads.

    Never holds more than one frame and what was fed last; after a `FrameError`
    the reader must not be used again.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._max = max_frame_bytes

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Payloads completed by `data`, in order.

        `data` is taken at once, also if the payloads are never asked for or only in
        part; the next call gives out the rest.

        Raises:
            FrameError: on asking for a payload, when its announced length is over the
                limit; those before it have been given out by then.
        """
        self._buffer += data
        return self._payloads()

    def _payloads(self) -> Iterator[bytes]:
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "big")
            if length > self._max:
                raise FrameError(f"frame of {length} bytes announced, the limit is {self._max}")
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_LENGTH_BYTES:end])
            del self._buffer[:end]
            yield payload

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame; not zero at the end of a stream means it was cut."""
        return len(self._buffer)
