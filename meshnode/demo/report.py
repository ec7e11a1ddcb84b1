"""Report: what a demonstration has shown, asked of the nodes and checked by fresh processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import trio
from rich.console import Console
from rich.progress import Progress

from meshnode.amounts import PPM, format_count, format_energy, format_money
from meshnode.demo.homes import REHEARSED_PERIODS, Options
from meshnode.loopback import NodeProcess

# A block takes a moment from node to node; a correction in one of them is not a difference.
ATTEMPTS = 20
RETRY_S = 0.25


async def collect(processes: Sequence[NodeProcess], options: Options) -> dict[str, Any]:
    """Ask every node for what it has; nothing comes from the process that plays the demo.

    The ledger goes on while it is asked, so the nodes are asked again until all of them
    speak of the same periods, corrections included.
    """
    for _ in range(ATTEMPTS):
        statuses = [await process.client.get("/api/status") for process in processes]
        reports = [await process.client.get("/api/report") for process in processes]
        periods = _common([report["periods"] for report in reports])
        if periods is not None:
            break
        await trio.sleep(RETRY_S)
    common = min(status["height"] for status in statuses)
    nodes = []
    for process, status, own in zip(processes, statuses, reports, strict=True):
        state = await process.client.get(f"/api/state/{common}")
        nodes.append(
            {
                "name": process.name,
                "height": status["height"],
                "state_hash": state["state_hash"],
                "certificates_verified": status["certificates_verified"],
                "readings": own["readings"],
                "orders": own["orders"],
                "trades": own["trades"],
                "rss_mb": status["rss_mb"],
                "startup_s": status["startup_s"],
                "commit_ms": status["commit_ms"],
                "screen_ms": status["screen_ms"],
            }
        )
    return {
        "common_height": common,
        "chain_id": statuses[0]["chain_id"],
        "demonstration_clock_speed": options.speed,
        "nodes": nodes,
        "periods": periods if periods is not None else reports[0]["periods"],
        "nodes_agree_on_periods": periods is not None,
        # The slowest node's figures stand for the microgrid.
        "commit_ms": _slowest(status["commit_ms"] for status in statuses),
        "screen_ms": _slowest(status["screen_ms"] for status in statuses),
    }


def _common(reports: list[list[dict[str, Any]]]) -> list[dict[str, Any]] | None:
    """The periods that all nodes report, if they report them alike."""
    shortest = min(reports, key=len)
    return shortest if all(report[: len(shortest)] == shortest for report in reports) else None


def incomplete(periods: Sequence[dict[str, Any]], options: Options) -> list[int]:
    """Numbers of the periods, of those that were asked for, that lack a reading which nobody left out on purpose.

    Newer ones do not count: their readings may still be under way.
    """
    return [
        number
        for number, period in enumerate(periods[: options.wanted])
        if number not in REHEARSED_PERIODS and period["completeness_ppm"] < PPM
    ]


async def verify(processes: Sequence[NodeProcess], common_height: int, console: Console) -> list[dict[str, Any]]:
    """Every ledger again, each by a fresh process that knows nothing but the directory."""
    results = []
    what = "verifying every ledger in a fresh process"
    if not console.is_interactive:
        console.print(what)
    with Progress(console=console, disable=not console.is_interactive) as progress:
        task = progress.add_task(what, total=len(processes))
        for process in processes:
            command = [sys.executable, "-m", "meshnode", "ledger", "verify", str(process.directory), "--json"]
            command += ["--state-at", str(common_height)]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
            result: dict[str, Any] = {"name": process.name, "exit_code": done.returncode}
            try:
                result |= json.loads(done.stdout)
            except ValueError:
                result["error"] = done.stderr.decode(errors="replace")[-500:]
            results.append(result)
            progress.advance(task)
    return results


def conclude(
    report: dict[str, Any], verified: list[dict[str, Any]], options: Options, currency: str, console: Console
) -> int:
    """Print what was reached, write the report, and say whether everything holds (0) or not (1)."""
    common = report["common_height"]
    faults = [f"the ledger of {r['name']} does not verify: {r}" for r in verified if r["exit_code"] != 0]
    hashes = {node["state_hash"] for node in report["nodes"]} | {str(r.get("state_at")) for r in verified}
    if len(hashes) != 1:
        faults.append(f"state hashes at height {common} differ: {sorted(hashes)}")
    if not report["nodes_agree_on_periods"]:
        faults.append("the nodes report different periods")
    lacking = incomplete(report["periods"], options)
    if lacking:
        faults.append(
            f"{len(lacking)} of {options.wanted} periods were settled with estimates, beside the rehearsed trouble: "
            f"not every meter was read in time; is this computer busy? a lower --speed than {options.speed} helps"
        )
    report["verified"] = [
        {"name": r["name"], "exit_code": r["exit_code"], "state_hash": r.get("state_at")} for r in verified
    ]
    report["holds"] = not faults
    if options.report is not None:
        options.report.write_text(json.dumps(report, indent=1) + "\n")
        console.print(f"report: {options.report}")
    for node in report["nodes"]:
        console.print(
            f"  {node['name']:6} height {node['height']}  state {node['state_hash'][:16]}  "
            f"{node['readings']} readings, {node['orders']} orders, {node['trades']} trades, {node['rss_mb']} MB"
        )
    console.print(_sums(report["periods"], currency))
    for fault in faults:
        console.print(fault, style="red", markup=False)
    return 1 if faults else 0


def _sums(periods: list[dict[str, Any]], currency: str) -> str:
    members = [member for period in periods for member in period["members"].values()]
    used, own, neighbours = (
        format_energy(sum(member[name] for member in members)) for name in ("consumption_wh", "own_wh", "neighbours_wh")
    )
    paid = format_money(sum(member["out_u"] for member in members), currency)
    settled = format_count(len(periods), "period")
    return f"{settled} settled: {used} used, {own} from own roofs, {neighbours} from neighbours; {paid} paid"


def _slowest(figures: Iterable[dict[str, int]]) -> dict[str, int]:
    known = [figure for figure in figures if figure]
    return {name: max(figure[name] for figure in known) for name in ("p50", "p95")} if known else {}
