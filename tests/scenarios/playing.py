"""Playing: which scenarios there are, and how one is played and what came of it is told.

A scenario is a module of this folder with a function `play(place)`: it gets an empty
directory and gives figures, or raises what was not as it should be. The first line of
its text says what it shows. `NIGHTLY = True` marks one that is too long for every run.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import trio

import tests.scenarios

NOT_SCENARIOS = ("lying_node", "mesh", "playing", "signed", "__main__")


class Scenario(msgspec.Struct, frozen=True):
    """One capability and the story that shows it."""

    name: str
    shows: str
    nightly: bool
    play: Callable[[Path], Awaitable[dict[str, Any]]]


class Result(msgspec.Struct, frozen=True):
    """What came of a scenario. problem: empty, or what was not as it should be."""

    scenario: Scenario
    seconds: float
    figures: dict[str, Any]
    problem: str

    @property
    def shown(self) -> bool:
        """Whether it came to what it is to show."""
        return not self.problem

    def row(self) -> dict[str, Any]:
        """A row of the table, as JSON values."""
        return {
            "name": self.scenario.name,
            "shows": self.scenario.shows,
            "result": "shown" if self.shown else "not shown",
            "seconds": round(self.seconds, 1),
            "figures": self.figures,
            "problem": self.problem,
        }


def scenarios() -> list[Scenario]:
    """All scenarios, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(tests.scenarios.__path__))
    return [_scenario(name) for name in names if name not in NOT_SCENARIOS and not name.startswith("test_")]


def play(scenario: Scenario) -> Result:
    """Play a scenario in a directory that is gone afterwards."""
    began = time.monotonic()
    figures: dict[str, Any] = {}
    problem = ""
    with tempfile.TemporaryDirectory(prefix=f"scenario-{scenario.name}-") as name:
        try:
            figures = trio.run(scenario.play, Path(name))
        except Exception:
            problem = traceback.format_exc()
    return Result(scenario, time.monotonic() - began, figures, problem)


def _scenario(name: str) -> Scenario:
    module = importlib.import_module(f"tests.scenarios.{name}")
    shows = (module.__doc__ or "").partition("\n")[0].partition(": ")[2].rstrip(".")
    return Scenario(name, shows, getattr(module, "NIGHTLY", False), module.play)
