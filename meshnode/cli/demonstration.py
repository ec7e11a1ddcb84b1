"""Demonstration: `meshnode demo` - a whole microgrid of real nodes on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from meshnode.cli.parser import Group, Option


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(demo)


def demo(
    nodes: Annotated[int, Option("--nodes", "How many homes, 1 to 10, each with a node of its own.")] = 5,
    periods: Annotated[
        int, Option("--periods", "Stop after so many settled periods, 6 or more; 0 runs until Ctrl-C.")
    ] = 0,
    speed: Annotated[int, Option("--speed", "How many times faster than the real one its clock runs, 1 to 600.")] = 180,
    directory: Annotated[
        Path | None, Option("--dir", "Keep the nodes' directories here; else they are removed.")
    ] = None,
    report: Annotated[
        Path | None, Option("--json", "Write a report of what happened into this file.", metavar="FILE")
    ] = None,
    no_browser: Annotated[bool, Option("--no-browser", "Open no page.")] = False,
    households: Annotated[
        Path | None, Option("--households", "Take the homes from this table of hourly series.", metavar="FILE")
    ] = None,
    seed: Annotated[int, Option("--seed", "Of the invented homes.")] = 1,
    preset: Annotated[
        str, Option("--preset", "The binding: neighbour-market or mid-market-village.")
    ] = "neighbour-market",
    quorum: Annotated[
        str, Option("--quorum", "majority (nodes may fail) or byzantine (a third may lie; 4, 7 or 10 nodes).")
    ] = "majority",
) -> int:
    """Play a microgrid: real node processes, real telegrams, settled periods, on a faster clock."""
    from meshnode.demo import Options, run_demo

    options = Options(
        nodes=nodes,
        periods=periods,
        speed=speed,
        directory=directory,
        report=report,
        browser=not no_browser,
        households=households,
        seed=seed,
        preset=preset,
        quorum=quorum,
    )
    return run_demo(options)
