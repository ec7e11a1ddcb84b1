"""Runner: many seeds on all cores, and the sum of what they showed."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from tests.simulator.plan import Plan, draw
from tests.simulator.shrink import shrink
from tests.simulator.world import Outcome, World

HOUR_MS = 3_600_000


class Failure(msgspec.Struct, frozen=True):
    """A seed that failed: how to see it again, and the end of its trace, cut down."""

    seed: int
    violation: str
    replay: str
    shrunk: str
    trace: tuple[str, ...]


class Report(msgspec.Struct):
    """The sum over seeds.

    Attributes:
        wall_s: real time; events, node_ms: what was simulated in it.
    """

    mode: str
    seeds: int = 0
    simulated_hours: float = 0.0
    node_hours: float = 0.0
    wall_s: float = 0.0
    events: int = 0
    events_per_s: int = 0
    node_hours_per_minute: float = 0.0
    times_real_time: int = 0
    faults: dict[str, int] = {}
    checked: dict[str, int] = {}
    counts: dict[str, int] = {}
    failures: list[Failure] = []

    def lines(self) -> list[str]:
        """For people."""
        rows = [
            f"{self.seeds} {'seed' if self.seeds == 1 else 'seeds'}, {self.mode} mode: "
            f"{self.simulated_hours:.1f} simulated hours ({self.node_hours:.1f} node-hours) in {self.wall_s:.1f} s",
            f"{self.events} events, {self.events_per_s} a second; {self.node_hours_per_minute:.1f} node-hours "
            f"a minute, {self.times_real_time} times real time",
        ]
        for name, table in (("faults", self.faults), ("checked", self.checked), ("counts", self.counts)):
            rows.append(f"{name}: " + ", ".join(f"{key} {count}" for key, count in sorted(table.items())))
        for failure in self.failures:
            rows += ["", f"seed {failure.seed} FAILED: {failure.violation}", f"  replay: {failure.replay}"]
            rows += [f"  cut down: {failure.shrunk}", *(f"    {note}" for note in failure.trace)]
        rows.append("" if self.failures else "no violation")
        return rows


def command(plan: Plan, full: Plan) -> str:
    """The line that runs a plan again."""
    parts = ["python -m tests.simulator", f"--seed {plan.seed}", f"--mode {plan.mode}"]
    parts.append(f"--minutes {plan.duration_ms / 60_000:g}")
    if plan.episodes != full.episodes:
        parts.append("--keep " + (",".join(str(episode.number) for episode in plan.episodes) or "none"))
    if plan.lies != full.lies:
        parts.append(f"--lies '{','.join(plan.lies)}'")
    if plan.records_per_hour != full.records_per_hour:
        parts.append(f"--records {plan.records_per_hour}")
    return " ".join(parts)


def judge(plan: Plan, full: Plan | None = None, *, cut_down: bool = True) -> tuple[Outcome, Failure | None]:
    """Run a plan; if it fails, cut it down."""
    outcome = World(plan).run()
    if outcome.violation is None:
        return outcome, None
    small, last = shrink(plan, outcome) if cut_down else (plan, outcome)
    full = full or plan
    assert last.violation is not None
    trace = (*last.notes, f"{last.simulated_ms / 1000:10.3f} s  {last.violation}")
    return outcome, Failure(plan.seed, outcome.violation, command(plan, full), command(small, full), trace)


def _one(job: tuple[int, str, int, bool]) -> tuple[Outcome, Failure | None]:
    seed, mode, duration_ms, cut_down = job
    return judge(draw(seed, mode, duration_ms), cut_down=cut_down)


def run_seeds(
    seeds: Sequence[int],
    mode: str,
    duration_ms: int,
    jobs: int,
    on_seed: Callable[[Outcome], Any],
    *,
    cut_down: bool = True,
) -> Report:
    """Run seeds in `jobs` processes; what each showed is added up in the order of the seeds."""
    work = [(seed, mode, duration_ms, cut_down) for seed in seeds]
    began = time.monotonic()
    if jobs == 1:
        return collect(mode, map(_one, work), began, on_seed)
    # Fresh processes, so that nothing of this one's state goes with them.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        return collect(mode, pool.imap(_one, work), began, on_seed)


def collect(
    mode: str,
    results: Iterable[tuple[Outcome, Failure | None]],
    began: float,
    on_seed: Callable[[Outcome], Any],
) -> Report:
    """Add up what seeds showed, since the moment `began`."""
    report = Report(mode)
    faults: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    simulated_ms = node_ms = 0
    for outcome, failure in results:
        on_seed(outcome)
        report.seeds += 1
        report.events += outcome.events
        simulated_ms += outcome.simulated_ms
        node_ms += outcome.simulated_ms * outcome.homes
        faults.update(outcome.faults)
        checked.update(outcome.checked)
        counts.update(outcome.counts)
        if failure is not None:
            report.failures.append(failure)
    wall_s = max(time.monotonic() - began, 1e-9)
    report.faults, report.checked, report.counts = map(dict, (faults, checked, counts))
    report.simulated_hours, report.node_hours = simulated_ms / HOUR_MS, node_ms / HOUR_MS
    report.wall_s, report.events_per_s = wall_s, int(report.events / wall_s)
    report.node_hours_per_minute = report.node_hours * 60 / wall_s
    report.times_real_time = int(simulated_ms / 1000 / wall_s)
    return report
