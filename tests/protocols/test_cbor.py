"""CBOR: one value, one encoding, whatever the bytes."""

from __future__ import annotations

import random
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import cbor

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(cbor.INT64_MIN, cbor.INT64_MAX)
    | st.binary(max_size=40)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.integers(0, cbor.INT64_MAX), inner, max_size=4),
    max_leaves=12,
)


def accepted(data: bytes) -> bool:
    """Whether `data` decodes; if so it must be the encoding of what it decodes to."""
    try:
        value = cbor.decode(data)
    except cbor.CborError:
        return False
    assert cbor.encode(value) == data
    return True


@given(values)
def test_what_is_encoded_decodes_to_itself(value: Any) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@given(values)
def test_an_independent_library_reads_the_same_value(value: Any) -> None:
    assert cbor2.loads(cbor.encode(value)) == value


@given(values)
def test_the_order_of_a_maps_keys_changes_nothing(value: Any) -> None:
    assert cbor.encode(value) == cbor.encode(turned(value)) == cbor2.dumps(value, canonical=True)


def turned(value: Any) -> Any:
    """The same value, its maps built from their last key on."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


def test_a_map_whose_keys_descend_is_refused() -> None:
    with pytest.raises(cbor.CborError, match="not the deterministic encoding"):
        cbor.decode(bytes.fromhex("a2 02 00 01 00"))


def test_every_string_of_one_byte() -> None:
    found = [byte for byte in range(256) if accepted(bytes([byte]))]
    # 0..23, -1..-24, empty bytes, text, array and map, false, true, null.
    assert found == [*range(24), *range(0x20, 0x38), 0x40, 0x60, 0x80, 0xA0, 0xF4, 0xF5, 0xF6]


def test_every_string_of_two_bytes() -> None:
    found = sum(accepted(bytes([first, second])) for first in range(256) for second in range(256))
    singles = 24 + 24 + 4 + 3
    # Two-byte integers, one byte of bytes, one ASCII letter, an array of one. A map needs three.
    assert found == 2 * (256 - 24) + 256 + 128 + singles


def test_a_sample_of_strings_of_three_bytes() -> None:
    rng = random.Random(3)
    assert sum(accepted(rng.randbytes(3)) for _ in range(100_000)) > 1000


@given(st.binary(max_size=60))
def test_random_bytes_are_refused_or_canonical(data: bytes) -> None:
    accepted(data)


@given(values, st.data())
def test_a_changed_byte_is_refused_or_another_value(value: Any, data: st.DataObject) -> None:
    encoded = bytearray(cbor.encode(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    if accepted(bytes(encoded)):
        # The type is compared as well: to Python 1 == True.
        other = cbor.decode(bytes(encoded))
        assert repr(other) != repr(value)


@given(values, st.integers(0, 40))
def test_a_cut_or_lengthened_string_is_refused(value: Any, cut: int) -> None:
    encoded = cbor.encode(value)
    assert not accepted(encoded[: -1 - cut % len(encoded)])
    assert not accepted(encoded + b"\x00")


def test_every_tag_is_refused_whatever_it_holds() -> None:
    insides = [
        bytes.fromhex(inside) for inside in ("00", "40", "60", "80", "a0", "f6", "4161", "6161", "820000", "820001")
    ]
    for tag in (*range(300), 1004, 43000, 55799, 65535, 2**32, 2**64 - 1):
        head = cbor2.dumps(cbor2.CBORTag(tag, None))[:-1]
        for inside in insides:
            assert not accepted(head + inside), f"tag {tag} around {inside.hex()}"
            assert not accepted(b"\x81" + head + inside), f"tag {tag} around {inside.hex()} in an array"


@pytest.mark.parametrize("head", ["5b", "7b", "9b", "bb"])
@pytest.mark.parametrize("length", ["0000000100000000", "7fffffffffffffff", "ffffffffffffffff"])
def test_an_announced_length_costs_nothing(head: str, length: str) -> None:
    assert not accepted(bytes.fromhex(head + length))


def test_nesting_ends_at_its_limit_on_both_sides() -> None:
    value: Any = []
    for _ in range(cbor.MAX_DEPTH - 1):
        value = [value]
    assert cbor.decode(cbor.encode(value)) == value
    with pytest.raises(cbor.CborError, match="nested deeper than 12"):
        cbor.encode([value])
    for nest in (b"\x81" * 13 + b"\x00", b"\xa1\x00" * 13 + b"\x00", b"\x81" * 100_000, b"\xc1" * 100_000):
        assert not accepted(nest)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2**63, "64 bits"),
        (-(2**63) - 1, "64 bits"),
        (1.0, "found a float"),
        ("\ud800", "lone surrogate"),
        ({"a": 1}, "map key 'a'"),
        ({-1: 1}, "map key -1"),
        ({True: 1}, "map key True"),
        ({2**63: 1}, "map key 9223372036854775808"),
        ({2**64: 1}, "map key 18446744073709551616"),
        ({1, 2}, "found a set"),
        (bytearray(b"x"), "found a bytearray"),
        (cbor2.CBORTag(1, 1), "found a CBORTag"),
        (cbor2.undefined, "no such type"),
    ],
)
def test_what_the_format_does_not_have_is_not_encoded(value: Any, message: str) -> None:
    with pytest.raises(cbor.CborError, match=message):
        cbor.encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"\xa1\x79\xff\xff" + b"k" * 65535 + b"\x00",
        b"\xa2" + 2 * (b"\x79\xff\xff" + b"k" * 65535 + b"\x00"),
        b"\x79\xff\xff" + b"\xff" * 65535,
    ],
)
def test_an_error_repeats_little_of_hostile_bytes(data: bytes) -> None:
    with pytest.raises(cbor.CborError) as caught:
        cbor.decode(data)
    assert len(str(caught.value)) < 300
