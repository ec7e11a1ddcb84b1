"""Year: a year of a community on disk, and how long a node takes to replay it.

    python -m tests.benchmarks.year [--homes 50] [--days 365] [--households TABLE] [--keep DIRECTORY] [--json]

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
from pathlib import Path
from time import perf_counter, process_time

import msgspec

from drivers.home import HomeSeries
from drivers.households import home_names, read_home, read_table
from drivers.simulated import SimulatedHome
from meshnode.cli.output import progress
from meshnode.keys import SigningKey, verify
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.replaying import replay
from meshnode.settlement.closing import PeriodClosed
from meshnode.store import Batch, HardState, SignState, Store, chain_of, microgrids, read_genesis
from protocols.block import Block, Parent, SignedRecord, sign_record
from protocols.records import DEFAULT_LIMITS, Genesis, OpenCounters, Reading, read_as, to_payload
from protocols.records.genesis import MAX_BLOCK_BYTES, MAX_MEMBERS
from tests.ledger.chain import PERIOD_S, Chain, entry_of, member, meter_id, period_s
from tests.protocols.keys import seed_of
from tests.protocols.village import START_S
from zencode.presets import preset

FOUNDERS = ("anna", "bela", "carla")
DAY_S = 86_400
PERIODS_A_DAY = DAY_S // PERIOD_S
# Every third roof has panels.
PV_PEAK_W = (6000, 0, 0)
# Recorded homes that are used again begin five weeks later, so that no two live the same day.
HOURS_APART = 5 * 7 * 24
# A block has a reading of each of as many homes as a genesis can have.
LIMITS = msgspec.structs.replace(DEFAULT_LIMITS, max_block_records=MAX_MEMBERS, max_block_bytes=MAX_BLOCK_BYTES)


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


def names(homes: int) -> list[str]:
    """Who lives there."""
    return [*FOUNDERS, *(f"home {number}" for number in range(4, homes + 1))][:homes]


class Home(msgspec.Struct, frozen=True):
    """A home: its meter's key and id, and what it counts."""

    key: SigningKey
    meter: bytes
    series: HomeSeries

    def reading(self, period: int, chain_id: bytes) -> SignedRecord:
        """What its meter signs at the end of a period."""
        at = self.series.registers(period_s(period + 1))
        values = OpenCounters(import_wh=at.import_wh, export_wh=at.export_wh)
        record = Reading(meter=self.meter, period_start_s=period_s(period), values=values)
        return sign_record(record, chain_id, self.key.public, self.key.sign)


def village(homes: int, table: Path | None) -> list[Home]:
    """The homes, with what their meters count: simulated, or of a table."""
    return [
        Home(SigningKey(seed_of(f"{name} meter")), meter_id(name), counted)
        for name, counted in zip(names(homes), _series(homes, table), strict=True)
    ]


def _series(homes: int, table: Path | None) -> list[HomeSeries]:
    # Registers begin with a day, as simulated homes do; the first period has a baseline before it.
    start_s = START_S - START_S % DAY_S - DAY_S
    if table is None:
        return [
            SimulatedHome(number + 1, 2_500_000 + 40_000 * number, PV_PEAK_W[number % len(PV_PEAK_W)], start_s)
            for number in range(homes)
        ]
    text = read_table(table)
    recorded = home_names(text)
    return [
        read_home(table, text, recorded[number % len(recorded)], start_s, number // len(recorded) * HOURS_APART)
        for number in range(homes)
    ]


def found(homes: int, name: str) -> Chain:
    """The community; the first three vote."""
    entries = [
        member(home, ("administrator", "prosumer") if home == "anna" else ("prosumer",)) for home in names(homes)
    ]
    return Chain(min(len(FOUNDERS), homes), binding=preset(name), members=tuple(entries), limits=LIMITS)


def make(directory: Path, homes: int, days: int, name: str, table: Path | None, *, quiet: bool = False) -> str:
    """Make the ledger in a node's directory; the state hash at its end, in hex."""
    chain, meters = found(homes, name), village(homes, table)
    Store.create(directory, to_payload(chain.genesis))
    machine, parent = chain.machine, chain.head
    pending: list[Block] = []
    closed, periods = 0, days * PERIODS_A_DAY
    with Store.open(directory, chain.chain_id) as store, progress("making the ledger", not quiet) as show:
        for period in range(-1, periods):
            state_hash = machine.state_hash()
            assert state_hash is not None
            head = {"time_s": period_s(period + 1) + 3, "state_height": machine.height, "state_hash": state_hash}
            records = [home.reading(period, chain.chain_id) for home in meters]
            block = chain.village.block(parent, chain.leader, chain.term, records, head=head)
            closed += sum(isinstance(event, PeriodClosed) for event in machine.apply(block))
            parent = Parent.of(block)
            pending.append(block)
            if len(pending) == PERIODS_A_DAY or period == periods - 1:
                height = block.header.height
                store.persist(
                    Batch(
                        entries=tuple(map(entry_of, pending)),
                        hard_state=HardState(chain.term, 1, height),
                        sign_state=SignState(1, b"", chain.term, height, block.block_hash, height),
                        certificates=((height, to_payload(chain.village.certificate(block))),),
                        final_height=height,
                    )
                )
                pending.clear()
                show(period + 1, periods)
    assert closed == periods, f"{closed} of {periods} periods have closed"
    found_hash = machine.state_hash()
    assert found_hash is not None
    return found_hash.hex()


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


def _replayed_elsewhere(directory: Path, number: int) -> Replayed:
    """The same by a process of its own, with its own order of hashes."""
    command = [sys.executable, "-m", "tests.benchmarks.year", "--replay", str(directory)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, check=True, env={**os.environ, "PYTHONHASHSEED": str(number)}
    )
    return msgspec.json.decode(done.stdout, type=Replayed)


def main() -> int:
    """Make, replay, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--preset", default="mid_market_village")
    parser.add_argument("--households", type=Path, help="a table of hourly series; else homes are simulated")
    parser.add_argument("--replays", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a new directory, where the ledger stays")
    parser.add_argument("--replay", type=Path, help="only replay the ledger of this directory; prints JSON")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if chosen.replay is not None:
        print(msgspec.json.encode(replayed(chosen.replay)).decode())
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        directory = chosen.keep or Path(scratch)
        directory.mkdir(exist_ok=True)
        began = perf_counter()
        made = make(directory, chosen.homes, chosen.days, chosen.preset, chosen.households, quiet=chosen.json)
        making_s = perf_counter() - began
        runs = [_replayed_elsewhere(directory, number) for number in range(chosen.replays)]
    same = all(run.state_hash == made for run in runs)
    if chosen.json:
        print(
            json.dumps({"making_s": making_s, "same": same, "replays": [msgspec.structs.asdict(run) for run in runs]})
        )
    else:
        _print(chosen.homes, chosen.days, making_s, made, runs)
    return 0 if same else 1


def _print(homes: int, days: int, making_s: float, made: str, runs: list[Replayed]) -> None:
    print(f"{homes} homes, {days} days, {homes * (days * PERIODS_A_DAY + 1)} readings")
    print(f"made in                {making_s:9.1f} s: signed, executed, certified, written")
    for run in runs:
        print(f"replayed in            {run.wall_s:9.1f} s  {run.readings / run.wall_s:9.0f} readings/s")
        print(f"  processor time       {run.cpu_s:9.1f} s  {run.readings / run.cpu_s:9.0f} readings/s")
        print(f"  rows are checked in  {run.opening_s:9.1f} s before")
        print(f"  memory at the end    {run.memory_kib / 1024:9.1f} MiB, at most {run.peak_kib / 1024:.1f} MiB")
        print(f"  rows in the state    {run.rows:9}")
        print(f"  state hash           {run.state_hash}{'' if run.state_hash == made else ', BUT IT WAS ' + made}")


if __name__ == "__main__":
    sys.exit(main())
