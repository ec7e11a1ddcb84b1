"""Settle: how many readings a second the state machine settles, single-threaded, and where the time goes.

    python -m tests.benchmarks.settle [--homes 50] [--periods 96] [--preset mid_market_village] [--profile]
    python -m tests.benchmarks.settle --days 60 [--corrections 60]

A made-up community is signed and put into blocks first, one block for each period with the readings of all
homes. Then a fresh machine executes the blocks: registers, closing, sharing, postings, claims, the origin of periods
that no correction can change any more, and the state hash after every block. What a validator does
before that - decoding records and checking their signatures - is measured apart. Seconds are the process's
own, so that other programs count little; what still differs from computer to computer and from hour to hour
shows in the reference, a fixed piece of work that is measured in the same run: so many hashes of two hashes.

With `--days`, the speed is printed day after day: it must not fall while history grows. The state keeps a period
until no correction and no estimate needs it, here for six days; with `--corrections` for longer. Nothing
here passes or fails; the numbers are printed.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
from collections.abc import Sequence
from pathlib import Path
from time import process_time

from meshnode.machine import Machine
from protocols import block as blocks
from protocols import merkle
from protocols.block import Block
from tests.benchmarks.community import PERIODS_A_DAY, found, made, village
from tests.ledger.chain import Chain

ROUNDS = 3
FUNCTIONS_SHOWN = 16
ROOT = Path(__file__).parents[2]
# About a twentieth of a second: long enough to be measured, short enough to be measured often.
REFERENCE_HASHES = 50_000
# The days that are printed, of those that are measured: growth shows on a scale of factors.
DAYS_SHOWN = (1, 2, 4, 7, 10, 15, 20, 30, 40, 50, 60)


class Timed:
    """A machine's state hash, and how long it took."""

    def __init__(self, machine: Machine) -> None:
        self._hash = machine.state.state_hash
        self.seconds = 0.0

    def __call__(self) -> bytes:
        began = process_time()
        found_hash = self._hash()
        self.seconds += process_time() - began
        return found_hash


def executed(chain: Chain, made_blocks: list[Block]) -> tuple[float, float]:
    """Seconds that a fresh machine takes to execute all blocks, and those of them for the state hash.

    It must end where the first machine did.
    """
    machine = chain.replay()
    timed = Timed(machine)
    machine.state.state_hash = timed  # type: ignore[method-assign]
    began = process_time()
    for block in made_blocks:
        machine.apply(block)
    seconds = process_time() - began
    assert machine.state_hash() == chain.machine.state_hash()
    return seconds, timed.seconds


def checked(chain: Chain, made_blocks: list[Block]) -> float:
    """Seconds to decode all blocks and to check every record's signature and validity, as a validator does."""
    machine = chain.replay()
    seconds = 0.0
    for block in made_blocks:
        blocks.read.cache_clear()
        began = process_time()
        fault = machine.check_view(blocks.read(block.encoded, chain.chain_id))
        seconds += process_time() - began
        assert fault is None, fault
        machine.apply(block)
    return seconds


def reference() -> float:
    """Seconds that a hash of two hashes takes, the work that Merkle trees are made of."""
    value = bytes(32)
    began = process_time()
    for _ in range(REFERENCE_HASHES):
        value = merkle.node_hash(value, value)
    return (process_time() - began) / REFERENCE_HASHES


def by_day(chain: Chain, homes: int, days: int) -> None:
    """Print how fast each day is settled while history grows."""
    # Made and executed in one go: 60 days of decoded records would fill the memory that is measured.
    machine = chain.replay()
    readings = homes * PERIODS_A_DAY
    print(f"{homes} homes, {readings} readings a day; a reading costs as much as so many hashes of two hashes")
    print(f"{'day':>4} {'readings/s':>11} {'without hash':>13} {'hashes':>7} {'rows in state':>14}")
    timed = Timed(machine)
    machine.state.state_hash = timed  # type: ignore[method-assign]
    seconds, unit = 0.0, reference()
    for block in made(chain, village(homes), days * PERIODS_A_DAY):
        began = process_time()
        machine.apply(block)
        seconds += process_time() - began
        day, periods = divmod(block.header.height - 1, PERIODS_A_DAY)
        if day and not periods:
            unit = (unit + reference()) / 2
            if day in DAYS_SHOWN or day == days:
                rate, bare = readings / seconds, readings / (seconds - timed.seconds)
                cost = seconds / readings / unit
                print(f"{day:4} {rate:11.0f} {bare:13.0f} {cost:7.1f} {machine.state.size:14}", flush=True)
            seconds = timed.seconds = 0.0
            unit = reference()
    assert machine.state_hash() == chain.machine.state_hash()


def profile(chain: Chain, made_blocks: list[Block]) -> None:
    """Print the functions that most time is spent in, and what each layer spends in its own code."""
    profiler = cProfile.Profile()
    machine = chain.replay()
    profiler.enable()
    for block in made_blocks:
        machine.apply(block)
    profiler.disable()
    stats = pstats.Stats(profiler)
    timings = stats.stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in timings.values())
    layers: dict[str, float] = {}
    rows = []
    for (file, line, function), (_, calls, own, _, _) in timings.items():
        path = Path(file)
        place = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else "python"
        layer = "/".join(place.split("/")[:2]) if place != "python" else place
        layers[layer] = layers.get(layer, 0.0) + own
        rows.append((own, calls, f"{place}:{line} {function}" if place != "python" else function))
    print("\nown time by layer (with the profiler on, which slows small functions down most)")
    for layer, own in sorted(layers.items(), key=lambda entry: -entry[1]):
        if own / total >= 0.005:
            print(f"  {100 * own / total:5.1f} %  {layer}")
    print("own time by function")
    for own, calls, where in sorted(rows, reverse=True)[:FUNCTIONS_SHOWN]:
        print(f"  {100 * own / total:5.1f} %  {calls:9} calls  {where}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=50)
    parser.add_argument("--periods", type=int, default=96)
    parser.add_argument("--preset", default="mid_market_village")
    parser.add_argument("--days", type=int, help="print the speed of each of so many days")
    parser.add_argument("--corrections", type=int, help="days for which they are accepted, if not as the preset says")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args(arguments)
    chain = found(chosen.homes, chosen.preset, chosen.corrections)
    if chosen.days:
        by_day(chain, chosen.homes, chosen.days)
        return 0
    made_blocks = list(made(chain, village(chosen.homes), chosen.periods))
    readings = sum(len(block.records) for block in made_blocks)
    print(
        f"{chosen.homes} homes, {chosen.periods} periods, {readings} readings, preset {chosen.preset}, best of {ROUNDS}"
    )
    # The shortest of several measurements is what the computer does when nothing else disturbs it.
    unit = min(reference() for _ in range(ROUNDS))
    seconds, hashing = min(executed(chain, made_blocks) for _ in range(ROUNDS))
    verifying = min(checked(chain, made_blocks) for _ in range(ROUNDS))
    unit = min(unit, *(reference() for _ in range(ROUNDS)))
    for what, took in (
        ("execute and settle", seconds),
        ("  without the state hash", seconds - hashing),
        ("  the state hash", hashing),
        ("decode and check signatures", verifying),
    ):
        hashes = took / readings / unit
        print(f"{what:28} {took:8.3f} s  {readings / took:9.0f} readings/s  each as long as {hashes:6.1f} hashes")
    print(f"{'reference':28} {1 / unit:9.0f} hashes of two hashes a second")
    if chosen.profile:
        profile(chain, made_blocks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
