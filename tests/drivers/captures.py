"""Captures: telegrams of real meters held against their expected values.

`python -m tests.drivers.captures [FOLDER]` prints the table: per codec the
entries of the folder's `index.json`, how many decode to what the index
expects, and how many are known exceptions (`known_exceptions.toml`).
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from drivers.codecs import CODECS
from drivers.codecs.telegram import Counters, Telegram, Value
from drivers.tools import decode
from tests.data import data_folder

HERE = Path(__file__).parent


def telegrams_folder() -> Path | None:
    """The shared telegrams, or None where there are none."""
    folder = data_folder()
    return folder / "telegrams" if folder else None


def index_entries(folder: Path) -> list[dict[str, Any]]:
    """The index entries that some codec can read."""
    entries: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())
    return [entry for entry in entries if entry["proto"] in CODECS]


def known_exceptions() -> list[dict[str, Any]]:
    exceptions: list[dict[str, Any]] = tomllib.loads((HERE / "known_exceptions.toml").read_text())["exception"]
    return exceptions


def exception_for(entry: dict[str, Any]) -> dict[str, Any] | None:
    for exception in known_exceptions():
        stated = entry["expected"].get("obis_entries_stated")
        if exception["file"] == entry["file"] and exception.get("obis_entries_stated", stated) == stated:
            return exception
    return None


def differences(folder: Path, entry: dict[str, Any]) -> list[str]:
    """What the decoded capture lacks of what the index expects."""
    telegrams, counters = decode(entry["proto"], (folder / entry["file"]).read_bytes())
    return list(_COMPARE[entry["proto"]](entry["expected"], telegrams, counters))


def _compare_sml(expected: dict[str, Any], telegrams: list[Telegram], counters: Counters) -> Iterator[str]:
    if counters.frames != expected["frames_ok"]:
        yield f"{counters.frames} frames, expected {expected['frames_ok']}"
    # Frames with a wrong checksum, and frames whose contents break the standard.
    if counters.bad_checksum + counters.malformed != expected["errors"]:
        yield f"{counters.bad_checksum} + {counters.malformed} errors, expected {expected['errors']}"
    values = {str(value.code): value for value in telegrams[0].values} if telegrams else {}
    if (stated := expected.get("obis_entries_stated")) is not None and len(values) != stated:
        yield f"{len(values)} entries, expected {stated}"
    for code, (number, unit) in expected["first_frame"].items():
        found = values[code].number if code in values else None
        # The index holds binary floating point, rounded to four decimals by the tool that made it.
        same = found is not None and round(Decimal(found.decimal()), 4) == Decimal(repr(number))
        if found is None or not same or (found.unit or None) != unit:
            yield f"{code} is {found}, expected {number} {unit}"


def _compare_dsmr(expected: dict[str, Any], telegrams: list[Telegram], counters: Counters) -> Iterator[str]:
    if len(telegrams) != 1 or counters.malformed:
        yield f"{len(telegrams)} telegrams, {counters}"
        return
    telegram = telegrams[0]
    values = {(v.code.a, v.code.b, *v.code.cde): v for v in telegram.values}
    for name, text in expected.get("literal", {}).items():
        found = [v for v in telegram.values if ".".join(map(str, v.code.cde)) == name]
        if [f"({item})" for v in found for item in v.items] != [text]:
            yield f"{name} is {found}, expected {text}"
    for name, text in expected.items():
        if name in ("literal", "stated", "BELGIUM_MAXIMUM_DEMAND_13_MONTHS"):
            continue  # the last is cut off in the index
        if name == "MBUS_DEVICES":
            same = len(telegram.sub_meters) == text.count("<")
        elif name == "P1_MESSAGE_TIMESTAMP":
            same = str(datetime.fromtimestamp(telegram.meter_time_s or 0, UTC)) == text
        elif name == "POWER_EVENT_FAILURE_LOG":
            same = len(values[1, 0, 99, 97, 0].items) == text.count("'value'")
        else:
            same = _is_value(values.get(_DSMR_NAMES[name]), text)
        if not same:
            yield f"{name} is not {text} in {telegram}"


def _is_value(value: Value | None, text: str) -> bool:
    """Whether a value is `12.30 kWh`, `0001`, or `None` for an empty text."""
    if value is None:
        return False
    if text in ("None", *value.items):
        return text in value.items or value.items == ("",)
    number, _, unit = text.partition(" ")
    try:
        wanted = Decimal(number)
    except InvalidOperation:
        return False
    return value.number is not None and (Decimal(value.number.decimal()), value.number.unit) == (wanted, unit)


_COMPARE: dict[str, Callable[[dict[str, Any], list[Telegram], Counters], Iterator[str]]] = {
    "sml": _compare_sml,
    "dsmr": _compare_dsmr,
}

_DSMR_NAMES: dict[str, tuple[int, int, int, int, int]] = {
    "P1_MESSAGE_HEADER": (1, 3, 0, 2, 8),
    "BELGIUM_VERSION_INFORMATION": (0, 0, 96, 1, 4),
    "EQUIPMENT_IDENTIFIER": (0, 0, 96, 1, 1),
    "BELGIUM_EQUIPMENT_IDENTIFIER": (0, 0, 96, 1, 1),
    "EQUIPMENT_IDENTIFIER_GAS": (0, 0, 96, 1, 0),
    "EQUIPMENT_SERIAL_NUMBER": (0, 0, 96, 1, 0),
    "COSEM_LOGICAL_DEVICE_NAME": (0, 0, 42, 0, 0),
    "Q3D_EQUIPMENT_IDENTIFIER": (1, 0, 0, 0, 0),
    "Q3D_EQUIPMENT_STATE": (1, 0, 96, 5, 5),
    "Q3D_EQUIPMENT_SERIALNUMBER": (0, 0, 96, 1, 255),
    "ELECTRICITY_IMPORTED_TOTAL": (1, 0, 1, 8, 0),
    "ELECTRICITY_EXPORTED_TOTAL": (1, 0, 2, 8, 0),
    **{f"ELECTRICITY_USED_TARIFF_{n}": (1, 0, 1, 8, n) for n in range(1, 5)},
    **{f"ELECTRICITY_DELIVERED_TARIFF_{n}": (1, 0, 2, 8, n) for n in range(1, 5)},
    "ELECTRICITY_ACTIVE_TARIFF": (0, 0, 96, 14, 0),
    "ELECTRICITY_REACTIVE_IMPORTED_TOTAL": (1, 0, 3, 8, 0),
    "ELECTRICITY_REACTIVE_EXPORTED_TOTAL": (1, 0, 4, 8, 0),
    **{f"ELECTRICITY_REACTIVE_TOTAL_Q{n}": (1, 0, 4 + n, 8, 0) for n in range(1, 5)},
    **{f"INSTANTANEOUS_REACTIVE_POWER_Q{n}": (1, 0, 4 + n, 7, 0) for n in range(1, 5)},
    "ELECTRICITY_COMBINED": (1, 0, 15, 8, 0),
    "CURRENT_ELECTRICITY_USAGE": (1, 0, 1, 7, 0),
    "CURRENT_ELECTRICITY_DELIVERY": (1, 0, 2, 7, 0),
    "BELGIUM_CURRENT_AVERAGE_DEMAND": (1, 0, 1, 4, 0),
    "BELGIUM_MAXIMUM_DEMAND_MONTH": (1, 0, 1, 6, 0),
    "ACTUAL_TRESHOLD_ELECTRICITY": (0, 0, 17, 0, 0),
    "ACTUAL_SWITCH_POSITION": (0, 0, 96, 3, 10),
    "TEXT_MESSAGE_CODE": (0, 0, 96, 13, 1),
    "TEXT_MESSAGE": (0, 0, 96, 13, 0),
    "SHORT_POWER_FAILURE_COUNT": (0, 0, 96, 7, 21),
    "LONG_POWER_FAILURE_COUNT": (0, 0, 96, 7, 9),
    **{f"VOLTAGE_SAG_L{n}_COUNT": (1, 0, 12 + 20 * n, 32, 0) for n in range(1, 4)},
    **{f"VOLTAGE_SWELL_L{n}_COUNT": (1, 0, 12 + 20 * n, 36, 0) for n in range(1, 4)},
    **{f"INSTANTANEOUS_CURRENT_L{n}": (1, 0, 11 + 20 * n, 7, 0) for n in range(1, 4)},
    **{f"INSTANTANEOUS_VOLTAGE_L{n}": (1, 0, 12 + 20 * n, 7, 0) for n in range(1, 4)},
    **{f"INSTANTANEOUS_ACTIVE_POWER_L{n}_POSITIVE": (1, 0, 1 + 20 * n, 7, 0) for n in range(1, 4)},
    **{f"INSTANTANEOUS_ACTIVE_POWER_L{n}_NEGATIVE": (1, 0, 2 + 20 * n, 7, 0) for n in range(1, 4)},
    **{f"INSTANTANEOUS_POWER_FACTOR_L{n}": (1, 0, 13 + 20 * n, 7, 0) for n in range(1, 4)},
    "INSTANTANEOUS_POWER_FACTOR_TOTAL": (1, 0, 13, 7, 0),
    "FREQUENCY": (1, 0, 14, 7, 0),
    **{f"FUSE_THRESHOLD_L{n}": (1, 0, 11 + 20 * n, 4, 0) for n in range(1, 4)},
}


def main(arguments: list[str]) -> int:
    """Print the table; 1 if a capture deviates that is no known exception."""
    folder = Path(arguments[0]) if arguments else telegrams_folder()
    if folder is None:
        print("no telegrams: set MESHNODE_DATA, or name the folder with index.json", file=sys.stderr)
        return 2
    failed = 0
    print(f"{'codec':8}{'files':>7}{'entries':>9}{'decoded':>9}{'exceptions':>12}{'failed':>8}")
    for name in CODECS:
        entries = [entry for entry in index_entries(folder) if entry["proto"] == name]
        decoded = exceptions = 0
        for entry in entries:
            found = differences(folder, entry)
            decoded += not found
            if found and (exception := exception_for(entry)):
                exceptions += 1
                print(f"  {entry['file']}: exception: {exception['reason']}")
            elif found:
                print(f"  {entry['file']}: {'; '.join(found)}")
        failed += (bad := len(entries) - decoded - exceptions)
        files = len({entry["file"] for entry in entries})
        print(f"{name:8}{files:7}{len(entries):9}{decoded:9}{exceptions:12}{bad:8}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
