"""Mutants: bugs put into the product one at a time, each of which the simulator must catch.

A mutant names a function and exchanges a piece of its source; the changed function is
compiled and takes the place of the old one, for every caller at once. If the piece is not
there any more the mutant is out of date, and says so. `python -m tests.simulator.mutants`
prints which seed caught each.
"""

from __future__ import annotations
import __future__

import argparse
import ast
import inspect
import multiprocessing
import os
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import count, islice
from types import CodeType, FunctionType
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import track

from tests.simulator.arguments import positive, span
from tests.simulator.bug import Bug
from tests.simulator.bugs import BUGS
from tests.simulator.plan import MINUTE_MS, draw
from tests.simulator.world import World

# A bug must show within so many seeds, of so many minutes each, that draw what it needs.
SEEDS = 40
MINUTES = 10


class Verdict(msgspec.Struct, frozen=True):
    """What became of a mutant.

    Attributes:
        seed: the one that caught it, None if none did; seeds: how many were run.
        invariant: which one it broke.
    """

    bug: str
    seed: int | None
    seeds: int
    invariant: str | None
    violation: str | None
    wall_s: float

    @property
    def caught(self) -> bool:
        """Whether the simulator saw the bug."""
        return self.seed is not None


class OutOfDate(Exception):
    """The source that a mutant would change is not there any more."""


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The product with this bug in it."""
    undo: list[tuple[FunctionType, CodeType]] = []
    try:
        for change in bug.changes:
            function = _function(change.function)
            undo.append((function, function.__code__))
            function.__code__ = _changed(function, change.old, change.new, bug.name)
        yield
    finally:
        for function, code in reversed(undo):
            function.__code__ = code


def _function(path: str) -> FunctionType:
    """The function of `package.module:Class.method`."""
    module, _, name = path.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    assert isinstance(found, FunctionType), path
    return found


def _changed(function: FunctionType, old: str, new: str, name: str) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(old) != 1:
        raise OutOfDate(f"mutant {name!r}: {function.__qualname__} has {source.count(old)} times\n    {old}")
    tree = ast.parse(source.replace(old, new))
    tree.body[0].decorator_list = []  # type: ignore[attr-defined]
    module = compile(tree, f"<mutant {name}>", "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
    scope: dict[str, Any] = {}
    exec(module, function.__globals__, scope)
    changed = scope[function.__name__].__code__
    assert isinstance(changed, CodeType)
    return changed.replace(co_freevars=function.__code__.co_freevars)


def hunt(bug: Bug, seeds: int = SEEDS, minutes: float = MINUTES) -> Verdict:
    """Run the first seeds that draw what the bug needs, until one breaks."""
    began = time.monotonic()
    plans = (draw(number, bug.mode, int(minutes * MINUTE_MS)) for number in count())
    with planted(bug):
        for run, plan in enumerate(islice(filter(bug.fits, plans), seeds), 1):
            outcome = World(plan).run()
            if outcome.violation is not None:
                wall_s = time.monotonic() - began
                return Verdict(bug.name, plan.seed, run, outcome.invariant, outcome.violation, wall_s)
    return Verdict(bug.name, None, seeds, None, None, time.monotonic() - began)


def _hunt(job: tuple[str, int, float]) -> Verdict:
    name, seeds, minutes = job
    return hunt(next(bug for bug in BUGS if bug.name == name), seeds, minutes)


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant bugs in the product, one at a time, and see whether the simulator catches each.

    Exit code 0: all were caught. 1: one was not. 2: nothing that can be run was asked for.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.mutants", description=main.__doc__)
    parser.add_argument("--seeds", type=positive, default=SEEDS, help="most seeds for each bug (default: %(default)s)")
    parser.add_argument(
        "--minutes", type=span, default=MINUTES, help="simulated minutes of each seed (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--only", help="bugs whose name contains this")
    parser.add_argument("--json", action="store_true", help="the table as JSON")
    options = parser.parse_args(arguments)
    jobs = [(bug.name, options.seeds, options.minutes) for bug in BUGS if (options.only or "") in bug.name]
    if not jobs:
        parser.error(
            f"--only {options.only}: no bug has that in its name; there are: " + ", ".join(b.name for b in BUGS)
        )
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        console, verdicts = Console(file=sys.stderr), []
        for verdict in track(pool.imap_unordered(_hunt, jobs), "mutants", len(jobs), console=console):
            verdicts.append(verdict)
            console.print(f"{verdict.bug}: {verdict.invariant or 'NOT CAUGHT'} ({verdict.wall_s:.0f} s)")
    order = [bug.name for bug in BUGS]
    verdicts.sort(key=lambda verdict: order.index(verdict.bug))
    if options.json:
        rows = [msgspec.structs.asdict(verdict) | {"caught": verdict.caught} for verdict in verdicts]
        print(msgspec.json.encode({"mutants": rows, "caught": sum(v.caught for v in verdicts)}).decode())
    else:
        print("\n".join(table(verdicts)))
    return 0 if all(verdict.caught for verdict in verdicts) else 1


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """For people."""
    width = max(len(verdict.bug) for verdict in verdicts)
    rows = [
        f"{verdict.bug:{width}}  "
        + (f"seed {verdict.seed:3}, {verdict.seeds:2} run  {verdict.invariant}" if verdict.caught else "NOT CAUGHT")
        for verdict in verdicts
    ]
    return [*rows, f"{sum(verdict.caught for verdict in verdicts)} of {len(verdicts)} caught"]


if __name__ == "__main__":
    sys.exit(main())
