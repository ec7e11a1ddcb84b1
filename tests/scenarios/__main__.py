"""Plays scenarios and prints what they show: `python -m tests.scenarios [--list] [--json] [NAME ...]`.

Exit code 0 if all that were asked for were shown, 1 if one was not, 2 for a name that
is none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from tests.scenarios.playing import Result, Scenario, play, scenarios


def main(arguments: Sequence[str]) -> int:
    """Play what is asked for; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which scenarios; default: all")
    parser.add_argument("--list", action="store_true", help="name them and what they show, and play none")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    options = parser.parse_args(arguments)
    known = {scenario.name: scenario for scenario in scenarios()}
    unknown = [name for name in options.names if name not in known]
    if unknown:
        print(f"no scenario is called {', '.join(unknown)}\n    there are: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in options.names] or list(known.values())
    if options.list and options.json:
        print(json.dumps([{"name": scenario.name, "shows": scenario.shows} for scenario in chosen], indent=1))
        return 0
    if options.list:
        for scenario in chosen:
            print(f"{scenario.name:<{_WIDTH}} {scenario.shows}")
        return 0
    results = [_played(scenario) for scenario in chosen]
    if options.json:
        print(json.dumps([result.row() for result in results], indent=1))
    return 0 if all(result.shown for result in results) else 1


def _played(scenario: Scenario) -> Result:
    result = play(scenario)
    figures = ", ".join(f"{name} {value}" for name, value in result.figures.items())
    outcome = "shown" if result.shown else "NOT SHOWN"
    print(f"{scenario.name:<{_WIDTH}} {outcome:<9} {result.seconds:6.1f} s  {figures}", file=sys.stderr)
    if not result.shown:
        print(result.problem, file=sys.stderr)
    return result


_WIDTH = 40

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
