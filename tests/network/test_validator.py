"""Validators agree: stories in one thread, without network and disk."""

from __future__ import annotations

import pytest

from protocols.records import OpenCounters
from tests.network.cluster import PERIOD_S, Cluster
from tests.protocols.village import START_S


def reading(cluster: Cluster, home: str, period: int, wh: int):
    """The home's register at the end of a period, counted from the first (-1: the baseline)."""
    return cluster.village.reading(
        home,
        period_start_s=START_S + period * PERIOD_S,
        values=OpenCounters(import_wh=wh, export_wh=0),
    )


def settle_period(cluster: Cluster, period: int) -> None:
    """Every home reports the end of a period, and it closes everywhere."""
    cluster.now_s = max(cluster.now_s, START_S + (period + 1) * PERIOD_S)
    for number, home in enumerate(cluster.village.homes):
        cluster.add(reading(cluster, home, period, 1000 * (period + 2) + number))


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_microgrid_settles_a_period(size: int) -> None:
    cluster = Cluster(size)
    cluster.until(lambda: cluster.leader() and cluster.heights() == {1})
    settle_period(cluster, -1)
    settle_period(cluster, 0)
    cluster.until(lambda: all(v.machine.next_period_s == START_S + PERIOD_S for v in cluster.validators.values()))
    cluster.run(5)
    assert len(cluster.hashes()) == 1
    assert not cluster.faults
    machine = cluster.validators["anna"].machine
    machine.check_invariants()
    assert sum(row.import_wh for _, row in machine.state.metered.items()) == 1000 * size


def test_a_follower_that_was_away_catches_up() -> None:
    cluster = Cluster(3)
    cluster.until(lambda: cluster.leader() and cluster.heights() == {1})
    away = next(home for home in cluster.village.homes if home != cluster.leader())
    cluster.stop(away)
    settle_period(cluster, -1)
    for period in range(60):
        cluster.now_s = START_S + (period + 1) * PERIOD_S
        for number, home in enumerate(cluster.village.homes):
            cluster.pools[cluster.leader()].add(
                reading(cluster, home, period, 1000 * (period + 2) + number), cluster.now_s
            )
        cluster.run(3)
    leader = cluster.validators[cluster.leader()]
    assert leader.final_height >= 60
    cluster.start(away)
    cluster.until(lambda: cluster.validators[away].final_height == leader.final_height)
    assert len(cluster.hashes()) == 1
    assert not cluster.faults


def test_the_leader_dies_and_a_new_one_goes_on() -> None:
    cluster = Cluster(3)
    cluster.until(lambda: cluster.leader() and cluster.heights() == {1})
    settle_period(cluster, -1)
    cluster.run(3)
    old = cluster.leader()
    assert old is not None
    cluster.stop(old)
    cluster.until(lambda: cluster.leader() not in (None, old))
    settle_period(cluster, 0)
    cluster.run(5)
    cluster.start(old)
    cluster.until(lambda: len(cluster.heights()) == 1 and not cluster.wires)
    cluster.run(5)
    assert len(cluster.hashes()) == 1
    assert not cluster.faults
    assert {v.machine.next_period_s for v in cluster.validators.values()} == {START_S + PERIOD_S}


@pytest.mark.parametrize("seed", range(12))
def test_loss_crashes_and_cuts_never_lose_what_is_final(seed: int) -> None:
    cluster = Cluster(5 if seed % 2 else 3, seed)
    homes = cluster.village.homes
    final: dict[int, bytes] = {}

    def check() -> None:
        for home, validator in cluster.validators.items():
            for height in range(1, cluster.disks[home].final + 1):
                block = cluster.disks[home].log[height].block_hash
                assert final.setdefault(height, block) == block, f"seed {seed}: height {height} differs"
            assert validator.halted is None, f"seed {seed}: {validator.halted}"

    for _ in range(40):
        cluster.loss = cluster.random.choice([0, 0, 5, 30])
        cluster.cut = {(a, b) for a in homes for b in homes if a != b and cluster.random.randrange(100) < 10}
        for home in homes:
            chance = cluster.random.randrange(100)
            if home in cluster.down:
                if chance < 60:
                    cluster.start(home)
            elif chance < 8:
                cluster.stop(home)
        cluster.now_s += 450
        period = (cluster.now_s - START_S) // PERIOD_S - 1
        for home in homes:
            signed = reading(cluster, home, period, 1000 * (period + 2))
            for receiver in homes:
                cluster.pools[receiver].add(signed, cluster.now_s)
        cluster.run(cluster.random.randrange(1, 30))
        check()
    cluster.loss, cluster.cut = 0, set()
    for home in list(cluster.down):
        cluster.start(home)
    cluster.until(lambda: cluster.leader() and len(cluster.heights()) == 1 and min(cluster.heights()) > 5, 2000)
    cluster.run(20)
    check()
    assert len(cluster.hashes()) == 1, f"seed {seed}"
    assert not cluster.faults, f"seed {seed}: {cluster.faults[:3]}"
