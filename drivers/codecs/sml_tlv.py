"""SML elements: the type-length-value encoding inside an SML file.

A first byte holds type and length; lists nest. The parser checks every length
against the bytes that are there and every depth against a bound. What the
elements mean is `drivers.codecs.sml`'s business.

Source: SML 1.04 (BSI TR-03109-1, annex IV b), SML binary encoding.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

# A value's local time stamp, the deepest element of a message, is at level 6.
MAX_DEPTH: Final = 8
# Four length bytes announce 65536 entries, more than any frame holds.
MAX_LENGTH_BYTES: Final = 4
END_OF_MESSAGE: Final = 0x00


class TlvError(Exception):
    """The bytes are not a well-formed element; caught by the codec, never seen outside it."""


class Integer(msgspec.Struct, frozen=True):
    """An integer with the form in which it was sent: bytes of content, and whether signed."""

    value: int
    size: int
    signed: bool


# None is the empty octet string, which SML uses for "optional, not present".
Element: TypeAlias = "bytes | Integer | bool | tuple[Element, ...] | None"


def parse_element(data: bytes, at: int, depth: int = 0) -> tuple[Element, int]:
    """The element that begins at offset `at`, and the offset behind it.

    Raises:
        TlvError: it is cut off, too deep, or of a type or size that SML does not have.
    """
    if depth > MAX_DEPTH:
        raise TlvError(f"elements nested deeper than {MAX_DEPTH}")
    kind, length, content = _type_and_length(data, at)
    if kind == _LIST:
        elements = []
        for _ in range(length):
            element, content = parse_element(data, content, depth + 1)
            elements.append(element)
        return tuple(elements), content
    end = at + length  # the length of anything but a list counts its own bytes
    if not content <= end <= len(data):
        raise TlvError(f"element at {at} announces {length} bytes, {len(data) - at} are left")
    return _scalar(kind, data[content:end]), end


def _type_and_length(data: bytes, at: int) -> tuple[int, int, int]:
    """Type, announced length and the offset of the content of the element at `at`."""
    length = 0
    for position in range(at, at + MAX_LENGTH_BYTES):
        if position >= len(data):
            raise TlvError(f"element at {at} has no end")
        byte = data[position]
        length = length << 4 | byte & 0x0F
        if not byte & 0x80:
            return data[at] >> 4 & 7, length, position + 1
    raise TlvError(f"element at {at} has more than {MAX_LENGTH_BYTES} length bytes")


def _scalar(kind: int, content: bytes) -> Element:
    if kind == _OCTETS:
        return content or None
    if kind in (_SIGNED, _UNSIGNED) and 1 <= len(content) <= 8:
        signed = kind == _SIGNED
        return Integer(int.from_bytes(content, "big", signed=signed), len(content), signed)
    if kind == _BOOLEAN and len(content) == 1:
        return content != b"\0"
    raise TlvError(f"type {kind} with {len(content)} bytes of content")


_OCTETS: Final = 0
_BOOLEAN: Final = 4
_SIGNED: Final = 5
_UNSIGNED: Final = 6
_LIST: Final = 7
