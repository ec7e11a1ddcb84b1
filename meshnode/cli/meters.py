"""Meters: `meshnode meter` - drivers, captures, and what a meter says right now."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from meshnode.cli.output import Fault, Json, No, answer, event, note
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import read_input, settings_of

group = Group("Meters: what can be read, and what one says now.")

# A P1 meter speaks at least every ten seconds; half as long again and something is wrong.
PATIENCE_S = 15.0
# The metering point of a meter that belongs to no home yet.
_TRIED = "tried"


def add_to(app: Group) -> None:
    """Add the group to the command line."""
    app.add("meter", group)


@group.command("list")
def list_(json: Json = False) -> None:
    """List the drivers and the codecs that this node has."""
    from drivers.codecs import CODECS
    from drivers.driver import driver_names

    value = {"drivers": driver_names(), "codecs": sorted(CODECS)}
    answer(value, f"drivers  {' '.join(value['drivers'])}\ncodecs   {' '.join(value['codecs'])}", json)


@group.command()
def decode(
    file: Annotated[str, Argument("FILE", "A capture: binary or hexadecimal; - reads stdin.")],
    codec: Annotated[str, Option("--codec", "dsmr or sml.")],
    json: Json = False,
) -> None:
    """Decode a capture of telegrams and print them as JSON. Exit 1 if there is none in it."""
    from drivers import tools

    data = read_input(file)
    telegrams = tools.decode_file(codec, data)
    bad = tools.decode(codec, data)[1].bad_checksum
    if bad:
        what = "one telegram" if bad == 1 else f"{bad} telegrams"
        said = f"{file}: the checksum of {what} does not hold or is missing, so nothing in it can be believed"
        remedy = "something was altered or lost on the way: capture it again, and look at the cable if it stays so"
        if not telegrams:
            raise No(f"{said}\n    {remedy}")
        note(f"{said}\n    {remedy}")
    if not telegrams:
        raise No(f"{file}: no {codec} telegram in it\n    is it another kind of meter, or was it cut off?")
    answer(telegrams, "", True)


@group.command("try")
def try_(
    driver: Annotated[str, Option("--driver", "dsmr, sml, simulated ...; see: meshnode meter list")],
    port: Annotated[str, Option("--port", "Serial port, best one below /dev/serial/by-id.")] = "",
    count: Annotated[int, Option("--count", "Stop after so many measurements; 0 goes on.", low=0)] = 0,
    seconds: Annotated[float, Option("--seconds", "Stop after so long; 0 goes on.", low=0)] = 0,
    setting: Annotated[list[str] | None, Option("--set", "A further setting of the driver: key=value.")] = None,
    json: Json = False,
) -> None:
    """Show what a meter says, live, until Ctrl-C. Exit 1 if it said nothing."""
    import trio

    for one in setting or []:
        if "=" not in one:
            raise Fault(f"--set: found {one!r}, expected key=value\n    write it like --set seed=4")
    config = {"driver": driver, "metering_point": _TRIED, **settings_of(setting or [], "--set")}
    if port:
        config["port"] = port
    seen = 0

    async def show() -> None:
        nonlocal seen
        from contextlib import aclosing

        from drivers.driver import DriverError
        from drivers.tools import try_meter

        try:
            async with aclosing(try_meter(driver, config)) as measurements:
                async for measurement in measurements:
                    seen += 1
                    _print(measurement, json)
                    if seen == count:
                        return
        except DriverError as error:
            if error.place.startswith(f"meter {_TRIED}"):
                raise _of_options(error, driver) from error
            raise

    async def hint() -> None:
        await trio.sleep(PATIENCE_S)
        if not seen:
            note(f"nothing from {port or driver} yet; is the cable right, and the meter's port switched on?")

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hint)
            with trio.move_on_after(seconds or float("inf")):
                await show()
            nursery.cancel_scope.cancel()

    try:
        trio.run(run)
    except* KeyboardInterrupt:
        # Ctrl-C is how a person says that it is enough.
        sys.stdout.flush()
    if not seen:
        raise No(f"{port or driver}: no measurement\n    is the cable right, and the meter's port switched on?")


def _of_options(error: Any, driver: str) -> Fault:
    """A fault of a meter's settings, said of the options that they came from."""
    key = error.place.partition("key ")[2]
    if key == "port" and "missing" in error.found:
        return Fault(
            f"--port: not given; the driver {driver} reads a serial port\n"
            "    plug the reader in and look for its name with: ls -l /dev/serial/by-id"
        )
    keys = error.expected.removeprefix("the keys ").split(", ")
    settings = ", ".join(one for one in keys if one not in ("metering_point", "driver", "port"))
    return Fault(
        f"--set {key}: {error.found}; the driver {driver} has the settings {settings}\n    write it as --set key=value"
    )


def _print(measurement: Any, json: bool) -> None:
    import msgspec

    if json:
        event(msgspec.to_builtins(measurement))
        return
    from datetime import datetime

    from meshnode.amounts import format_energy

    parts = [datetime.fromtimestamp(measurement.time_s or 0).strftime("%H:%M:%S")]
    if measurement.power_w is not None:
        parts.append(f"{measurement.power_w:6} W")
    for name, energy in (
        ("import", measurement.import_wh),
        ("export", measurement.export_wh),
        ("produced", measurement.produced_wh),
    ):
        if energy is not None:
            parts.append(f"{name} {format_energy(energy)}")
    print("  ".join([*parts, str(measurement.quality)]), flush=True)
