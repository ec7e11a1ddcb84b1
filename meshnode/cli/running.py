"""Running: `meshnode run` - the node itself, until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from meshnode.cli.output import Json, event, note, progress
from meshnode.cli.parser import Group, Option
from meshnode.cli.place import RUNNING_FILE, DirArgument, node_directory, refuse_second, write_running


class Level(StrEnum):
    """How much the log says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(run)


def run(
    directory: DirArgument = None,
    level: Annotated[Level, Option("--log", "How much the log on stderr says.")] = Level.INFO,
    tied: Annotated[
        bool, Option("--until-stdin-ends", "Also stop when standard input ends, as it does when the starter is gone.")
    ] = False,
    json: Json = False,
) -> None:
    """Run the node until Ctrl-C or SIGTERM; its page's address is printed once it is ready."""
    from meshnode import config

    logging.basicConfig(
        level=level.value.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    place = node_directory(directory)
    settings = config.load(place)
    refuse_second(place)
    # The network's libraries take half a second: not before it is known that they are needed.
    import trio

    from meshnode.node import Node

    with progress("replaying the ledger", not json) as show:
        node = Node(place, settings, lambda what, done, total: show(done, total))

        async def main() -> None:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_stop_on, signals, nursery.cancel_scope, json)
                    if tied:
                        nursery.start_soon(_stop_at_end_of_input, nursery.cancel_scope)
                    await nursery.start(node.run, lambda: _tell(node, place, json))

        try:
            trio.run(main)
        finally:
            # Before it was ready, the file is that of another node, which runs in this directory.
            if node.web_addresses:
                (place / RUNNING_FILE).unlink(missing_ok=True)
    if json:
        event({"event": "stopped", "pid": os.getpid()})


async def _stop_on(signals: Any, scope: Any, json: bool) -> None:
    async for number in signals:
        name = signal.Signals(number).name
        if json:
            event({"event": "stopping", "signal": name})
        else:
            note(f"{name}: stopping")
        scope.cancel()
        return


async def _stop_at_end_of_input(scope: Any) -> None:
    import trio

    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        while await stream.receive_some():
            pass
    scope.cancel()


def _tell(node: Any, place: Path, json: bool) -> None:
    pages = [
        {"chain_id": grid.chain_id.hex(), "web": f"http://{address.removeprefix('http://').rstrip('/')}"}
        for grid, address in zip(node.microgrids, node.web_addresses, strict=True)
    ]
    write_running(place, pages, node.addresses)
    if json:
        event(
            {
                "event": "ready",
                "pid": os.getpid(),
                "name": node.settings.name,
                "web": pages[0]["web"],
                "listen": node.addresses,
                "joining": node.doors,
                "meters": [section.metering_point for section in node.settings.meter],
                "chain_id": pages[0]["chain_id"],
                "microgrids": pages,
            }
        )
        return
    for grid, page in zip(node.microgrids, pages, strict=True):
        print(f"{node.settings.name} in {grid.machine.genesis.community}: {page['web']}/", flush=True)
    for address in node.addresses:
        print(f"  neighbours reach this node at {address}", flush=True)
    for address in node.doors:
        print(f"  newcomers come in at {address}", flush=True)
    for section in node.settings.meter:
        print(f"  meter {section.metering_point} is read with the driver {section.driver}", flush=True)
    if not node.settings.meter:
        print("  no meter is read here", flush=True)
