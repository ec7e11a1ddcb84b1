"""The command: `python -m tests.chaos --minutes N [--seed S] [--json]`.

Exit code 0: nothing was violated. 1: something was. 2: it cannot be begun like that.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import trio

from meshnode.cli.output import progress
from meshnode.loopback import stop_all
from tests.chaos import judge
from tests.chaos.clients import Clients
from tests.chaos.failover import Failover, measure
from tests.chaos.faults import Faults, take_images
from tests.chaos.grid import ELECTION_TIMEOUT_S, Grid, NotSettled
from tests.chaos.namespaces import Namespaces, isolate
from tests.chaos.plan import Fault, plan
from tests.chaos.proxies import Proxies
from tests.chaos.volumes import Volumes
from tests.chaos.wires import Wires
from tests.linearizability.checker import Verdict

# More would only wait for two cores.
WRITERS = 4
READERS = 3
# What the leader's death may cost; see the module `failover`.
MAX_TIMEOUTS = 2.0
NOT_DETERMINISTIC = (
    "the seed decides faults, times, victims and clients' choices; when processes run, who leads and what meets what "
    "differ from run to run"
)

Tell = Callable[[str, int, int], None]


def main(arguments: Sequence[str]) -> int:
    """Make chaos; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults are made (default: 1)")
    parser.add_argument("--nodes", type=int, default=5, help="validators (default: 5)")
    parser.add_argument("--learners", type=int, default=1, help="nodes that do not vote (default: 1)")
    parser.add_argument("--leader-kills", type=int, default=10, help="failovers that are measured first (default: 10)")
    parser.add_argument("--seed", type=int, help="decides the schedule (default: any)")
    parser.add_argument(
        "--old-validator", action="store_true", help="restore an old directory of a validator, not only of learners"
    )
    parser.add_argument("--proxies", action="store_true", help="no namespaces and no mounts, even if permitted")
    parser.add_argument("--keep", type=Path, help="leave logs and ledgers in this new directory")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if options.nodes < 3 or options.learners < 0 or options.leader_kills < 0 or options.minutes < 0:
        parser.error("at least 3 nodes, and nothing below 0")
    if options.keep is not None and options.keep.exists():
        parser.error(f"--keep {options.keep}: exists already; name a directory that does not")
    seed = secrets.randbits(32) if options.seed is None else options.seed
    isolated = not options.proxies and isolate()
    began = time.monotonic()
    volumes = Volumes(mounts=isolated)
    with _place(options.keep) as place, closing(volumes), progress("chaos", not options.json) as bar:
        report = trio.run(_run, options, seed, volumes, place, bar)
    report["wall_s"] = round(time.monotonic() - began, 1)
    print(json.dumps(report, indent=1) if options.json else _spelled(report))
    return 1 if report["violations"] else 0


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        yield Path(name)


async def _run(
    options: argparse.Namespace, seed: int, volumes: Volumes, place: Path, bar: Callable[[int, int], None]
) -> dict[str, Any]:
    count = options.nodes + options.learners
    wires: Wires = Namespaces(count) if volumes.mounts else Proxies(count)
    grid = Grid(place, options.nodes, options.learners, wires, volumes)
    clients = Clients(grid, seed)
    violations: list[str] = []
    failover: Failover | None = None
    clock = Phases()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wires.run)
        try:
            await grid.start()
            clock.ended("start")
            # The last validator has no disk of its own, which could not be exchanged.
            copied = [node for node in grid.nodes if not node.home.votes] + grid.voters[-1:] * options.old_validator
            images = await take_images(grid, copied, place)
            steps = options.leader_kills + int(options.minutes * 60)
            if options.leader_kills:
                failover = await measure(grid, clients, options.leader_kills, seed, lambda done: bar(done, steps))
            clock.ended("failover")
            faults = Faults(grid, images)
            await _make_chaos(options, seed, grid, clients, faults, lambda s: bar(options.leader_kills + s, steps))
            clock.ended("chaos")
            violations += faults.unexpected
            violations += await judge.settled(grid, clients)
        except NotSettled as error:
            violations.append(str(error))
            faults = Faults(grid, {})
        finally:
            clock.ended("settling")
            await stop_all(grid.nodes)
        nursery.cancel_scope.cancel()
    violations += clients.violations
    found, hashes = await trio.to_thread.run_sync(judge.disks, grid, clients, grid.nodes)
    violations += found
    clock.ended("verifying")
    result = judge.history(clients)
    clock.ended("linearizability")
    if result.verdict != Verdict.LINEARIZABLE:
        violations.append(result.explained())
    if failover is not None and failover.timeouts > MAX_TIMEOUTS:
        violations.append(f"failover: median of {failover.timeouts:.2f} election timeouts, at most {MAX_TIMEOUTS:g}")
    return {
        "seed": seed,
        "minutes": options.minutes,
        "nodes": options.nodes,
        "learners": options.learners,
        "network": wires.kind,
        "full_disk": volumes.kind,
        "faults": dict(sorted(faults.done.items())),
        "records": len(clients.books),
        "answers": dict(sorted(clients.counts.items())),
        "history": {
            "operations": len(clients.recorder.history().operations),
            "pending": clients.recorder.history().pending,
            "verdict": str(result.verdict),
            "states_searched": result.states,
        },
        "state_hashes": sorted(hashes),
        "failover": None if failover is None else _failover(failover),
        "phases_s": clock.seconds,
        "violations": violations,
        "not_deterministic": NOT_DETERMINISTIC,
    }


class Phases:
    """How long what took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._at = time.monotonic()

    def ended(self, name: str) -> None:
        """What went on until now was this."""
        now = time.monotonic()
        self.seconds[name] = round(now - self._at, 1)
        self._at = now


async def _make_chaos(
    options: argparse.Namespace,
    seed: int,
    grid: Grid,
    clients: Clients,
    faults: Faults,
    tell: Callable[[int], None],
) -> None:
    """Clients at work while the plan is carried out; whole again at the end."""
    kinds = frozenset(Fault)
    if not options.learners and not options.old_validator:
        kinds -= {Fault.OLD_DIRECTORY}
    planned = plan(seed, options.minutes * 60, options.nodes, options.learners, kinds)

    async def show() -> None:
        for second in range(int(options.minutes * 60)):
            tell(second)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(clients.run, WRITERS, READERS)
        nursery.start_soon(show)
        await faults.run(planned)
        await grid.until("all nodes at work again", grid.working)
        nursery.cancel_scope.cancel()


def _failover(found: Failover) -> dict[str, Any]:
    return {
        "kills": len(found.seconds),
        "seconds": [round(one, 2) for one in found.seconds],
        "median_s": round(found.median_s, 2),
        "election_timeout_s": ELECTION_TIMEOUT_S,
        "median_in_election_timeouts": round(found.timeouts, 2),
    }


def _spelled(report: dict[str, Any]) -> str:
    lines = [f"{name:<18} {value}" for name, value in report.items() if name != "violations"]
    lines += [f"VIOLATION: {text}" for text in report["violations"]]
    return "\n".join([*lines, f"{'violations':<18} {len(report['violations'])}"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
