"""CBOR: the one byte encoding of every value that is signed, hashed or sent.

Deterministic encoding after RFC 8949 section 4.2.1, cut down to what the
records need: integers in int64, byte strings, text, arrays, maps with unsigned
integer keys, booleans and null. There are no floats and no tags; the one tag
of the wire format (18, COSE_Sign1) is written and read by `protocols.cose`.

A decoder that accepts two spellings of one value would let a relay change the
bytes under a hash, so decoding is strict: a value is accepted only if encoding
it again gives the very same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

import cbor2

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

# A block is the deepest thing we send: body, list, envelope, and inside a record a
# map, a list, a map, a union. Twelve leaves room; a hostile nest ends there.
MAX_DEPTH = 12

# What an error repeats of hostile bytes: enough to recognise them, too little to fill a log.
MAX_ERROR_TEXT = 120

Value: TypeAlias = "int | bytes | str | bool | Sequence[Value] | dict[int, Value] | None"

# cbor2 decodes these tags by itself (dates, big numbers, regular expressions,
# shared references ...). Each is taken over by a decoder that refuses it.
_KNOWN_TAGS = (
    *(0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54),
    *(100, 256, 258, 260, 261, 1004, 43000, 55799),
)


class CborError(ValueError):
    """Bytes that are not the deterministic encoding of one value (RFC 8949, 4.2.1)."""


def _refuse_tag(_decoder: Any) -> NoReturn:
    raise CborError("found a CBOR tag; only plain values are allowed here")


_SEMANTIC_DECODERS = dict.fromkeys(_KNOWN_TAGS, _refuse_tag)


def encode(value: Value) -> bytes:
    """The deterministic encoding of `value`.

    Raises:
        CborError: a type or an integer that the format does not have. This is
            the caller's mistake, never a peer's.
    """
    ascends = _check(value, MAX_DEPTH)
    try:
        # The maps of records ascend as they are made; to sort them again takes longer than to encode them.
        return cbor2.dumps(value, canonical=not ascends)
    except UnicodeEncodeError as error:
        raise CborError("found text with a lone surrogate; text is UTF-8") from error


def decode(data: bytes) -> Any:
    """The value whose deterministic encoding is exactly `data`.

    Raises:
        CborError: not CBOR, trailing bytes, indefinite lengths, duplicate or
            unsorted keys, integers longer than needed or outside int64, floats,
            tags, nesting deeper than `MAX_DEPTH`. The text never repeats more than
            `MAX_ERROR_TEXT` characters of what was found.
    """
    try:
        value = cbor2.loads(
            data,
            semantic_decoders=_SEMANTIC_DECODERS,
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
    except CborError:
        raise
    except Exception as error:
        # cbor2 wraps most but not all of what bad bytes can cause (a map as a map
        # key is a TypeError); whatever it is, the bytes are at fault.
        raise CborError(f"not CBOR: {str(error)[:MAX_ERROR_TEXT]}") from error
    if not _check(value, MAX_DEPTH) or cbor2.dumps(value) != data:
        raise CborError("not the deterministic encoding: a length, an order or a trailing byte differs")
    return value


def _check(value: object, depth: int) -> bool:
    """Whether the keys of every map ascend, as they do in the deterministic encoding. Raises CborError."""
    kind = type(value)
    ascends = True
    if kind is int:
        if not INT64_MIN <= value <= INT64_MAX:  # type: ignore[operator]
            raise CborError(f"found an integer of {value.bit_length()} bits; 64 bits with sign is the limit")  # type: ignore[attr-defined]
    elif kind is bytes or kind is str or kind is bool or value is None:
        pass
    elif kind is list or kind is tuple:
        if depth == 0:
            raise CborError(f"nested deeper than {MAX_DEPTH}")
        for item in value:  # type: ignore[attr-defined]
            # Most items are of these; a call for each would double the time that encoding takes.
            inner = type(item)
            if inner is not bytes and inner is not str and not (inner is int and INT64_MIN <= item <= INT64_MAX):
                ascends &= _check(item, depth - 1)
    elif kind is dict:
        if depth == 0:
            raise CborError(f"nested deeper than {MAX_DEPTH}")
        before = -1
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not int or not 0 <= key <= INT64_MAX:
                found = repr(key)[:MAX_ERROR_TEXT]
                raise CborError(f"found the map key {found}; only unsigned integers below 2^63 are keys")
            ascends &= before < key
            before = key
            inner = type(item)
            if inner is not bytes and inner is not str and not (inner is int and INT64_MIN <= item <= INT64_MAX):
                ascends &= _check(item, depth - 1)
    else:
        raise CborError(f"found a {kind.__name__}; the format has no such type")
    return ascends
