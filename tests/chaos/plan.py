"""Plan: which faults happen when, to whom and for how long - all drawn from the seed."""

from __future__ import annotations

from enum import StrEnum
from random import Random

import msgspec

# A fault begins so long after the one before, seconds.
PAUSE_S = (0.5, 4.0)
LENGTH_S = (1.5, 9.0)
# Of faults for a validator, so many in a hundred are for whoever leads then.
LEADER_PERCENT = 40
# Within what the community allows (10 s), and far beyond it.
OFFSETS_S = (-120.0, -8.0, -3.0, 3.0, 8.0, 120.0)


class Fault(StrEnum):
    """What can happen to a node."""

    KILL = "kill -9"
    FREEZE = "SIGSTOP"
    CUT = "cut off"
    DEAF = "hears nobody"
    MUTE = "heard by nobody"
    ONE_WAY = "one link in one direction"
    SPLIT = "two halves"
    CLOCK = "clock wrong"
    DISK_FULL = "disk full"
    OLD_DIRECTORY = "old directory restored"


_WEIGHTS = {
    Fault.KILL: 5,
    Fault.FREEZE: 4,
    Fault.CUT: 3,
    Fault.DEAF: 2,
    Fault.MUTE: 2,
    Fault.ONE_WAY: 2,
    Fault.SPLIT: 2,
    Fault.CLOCK: 3,
    Fault.DISK_FULL: 2,
    Fault.OLD_DIRECTORY: 1,
}


class Planned(msgspec.Struct, frozen=True):
    """One fault.

    victim: number of a node; leads: whether it is rather for whoever leads then, if somebody does.
    offset_s: of a wrong clock. others: whom a split or a one-way cut concerns besides the victim.
    """

    at_s: float
    length_s: float
    fault: Fault
    victim: int
    leads: bool
    offset_s: float = 0.0
    others: tuple[int, ...] = ()


def plan(seed: int, seconds: float, voters: int, learners: int, faults: frozenset[Fault]) -> tuple[Planned, ...]:
    """Faults for so many seconds. Every kind in `faults` comes before any comes a second time.

    Args:
        faults: those that can be made here.
    """
    random = Random(f"plan {seed}")
    found: list[Planned] = []
    fresh: list[Fault] = []
    at_s = random.uniform(*PAUSE_S)
    while at_s + LENGTH_S[0] < seconds:
        if not found:
            fresh = sorted(faults)
            random.shuffle(fresh)
        fault = fresh.pop() if fresh else random.choices(sorted(faults), [_WEIGHTS[one] for one in sorted(faults)])[0]
        found.append(_drawn(random, at_s, min(random.uniform(*LENGTH_S), seconds - at_s), fault, voters, learners))
        at_s += random.uniform(*PAUSE_S)
    return tuple(found)


def _drawn(random: Random, at_s: float, length_s: float, fault: Fault, voters: int, learners: int) -> Planned:
    everybody = range(voters + learners)
    leads = random.randrange(100) < LEADER_PERCENT and fault is not Fault.OLD_DIRECTORY
    victim = random.choice(everybody)
    others: tuple[int, ...] = ()
    if fault is Fault.SPLIT:
        # The victim's half is the smaller one.
        rest = [number for number in everybody if number != victim]
        others = tuple(sorted(random.sample(rest, (voters - 1) // 2 - 1 + random.randrange(2))))
    elif fault is Fault.ONE_WAY:
        others = (random.choice([number for number in everybody if number != victim]),)
    return Planned(at_s, length_s, fault, victim, leads, random.choice(OFFSETS_S), others)
