"""Judge: what must hold when everything is healed - of the ledgers on the disks, of the books, of the history."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import trio

from meshnode import fate
from meshnode.loopback import NodeProcess
from meshnode.store import LedgerReader
from meshnode.store.place import microgrid_directory
from protocols import block as blocks
from tests.chaos.clients import VALID_S, Clients, Told
from tests.chaos.grid import Grid
from tests.linearizability.checker import Result, check
from tests.linearizability.ledger import LEDGER

# A ledger of ten minutes is verified in some seconds, on busy cores in a minute.
VERIFY_S = 300
# Longer than any record is valid, with time to ask for it.
SETTLE_S = 3.0 * VALID_S
# What is shown of a list of violations of one kind.
SHOWN = 5


async def settled(grid: Grid, clients: Clients) -> list[str]:
    """Settle what is open by asking for it, and wait until all nodes agree; what did not come about."""
    async with trio.open_nursery() as nursery:
        # The ledger's time only goes on with blocks: somebody goes on writing.
        nursery.start_soon(clients.run, 1, 0)
        with trio.move_on_after(SETTLE_S):
            async with trio.open_nursery() as asking:
                for told in clients.open():
                    asking.start_soon(clients.settle, told)
        nursery.cancel_scope.cancel()
    # What that last writer left open.
    with trio.move_on_after(SETTLE_S):
        for told in clients.open():
            await clients.settle(told)
    left = [told.record_id for told in clients.open()]
    await grid.until("all nodes agree at the end", grid.agreed)
    return [f"{len(left)} records stay unknown: {', '.join(left[:SHOWN])}"] if left else []


def disks(grid: Grid, clients: Clients, nodes: Sequence[NodeProcess]) -> tuple[list[str], set[str]]:
    """Hold the ledgers of stopped nodes against the books; violations, and the state hashes at one height."""
    violations: list[str] = []
    standing = {node.name: _read(grid, node) for node in nodes}
    common = min(height for height, _ in standing.values())
    hashes: set[str] = set()
    for node in nodes:
        _, counted = standing[node.name]
        violations += _held_against(clients, node, counted)
        command = ["-m", "meshnode", "ledger", "verify", str(node.directory), "--state-at", str(common), "--json"]
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, timeout=VERIFY_S)
        if done.returncode != 0:
            violations.append(f"{node.name}: ledger verify: exit code {done.returncode}\n{done.stdout}{done.stderr}")
            continue
        hashes.add(json.loads(done.stdout)["state_at"])
    if len(hashes) > 1:
        violations.append(f"state hashes at height {common} differ: {sorted(hashes)}")
    return violations, hashes


def _read(grid: Grid, node: NodeProcess) -> tuple[int, Counter[str]]:
    """The final height of a ledger, and how often each record stands in its final blocks."""
    counted: Counter[str] = Counter()
    with LedgerReader(microgrid_directory(node.directory, grid.chain_id)) as reader:
        final = reader.standing().final_height
        for height in range(1, final + 1):
            entry = reader.entry(height)
            assert entry is not None, f"{node.name}: no block {height} below the final height {final}"
            counted.update(one.record_id.hex() for one in blocks.read(entry.data, grid.chain_id).records)
    return final, counted


def _held_against(clients: Clients, node: NodeProcess, counted: Counter[str]) -> list[str]:
    wrong: dict[str, list[str]] = {}
    for told in clients.books.values():
        if told.fate is None:
            continue
        expected, count = _times(told), counted[told.record_id]
        if count != expected:
            what = f"{told.fate.status} {told.fate.verdict} {told.bad}".strip()
            wrong.setdefault(f"told {what}, {count} times on the ledger instead of {expected}", []).append(
                told.record_id
            )
    return [f"{node.name}: {what}: {len(ids)} records, {', '.join(ids[:SHOWN])}" for what, ids in wrong.items()]


def _times(told: Told) -> int:
    """How often a record stands on every ledger, by what its client was told."""
    assert told.fate is not None
    return 1 if told.fate.status == fate.FINAL else 0


def history(clients: Clients) -> Result:
    """Whether some order of one operation at a time explains what all clients were told."""
    return check(clients.recorder.history(), LEDGER)
