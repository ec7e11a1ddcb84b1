"""DSMR P1: the telegrams of Dutch-style smart meters, DSMR 2.2 to 5 and its national variants.

A telegram is `/identification`, an empty line, data sets, `!` and, from
version 4 on, a CRC-16/ARC over everything from `/` to `!` inclusive. eMUCs
(Belgium), E.ON (Hungary), ESB (Ireland), SMARTY without encryption and plain
IEC 62056-21 mode D push share the form. Decryption is not done here.

Source: DSMR P1 companion standard 2.2, 3.0, 4.2.2, 5.0.2; e-MUCS P1 1.7.1.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from drivers.codecs.crc import crc16_arc
from drivers.codecs.obis import DataSet, Obis, parse_line, parse_number
from drivers.codecs.p1_time import CENTRAL_EUROPE_S, utc_seconds
from drivers.codecs.telegram import Counters, SubMeter, Telegram, Value

# The largest telegram captured has 1423 bytes; one with two text messages of
# 2048 hexadecimal characters each stays below 8 KiB.
MAX_TELEGRAM: Final = 8192
# Input is taken in pieces of this size, so that one huge feed() needs no huge buffer.
_PIECE: Final = 4096


class DsmrCodec:
    """Cuts P1 telegrams out of a byte stream; see `drivers.codecs.telegram.Codec`.

    A telegram starts at the last identification line before its "!", so that
    junk, a half telegram or a stray "/" before it does no harm. One without
    checksum is accepted only from meters that never send one, and only if
    every line of it is understood.

    Args:
        standard_offset_s: winter time of the place, seconds east of UTC.
    """

    name = "dsmr"

    def __init__(self, standard_offset_s: int = CENTRAL_EUROPE_S) -> None:
        self.counters = Counters()
        self._standard_offset_s = standard_offset_s
        self._buffer = bytearray()
        self._searched = 0  # no "!" before this offset of the buffer
        self._sealing: bytes = b""  # the last identification that came with a right checksum

    def feed(self, data: bytes) -> list[Telegram]:
        """Telegrams that `data` completes, in order."""
        telegrams: list[Telegram] = []
        for start in range(0, len(data), _PIECE):
            self._buffer += data[start : start + _PIECE]
            while (end := self._next_end()) is not None:
                telegram = self._cut(end)
                if telegram is not None:
                    self.counters.telegrams += 1
                    telegrams.append(telegram)
            self._trim()
        return telegrams

    def _next_end(self) -> re.Match[bytes] | None:
        """The next `!` with its checksum, once it is certain where that ends."""
        at = self._buffer.find(b"!", self._searched)
        self._searched = len(self._buffer) if at < 0 else at
        return None if at < 0 else _END.match(self._buffer, at)

    def _cut(self, end: re.Match[bytes]) -> Telegram | None:
        """Take everything up to `end` off the buffer; the telegram in it, if there is a good one."""
        stop, checksum = end.start(), end["checksum"]
        start, header = stop + 1, None
        while header is None and (start := self._buffer.rfind(b"/", 0, start)) >= 0:
            header = _HEADER.match(self._buffer, start, stop)
        raw = bytes(self._buffer[start : stop + 1]) if header else b""
        identification, body = (bytes(header["id"]), header.end() - start) if header else (b"", 0)
        self.counters.junk_bytes += start if header else end.end()
        del self._buffer[: end.end()]
        self._searched = 0
        if raw and checksum is None:
            self.counters.malformed += 1
            return None
        return self._telegram(identification, raw, body, checksum) if raw else None

    def _telegram(self, identification: bytes, raw: bytes, body: int, checksum: bytes) -> Telegram | None:
        if checksum and int(checksum, 16) != crc16_arc(raw):
            self.counters.bad_checksum += 1
            return None
        lines = _lines(raw[body:-1])
        data_sets = [data_set for line in lines if (data_set := parse_line(line)) is not None]
        if not checksum and self._ought_to_be_sealed(identification, data_sets):
            self.counters.bad_checksum += 1
            return None
        self.counters.frames += 1
        odd = len(lines) - len(data_sets)
        if odd or not data_sets:
            self.counters.malformed += 1
            if not checksum or not data_sets:
                return None
        if checksum:
            self._sealing = identification
        notes = (f"{odd} lines not understood",) if odd else ()
        return self._interpret(identification, data_sets, bool(checksum), notes)

    def _ought_to_be_sealed(self, identification: bytes, data_sets: list[DataSet]) -> bool:
        """Whether this meter sends checksums, so that a telegram without one is a damaged one."""
        return identification == self._sealing or any(
            data_set.code in _VERSION_CODES and data_set.items[0][:1] in _SEALED_VERSIONS for data_set in data_sets
        )

    def _interpret(
        self, identification: bytes, data_sets: list[DataSet], checked: bool, notes: tuple[str, ...]
    ) -> Telegram:
        values = tuple(self._value(data_set) for data_set in data_sets)
        by_code = {value.code: value for value in reversed(values)}  # the first of each name
        clock = by_code.get(_CLOCK)
        meter_id = next((by_code[code].items[0] for code in _METER_IDS if code in by_code), "")
        return Telegram(
            codec=self.name,
            device=identification.decode("ascii", "backslashreplace"),
            meter_id=meter_id,
            values=values,
            meter_time_s=clock.time_s if clock else None,
            checked=checked,
            sub_meters=self._sub_meters(by_code),
            notes=notes,
        )

    def _value(self, data_set: DataSet) -> Value:
        items = data_set.items
        if len(items) == 1 and data_set.code != _CLOCK:
            return Value(data_set.code, parse_number(items[0]), items)
        time_s = utc_seconds(items[0], self._standard_offset_s)
        if data_set.code.cde == _HOURLY_V3 and len(items) == 7:
            # (time)(status)(period)(values)(name)(unit)(value): DSMR 2.2 and 3.0.
            number = parse_number(f"{items[6]}*{items[5]}")
        elif len(items) == 2 and time_s is not None:
            number = parse_number(items[1])
        else:
            number = None
        return Value(data_set.code, number, items, time_s)

    def _sub_meters(self, by_code: dict[Obis, Value]) -> tuple[SubMeter, ...]:
        """The M-Bus devices, from the lines `0-n:24...` and `0-n:96.1...` of each channel."""
        channels: dict[int, SubMeter] = {}
        for value in sorted(by_code.values(), key=lambda value: value.code.b):
            code = value.code
            if code.a != 0 or not 1 <= code.b <= _MAX_CHANNEL or code.cde not in _SUB_METER_LINES:
                continue
            known = channels.get(code.b, SubMeter(code.b))
            match _SUB_METER_LINES[code.cde]:
                case "medium" if value.number is not None:
                    known = msgspec.structs.replace(known, medium=value.number.scaled(0))
                case "identifier":
                    known = msgspec.structs.replace(known, identifier=value.items[0])
                case "register":
                    known = msgspec.structs.replace(known, number=value.number, time_s=value.time_s)
            channels[code.b] = known
        return tuple(channels.values())

    def _trim(self) -> None:
        """Drop what can no longer become a telegram."""
        if len(self._buffer) > MAX_TELEGRAM:
            self.counters.overlong += 1
            self._drop(max(0, self._buffer.rfind(b"/", 1)) or len(self._buffer))
        elif (slash := self._buffer.find(b"/")) != 0:
            self._drop(len(self._buffer) if slash < 0 else slash)

    def _drop(self, length: int) -> None:
        del self._buffer[:length]
        self.counters.junk_bytes += length
        self._searched = max(0, self._searched - length)


def _lines(body: bytes) -> list[bytes]:
    """Lines without their ends and without empty ones; a line that starts with "(" continues the last."""
    lines: list[bytes] = []
    for line in body.splitlines():
        if line.startswith(b"(") and lines:
            lines[-1] += line
        elif line:
            lines.append(line)
    return lines


# Three letters of the manufacturer, then whatever it likes on the line, then an
# empty line. One real meter has a control character here.
_HEADER: Final = re.compile(rb"/(?P<id>[A-Za-z]{3}[^\r\n/!\x80-\xff]{1,61})\r?\n\r?\n")
# Four digits end the telegram at once; fewer (none before version 4, and some
# meters do not pad) only with the line; anything else after "!" is damage.
_END: Final = re.compile(
    rb"!(?:(?P<checksum>[0-9A-Fa-f]{4}|[0-9A-Fa-f]{0,3}(?=[\r\n]))|[0-9A-Fa-f]{0,3}(?=[^0-9A-Fa-f\r\n]))"
)

_CLOCK: Final = Obis(0, 0, 1, 0, 0)
# Version lines of DSMR and e-MUCS, and the first digits of versions that have a checksum.
_VERSION_CODES: Final = (Obis(1, 3, 0, 2, 8), Obis(0, 0, 96, 1, 4))
_SEALED_VERSIONS: Final = ("4", "5")
# Where meters put their number: DSMR, Hungary and Ireland, logical device name, mode D.
_METER_IDS: Final = (Obis(0, 0, 96, 1, 1), Obis(0, 0, 96, 1, 0), Obis(0, 0, 42, 0, 0), Obis(1, 0, 0, 0, 0))
_HOURLY_V3: Final = (24, 3, 0)
_MAX_CHANNEL: Final = 4  # DSMR has M-Bus channels 1 to 4
_SUB_METER_LINES: Final = {
    (24, 1, 0): "medium",
    (96, 1, 0): "identifier",
    (96, 1, 1): "identifier",
    (96, 1, 2): "identifier",
    (24, 2, 1): "register",
    (24, 2, 3): "register",  # e-MUCS: gas not corrected for temperature
    _HOURLY_V3: "register",
}
