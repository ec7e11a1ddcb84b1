"""Garbage: parcels of a validator whose fields are drawn at random around what is true."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from protocols import cose
from protocols.parcel import Parcel, RaftMessage
from protocols.raft.messages import MAX_INT
from protocols.records import Ack, Certificate, RecordError, read_as, to_payload
from tests.network.cluster import ELECTION_TICKS, Cluster
from tests.network.test_validator import order
from tests.protocols.village import device


@pytest.mark.parametrize("seed", range(6))
def test_garbage_in_parcels_stops_nobody(seed: int) -> None:
    """Parcels with fields drawn at random around what is true, from one of four."""
    cluster = Cluster(4 if seed % 2 else 5, seed)
    cluster.founded()
    chance, liar = Random(seed), cluster.followers()[0]
    cluster.liars = {liar}
    for number in range(12):
        cluster.run(3)
        cluster.add(order(cluster, number + 1, valid_until_s=cluster.now_s + 3600), list(honest(cluster, liar)))
        for _ in range(60):
            receiver = chance.choice(honest(cluster, liar))
            try:
                parcel = garbage(cluster, chance, liar, receiver)
            except RecordError:
                continue
            cluster.hand_over(liar, receiver, parcel)
    cluster.stop(liar)
    cluster.may_halt = set()
    cluster.until(lambda: cluster.agreed() and len(cluster.witness.effective) == 12, 100 * ELECTION_TICKS)
    for home in honest(cluster, liar):
        validator = cluster.validators[home]
        assert validator.halted is None and validator._intake._parked_bytes == 0
        assert len(validator._ballots._requests) < len(cluster.village.homes)
        assert len(validator._ballots._votes) <= 1 and len(validator._chain._blocks) <= 2


def honest(cluster: Cluster, liar: str) -> tuple[str, ...]:
    return tuple(home for home in cluster.village.homes if home != liar)


def garbage(cluster: Cluster, chance: Random, liar: str, receiver: str) -> Parcel:
    target, disk = cluster.validators[receiver], cluster.disks[receiver]
    near = [0, 1, target.last_height, target.last_height + 1, target.final_height, 2**40, MAX_INT]
    term = chance.choice([0, 1, target.term, target.term, target.term, target.term + 1, 2**40, MAX_INT])
    known = list(disk.log.values())
    entries = [
        (chance.choice([one.term, term]), chance.choice([one.index, one.index, chance.choice(near)]), one.data)
        for one in chance.choices(known, k=chance.choice([0, 0, 1, 1, 2]))
    ]
    if entries and chance.randrange(3) == 0:
        # A few bytes of it are wrong.
        place, data = chance.randrange(len(entries[0][2])), bytearray(entries[0][2])
        data[place] ^= 1 << chance.randrange(8)
        entries[0] = (*entries[0][:2], bytes(data))
    message = RaftMessage(
        kind=chance.randrange(15),
        term=term,
        log_term=chance.choice([0, 1, term]),
        index=chance.choice(near),
        entries=tuple(entries),
        commit=chance.choice(near),
        reject=bool(chance.randrange(2)),
        reject_hint=chance.choice(near),
        context=chance.choice([b"", b"CampaignTransfer", b"x" * 64]),
        vote=chance.choice([0, 1, 2, 255]),
        epoch=chance.choice([0, 1, 2**40]),
    )
    newest = target.newest_certificate
    certificates: tuple[Certificate, ...] = ()
    if newest is not None and chance.randrange(3) == 0:
        change = chance.choice([{}, {"height": chance.choice(near[1:])}, {"block": bytes(32)}, {"ack_term": term or 1}])
        certificates = (msgspec.structs.replace(newest, **change),)
    ack = Ack(
        validators=cluster.village.quorum.config_hash(),
        ack_term=max(term, 1),
        height=max(1, chance.choice(near)),
        block=chance.choice([bytes(32), known[-1].block_hash]),
    )
    key = device(liar)
    signature = cose.sign(Ack.KIND, cluster.village.chain_id, to_payload(ack), key.public, key.sign).signature
    parcel = Parcel(
        message=message,
        tip=chance.choice([None, bytes(32)]),
        vote=chance.choice([None, (key.key_id, (term, chance.choice(near), bytes(32)), None, signature)]),
        ack=chance.choice([None, ack]),
        ack_signature=chance.choice([None, bytes(64), signature]),
        certificates=certificates,
    )
    return read_as(Parcel, to_payload(parcel))
