"""Home: what a person says about the own node when it is made - directory, meters, addresses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.output import Fault
from meshnode.cli.parser import Option
from meshnode.cli.place import node_directory, settings_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshnode.founding import NodeKeys

LISTEN = "/ip4/0.0.0.0/tcp/4170"
WEB = "127.0.0.1:8170"

Meters = Annotated[
    list[str] | None,
    Option(
        "--meter",
        "A meter of this home: driver=dsmr,port=/dev/...,metering_point=home. May be given again.",
        metavar="KEY=VALUE,...",
    ),
]
Listen = Annotated[str, Option("--listen", "Where neighbours reach this node.")]
Web = Annotated[str, Option("--web", "Where this node serves its page.")]
Name = Annotated[str, Option("--name", "Your name in the community.")]


def new_place(directory: Path | None) -> Path:
    """A directory in which there is no node yet."""
    from meshnode.config import CONFIG_FILE

    place = node_directory(directory)
    if (place / CONFIG_FILE).exists():
        raise Fault(f"{place}: there is a node here already\n    choose another directory")
    if place.exists() and not place.is_dir():
        raise Fault(f"{place}: is a file\n    choose another directory")
    return place


def throwaway(meters: Sequence[dict[str, Any]]) -> NodeKeys:
    """Keys that are never written: to try things out before anything is."""
    from meshnode.founding import NodeKeys
    from meshnode.keys import SigningKey

    generate = SigningKey.generate
    return NodeKeys(generate(), generate(), {section["metering_point"]: generate() for section in meters})


def meters(texts: Sequence[str]) -> list[dict[str, Any]]:
    """The meter sections of a configuration, checked as far as that goes without the devices.

    Raises:
        Fault: a setting without value, an unknown driver, a key that the driver lacks or does not know.
    """
    from drivers.driver import DriverError, check_section

    sections = []
    for number, text in enumerate(texts, 1):
        place = f"--meter {text}"
        section = settings_of(text.split(","), place)
        point = section["metering_point"] = str(
            section.get("metering_point", "home" if number == 1 else f"home {number}")
        )
        if "/" in point or point.startswith("."):
            raise Fault(
                f"{place}: metering_point {point!r}\n    give it a name without a slash; its key file is named after it"
            )
        if "driver" not in section:
            raise Fault(
                f"{place}: no driver\n    write it like driver=dsmr,port=/dev/ttyUSB0; see: meshnode meter list"
            )
        try:
            check_section(section)
        except DriverError as error:
            raise Fault(
                f"{place}: {error.place}: {error.found}; expected {error.expected}\n    correct what --meter says"
            ) from error
        sections.append(section)
    points = [section["metering_point"] for section in sections]
    if len(set(points)) != len(points):
        raise Fault(f"--meter: two meters are called {max(points, key=points.count)}\n    give each its metering_point")
    return sections


def check_addresses(*addresses: str) -> None:
    """Refuse addresses that are none; empty ones are passed over. Raises Fault."""
    from meshnode.network.addresses import read_address

    for address in addresses:
        if address:
            try:
                read_address(address)
            except ValueError as error:
                raise Fault(str(error)) from error
