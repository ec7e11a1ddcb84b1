"""Long runs: what only shows in many seeds, or after hours."""

from __future__ import annotations

import os

import pytest

from tests.simulator.plan import MINUTE_MS
from tests.simulator.runner import run_seeds

HOUR_MS = 60 * MINUTE_MS


@pytest.mark.nightly
@pytest.mark.parametrize("mode", ["majority", "byzantine"])
@pytest.mark.parametrize(("seeds", "duration_ms"), [(1000, 20 * MINUTE_MS), (20, 6 * HOUR_MS)])
def test_nothing_breaks_all_night(mode: str, seeds: int, duration_ms: int) -> None:
    report = run_seeds(range(seeds), mode, duration_ms, os.cpu_count() or 1, lambda _: None)
    assert not report.failures, "\n".join(report.lines())
    forks = report.counts.get("forked runs", 0)
    assert bool(forks) == (mode == "majority") and report.checked.get("a fork names a culprit", 0) == forks
