"""Demonstration: `meshnode demo` - a whole microgrid of real nodes on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meshnode.cli.output import command


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(demo)


@command
def demo(
    nodes: Annotated[int, typer.Option("--nodes", help="How many homes, each with a node of its own.")] = 5,
    periods: Annotated[
        int, typer.Option("--periods", help="Stop after so many settled periods; 0 runs until Ctrl-C.")
    ] = 0,
    speed: Annotated[
        int, typer.Option("--speed", help="How many times faster than the real one its clock runs.")
    ] = 180,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Keep the nodes' directories here; else they are removed.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--json", help="Write a report of what happened into this file.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no page.")] = False,
    households: Annotated[
        Path | None, typer.Option("--households", help="Take the homes from this table of hourly series.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the invented homes.")] = 1,
    preset: Annotated[
        str, typer.Option("--preset", help="The binding; see: meshnode binding preset")
    ] = "neighbour_market",
) -> None:
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
    )
    raise typer.Exit(run_demo(options))
