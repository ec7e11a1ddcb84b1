"""Binding: how long it takes to read a contract, and what hostile texts cost.

    python -m tests.benchmarks.binding [--rounds 5] [--profile]

Every preset is read in every language, after the import and after what is made once
for a language. Then each hostile text is checked at a quarter, half and the whole of the
size that a text may have: reading is linear when doubling the size doubles the time, or
less where reading stops early. Seconds are the process's own, the shortest of several
rounds; the reference is a fixed piece of work measured in the same run, so that numbers of
two computers can be compared. Nothing here passes or fails; the numbers are printed.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from time import process_time

from tests.zencode.hostile import HOSTILE
from zencode.commands import check
from zencode.document import MAX_TEXT_BYTES
from zencode.languages import LANGUAGES
from zencode.presets import NAMES, preset
from zencode.reader import read_document

ROUNDS = 5
#: A preset is read so often in one round that the clock's own steps do not count.
REPEATED = 10
FUNCTIONS_SHOWN = 16
REFERENCE_ADDITIONS = 1_000_000


def seconds(work: Callable[[], object], rounds: int, repeated: int = 1) -> float:
    """The shortest time that `work` took."""
    best = float("inf")
    for _ in range(rounds):
        began = process_time()
        for _ in range(repeated):
            work()
        best = min(best, (process_time() - began) / repeated)
    return best


def reference() -> int:
    """A million additions, the speed of this computer and this Python."""
    total = 0
    for number in range(REFERENCE_ADDITIONS):
        total += number
    return total


def presets(rounds: int) -> None:
    """Print what every preset takes, by language."""
    print(f"{'preset':28} {'statements':>10}  " + "  ".join(f"{code + ' ms':>7}" for code in LANGUAGES))
    for name in NAMES:
        statements = sum(line.statement is not None for line in read_document(preset(name)).lines)
        took = []
        for code in LANGUAGES:
            text = preset(name, code)
            read_document(text)
            took.append(seconds(partial(read_document, text), rounds, REPEATED))
        print(f"{name:28} {statements:10}  " + "  ".join(f"{1_000 * one:7.2f}" for one in took))


def hostile(rounds: int) -> float:
    """Print what every hostile text takes at three sizes, and the ratios. Gives the longest time."""
    sizes = (MAX_TEXT_BYTES // 4, MAX_TEXT_BYTES // 2, MAX_TEXT_BYTES)
    heads = "  ".join(f"{f'{size // 1024} KiB ms':>10}" for size in sizes)
    print(f"\n{'hostile text':34} {heads}  {'x2':>5}  {'x2':>5}")
    worst = 0.0
    for name, made in HOSTILE.items():
        took = [seconds(partial(check, made(size)), rounds) for size in sizes]
        worst = max(worst, *took)
        ratios = "  ".join(f"{later / earlier:5.1f}" for earlier, later in pairwise(took))
        print(f"{name:34} " + "  ".join(f"{1_000 * one:10.2f}" for one in took) + f"  {ratios}")
    return worst


def profile(name: str) -> None:
    """Print the functions that reading a preset spends most time in."""
    text = preset(name)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(10 * REPEATED):
        read_document(text)
    profiler.disable()
    print(f"\nown time by function, {name}")
    pstats.Stats(profiler).sort_stats("tottime").print_stats(FUNCTIONS_SHOWN)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--profile", action="store_true")
    chosen = parser.parse_args(arguments)
    presets(chosen.rounds)
    worst = hostile(chosen.rounds)
    unit = seconds(reference, chosen.rounds)
    print(f"\nthe longest of all: {1_000 * worst:.1f} ms, {worst / unit:.2f} times the reference")
    print(f"reference, {REFERENCE_ADDITIONS} additions: {1_000 * unit:.1f} ms")
    if chosen.profile:
        profile(NAMES[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
