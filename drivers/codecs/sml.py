"""SML: the telegrams that German meters push on their optical port.

The transport frames an SML file with escape sequences, padding and a CRC; the
file is a row of messages, of which only GetList.Res carries values. Encryption
and requests to the meter are not done here.

Source: SML 1.04 (BSI TR-03109-1, annex IV b), messages and transport protocol
version 1; status words: FNN Lastenheft EDL 1.0 and FNN Lastenheft Basiszähler.
"""

from __future__ import annotations

from typing import Final

import msgspec

from drivers.codecs.crc import crc16_kermit, crc16_x25
from drivers.codecs.obis import Number, Obis
from drivers.codecs.sml_tlv import END_OF_MESSAGE, Element, Integer, TlvError, parse_element
from drivers.codecs.telegram import Counters, Telegram, Value

# The largest push telegram captured has 528 bytes; 8 KiB leaves room for
# meters that add load profiles.
MAX_FRAME: Final = 8192
# Input is taken in pieces of this size, so that one huge feed() needs no huge buffer.
_PIECE: Final = 4096
# Powers of ten beyond these are a broken meter, and would make huge integers.
MAX_SCALER: Final = 18

ESCAPE: Final = b"\x1b" * 4
VERSION_1: Final = b"\x01" * 4
START: Final = ESCAPE + VERSION_1
END_MARK: Final = 0x1A


class SmlCodec:
    """Cuts SML files out of a byte stream; see `drivers.codecs.telegram.Codec`.

    A start sequence inside a frame that never ended begins a new frame, so
    that lost bytes cost one telegram and no more.
    """

    name = "sml"

    def __init__(self) -> None:
        self.counters = Counters()
        self._buffer = bytearray()
        self._framed = False  # the buffer begins with a start sequence
        self._searched = 0  # no escape sequence before this offset of the buffer

    def feed(self, data: bytes) -> list[Telegram]:
        """Telegrams that `data` completes, in order."""
        telegrams: list[Telegram] = []
        for start in range(0, len(data), _PIECE):
            self._buffer += data[start : start + _PIECE]
            while self._advance(telegrams):
                pass
        return telegrams

    def bare_file(self, data: bytes) -> list[Telegram]:
        """Telegrams of a whole SML file that has lost its transport frame.

        Such captures are common in bug reports, often with the meter's number
        blanked; a message whose own CRC is wrong then comes out as not checked.
        """
        return self._file(data, framed=False)

    def _advance(self, telegrams: list[Telegram]) -> bool:
        """One step: find a start, skip an escaped escape, or end a frame. False: more bytes are needed."""
        if not self._framed:
            return self._find_start()
        at = self._buffer.find(ESCAPE, self._searched)
        if at < 0 or at + 2 * len(ESCAPE) > len(self._buffer):
            if len(self._buffer) > MAX_FRAME:
                self.counters.overlong += 1
                self._drop(len(ESCAPE), framed=False)
                return True
            self._searched = at if at >= 0 else max(len(START), len(self._buffer) - len(ESCAPE) + 1)
            return False
        after = self._buffer[at + 4 : at + 8]
        if after == ESCAPE:
            self._searched = at + 8
        elif after == VERSION_1:
            self._drop(at, framed=True)
        elif after[0] == END_MARK:
            telegrams += self._frame(bytes(self._buffer[: at + 8]))
            del self._buffer[: at + 8]
            self._framed = False
        else:
            # Five 1B in a row: the first may be data. Anything else fails the checksum.
            self._searched = at + 1
        return True

    def _find_start(self) -> bool:
        at = self._buffer.find(START)
        if at >= 0:
            self._drop(at, framed=True)
            return True
        keep = next((n for n in range(len(START) - 1, 0, -1) if self._buffer.endswith(START[:n])), 0)
        self._drop(len(self._buffer) - keep, framed=False)
        return False

    def _drop(self, length: int, *, framed: bool) -> None:
        del self._buffer[:length]
        self.counters.junk_bytes += length
        self._framed = framed
        self._searched = len(START)

    def _frame(self, frame: bytes) -> list[Telegram]:
        if not _is_sealed(frame):
            # Noise that ends in an escape sequence makes a true start look escaped.
            start = frame.rfind(START)
            if start <= 0 or not _is_sealed(frame[start:]):
                self.counters.bad_checksum += 1
                return []
            self.counters.junk_bytes += start
            frame = frame[start:]
        self.counters.frames += 1
        fill = frame[-3]
        payload = frame[len(START) : -8].replace(ESCAPE + ESCAPE, ESCAPE)
        if fill > min(_MAX_FILL, len(payload)):
            self.counters.malformed += 1
            return []
        telegrams = self._file(payload[: len(payload) - fill], framed=True)
        self.counters.telegrams += len(telegrams)
        return telegrams

    def _file(self, data: bytes, *, framed: bool) -> list[Telegram]:
        """The telegrams of an SML file; a file that breaks off in mid-air gives none."""
        telegrams, broken, at = [], False, 0
        try:
            while at < len(data):
                if data[at] == END_OF_MESSAGE:  # fill bytes that the frame did not announce
                    at += 1
                    continue
                body, sealed, at = _message(data, at)
                if (values := _get_list(body)) is not None:
                    telegram, whole = _interpret(self.name, *values)
                    telegrams.append(msgspec.structs.replace(telegram, checked=framed or sealed))
                    broken |= not whole
        except TlvError:
            telegrams, broken = [], True
        self.counters.malformed += broken
        return telegrams


def _is_sealed(frame: bytes) -> bool:
    return int.from_bytes(frame[-2:], "little") in _checksums(frame[:-2])


def _checksums(data: bytes) -> tuple[int, int]:
    """Both checksums in use: X.25, and Kermit by the Holley DTZ541."""
    return crc16_x25(data), crc16_kermit(data)


def _message(data: bytes, at: int) -> tuple[Element, bool, int]:
    """The message at `at`: body (tag and contents), whether its own CRC is right, offset behind it."""
    if data[at] != _LIST_OF_6:
        raise TlvError(f"no message at {at}")
    elements, position, body_end = [], at + 1, at
    for index in range(5):
        element, position = parse_element(data, position, 1)
        elements.append(element)
        if index == 3:
            body_end = position
    body, checksum = elements[3], elements[4]
    if not isinstance(checksum, Integer) or data[position : position + 1] != bytes([END_OF_MESSAGE]):
        raise TlvError(f"message at {at} does not end in a checksum")
    sealed = checksum.value in (_swapped(value) for value in _checksums(data[at:body_end]))
    return body, sealed, position + 1


def _swapped(value: int) -> int:
    """A message's CRC is a number whose high byte is the first that X.25 would send."""
    return (value & 0xFF) << 8 | value >> 8


def _get_list(body: Element) -> tuple[Element, Element, tuple[Element, ...]] | None:
    """Server id, sensor time and entries of a GetList.Res body; None for other messages."""
    match body:
        case (Integer(value=tag), _) if tag != _GET_LIST_RESPONSE:
            return None
        case (Integer(), (_, server_id, _, sensor_time, tuple() as entries, _, _)):
            return server_id, sensor_time, entries
        case _:
            raise TlvError("message body is no GetList.Res")


def _interpret(
    codec: str, server_id: Element, sensor_time: Element, entries: tuple[Element, ...]
) -> tuple[Telegram, bool]:
    """The telegram of one GetList.Res, and whether all its entries follow the standard."""
    parsed = [entry for raw in entries if (entry := _entry(raw)) is not None]
    exporting = next((_exporting(entry.status) for entry in parsed if _is_directed(entry)), None)
    notes = []
    if len(parsed) < len(entries):
        notes.append(f"{len(entries) - len(parsed)} entries without a valid value")
    if isinstance(server_id, bytes) and b"DZG" in server_id:
        repaired = [_repair_dzg(entry, exporting) for entry in parsed]
        if repaired != parsed:
            notes.append("unsigned power sent as a signed number, corrected by the status word")
        parsed = repaired
    values = tuple(_value(entry) for entry in parsed)
    times = (_utc_seconds(time) for time in (sensor_time, *(entry.time for entry in parsed)))
    telegram = Telegram(
        codec=codec,
        device=next((v.items[0] for v in values if v.code in _MAKER and v.items), ""),
        meter_id=_meter_id(server_id),
        values=values,
        meter_time_s=next((time for time in times if time is not None), None),
        exporting=exporting,
        notes=tuple(notes),
    )
    return telegram, len(parsed) == len(entries)


class _Entry(msgspec.Struct, frozen=True):
    """One entry of a value list, as sent."""

    code: Obis
    status: int | None
    time: Element
    unit: int | None
    scaler: int
    value: Integer | bytes | bool


def _entry(raw: Element) -> _Entry | None:
    """The entry, or None if it breaks the standard (a value is not optional in it)."""
    match raw:
        case (bytes() as name, status, time, unit, scaler, raw_value, _) if len(name) == 6:
            power = scaler.value if isinstance(scaler, Integer) else 0
            value = _plain(raw_value)
            if value is None or abs(power) > MAX_SCALER:
                return None
            return _Entry(
                code=Obis(*name),
                status=status.value if isinstance(status, Integer) else None,
                time=time,
                unit=unit.value if isinstance(unit, Integer) else None,
                scaler=power,
                value=value,
            )
        case _:
            return None


def _plain(value: Element) -> Integer | bytes | bool | None:
    """A value as a number or octets; the one structured value of SML 1.04, a time, as its number."""
    match value:
        case (Integer(value=1), (Integer(value=1 | 2), Integer() as seconds)):
            return seconds
        case Integer() | bytes() | bool():
            return value
        case _:
            return None


def _value(entry: _Entry) -> Value:
    unit = _UNITS.get(entry.unit, "") if entry.unit is not None else ""
    time_s = _utc_seconds(entry.time)
    match entry.value:
        case Integer(value=digits):
            return Value(entry.code, Number(digits, entry.scaler, unit), (), time_s)
        case bytes() as octets:
            return Value(entry.code, None, (_text(octets),), time_s)
        case flag:
            return Value(entry.code, None, (str(flag).lower(),), time_s)


def _text(octets: bytes) -> str:
    """Printable ASCII as it is, anything else in hexadecimal."""
    return octets.decode("ascii") if all(0x20 <= byte < 0x7F for byte in octets) else octets.hex()


def _utc_seconds(time: Element) -> int | None:
    """UTC seconds of an SML_Time; None for a seconds index, which counts operation, not the calendar."""
    match time:
        case (Integer(value=2), Integer(value=seconds)):
            pass
        case (Integer(value=3), (Integer(value=seconds), _, _)):
            pass
        case _:
            return None
    return seconds if 0 <= seconds <= _MAX_TIMESTAMP else None


def _is_directed(entry: _Entry) -> bool:
    """Whether the entry is an active energy register with a status word, which tells the direction."""
    return entry.status is not None and entry.code.c in (1, 2) and entry.code.d == 8


def _exporting(status: int | None) -> bool | None:
    """Direction of the total power by a status word: bit 11 in a Basiszähler's, bit 5 in an eHZ's."""
    if status is None:
        return None
    return bool(status & (0x800 if status & 0xFF == _BASE_METER_STATUS else 0x20))


def _repair_dzg(entry: _Entry, exporting: bool | None) -> _Entry:
    """Undo a firmware fault of DZG meters: power of 327.68 to 655.35 W marked as signed.

    356.24 W arrives as the Integer16 -299.12 W. Newer firmware sends real
    negative numbers in the same form; the direction in the status word tells
    them apart.
    """
    value = entry.value
    if (
        isinstance(value, Integer)
        and (value.size, value.signed) == (2, True)
        and value.value < 0
        and entry.unit == _WATT
        and exporting is False
    ):
        return msgspec.structs.replace(entry, value=Integer(value.value + 0x10000, 2, False))
    return entry


def _meter_id(server_id: Element) -> str:
    """The server id as printed on the meter (DIN 43863-5, "1EMH0012345678"), else in hexadecimal."""
    if not isinstance(server_id, bytes):
        return ""
    if len(server_id) == 10 and server_id[0] == 0x0A and server_id[2:5].isalpha():
        maker = server_id[2:5].decode("ascii")
        return f"{server_id[1]:X}{maker}{server_id[5]:02X}{int.from_bytes(server_id[6:], 'big'):08d}"
    return server_id.hex()


_LIST_OF_6: Final = 0x76
_GET_LIST_RESPONSE: Final = 0x0701
_MAX_FILL: Final = 3  # frames are padded to a multiple of 4 bytes
_MAX_TIMESTAMP: Final = 2**32 - 1  # SML_Timestamp is an Unsigned32
_BASE_METER_STATUS: Final = 0x04  # low byte of the status word of a Basiszähler
# Manufacturer: of a Basiszähler, and of an eHZ.
_MAKER: Final = (Obis(1, 0, 96, 50, 1, 1), Obis(129, 129, 199, 130, 3, 255))
_WATT: Final = 27
# Unit codes of COSEM (IEC 62056-62, physical units).
_UNITS: Final = {
    8: "deg",
    _WATT: "W",
    28: "VA",
    29: "var",
    30: "Wh",
    31: "VAh",
    32: "varh",
    33: "A",
    35: "V",
    44: "Hz",
}
