"""Validators change: who joins them, who leaves, and what must not go wrong on the way."""

from __future__ import annotations

from tests.network.changing import Changing
from tests.network.cluster import ELECTION_TICKS
from tests.network.test_validator import accepted, order


def grown(size: int = 5, voting: int = 3, seed: int = 1, **genesis: object) -> Changing:
    cluster = Changing(size, voting, seed, **genesis)
    cluster.until(lambda: cluster.leader() and cluster.agreed())
    return cluster


def alive(cluster: Changing) -> None:
    """The validators still put an order on the ledger."""
    cluster.nonce += 1
    record = order(cluster, cluster.nonce)
    cluster.offer(record)
    cluster.until(lambda: accepted(cluster, record), 60 * ELECTION_TICKS)


def test_a_learner_becomes_a_validator() -> None:
    cluster = grown(4, 3)
    record = cluster.add_validator("dora")
    cluster.until(lambda: cluster.in_force("anna", "bela", "carla", "dora"))
    assert accepted(cluster, record)
    alive(cluster)
    cluster.until(lambda: cluster.agreed() and "dora" in cluster.validators)
    # Three of four are a quorum now, and she is one of them.
    cluster.stop(next(home for home in cluster.followers() if home != "dora"))
    alive(cluster)


def test_a_validator_is_removed_and_goes_on_learning() -> None:
    cluster = grown(4, 4)
    away = cluster.followers()[0]
    cluster.remove_validator(away)
    others = [home for home in cluster.village.homes if home != away]
    cluster.until(lambda: cluster.in_force(*others) and away in cluster.learners)
    alive(cluster)
    cluster.until(lambda: cluster.machine_at(away).height == cluster.validators[cluster.leader()].final_height)


def test_a_leader_that_is_removed_hands_over() -> None:
    cluster = grown(4, 4)
    leader = cluster.leader()
    cluster.remove_validator(leader)
    others = [home for home in cluster.village.homes if home != leader]
    term = cluster.validators[leader].term
    cluster.until(lambda: cluster.in_force(*others) and cluster.leader() in others)
    assert cluster.validators[cluster.leader()].term == term + 1, "nobody had to wait for its silence"
    cluster.until(lambda: leader in cluster.learners)
    alive(cluster)


def test_one_validator_grows_to_five_and_shrinks_again() -> None:
    cluster = grown(5, 1)
    homes = list(cluster.village.homes)
    for count in range(2, 6):
        cluster.add_validator(homes[count - 1])
        cluster.until(lambda: cluster.in_force(*homes[:count]))  # noqa: B023
        alive(cluster)
    for count in range(4, 0, -1):
        cluster.remove_validator(homes[count])
        cluster.until(lambda: cluster.in_force(*homes[:count]), 60 * ELECTION_TICKS)  # noqa: B023
        alive(cluster)
