"""Tools: what the command line offers around drivers, as plain functions.

`decode` and `decode_file` read a capture; `try_meter` reads a meter live.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec

from drivers.codecs import CODECS, codec
from drivers.codecs.obis import Number
from drivers.codecs.sml import SmlCodec
from drivers.codecs.telegram import Counters, Telegram, Value, measure
from drivers.driver import Clock, DriverError, Measurement, driver, system_clock

# Hours of a meter that sends every second; a larger file is no capture.
MAX_CAPTURE_BYTES: Final = 64 * 2**20


def decode_file(codec_name: str, data: bytes) -> list[dict[str, Any]]:
    """The telegrams of a capture, as plain data for JSON; empty if there is none in it.

    Each has `codec`, `device`, `meter_id`, `meter_time_s`, `checked`, `exporting`,
    `notes`, `values` ({OBIS name: {"value" (a decimal as text, exact), "unit"} or
    {"text"} or {"items"}}), `sub_meters`, and `measurement`: what the node makes of it.

    Args:
        codec_name: a name in `drivers.codecs.CODECS`.
        data: the file as it is: binary, hexadecimal text or text is recognised.
    Raises:
        DriverError: no such codec, or the file is too large.
    """
    return [_plain(telegram) for telegram in decode(codec_name, data)[0]]


def decode(codec_name: str, data: bytes) -> tuple[list[Telegram], Counters]:
    """The telegrams of a capture, and what the codec counted on the way; see `decode_file`."""
    if codec_name not in CODECS:
        raise DriverError(
            f'codec "{codec_name}"', "there is none of that name", f"one of {', '.join(sorted(CODECS))}",
            "correct the name",
        )  # fmt: skip
    if len(data) > MAX_CAPTURE_BYTES:
        raise DriverError(
            "capture", f"{len(data)} bytes", f"at most {MAX_CAPTURE_BYTES}", "cut a shorter piece out of it"
        )
    raw = capture_bytes(data)
    reader = codec(codec_name)
    telegrams = reader.feed(raw)
    if isinstance(reader, SmlCodec) and not reader.counters.frames:
        telegrams = reader.bare_file(raw)
    return telegrams, reader.counters


def capture_bytes(data: bytes) -> bytes:
    """The bytes that were on the line, from a capture in binary, hexadecimal or text form.

    Text whose line ends were changed on the way (a telegram pasted into a
    message) gets CR LF back, since checksums cover them.
    """
    squeezed = _BETWEEN_HEX.sub(b"", data)
    if len(squeezed) >= _MIN_HEX and len(squeezed) % 2 == 0 and _HEX.fullmatch(squeezed):
        return bytes.fromhex(squeezed.decode("ascii"))
    if b"\0" in data:  # every SML message ends in a zero byte, no text has one
        return data
    if b"\r" not in data:
        data = data.replace(b"\n", b"\r\n")
    # Without its last line end, a telegram without checksum never ends.
    return data + b"\r\n"


async def try_meter(
    name: str, config: Mapping[str, Any], clock: Clock = system_clock
) -> AsyncGenerator[Measurement, None]:
    """Live measurements of the meter that `config` describes, through the driver `name`.

    Close the generator (`contextlib.aclosing`) or cancel the task to let go of the meter.

    Raises:
        DriverError: no such driver, a wrong configuration, a port that cannot be opened.
    """
    async with aclosing(driver(name).measurements(config, clock)) as measurements:
        async for measurement in measurements:
            yield measurement


def _plain(telegram: Telegram) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for value in telegram.values:
        values.setdefault(str(value.code), _plain_value(value))
    return {
        "codec": telegram.codec,
        "device": telegram.device,
        "meter_id": telegram.meter_id,
        "meter_time_s": telegram.meter_time_s,
        "checked": telegram.checked,
        "exporting": telegram.exporting,
        "notes": list(telegram.notes),
        "values": values,
        "sub_meters": [
            {**msgspec.to_builtins(sub_meter), "number": _plain_number(sub_meter.number)}
            for sub_meter in telegram.sub_meters
        ],
        "measurement": msgspec.json.decode(msgspec.json.encode(measure(telegram, telegram.meter_id))),
    }


def _plain_value(value: Value) -> dict[str, Any]:
    plain: dict[str, Any] = dict(_plain_number(value.number) or {})
    if value.time_s is not None:
        plain["time_s"] = value.time_s
    if len(value.items) == 1:
        plain["text"] = value.items[0]
    elif value.items:
        plain["items"] = list(value.items)
    return plain


def _plain_number(number: Number | None) -> dict[str, str | None] | None:
    return None if number is None else {"value": number.decimal(), "unit": number.unit or None}


_HEX: Final = re.compile(rb"[0-9A-Fa-f]+")
# What people put between bytes: white space, colons, commas, 0x.
_BETWEEN_HEX: Final = re.compile(rb"0[xX]|[\s:,]+")
# Shorter than any frame, longer than a number that happens to be alone in a file.
_MIN_HEX: Final = 16
