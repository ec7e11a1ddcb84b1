"""Encoding: arrays, whole numbers and texts in deterministic CBOR, and nothing else of CBOR.

A tree needs no maps, tags, floats or negative numbers, and its decoder reads
what a stranger sent; a decoder that knows only major types 0, 3 and 4 in their
shortest form has nothing else to refuse. One value has one encoding.

Source: RFC 8949 section 3 (major types) and 4.2.1 (deterministic encoding).
"""

from __future__ import annotations

from typing import Any

#: A binding of 32 KiB of text encodes to less: its words become ids.
MAX_BYTES = 64 * 1024
#: binding > blocks > block > actions > action > slots > list of shares > share
MAX_DEPTH = 8
#: No value of a binding comes near it, and every language has an integer that holds it.
_MAX_INT = (1 << 63) - 1

_UINT, _TEXT, _ARRAY = 0, 3, 4


class EncodingError(ValueError):
    """Bytes that are not the deterministic encoding of a tree, with the offset of the first wrong one."""


def dumps(value: Any) -> bytes:
    """Encode nested tuples of non-negative ints and strs.

    Raises:
        EncodingError: a number that `loads` would refuse.
    """
    out = bytearray()
    _write(value, out)
    return bytes(out)


def loads(data: bytes) -> Any:
    """Decode to nested tuples; the inverse of `dumps`, on exactly what it can produce.

    Raises:
        EncodingError: anything else, including a longer spelling of the same value.
    """
    if len(data) > MAX_BYTES:
        raise EncodingError(f"{len(data)} bytes, a binding has at most {MAX_BYTES}")
    value, end = _read(data, 0, MAX_DEPTH)
    if end != len(data):
        raise EncodingError(f"byte {end}: {len(data) - end} bytes after the end of the binding")
    return value


def _write(value: Any, out: bytearray) -> None:
    if isinstance(value, tuple):
        _write_head(_ARRAY, len(value), out)
        for item in value:
            _write(item, out)
    elif isinstance(value, str):
        text = value.encode()
        _write_head(_TEXT, len(text), out)
        out += text
    else:
        _write_head(_UINT, value, out)


def _write_head(major: int, argument: int, out: bytearray) -> None:
    if not 0 <= argument <= _MAX_INT:
        raise EncodingError(f"found the number {argument}, expected 0 to {_MAX_INT}")
    if argument < 24:
        out.append(major << 5 | argument)
        return
    power = next(power for power in range(4) if argument < 1 << (8 << power))
    out.append(major << 5 | 24 + power)
    out += argument.to_bytes(1 << power, "big")


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    major, argument, start = _read_head(data, at)
    if major == _UINT:
        return argument, start
    # Every item takes a byte at least, so no announced length can ask for more memory than was sent.
    if argument > len(data) - start:
        raise EncodingError(f"byte {at}: {argument} items announced, {len(data) - start} bytes follow")
    if major == _TEXT:
        end = start + argument
        try:
            return data[start:end].decode(), end
        except UnicodeDecodeError as error:
            raise EncodingError(f"byte {start + error.start}: text that is not UTF-8") from error
    if depth == 0:
        raise EncodingError(f"byte {at}: arrays nest deeper than {MAX_DEPTH}")
    items = []
    for _ in range(argument):
        item, start = _read(data, start, depth - 1)
        items.append(item)
    return tuple(items), start


def _read_head(data: bytes, at: int) -> tuple[int, int, int]:
    if at >= len(data):
        raise EncodingError(f"byte {at}: the binding ends in the middle")
    major, low = data[at] >> 5, data[at] & 31
    if major not in (_UINT, _TEXT, _ARRAY) or low > 27:
        raise EncodingError(f"byte {at}: {data[at]:#04x}, expected a whole number, a text or an array")
    if low < 24:
        return major, low, at + 1
    end = at + 1 + (1 << low - 24)
    if end > len(data):
        raise EncodingError(f"byte {at}: the binding ends in the middle")
    argument = int.from_bytes(data[at + 1 : end], "big")
    if argument < (24 if low == 24 else 1 << (4 << low - 24)):
        raise EncodingError(f"byte {at}: {argument} is not in its shortest form")
    if argument > _MAX_INT:
        raise EncodingError(f"byte {at}: {argument} does not fit a signed 64-bit integer")
    return major, argument, end
