"""Emulated telegrams: what a real meter would send, written from a home's registers.

For demonstrations and tests: the bytes are real P1 (version 5) and real SML
(version 1), checksums included, and name an emulated meter as their sender.
A generation meter speaks through the grid meter, and stands at 0 in a home
without panels: on P1 it is the M-Bus electricity meter of channel
`PRODUCED_CHANNEL`, in SML the export register of that OBIS channel. Pure: registers in, bytes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from drivers.codecs.crc import crc16_arc, crc16_x25
from drivers.codecs.p1_time import CENTRAL_EUROPE_S, utc_seconds
from drivers.codecs.sml import END_MARK, ESCAPE, START
from drivers.home import Registers

Kind = Literal["dsmr", "sml"]

PRODUCED_CHANNEL: Final = 1
# P1 counts to 999999.999 kWh and begins again at 0.
P1_REGISTER_WH: Final = 10**9


def p1_telegram(registers: Registers, number: int = 1) -> bytes:
    """A DSMR 5 telegram of the emulated meter `number`.

    The total of each direction is shared between two tariffs, as on a Dutch meter.
    Source: DSMR P1 companion standard 5.0.2.
    """
    lines = ["/EMU5\\2EMULATED-METER", "", "1-3:0.2.8(50)"]
    if registers.time_s is not None:
        lines.append(f"0-0:1.0.0({_p1_stamp(registers.time_s)})")
    lines.append(f"0-0:96.1.1({f'EMULATED{number:08d}'.encode().hex().upper()})")
    for quantity, total_wh in ((1, registers.import_wh), (2, registers.export_wh)):
        low = total_wh // 3
        lines.append(f"1-0:{quantity}.8.1({_kwh(low)})")
        lines.append(f"1-0:{quantity}.8.2({_kwh(total_wh - low)})")
    lines.append("0-0:96.14.0(0002)")
    lines.append(f"1-0:1.7.0({_kw(max(0, registers.power_w))})")
    lines.append(f"1-0:2.7.0({_kw(max(0, -registers.power_w))})")
    lines.append(f"0-{PRODUCED_CHANNEL}:24.1.0(002)")
    counted = _p1_stamp(registers.time_s or 0)
    lines.append(f"0-{PRODUCED_CHANNEL}:24.2.1({counted})({_kwh(registers.produced_wh)})")
    telegram = "\r\n".join([*lines, "!"]).encode("ascii")
    return telegram + f"{crc16_arc(telegram):04X}\r\n".encode("ascii")


def sml_telegram(registers: Registers, number: int = 1) -> bytes:
    """An SML push telegram of the emulated meter `number`: registers in 0.1 Wh, power in W.

    Source: SML 1.04 (BSI TR-03109-1, annex IV b).
    """
    server = b"\x0a\x01EMU\x00" + number.to_bytes(4, "big")
    moment = _NOTHING if registers.time_s is None else _list(_unsigned(2, 1), _unsigned(registers.time_s, 4))
    status = _unsigned(_STATUS | (_STATUS_EXPORT if registers.power_w < 0 else 0), 4)
    counted = (_unsigned(wh * 10, 8) for wh in (registers.import_wh, registers.export_wh, registers.produced_wh))
    imported, exported, produced = counted
    entries = [
        _entry((1, 0, 96, 50, 1, 1), value=_octets(b"EMU")),
        _entry((1, 0, 96, 1, 0, 255), value=_octets(server)),
        _entry((1, 0, 1, 8, 0, 255), status, _WATT_HOURS, -1, imported),
        _entry((1, 0, 2, 8, 0, 255), status, _WATT_HOURS, -1, exported),
        _entry((1, 0, 16, 7, 0, 255), None, _WATTS, 0, _signed(registers.power_w, 4)),
        _entry((1, PRODUCED_CHANNEL, 2, 8, 0, 255), status, _WATT_HOURS, -1, produced),
    ]
    opened = _list(_NOTHING, _NOTHING, _octets(b"\0"), _octets(server), _NOTHING, _NOTHING)
    name = _octets(b"\x01\x00\x62\x0a\xff\xff")
    values = _list(_NOTHING, _octets(server), name, moment, _list(*entries), _NOTHING, _NOTHING)
    bodies = ((0x0101, opened), (0x0701, values), (0x0201, _list(_NOTHING)))
    return _frame(b"".join(_message(index, tag, body) for index, (tag, body) in enumerate(bodies)))


TELEGRAMS: Final[Mapping[Kind, Callable[[Registers, int], bytes]]] = {
    "dsmr": p1_telegram,
    "sml": sml_telegram,
}


def _p1_stamp(utc_s: int) -> str:
    """A P1 time stamp in Central European time; the decoder's calendar decides which of the two."""
    for letter, offset_s in (("S", 2 * CENTRAL_EUROPE_S), ("W", CENTRAL_EUROPE_S)):
        stamp = f"{datetime.fromtimestamp(utc_s, UTC) + timedelta(seconds=offset_s):%y%m%d%H%M%S}{letter}"
        if utc_seconds(stamp) == utc_s:
            break
    return stamp


def _kwh(wh: int) -> str:
    kwh, rest = divmod(wh % P1_REGISTER_WH, 1000)
    return f"{kwh:06d}.{rest:03d}*kWh"


def _kw(w: int) -> str:
    return f"{w // 1000:02d}.{w % 1000:03d}*kW"


def _type_and_length(kind: int, length: int) -> bytes:
    """The first bytes of an element: high nibbles say "more follows" (and the type, in the first)."""
    nibbles = [length & 0x0F]
    while length := length >> 4:
        nibbles.append(length & 0x0F)
    nibbles.reverse()
    return bytes(
        nibble | (0x80 if index < len(nibbles) - 1 else 0) | (kind << 4 if index == 0 else 0)
        for index, nibble in enumerate(nibbles)
    )


def _octets(content: bytes) -> bytes:
    # The length counts its own bytes: one up to 14 bytes of content, two up to 253.
    own = 1 if len(content) < 15 else 2
    return _type_and_length(0, len(content) + own) + content


def _unsigned(value: int, size: int) -> bytes:
    return _type_and_length(6, size + 1) + value.to_bytes(size, "big")


def _signed(value: int, size: int) -> bytes:
    return _type_and_length(5, size + 1) + value.to_bytes(size, "big", signed=True)


def _list(*elements: bytes) -> bytes:
    return _type_and_length(7, len(elements)) + b"".join(elements)


def _entry(
    code: tuple[int, ...],
    status: bytes | None = None,
    unit: int | None = None,
    scaler: int | None = None,
    value: bytes = b"",
) -> bytes:
    return _list(
        _octets(bytes(code)),
        status or _NOTHING,
        _NOTHING,
        _NOTHING if unit is None else _unsigned(unit, 1),
        _NOTHING if scaler is None else _signed(scaler, 1),
        value,
        _NOTHING,
    )


def _message(index: int, tag: int, body: bytes) -> bytes:
    head = _type_and_length(7, 6) + _octets(index.to_bytes(4, "big")) + _unsigned(index, 1) + _unsigned(0, 1)
    sealed = head + _list(_unsigned(tag, 2), body)
    return sealed + _type_and_length(6, 3) + crc16_x25(sealed).to_bytes(2, "little") + b"\0"


def _frame(file: bytes) -> bytes:
    fill = -len(file) % 4
    escaped = (file + bytes(fill)).replace(ESCAPE, ESCAPE + ESCAPE)
    sealed = START + escaped + ESCAPE + bytes((END_MARK, fill))
    return sealed + crc16_x25(sealed).to_bytes(2, "little")


_NOTHING: Final = b"\x01"
_WATTS: Final = 27
_WATT_HOURS: Final = 30
# Status word of a Basiszähler: its mark, voltage on all phases, "more than the
# starting current flows"; and the bit for "total energy flows to the grid".
_STATUS: Final = 0x1C0104
_STATUS_EXPORT: Final = 0x800
