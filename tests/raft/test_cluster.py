"""Clusters at the mercy of chance keep what Raft promises, and recover when chance relents.

A failure names its seed; `replay(seed)` in this module plays it again.
"""

from __future__ import annotations

import pytest

from tests.raft.cluster import Cluster

STEPS = 20_000
SEEDS = range(1, 9)
KINDS = {
    "three": {"size": 3},
    "five": {"size": 5},
    "growing": {"size": 4, "growing": True},
    "joint": {"size": 5, "growing": True, "joint": True},
    "certified": {"size": 3, "certified": True},
}


def replay(kind: str, seed: int) -> Cluster:
    """Play one seed and heal; raises AssertionError naming it."""
    cluster = Cluster(seed, **KINDS[kind])  # type: ignore[arg-type]  # a table of arguments by name
    try:
        cluster.run(STEPS)
        cluster.heal()
    except AssertionError as error:
        raise AssertionError(f"replay({kind!r}, {seed}): {error}") from error
    return cluster


@pytest.mark.parametrize("kind", KINDS)
def test_chance_breaks_no_promise(kind: str) -> None:
    terms = final = 0
    for seed in SEEDS:
        cluster = replay(kind, seed)
        terms += len(cluster.leaders)
        final += len(cluster.final)
    # Something did happen: leaders fell, and blocks were agreed on all the same.
    assert terms > 2 * len(SEEDS)
    assert final > 10 * len(SEEDS)
