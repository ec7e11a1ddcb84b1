"""Multistream: agreeing with a peer on the protocol of a stream.

Lines with a varint length before them (multiformats multistream-select 1.0).
Written anew because the library reads lines of any announced length and lets
text that is not UTF-8 end the process.
"""

from collections.abc import Container
from typing import Protocol

_HEADER = "/multistream/1.0.0"
_NOT_SUPPORTED = "na"

# Protocol names here have under 80 characters.
MAX_LINE_BYTES = 256

# A client proposes a few versions of one protocol, not a dictionary.
MAX_PROPOSALS = 16


class NegotiationFailed(Exception):
    """No common protocol, or not the multistream protocol at all."""


class _Bytes(Protocol):
    async def read(self, n: int | None = -1) -> bytes: ...
    async def write(self, data: bytes) -> None: ...


async def answer(stream: _Bytes, supported: Container[str]) -> str:
    """Let the peer that opened the stream choose a protocol; return its name."""
    await stream.write(_line(_HEADER))
    if await _read_line(stream) != _HEADER:
        raise NegotiationFailed("the stream does not begin with the multistream header")
    for _ in range(MAX_PROPOSALS):
        proposal = await _read_line(stream)
        if proposal in supported:
            await stream.write(_line(proposal))
            return proposal
        await stream.write(_line(_NOT_SUPPORTED))
    raise NegotiationFailed(f"none of {MAX_PROPOSALS} proposed protocols is supported")


async def ask(stream: _Bytes, protocols: list[str]) -> str:
    """Propose protocols in order on a stream we opened; return the one the peer accepted."""
    # Header and first proposal travel together: one round trip when it is accepted.
    await stream.write(_line(_HEADER) + _line(protocols[0]))
    if await _read_line(stream) != _HEADER:
        raise NegotiationFailed("the answer does not begin with the multistream header")
    for position, protocol in enumerate(protocols):
        if position > 0:
            await stream.write(_line(protocol))
        reply = await _read_line(stream)
        if reply == protocol:
            return protocol
        if reply != _NOT_SUPPORTED:
            raise NegotiationFailed(f"answer {reply!r} to the proposal {protocol!r}")
    raise NegotiationFailed(f"the peer supports none of {', '.join(protocols)}")


def _line(text: str) -> bytes:
    body = text.encode() + b"\n"
    if len(body) > MAX_LINE_BYTES:
        raise ValueError(f"protocol name {text!r} is longer than {MAX_LINE_BYTES - 1} bytes")
    return encode_varint(len(body)) + body


async def _read_line(stream: _Bytes) -> str:
    length = 0
    for shift in (0, 7):
        byte = (await _read_exactly(stream, 1))[0]
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    else:
        raise NegotiationFailed(f"a line longer than the limit of {MAX_LINE_BYTES} bytes")
    if not 1 <= length <= MAX_LINE_BYTES:
        raise NegotiationFailed(f"a line of {length} bytes; 1 to {MAX_LINE_BYTES} are allowed")
    body = await _read_exactly(stream, length)
    if not body.endswith(b"\n"):
        raise NegotiationFailed("a line without its end")
    try:
        return body[:-1].decode()
    except UnicodeDecodeError:
        raise NegotiationFailed("a line that is not UTF-8") from None


async def _read_exactly(stream: _Bytes, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.read(count - len(data))
        if not more:
            raise NegotiationFailed("the stream ended during the negotiation")
        data += more
    return data


def encode_varint(number: int) -> bytes:
    """An unsigned LEB128 varint, as multiformats and protobuf use it."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
