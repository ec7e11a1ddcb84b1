"""No input makes a codec raise, forget its bounds, or depend on how the input is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import CODECS, codec, dsmr, sml
from drivers.codecs.crc import crc16_arc, crc16_x25
from drivers.codecs.obis import Number, parse_line, parse_number
from drivers.codecs.p1_time import utc_seconds
from drivers.codecs.sml import START
from drivers.codecs.sml_tlv import TlvError, parse_element
from drivers.codecs.telegram import measure
from tests.drivers.feeding import read
from tests.drivers.test_vectors import VECTORS, load

TELEGRAMS: dict[str, list[bytes]] = {
    name: [vector["bytes"] for vector in map(load, VECTORS) if vector["codec"] == name] for name in CODECS
}
# The largest message plus one piece of input.
BOUND = {"dsmr": dsmr.MAX_TELEGRAM + 4096, "sml": sml.MAX_FRAME + 4096}
MARKS = [
    b"/",
    b"!",
    b"\r\n",
    b"\r\n\r\n",
    b"/ABC5x\r\n\r\n",
    START,
    START[:4],
    START[:4] + b"\x1a\x00",
    b"\x1b",
]


@st.composite
def streams(draw: st.DrawFn, name: str) -> list[bytes]:
    """Pieces of noise, marks and telegrams, some of them damaged."""
    damaged = st.tuples(st.sampled_from(TELEGRAMS[name]), st.integers(0, 2000), st.integers(0, 255), st.booleans()).map(
        _damage
    )
    piece = st.one_of(st.binary(max_size=200), st.sampled_from(MARKS), st.sampled_from(TELEGRAMS[name]), damaged)
    return draw(st.lists(piece, max_size=12))


def _damage(choice: tuple[bytes, int, int, bool]) -> bytes:
    telegram, at, byte, cut = choice
    at %= len(telegram)
    return telegram[:at] if cut else telegram[:at] + bytes([byte]) + telegram[at + 1 :]


@pytest.mark.parametrize("name", CODECS)
@given(data=st.data())
def test_nothing_raises_memory_is_bounded_and_cuts_do_not_matter(name: str, data: Any) -> None:
    pieces = data.draw(streams(name))
    reader = codec(name)
    telegrams = []
    for piece in pieces:
        telegrams += reader.feed(piece)
        assert len(reader._buffer) <= BOUND[name]  # type: ignore[attr-defined]
    for telegram in telegrams:
        measure(telegram, "m", produced_channel=1)
    joined = b"".join(pieces)
    assert read(name, [joined]) == telegrams
    assert read(name, [joined[i : i + 1] for i in range(len(joined))]) == telegrams


@pytest.mark.parametrize("name", CODECS)
def test_an_endless_stream_of_anything_keeps_memory_bounded(name: str) -> None:
    reader = codec(name)
    for mark in (*MARKS, b"\0", b"A", b"(", START + b"\x76"):
        reader.feed(mark * (200_000 // len(mark)))
        assert len(reader._buffer) <= BOUND[name]  # type: ignore[attr-defined]


@given(contents=st.binary(max_size=300))
def test_any_contents_under_a_right_checksum_are_survived(contents: bytes) -> None:
    """The fuzzer cannot guess checksums, so it is given them."""
    fill = -len(contents) % 4
    escaped = (contents + bytes(fill)).replace(START[:4], START[:4] * 2)
    frame = START + escaped + START[:4] + bytes((0x1A, fill))
    reader = sml.SmlCodec()
    for telegram in reader.feed(frame + crc16_x25(frame).to_bytes(2, "little")):
        measure(telegram, "m")
    assert reader.counters.frames == 1
    reader.bare_file(contents)

    body = contents.translate(None, b"!/")
    telegram_bytes = b"/ABC5fuzz\r\n\r\n" + body + b"!"
    reader_p1 = dsmr.DsmrCodec()
    for telegram in reader_p1.feed(telegram_bytes + f"{crc16_arc(telegram_bytes):04X}\r\n".encode()):
        measure(telegram, "m")
    assert reader_p1.counters.frames == 1


@given(position=st.integers(0, 400), byte=st.integers(0, 255), which=st.integers(0, 100))
def test_a_changed_byte_inside_sml_contents_is_survived(position: int, byte: int, which: int) -> None:
    telegrams = TELEGRAMS["sml"]
    contents = bytearray(telegrams[which % len(telegrams)][8:-8])
    contents[position % len(contents)] = byte
    for telegram in sml.SmlCodec().bare_file(bytes(contents)):
        measure(telegram, "m")


@given(data=st.binary(max_size=64))
def test_an_element_is_parsed_or_refused_within_its_bytes(data: bytes) -> None:
    try:
        _, end = parse_element(data, 0)
    except TlvError:
        return
    assert 0 < end <= len(data)


def test_elements_nested_without_end_are_refused() -> None:
    with pytest.raises(TlvError, match="deeper"):
        parse_element(b"\x71" * 1000, 0)


@given(text=st.text(max_size=30), line=st.binary(max_size=60))
def test_lines_numbers_and_times_are_parsed_or_refused(text: str, line: bytes) -> None:
    parse_line(line)
    parse_line(b"1-0:1.8.0(" + line + b")")
    parse_number(text)
    utc_seconds(text)


@given(digits=st.integers(-(10**18), 10**18), exponent=st.integers(-9, 9))
def test_a_number_is_cut_towards_zero_and_printed_exactly(digits: int, exponent: int) -> None:
    number = Number(digits, exponent)
    assert abs(number.scaled(0)) * 10**9 <= abs(digits) * 10 ** (exponent + 9)
    assert number.scaled(9) == digits * 10 ** (exponent + 9)
    printed = parse_number(number.decimal())
    if printed is not None:  # not longer than the grammar allows
        assert printed.scaled(9) == number.scaled(9)
