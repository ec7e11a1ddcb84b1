"""Driver: what turns a device into measurements, and how drivers are found by name.

A driver is an object with a name and one method, `measurements`. Built-in
drivers and those of other packages come through the same door: an entry point
of the group `meshnode.drivers` that names such an object. The built-in ones are
also listed here, so that a checkout that was never installed finds them.

To write one: see `drivers/simulated.py`, the shortest.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import msgspec

from drivers.measurement import Measurement, Phase, Quality

__all__ = [
    "BUILTIN",
    "CheckedDriver",
    "Clock",
    "Driver",
    "DriverError",
    "Measurement",
    "MeterConfig",
    "Phase",
    "Quality",
    "check_section",
    "driver",
    "driver_names",
    "read_config",
    "system_clock",
]

ENTRY_POINT_GROUP: Final = "meshnode.drivers"

# Names to objects, written as entry points are; pyproject.toml repeats the
# table, and a test holds the two equal.
BUILTIN: Final[Mapping[str, str]] = {
    "dsmr": "drivers.serial_meter:dsmr",
    "sml": "drivers.serial_meter:sml",
    "simulated": "drivers.simulated:simulated",
    "replay": "drivers.replay:replay",
}

Clock = Callable[[], int]
"""The present in UTC seconds; a demonstration clock may run faster than the real one."""

_Config = TypeVar("_Config", bound="MeterConfig")


class DriverError(Exception):
    """A device or its configuration that needs a person.

    Fields:
        place: which meter, file, port or configuration key.
        found: what was found there.
        expected: what would have been right.
        remedy: what to do.
    """

    def __init__(self, place: str, found: str, expected: str, remedy: str) -> None:
        super().__init__(place, found, expected, remedy)
        self.place, self.found, self.expected, self.remedy = place, found, expected, remedy

    def __str__(self) -> str:
        return f"{self.place}: {self.found}; expected {self.expected}\n    {self.remedy}"


class MeterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every meter section of a configuration says; drivers add their own keys.

    Fields:
        metering_point: the name under which the community knows the meter.
        driver: name of the driver (kept so that a section can be passed on as it is).
    """

    metering_point: str
    driver: str = ""


@runtime_checkable
class Driver(Protocol):
    """A way to read one kind of device."""

    name: str

    def measurements(self, config: Mapping[str, Any], clock: Clock = ...) -> AsyncGenerator[Measurement, None]:
        """Measurements for as long as the device is there and the iterator is kept.

        An asynchronous generator: close it (`contextlib.aclosing`) or cancel
        the task to let go of the device. A device that is unplugged is waited
        for; what a person must mend raises.

        Args:
            config: a section of the configuration file, as a plain dictionary.
            clock: stamps `Measurement.time_s`, and moves simulated and
                replayed homes through their day.
        Raises:
            DriverError: the configuration is wrong, or the device cannot be
                opened at the start.
        """
        ...


@runtime_checkable
class CheckedDriver(Protocol):
    """A driver that says which keys its section has, so that mistakes show before a device is there.

    A driver without it is as good; what is wrong in its section then shows when it is started.

    Fields:
        config: the record of a section's keys, for `read_config`.
    """

    config: type[MeterConfig]


def system_clock() -> int:
    """UTC seconds of this computer."""
    return int(time.time())


def driver(name: str) -> Driver:
    """The driver of that name. Built-in names cannot be taken over by other packages.

    Raises:
        DriverError: no such driver, two packages claim the name, or its package is broken.
    """
    if name in BUILTIN:
        return _load(EntryPoint(name, BUILTIN[name], ENTRY_POINT_GROUP))
    claims = {point.value: point for point in entry_points(group=ENTRY_POINT_GROUP, name=name)}
    if not claims:
        raise DriverError(
            f'driver "{name}"', "there is none of that name", f"one of {', '.join(driver_names())}",
            "correct the name, or install the package that brings this driver",
        )  # fmt: skip
    if len(claims) > 1:
        raise DriverError(
            f'driver "{name}"', f"claimed by {' and '.join(sorted(claims))}", "one driver of that name",
            "remove one of the packages",
        )  # fmt: skip
    return _load(next(iter(claims.values())))


def check_section(section: Mapping[str, Any]) -> None:
    """Check a meter's section as far as that goes without its device.

    Raises:
        DriverError: there is no such driver, or a key is missing, unknown or of the wrong type.
    """
    found = driver(str(section.get("driver", "")))
    if isinstance(found, CheckedDriver):
        read_config(section, found.config)


def driver_names() -> list[str]:
    """All names that `driver` knows, in alphabetical order."""
    return sorted({*BUILTIN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def read_config(section: Mapping[str, Any], kind: type[_Config]) -> _Config:
    """A configuration section as a typed record.

    Raises:
        DriverError: names the key that is missing, unknown or of the wrong type.
    """
    try:
        return msgspec.convert(dict(section), kind)
    except msgspec.ValidationError as error:
        meter = section.get("metering_point", "without metering_point")
        found, _, path = str(error).partition(" - at `$.")
        key = path.rstrip("`") or (quoted[1] if (quoted := re.search(r"`(\w+)`", found)) else "")
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        raise DriverError(
            f"meter {meter}" + (f", key {key}" if key else ""),
            _lower_first(found),
            f"the keys {keys}",
            "correct the meter's section in the configuration file",
        ) from error


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _load(point: EntryPoint) -> Driver:
    try:
        found = point.load()
    except Exception as error:
        # Importing runs the package's own code, and that can fail in any way.
        raise DriverError(
            f'driver "{point.name}"', f"{point.value} cannot be loaded ({error})", "a Python object",
            "install its package again, or tell its author",
        ) from error  # fmt: skip
    if not isinstance(found, Driver):
        raise DriverError(
            f'driver "{point.name}"', f"{point.value} is {type(found).__name__}",
            "an object with a name and a measurements method", "tell the author of its package",
        )  # fmt: skip
    return found
