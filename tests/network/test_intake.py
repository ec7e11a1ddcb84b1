"""What waits for its turn to be judged, and what goes ahead of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from meshnode.network import intake
from tests.network.cluster import Cluster
from tests.network.test_validator import order


@pytest.mark.parametrize("parked", [2, intake.MAX_PARKED])
def test_what_waits_does_not_stand_in_the_way_of_what_is_certified(
    parked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MAX_PARKED", parked)
    cluster = Cluster(3)
    cluster.founded()
    victim = cluster.followers()[0]
    hand_over = cluster.hand_over
    newest = 0

    def lossy(sender: str, receiver: str, parcel: Any) -> str | None:
        if receiver == victim:
            told = tuple(certificate for certificate in parcel.certificates if certificate.height > newest)
            parcel = msgspec.structs.replace(parcel, certificates=told, ack=None, ack_signature=None)
        return hand_over(sender, receiver, parcel)

    monkeypatch.setattr(cluster, "hand_over", lossy)
    newest = 10**6
    before = cluster.validators[victim].final_height
    for number in range(5):
        cluster.add(order(cluster, number))
        cluster.run(3)
    leader = cluster.leader()
    assert leader is not None
    certified = cluster.validators[leader].final_height
    waits = cluster.validators[victim]
    assert waits.final_height == before and certified >= before + 4 and waits._intake._parked
    # From now on it hears of what is certified, but never again that the blocks which it waits for are.
    newest = certified
    cluster.add(order(cluster, 9))
    cluster.until(cluster.agreed)
    assert cluster.validators[victim].final_height > certified
