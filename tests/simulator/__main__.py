"""The command: python -m tests.simulator --seeds 200 --hours 6 [--mode byzantine] [--json].

Whole microgrids under faults and liars, in simulated time. Exit code 0: no invariant was violated. 1: one was;
each failing seed prints the line that replays it, and a shorter one. 2: nothing that can be run was asked for.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.simulator.arguments import positive, span
from tests.simulator.plan import LIES, LIES_ABOUT_LOCKS, MINUTE_MS, MODES, Plan, draw
from tests.simulator.runner import Report, collect, judge, run_seeds


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 0 if nothing was violated."""
    options = _parser().parse_args(arguments)
    duration_ms = int(options.minutes * MINUTE_MS) if options.minutes else int(options.hours * 60 * MINUTE_MS)
    report = _replay(options, duration_ms) if options.seed is not None else _many(options, duration_ms)
    print(msgspec.json.encode(report).decode() if options.json else "\n".join(report.lines()))
    return 1 if report.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seeds", type=positive, default=20, help="how many seeds to run (default: %(default)s)")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first of them (default: %(default)s)")
    parser.add_argument("--hours", type=span, default=1.0, help="simulated hours of each seed (default: %(default)g)")
    parser.add_argument("--minutes", type=span, help="instead of --hours")
    parser.add_argument("--mode", choices=sorted(MODES), default="majority", help="quorum mode (default: %(default)s)")
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--json", action="store_true", help="the report as one line of JSON")
    parser.add_argument("--no-shrink", action="store_true", help="do not cut failing seeds down")
    parser.add_argument("--seed", type=int, help="one seed alone")
    parser.add_argument("--keep", type=_numbers, help="with --seed: only these episodes, 3,7,12 or none")
    parser.add_argument("--lies", type=_lies, help="with --seed: only these lies, separated by commas")
    parser.add_argument("--records", type=int, help="with --seed: so many records an hour")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    parts = [] if text == "none" else text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected numbers like 3,7,12, or none")
    return tuple(map(int, parts))


def _lies(text: str) -> tuple[str, ...]:
    known, found = (*LIES, *LIES_ABOUT_LOCKS), tuple(filter(None, text.split(",")))
    if not set(found) <= set(known):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected some of: {', '.join(known)}")
    return found


def _replay(options: argparse.Namespace, duration_ms: int) -> Report:
    full = plan = draw(options.seed, options.mode, duration_ms)
    if options.keep is not None:
        plan = plan.only(options.keep)
    plan = _changed(plan, options)
    began = time.monotonic()
    return collect(plan.mode, [judge(plan, full, cut_down=not options.no_shrink)], began, lambda _: None)


def _changed(plan: Plan, options: argparse.Namespace) -> Plan:
    changes = {}
    if options.lies is not None:
        changes["lies"] = options.lies
    if options.records is not None:
        changes["records_per_hour"] = options.records
    return msgspec.structs.replace(plan, **changes)


def _many(options: argparse.Namespace, duration_ms: int) -> Report:
    seeds = range(options.first, options.first + options.seeds)
    bar = Progress(
        TextColumn("seeds"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
    )
    with bar:
        task = bar.add_task("seeds", total=len(seeds), failed=0)
        failed = 0

        def on_seed(outcome: object) -> None:
            nonlocal failed
            failed += getattr(outcome, "violation", None) is not None
            bar.update(task, advance=1, failed=failed)

        return run_seeds(seeds, options.mode, duration_ms, options.jobs, on_seed, cut_down=not options.no_shrink)


if __name__ == "__main__":
    sys.exit(main())
