"""Settle: how many readings a second the state machine settles, single-threaded, and where the time goes.

    python -m tests.benchmarks.settle [--homes 50] [--periods 96] [--preset mid_market_village] [--profile]

A day of a made-up community is signed and put into blocks first, one block for each period with the
readings of all homes. Then a fresh machine executes the blocks: registers, closing, sharing, postings,
claims, and the state hash after every block. What a validator does before that - decoding records and checking
their signatures - is measured apart. Seconds are the process's own, so that other programs
count little. The state hash grows with the history that the state keeps, which is full after four days
(--periods 400). Nothing here passes or fails; the numbers are printed.
"""

import argparse
import cProfile
import pstats
import sys
from pathlib import Path
from random import Random
from time import process_time

from meshnode.settlement.closing import PeriodClosed
from protocols import block as blocks
from tests.ledger.chain import Chain, member, period_s
from zencode.presets import preset

FOUNDERS = ("anna", "bela", "carla")
ROUNDS = 3
FUNCTIONS_SHOWN = 16
ROOT = Path(__file__).parents[2]


def community(homes: int, periods: int, name: str) -> Chain:
    """A community whose every home has reported every period; each block closes one."""
    names = [*FOUNDERS, *(f"home {number}" for number in range(4, homes + 1))][:homes]
    entries = [member(home, ("administrator", "prosumer") if home == "anna" else ("prosumer",)) for home in names]
    chain = Chain(min(3, homes), binding=preset(name), members=tuple(entries))
    random = Random(7)
    taken, given = dict.fromkeys(names, 10_000), dict.fromkeys(names, 10_000)
    chain.block(*(chain.reading(home, -1, taken[home], given[home]) for home in names))
    for period in range(periods):
        # The sun shines on every third roof in the middle half of the day.
        sunny = periods // 4 <= period < 3 * periods // 4
        for number, home in enumerate(names):
            if sunny and number % 3 == 0:
                given[home] += random.randrange(100, 900)
            else:
                taken[home] += random.randrange(50, 400)
        chain.block(
            *(chain.reading(home, period, taken[home], given[home]) for home in names), time_s=period_s(period + 1) + 3
        )
    closed = [event for events in chain.events.values() for event in events if isinstance(event, PeriodClosed)]
    assert len(closed) == periods, f"{len(closed)} of {periods} periods have closed"
    return chain


def executed(chain: Chain) -> tuple[float, float]:
    """Seconds that a fresh machine takes to execute all blocks, and those of them for the state hash.

    It must end where the first machine did.
    """
    machine = chain.replay()
    hashing = 0.0
    state_hash = machine.state.state_hash

    def timed() -> bytes:
        nonlocal hashing
        began = process_time()
        found = state_hash()
        hashing += process_time() - began
        return found

    machine.state.state_hash = timed  # type: ignore[method-assign]
    began = process_time()
    for block in chain.blocks:
        machine.apply(block)
    seconds = process_time() - began
    assert machine.state_hash() == chain.machine.state_hash()
    return seconds, hashing


def checked(chain: Chain) -> float:
    """Seconds to decode all blocks and to check every record's signature and validity, as a validator does."""
    machine = chain.replay()
    encoded = [block.encoded for block in chain.blocks]
    seconds = 0.0
    for data, block in zip(encoded, chain.blocks, strict=True):
        began = process_time()
        fault = machine.check_view(blocks.read(data, chain.chain_id))
        seconds += process_time() - began
        assert fault is None, fault
        machine.apply(block)
    return seconds


def profile(chain: Chain) -> None:
    """Print the functions that most time is spent in, and what each layer spends in its own code."""
    profiler = cProfile.Profile()
    machine = chain.replay()
    profiler.enable()
    for block in chain.blocks:
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


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--homes", type=int, default=50)
    parser.add_argument("--periods", type=int, default=96)
    parser.add_argument("--preset", default="mid_market_village")
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args()
    chain = community(chosen.homes, chosen.periods, chosen.preset)
    readings = sum(len(block.records) for block in chain.blocks)
    print(
        f"{chosen.homes} homes, {chosen.periods} periods, {readings} readings, preset {chosen.preset}, best of {ROUNDS}"
    )
    # The shortest of several measurements is what the computer does when nothing else disturbs it.
    seconds, hashing = min(executed(chain) for _ in range(ROUNDS))
    verifying = min(checked(chain) for _ in range(ROUNDS))
    for what, took in (
        ("execute and settle", seconds),
        ("  without the state hash", seconds - hashing),
        ("  the state hash", hashing),
        ("decode and check signatures", verifying),
    ):
        print(f"{what:28} {took:8.3f} s  {readings / took:9.0f} readings/s")
    if chosen.profile:
        profile(chain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
