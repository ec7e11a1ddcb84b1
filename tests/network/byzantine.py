"""Byzantine: communities in which a third may lie, and what is asked of them in tests."""

from __future__ import annotations

from protocols.records import (
    QUORUM_BYZANTINE,
    Certificate,
    read_as,
)
from tests.network.cluster import ELECTION_TICKS, Cluster
from tests.network.test_validator import order

LONG = 80 * ELECTION_TICKS


def village(size: int = 4, seed: int = 1) -> Cluster:
    return Cluster(size, seed, quorum_mode=QUORUM_BYZANTINE)


def alive(cluster: Cluster, nonce: int = 1, ticks: int = LONG) -> None:
    """The honest, with the liars or without them, still put an order on the ledger."""
    record = order(cluster, nonce)
    cluster.add(record)
    honest = [home for home in cluster.village.homes if home not in cluster.liars | cluster.down]

    def known() -> bool:
        return all(
            record.record_id in cluster.witness.effective
            and cluster.validators[home].final_height >= cluster.witness.effective[record.record_id]
            for home in honest
        )

    cluster.until(known, ticks)
    assert not [home for home in honest if cluster.validators[home].halted]


def lock_of(cluster: Cluster, home: str) -> Certificate | None:
    data = cluster.disks[home].locked
    return read_as(Certificate, data) if data else None


def liar_leads(cluster: Cluster) -> tuple[str, list[str]]:
    liar = cluster.founded()
    cluster.liars.add(liar)
    return liar, cluster.followers()
