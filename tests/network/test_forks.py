"""Forks and false certificates: what a validator believes only with signatures, and what it stops for."""

from __future__ import annotations

import msgspec

from protocols import cose
from protocols.block import Parent
from protocols.finality import MAX_AHEAD
from protocols.parcel import Parcel
from protocols.raft import MessageKind
from protocols.records import Ack, to_payload
from tests.network.cluster import ELECTION_TICKS, Cluster
from tests.network.liars import append, block_at, forged, head, settled
from tests.network.test_validator import order
from tests.protocols.village import device


def test_certificates_that_do_not_hold_are_worth_nothing_anywhere() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, victim = cluster.followers()
    validator = cluster.validators[victim]
    parent = head(cluster.disks[leader], 1, cluster.village)
    block = forged(cluster, liar, parent, parent.term)
    good = cluster.village.certificate(block)
    bad = [
        cluster.village.certificate(block, [liar]),
        msgspec.structs.replace(good, height=MAX_AHEAD * 9),
        msgspec.structs.replace(good, block=bytes(32)),
        msgspec.structs.replace(good, ack_term=good.ack_term + 1),
        msgspec.structs.replace(good, phase=1),
    ]
    for certificate in bad:
        cluster.liars.add(liar)
        fault = cluster.hand_over(liar, victim, Parcel(certificates=(certificate,)))
        assert fault is not None and validator.final_height == 1 and not validator.halted
    # Of validators that nobody here knows (yet) it may be as good as any: it counts for nothing, and is no fault.
    unknown = Parcel(certificates=(msgspec.structs.replace(good, validators=bytes(32)),))
    assert cluster.hand_over(liar, victim, unknown) is None
    assert validator.counters["certificate of unknown validators"] == 1
    assert validator._finalizer._finality.pending() == []
    settled(cluster)


def test_two_valid_certificates_for_one_height_stop_the_node_that_sees_them() -> None:
    # No honest majority signs both. Whoever sees it must not choose.
    cluster = Cluster(3)
    leader = cluster.founded()
    victim = cluster.followers()[0]
    cluster.may_halt, cluster.forged = {victim}, set(cluster.village.homes)
    parent = head(cluster.disks[leader], 1, cluster.village)
    for time_s in (1, 2):
        block = forged(cluster, leader, parent, parent.term, time_s=parent.time_s + time_s)
        certificate = cluster.village.certificate(block)
        cluster.hand_over(leader, victim, Parcel(certificates=(certificate,)))
    halted = cluster.validators[victim].halted
    assert halted is not None and "two histories" in halted
    assert cluster.validators[victim].final_height == 1


def test_a_leader_that_has_halted_makes_room() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    cluster.may_halt, cluster.forged = {leader}, set(cluster.village.homes)
    parent = head(cluster.disks[leader], 1, cluster.village)
    for time_s in (1, 2):
        block = forged(cluster, leader, parent, parent.term, time_s=parent.time_s + time_s)
        certificate = cluster.village.certificate(block)
        cluster.hand_over(cluster.followers()[0], leader, Parcel(certificates=(certificate,)))
    assert cluster.validators[leader].halted
    settled(cluster)
    assert cluster.leader() != leader


def test_a_certificate_against_the_block_of_its_own_term_stops_the_node() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    victim = cluster.followers()[0]
    cluster.may_halt, cluster.forged = {victim}, set(cluster.village.homes)
    cluster.liars = {leader}
    parent = head(cluster.disks[leader], 1, cluster.village)
    cluster.cut = {(victim, leader)}
    assert append(cluster, leader, victim, parent, forged(cluster, leader, parent, parent.term)) is None
    cluster.settle()
    other = forged(cluster, leader, parent, parent.term, time_s=parent.time_s + 2)
    cluster.hand_over(leader, victim, Parcel(certificates=(cluster.village.certificate(other),)))
    assert "another block than the one here" in (cluster.validators[victim].halted or "")
    signed = len(cluster.witness.acks)
    cluster.cut = set()
    cluster.add(order(cluster, 1))
    cluster.run(10 * ELECTION_TICKS)
    assert not [key for key in list(cluster.witness.acks)[signed:] if key[0] == device(victim).key_id]
    assert cluster.disks[victim].last_index() == 2, "what it may not judge it does not take"


def test_an_ack_that_was_promised_before_the_node_stopped_is_not_signed() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    victim = cluster.followers()[0]
    cluster.may_halt, cluster.forged = {victim}, set(cluster.village.homes)
    parent = head(cluster.disks[leader], 1, cluster.village)
    validator = cluster.validators[victim]
    block = forged(cluster, leader, parent, parent.term)
    append(cluster, leader, victim, parent, block)
    work = validator.poll()
    assert work is not None and work.batch is not None and work.batch.entries
    other = forged(cluster, leader, parent, parent.term, time_s=parent.time_s + 2)
    cluster.hand_over(leader, victim, Parcel(certificates=(cluster.village.certificate(other),)))
    assert validator.halted
    cluster.disks[victim].persist(work.batch)
    sent = [outgoing.parcel for outgoing in validator.persisted()]
    assert sent and all(parcel.ack is None for parcel in sent)
    following = Parent.of(block)
    append(
        cluster, leader, victim, following, forged(cluster, leader, following, parent.term, time_s=block.header.time_s)
    )
    cluster.settle()
    assert cluster.disks[victim].last_index() == 2, "nor does it take what follows"


def test_acks_are_counted_only_with_the_signature_of_who_sends_them() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, other = cluster.followers()
    cluster.add(order(cluster, 1))
    cluster.cut = {(home, leader) for home in (liar, other)}
    assert cluster.validators[leader].propose()
    cluster.settle()
    validator, block = cluster.validators[leader], block_at(cluster, leader, 2)
    _, ack, _ = cluster.village.ack(block, liar)
    # Another's signature, its own for something else, none at all.
    foreign = cluster.village.ack(block, other)[2]
    elsewhere = cluster.village.ack(block, liar, ack_term=block.header.term + 1)[2]
    for signature in (foreign, elsewhere, bytes(64), None):
        fields = {"term": validator.term, "index": 2, "epoch": 0, "ack": ack, "ack_signature": signature}
        assert cluster.lie(liar, leader, MessageKind.APP_RESP, **fields) is not None
    assert validator.final_height == 1


def test_acks_for_heights_that_do_not_exist_are_bounded() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar = cluster.followers()[0]
    validator, key = cluster.validators[leader], device(liar)
    for height in range(2, 3 * MAX_AHEAD, 7):
        ack = Ack(validators=cluster.village.quorum.config_hash(), ack_term=9, height=height, block=bytes(32))
        signature = cose.sign(Ack.KIND, cluster.village.chain_id, to_payload(ack), key.public, key.sign).signature
        cluster.lie(liar, leader, MessageKind.APP_RESP, term=validator.term, ack=ack, ack_signature=signature)
    assert len(validator._finalizer._finality._acks) <= MAX_AHEAD
    settled(cluster)
