"""Validators at the mercy of chance: power cuts, slow disks, bad wires and wrong clocks, drawn from a seed.

What must hold is checked after every step by the cluster itself. A seed that fails
prints itself; `pytest tests/network/test_chance.py -k "[5-17]"` replays it.
"""

from __future__ import annotations

import pytest

from protocols.records import QUORUM_BYZANTINE, QUORUM_MAJORITY, OpenCounters
from tests.network.cluster import ELECTION_TICKS, PERIOD_S, Cluster, Moment
from tests.network.liars import culprits
from tests.protocols.village import START_S

# Each run draws some of the faults, never all: one alone often shows more.
FAULTS = ("loss", "doubling", "reordering", "slow", "cuts", "power", "clocks", "elections")
ROUNDS = 25


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize(
    ("size", "mode"), [(3, QUORUM_MAJORITY), (5, QUORUM_MAJORITY), (4, QUORUM_BYZANTINE), (7, QUORUM_BYZANTINE)]
)
def test_whatever_happens_nothing_is_lost_and_nobody_is_blamed(size: int, mode: int, seed: int) -> None:
    cluster = Cluster(size, 1000 * size + seed, quorum_mode=mode)
    faults = {fault for fault in FAULTS if cluster.random.randrange(2)}
    try:
        for number in range(ROUNDS):
            draw(cluster, faults)
            speak(cluster, number)
            cluster.run(cluster.random.randrange(1, 2 * ELECTION_TICKS))
        cluster.heal()
        cluster.until(lambda: cluster.agreed() and cluster.ticks % 50 == 0, 100 * ELECTION_TICKS)
    except AssertionError as error:
        raise AssertionError(f"size {size}, seed {seed}, faults {sorted(faults)}: {error}") from error
    assert len(cluster.hashes()) == 1, f"size {size}, seed {seed}"
    assert cluster.validators["anna"].final_height > 2
    cluster.validators["anna"].machine.check_invariants()
    assert not culprits(cluster), f"size {size}, seed {seed}: honest nodes convict one another"


def draw(cluster: Cluster, faults: set[str]) -> None:
    """What is wrong in the next round."""
    homes, chance = cluster.village.homes, cluster.random
    if "loss" in faults:
        cluster.loss = chance.choice([0, 5, 30])
    if "doubling" in faults:
        cluster.doubling = chance.choice([0, 10, 40])
    if "reordering" in faults:
        cluster.reordering = chance.choice([0, 20, 80])
    if "slow" in faults:
        cluster.slow = {home: chance.choice([0, 1, 3, 2 * ELECTION_TICKS]) for home in homes}
    if "cuts" in faults:
        # Each direction by itself: some wires only carry one way.
        cluster.cut = {(a, b) for a in homes for b in homes if a != b and chance.randrange(100) < 15}
    if "clocks" in faults:
        cluster.offset_s = {home: chance.choice([0, 0, -8, 8, 40, -400]) for home in homes}
    for home in homes if "power" in faults else ():
        if home in cluster.down:
            if chance.randrange(100) < 60:
                cluster.start(home)
        elif chance.randrange(100) < 12:
            cluster.stop_writing(home, chance.choice(list(Moment)))
    if "elections" in faults:
        home = chance.choice(homes)
        if home in cluster.validators and home not in cluster.down:
            validator = cluster.validators[home]
            if chance.randrange(2):
                validator.campaign()
            else:
                validator.transfer(chance.randrange(1, len(homes) + 1))


def speak(cluster: Cluster, number: int) -> None:
    """Members and meters say something, and not everybody hears it."""
    cluster.now_s += cluster.random.choice([0, 1, 30, 450])
    homes = cluster.village.homes
    period = (cluster.now_s - START_S) // PERIOD_S - 1
    said = [
        cluster.village.reading(
            home,
            period_start_s=START_S + period * PERIOD_S,
            values=OpenCounters(import_wh=1000 * (period + 2), export_wh=0),
        )
        for home in homes
    ]
    start_s = START_S + (period + 3) * PERIOD_S
    said.append(cluster.village.order("anna", number, valid_until_s=cluster.now_s + 20, period_start_s=start_s))
    for receiver in homes:
        for signed in said:
            if cluster.random.randrange(100) < 70:
                # A node that is behind, or whose clock is, may refuse; another one has the record.
                cluster.pools[receiver].add(signed, cluster.now_s)
