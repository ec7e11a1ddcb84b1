"""No input makes a codec raise, forget its bounds, or depend on how the input is cut."""

from __future__ import annotations

import calendar
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import CODECS, codec, dsmr, sml
from drivers.codecs.crc import crc16_arc, crc16_x25
from drivers.codecs.obis import MAX_DIGITS, Number, parse_line, parse_number
from drivers.codecs.p1_time import utc_seconds
from drivers.codecs.sml import START
from drivers.codecs.sml_tlv import TlvError, parse_element
from drivers.codecs.telegram import MAX_INT64, Telegram, measure
from drivers.measurement import Measurement
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


def measured(telegram: Telegram, produced_channel: int | None = None) -> Measurement:
    """The measurement of a telegram, whose registers are counters of int64 whatever was sent."""
    found = measure(telegram, "m", produced_channel=produced_channel)
    for register in (found.import_wh, found.export_wh, found.produced_wh):
        assert register is None or 0 <= register <= MAX_INT64, f"a register of {register} Wh from {telegram}"
    return found


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
        measured(telegram, produced_channel=1)
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
        measured(telegram)
    assert reader.counters.frames == 1
    reader.bare_file(contents)

    body = contents.translate(None, b"!/")
    telegram_bytes = b"/ABC5fuzz\r\n\r\n" + body + b"!"
    reader_p1 = dsmr.DsmrCodec()
    for telegram in reader_p1.feed(telegram_bytes + f"{crc16_arc(telegram_bytes):04X}\r\n".encode()):
        measured(telegram)
    assert reader_p1.counters.frames == 1


@given(position=st.integers(0, 400), byte=st.integers(0, 255), which=st.integers(0, 100))
def test_a_changed_byte_inside_sml_contents_is_noticed(position: int, byte: int, which: int) -> None:
    telegrams = TELEGRAMS["sml"]
    contents = telegrams[which % len(telegrams)][8:-8]
    changed = bytearray(contents)
    changed[position % len(contents)] = byte
    honest = sml.SmlCodec().bare_file(contents)
    for telegram in sml.SmlCodec().bare_file(bytes(changed)):
        measured(telegram)
        # Each message has a checksum of its own: whatever else it says now is marked as not checked.
        assert not telegram.checked or telegram in honest


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


@given(text=st.binary(max_size=60))
def test_lines_are_parsed_or_refused(text: bytes) -> None:
    for line in (text, b"1-0:1.8.0(" + text + b")"):
        if (data_set := parse_line(line)) is not None:
            assert "".join(f"({item})" for item in data_set.items).encode() == line[line.index(b"(") :]


@given(text=st.one_of(st.text(max_size=30), st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{0,20})?(\*kWh)?", fullmatch=True)))
def test_numbers_are_parsed_or_refused(text: str) -> None:
    if (number := parse_number(text)) is not None:
        assert abs(number.digits) < 10**MAX_DIGITS
        # "-0" is 0, and leading zeros say nothing; the fraction keeps all its digits.
        printed, _, unit = text.partition("*")
        assert Decimal(number.decimal()) == Decimal(printed) and number.unit == unit


@given(stamp=st.one_of(st.text(max_size=13), st.from_regex(r"[0-9]{12}[SW]?", fullmatch=True)))
def test_times_are_parsed_or_refused(stamp: str) -> None:
    if (time_s := utc_seconds(stamp)) is not None:
        ahead_s = calendar.timegm(_calendar_of(stamp)) - time_s
        assert ahead_s in (3600, 7200), "Central European Time is one or two hours ahead of UTC"


def _calendar_of(stamp: str) -> tuple[int, ...]:
    year, *others = (int(stamp[i : i + 2]) for i in range(0, 12, 2))
    return (year + (1900 if year >= 70 else 2000), *others)


@given(digits=st.integers(-(10**18), 10**18), exponent=st.integers(-9, 9))
def test_a_number_is_cut_towards_zero_and_printed_exactly(digits: int, exponent: int) -> None:
    number = Number(digits, exponent)
    assert abs(number.scaled(0)) * 10**9 <= abs(digits) * 10 ** (exponent + 9)
    assert number.scaled(9) == digits * 10 ** (exponent + 9)
    printed = parse_number(number.decimal())
    if printed is not None:  # not longer than the grammar allows
        assert printed.scaled(9) == number.scaled(9)
