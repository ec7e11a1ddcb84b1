"""Validators come and go at the mercy of chance: power cuts, bad wires and wrong clocks while decisions are made.

What must hold is checked after every step by the cluster itself. A seed that fails
prints itself; `pytest tests/network/test_changing_chance.py -k "[17]"` replays it.
"""

from __future__ import annotations

import pytest

from tests.network.changing import Changing
from tests.network.cluster import ELECTION_TICKS
from tests.network.test_chance import FAULTS, draw, speak

ROUNDS = 30
SIZE = 6


@pytest.mark.parametrize("seed", range(32))
def test_whoever_votes_there_is_one_history(seed: int) -> None:
    cluster = Changing(SIZE, 3 + seed % 3, 7000 + seed)
    faults = {fault for fault in FAULTS if cluster.random.randrange(2)}
    try:
        for number in range(ROUNDS):
            draw(cluster, faults)
            speak(cluster, number)
            decide(cluster)
            cluster.run(cluster.random.randrange(1, 2 * ELECTION_TICKS))
        cluster.heal()
        # Blocks of a clock that was ahead wait until that time has come.
        cluster.now_s += 500
        cluster.until(lambda: settled(cluster) and cluster.ticks % 50 == 0, 200 * ELECTION_TICKS)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, faults {sorted(faults)}: {error}") from error
    states = {cluster.machine_at(home).state_hash() for home in cluster.village.homes}
    assert len(states) == 1, f"seed {seed}"
    cluster.machine_at("anna").check_invariants()


def decide(cluster: Changing) -> None:
    """The administrator decides something, sensible or not, now and then."""
    if cluster.random.randrange(100) >= 40:
        return
    home = cluster.random.choice(cluster.village.homes)
    record = cluster.change(cluster.random.choice([1, 2]), home)
    for receiver in cluster.village.homes:
        if cluster.random.randrange(100) < 70:
            cluster.pools[receiver].add(record, cluster.now_s)


def settled(cluster: Changing) -> bool:
    """Everybody has everything and is what the ledger says."""
    heights = {cluster.machine_at(home).height for home in cluster.village.homes}
    if cluster.leader() is None or len(heights) > 1 or not cluster.agreed():
        return False
    voting = set(cluster.voters())
    return voting == set(cluster.validators)
