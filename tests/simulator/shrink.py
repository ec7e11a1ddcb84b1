"""Shrink: cuts a failing plan down while it still fails in the same way.

Episodes are taken out in halves, quarters, eighths and so on (Zeller and Hildebrandt,
"Simplifying and isolating failure-inducing input", 2002), then lies, then what members
say. A run ends at its failure, so that a plan that fails sooner is shorter by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from tests.simulator.plan import Plan
from tests.simulator.world import Outcome, World

# A failure that takes long to come would take hours to cut down.
SHRINK_S = 60.0


def shrink(plan: Plan, failed: Outcome, clock: Callable[[], float] = time.monotonic) -> tuple[Plan, Outcome]:
    """The smallest plan found within `SHRINK_S` that breaks the same invariant, and what came of it."""
    end = clock() + SHRINK_S
    best, outcome = plan, failed

    def still_fails(candidate: Plan) -> bool:
        nonlocal best, outcome
        tried = World(candidate).run()
        if tried.invariant != failed.invariant:
            return False
        best, outcome = candidate, tried
        return True

    happened = [episode.number for episode in best.episodes if episode.start_ms <= failed.simulated_ms]
    still_fails(best.only(tuple(happened)))
    size = len(best.episodes)
    while size and clock() < end:
        numbers = [episode.number for episode in best.episodes]
        for start in range(0, len(numbers), size):
            kept = (*numbers[:start], *numbers[start + size :])
            if clock() >= end or (len(kept) < len(numbers) and still_fails(best.only(kept))):
                break
        else:
            size //= 2
        size = min(size, len(best.episodes))
    for lie in best.lies:
        if len(best.lies) > 1 and clock() < end:
            still_fails(msgspec.structs.replace(best, lies=tuple(one for one in best.lies if one != lie)))
    for rate in (1, 60):
        if rate < best.records_per_hour and clock() < end:
            still_fails(msgspec.structs.replace(best, records_per_hour=rate))
    return best, outcome
