"""Year: a year of a community on disk, and how long a node takes to replay it.

    python -m tests.benchmarks.year [--homes 50] [--days 365] [--households TABLE] [--keep DIRECTORY] [--json]

A progress bar shows how far it is; a year of 50 homes, 1.75 million readings, takes some minutes and 0.3 GB of disk.

A ledger is made as nodes would have made it: every home reports the end of every quarter of an hour, each block has
the readings of one period, everything is really signed and certified and lies in the store. Homes are
simulated from seeds, or recorded ones (`--households` takes a table of hourly series; homes beyond those
in it live the same days some weeks later). Then the ledger is replayed by a process of its own, by what a
node does at its start, as often as `--replays` says. Each process has another order of hashes, and all
must come to the state hash of whoever made the blocks. The numbers are printed and judged by nobody.

With `--keep` the ledger stays, for `meshnode ledger verify DIRECTORY`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time

import msgspec

from meshnode.cli.output import progress
from meshnode.keys import verify
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.replaying import replay
from meshnode.store import Batch, HardState, SignState, Store, chain_of, microgrids, read_genesis
from protocols.block import Block
from protocols.records import Genesis, read_as, to_payload
from tests.benchmarks.community import PERIODS_A_DAY, found, made, village
from tests.ledger.chain import Chain, entry_of


class Replayed(msgspec.Struct, frozen=True):
    """What one replay came to. memory: resident at the end and at most, of a process that did nothing else."""

    blocks: int
    readings: int
    rows: int
    opening_s: float
    wall_s: float
    cpu_s: float
    memory_kib: int
    peak_kib: int
    state_hash: str


def make(chain: Chain, directory: Path, days: int, table: Path | None = None, *, quiet: bool = False) -> str:
    """Make the ledger in a node's directory; the state hash at its end, in hex.

    Args:
        chain: the community, at its genesis.
        table: of recorded homes; else they are simulated.
    """
    homes = village(len(chain.genesis.members), table)
    Store.create(directory, to_payload(chain.genesis))
    pending: list[Block] = []
    periods = days * PERIODS_A_DAY
    with Store.open(directory, chain.chain_id) as store, progress("making the ledger", not quiet) as show:
        for block in made(chain, homes, periods):
            pending.append(block)
            height = block.header.height
            if len(pending) == PERIODS_A_DAY or height == periods + 1:
                certificate = to_payload(chain.village.certificate(block))
                store.persist(
                    Batch(
                        entries=tuple(map(entry_of, pending)),
                        hard_state=HardState(chain.term, 1, height),
                        sign_state=SignState(1, b"", chain.term, height, block.block_hash, height),
                        certificates=((height, certificate),),
                        final_height=height,
                    )
                )
                pending.clear()
                show(height, periods + 1)
    state_hash = chain.machine.state_hash()
    assert state_hash is not None
    return state_hash.hex()


def replayed(directory: Path, *, quiet: bool = False) -> Replayed:
    """Open a node's ledger and execute it again, as a node does when it starts."""
    began = perf_counter()
    (place,) = microgrids(directory)
    chain_id = chain_of(read_genesis(place))
    with Store.open(directory, chain_id) as store, progress("replaying the ledger", not quiet) as show:
        opened, cpu = perf_counter(), process_time()
        machine = Machine(read_as(Genesis, read_genesis(place)), chain_id, installed_mechanisms(), verify)
        replay(machine, store, None, show)
        wall_s, cpu_s = perf_counter() - opened, process_time() - cpu
        blocks = store.final_height()
    machine.check_invariants()
    state_hash = machine.state_hash()
    assert state_hash is not None
    return Replayed(
        blocks=blocks,
        readings=blocks * len(machine.genesis.members),
        rows=machine.state.size,
        opening_s=opened - began,
        wall_s=wall_s,
        cpu_s=cpu_s,
        memory_kib=_resident_kib(),
        peak_kib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        state_hash=state_hash.hex(),
    )


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def _replayed_elsewhere(directory: Path, number: int, quiet: bool) -> Replayed:
    """The same by a process of its own, with its own order of hashes."""
    command = [sys.executable, "-m", "tests.benchmarks.year", "--replay", str(directory), *["--json"] * quiet]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, env={**os.environ, "PYTHONHASHSEED": str(number)}
    )
    return msgspec.json.decode(done.stdout, type=Replayed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--preset", default="mid_market_village")
    parser.add_argument("--corrections", type=int, help="days for which they are accepted, if not as the preset says")
    parser.add_argument("--households", type=Path, help="a table of hourly series; else homes are simulated")
    parser.add_argument("--replays", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a new directory, where the ledger stays")
    parser.add_argument("--replay", type=Path, help="only replay the ledger of this directory; prints JSON")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    if chosen.replay is not None:
        print(msgspec.json.encode(replayed(chosen.replay, quiet=chosen.json)).decode())
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        directory = chosen.keep or Path(scratch)
        directory.mkdir(exist_ok=True)
        began = perf_counter()
        chain = found(chosen.homes, chosen.preset, chosen.corrections)
        expected = make(chain, directory, chosen.days, chosen.households, quiet=chosen.json)
        making_s = perf_counter() - began
        runs = [_replayed_elsewhere(directory, number, chosen.json) for number in range(chosen.replays)]
    same = all(run.state_hash == expected for run in runs)
    if chosen.json:
        print(
            json.dumps({"making_s": making_s, "same": same, "replays": [msgspec.structs.asdict(run) for run in runs]})
        )
    else:
        report(chosen.homes, chosen.days, making_s, expected, runs)
    return 0 if same else 1


def report(homes: int, days: int, making_s: float, expected: str, runs: list[Replayed]) -> None:
    """Print what became of a year; `expected` is the state hash of whoever made it."""
    print(f"{homes} homes, {days} days, {homes * (days * PERIODS_A_DAY + 1)} readings")
    print(f"made in                {making_s:9.1f} s: signed, executed, certified, written")
    for run in runs:
        print(f"replayed in            {run.wall_s:9.1f} s  {run.readings / run.wall_s:9.0f} readings/s")
        print(f"  processor time       {run.cpu_s:9.1f} s  {run.readings / run.cpu_s:9.0f} readings/s")
        print(f"  rows are checked in  {run.opening_s:9.1f} s before")
        print(f"  memory at the end    {run.memory_kib / 1024:9.1f} MiB, at most {run.peak_kib / 1024:.1f} MiB")
        print(f"  rows in the state    {run.rows:9}")
        print(
            f"  state hash           {run.state_hash}{'' if run.state_hash == expected else ', BUT IT WAS ' + expected}"
        )


if __name__ == "__main__":
    sys.exit(main())
