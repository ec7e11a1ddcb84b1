"""Validators among liars: a node with valid keys sends what no honest node would.

The liar may be dropped and may cost time. It must not stop an honest node, make it sign
against itself, get another honest node dropped, or fill anybody's memory.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from meshnode.network import intake
from meshnode.network.ballots import row_of
from meshnode.network.terms import MAX_TERM_JUMP
from protocols import block as blocks
from protocols import cose
from protocols.block import Block, Parent
from protocols.finality import MAX_AHEAD
from protocols.parcel import Parcel, RaftMessage
from protocols.raft import Entry, EntryType, MessageKind, Role
from protocols.raft.messages import MAX_INT
from protocols.records import Ack, Certificate, RecordError, Tip, Vote, read_as, to_payload
from tests.network.cluster import ELECTION_TICKS, Cluster, Disk
from tests.network.test_validator import accepted, order
from tests.protocols.keys import KeyPair, key_pair
from tests.protocols.village import Village, device


def settled(cluster: Cluster, nonce: int = 1) -> None:
    """The honest nodes still put an order on the ledger."""
    record = order(cluster, nonce)
    cluster.add(record)
    cluster.until(lambda: accepted(cluster, record), 60 * ELECTION_TICKS)
    halted = {home for home, validator in cluster.validators.items() if validator.halted}
    assert halted <= cluster.may_halt


def forged(cluster: Cluster, liar: str, parent: Parent, term: int, **head: Any) -> Block:
    """A block that passes the gate of form, signed by the liar."""
    validator = cluster.validators[liar]
    state = {"state_height": validator.final_height, "state_hash": validator.machine.state_hash()}
    return cluster.village.block(parent, liar, term, head=state | head)


def head(disk: Disk, height: int, village: Village) -> Parent:
    return Parent.of(blocks.read(disk.log[height].data, village.chain_id))


def entry(block: Block) -> Entry:
    return Entry(block.header.term, block.header.height, EntryType.NORMAL, block.encoded)


def append(cluster: Cluster, liar: str, receiver: str, parent: Parent, *batch: Block, term: int = 0) -> str | None:
    """The liar's append of these blocks behind `parent`."""
    return cluster.lie(
        liar,
        receiver,
        MessageKind.APP,
        term=term or cluster.validators[liar].term,
        index=parent.height,
        log_term=parent.term,
        entries=tuple(entry(block) for block in batch),
        epoch=1,
    )


# --- terms


def test_one_message_cannot_use_up_all_terms() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, victim = cluster.followers()
    for kind in (MessageKind.HEARTBEAT, MessageKind.APP_RESP, MessageKind.VOTE_RESP, MessageKind.TIMEOUT_NOW):
        before = cluster.validators[victim].term
        cluster.lie(liar, victim, kind, term=MAX_INT, reject=True)
        assert cluster.validators[victim].term <= before + MAX_TERM_JUMP
    tip = {"index": 1, "log_term": 1, "tip": bytes(32)}
    cluster.lie(liar, leader, MessageKind.VOTE, term=MAX_INT, **tip)
    cluster.lie(liar, leader, MessageKind.PRE_VOTE, term=MAX_INT, **tip)
    assert cluster.validators[leader].term <= 1 + MAX_TERM_JUMP
    settled(cluster)


def test_a_node_that_was_lured_far_ahead_is_followed_in_steps() -> None:
    cluster = Cluster(3)
    cluster.founded()
    liar, victim = cluster.followers()
    for _ in range(10):
        cluster.lie(liar, victim, MessageKind.APP_RESP, term=MAX_INT)
    assert cluster.validators[victim].term == 1 + 10 * MAX_TERM_JUMP
    settled(cluster)
    cluster.until(lambda: cluster.agreed() and len({v.term for v in cluster.validators.values()}) == 1)


# --- elections


def candidate_and_two() -> tuple[Cluster, str, str, str]:
    """A cluster whose candidate has asked for votes, and no answer has arrived yet."""
    cluster = Cluster(3)
    old = cluster.founded()
    candidate, other = cluster.followers()
    cluster.stop(old)
    validator = cluster.validators[candidate]
    cluster.cut = {(candidate, other), (other, candidate)}
    cluster.until(lambda: cluster.validators[other].leader is None and validator.leader is None, 60)
    cluster.cut = set()
    cluster.wires.clear()
    validator.campaign()
    for _ in range(50):
        if validator.role == Role.CANDIDATE:
            break
        for home in (candidate, other):
            cluster.work(home)
        cluster.deliver()
    cluster.work(candidate)
    cluster.wires.clear()
    assert validator.role == Role.CANDIDATE
    return cluster, old, candidate, other


def vote_row(cluster: Cluster, voter: str, asking: str, tip: Tip, signer: KeyPair | None = None, **fields: Any):
    validator = cluster.validators[asking]
    own = head(cluster.disks[asking], validator.last_height, cluster.village)
    vote = Vote(
        **{
            "term": validator.term,
            "candidate": device(asking).key_id,
            "candidate_tip": Tip(term=own.term, height=own.height, block=own.block_hash),
            "voter_tip": tip,
        }
        | fields
    )
    key = signer or device(voter)
    signature = cose.sign(Vote.KIND, cluster.village.chain_id, to_payload(vote), key.public, key.sign).signature
    return row_of(vote, device(voter).key_id, signature)


@pytest.mark.parametrize("trick", ["newer tip", "no signature", "another key", "another term", "for another"])
def test_a_bad_vote_does_not_spoil_an_election(trick: str) -> None:
    # One bad row in the election certificate, and everybody refuses the new leader's first block.
    cluster, old, candidate, liar = candidate_and_two()
    term = cluster.validators[candidate].term
    parent = head(cluster.disks[candidate], 1, cluster.village)
    tip = Tip(term=parent.term, height=parent.height, block=parent.block_hash)
    row = {
        "newer tip": lambda: vote_row(cluster, liar, candidate, Tip(term=MAX_INT, height=1, block=bytes(32))),
        "no signature": lambda: None,
        "another key": lambda: vote_row(cluster, old, candidate, tip, signer=device(liar)),
        "another term": lambda: vote_row(cluster, liar, candidate, tip, term=term + 1),
        "for another": lambda: vote_row(cluster, liar, candidate, tip, candidate=device(liar).key_id),
    }[trick]()
    assert cluster.lie(liar, candidate, MessageKind.VOTE_RESP, term=term, vote=row) is not None
    assert cluster.validators[candidate].role == Role.CANDIDATE
    cluster.stop(liar)
    cluster.start(old)
    settled_by_two(cluster)


def settled_by_two(cluster: Cluster) -> None:
    record = order(cluster, 1)
    cluster.until(lambda: cluster.leader() and cluster.validators[cluster.leader()].final_height >= 2, 600)
    cluster.add(record)
    cluster.until(lambda: accepted(cluster, record))


def test_a_candidate_may_name_one_tip_only() -> None:
    cluster = Cluster(3)
    old = cluster.founded()
    cluster.stop(old)
    liar, victim = cluster.followers()
    cluster.run(2 * ELECTION_TICKS)
    term = max(v.term for v in cluster.validators.values()) + 1
    asks = {"term": term, "index": 1, "log_term": 1, "context": b"CampaignTransfer"}
    cluster.lie(liar, victim, MessageKind.VOTE, tip=bytes(32), **asks)
    assert "different tips" in (cluster.lie(liar, victim, MessageKind.VOTE, tip=b"x" * 32, **asks) or "")


def test_who_only_says_that_it_leads_gets_nobody_dropped() -> None:
    cluster = Cluster(3)
    cluster.founded()
    liar, victim = cluster.followers()
    # A node that has just started knows the term and not who leads it. The liar speaks first.
    for _ in range(3):
        cluster.stop(victim)
        cluster.start(victim)
        cluster.lie(liar, victim, MessageKind.HEARTBEAT, term=cluster.validators[victim].term)
        cluster.run(4)
        assert cluster.validators[victim].counters["message refused: second leader in one term"]
    settled(cluster)


def test_a_peer_cannot_make_the_leader_make_blocks() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    fault = cluster.lie(cluster.followers()[0], leader, MessageKind.PROP, entries=(Entry(data=b"x"),))
    assert "PROP from a peer" in (fault or "") and cluster.validators[leader].last_height == 1


# --- blocks


def test_two_blocks_of_one_leader_in_one_term_the_first_stays() -> None:
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    cluster.cut = {(victim, liar)}  # so that it stays uncertified
    parent = head(cluster.disks[liar], 1, cluster.village)
    one = forged(cluster, liar, parent, parent.term)
    two = forged(cluster, liar, parent, parent.term, time_s=parent.time_s + 1)
    assert append(cluster, liar, victim, parent, one) is None
    cluster.settle()
    assert cluster.disks[victim].log[2].block_hash == one.block_hash
    fault = append(cluster, liar, victim, parent, two)
    assert "in place of" in (fault or "") and cluster.disks[victim].log[2].block_hash == one.block_hash
    assert cluster.validators[victim].counters["equivocation: two blocks of one leader in one term and height"] == 1


def test_who_passes_on_the_other_of_two_blocks_is_not_blamed() -> None:
    # The liar signs two blocks for one place and gives each follower one. Whoever of them
    # leads next sends its own in good faith.
    cluster = Cluster(3)
    liar = cluster.founded()
    one_home, two_home = cluster.followers()
    parent = head(cluster.disks[liar], 1, cluster.village)
    cluster.cut = {(home, liar) for home in (one_home, two_home)}
    for home, time_s in ((one_home, 1), (two_home, 2)):
        block = forged(cluster, liar, parent, parent.term, time_s=parent.time_s + time_s)
        assert append(cluster, liar, home, parent, block) is None
    cluster.settle()
    cluster.stop(liar)
    cluster.cut = set()
    cluster.run(20 * ELECTION_TICKS)
    assert cluster.leader() in (one_home, two_home) and not cluster.faults
    # Sending the block itself is no fault either, and it does not replace ours.
    leader = cluster.leader()
    other = one_home if leader == two_home else two_home
    ours = cluster.disks[other].log[2].block_hash
    validator = cluster.validators[leader]
    message = MessageKind.APP
    cluster.lie(
        leader,
        other,
        message,
        term=validator.term,
        index=1,
        log_term=parent.term,
        entries=(entry(block_at(cluster, leader, 2)),),
    )
    assert not cluster.faults and cluster.disks[other].log[2].block_hash == ours
    assert cluster.validators[other].counters["equivocation: two blocks of one leader in one term and height"]


def block_at(cluster: Cluster, home: str, height: int) -> Block:
    return blocks.read(cluster.disks[home].log[height].data, cluster.village.chain_id)


def test_a_leader_cannot_take_back_its_block_and_have_two_acknowledged() -> None:
    # It has led before and can sign blocks of that older term. With one of them it would replace its
    # newer block, and then put another newer one in its place: two acks of one node in one term.
    cluster = Cluster(3)
    liar = cluster.founded()
    victim, other = cluster.followers()
    first = head(cluster.disks[liar], 1, cluster.village)
    # Term 2 begins, but its first block reaches only the victim, whose answers get lost.
    cluster.cut = {(a, b) for a in cluster.village.homes for b in cluster.village.homes if a != b}
    cluster.until(lambda: cluster.leader() is None)
    cluster.cut = {(liar, other)}
    cluster.validators[liar].campaign()
    for _ in range(200):
        if cluster.validators[liar].role == Role.LEADER:
            break
        cluster.work(liar)
        cluster.work(victim)
        cluster.cut = {(liar, other), (other, liar)}
        while cluster.wires and cluster.validators[liar].role != Role.LEADER:
            cluster.deliver()
        if cluster.validators[liar].role == Role.FOLLOWER:
            cluster.step()
            cluster.validators[liar].campaign()
    assert cluster.validators[liar].role == Role.LEADER
    cluster.cut |= {(victim, liar)}
    cluster.settle()
    term = cluster.validators[liar].term
    acked = cluster.disks[victim].sign
    assert (acked.ack_term, acked.ack_height) == (term, 2) and cluster.disks[victim].final == 1
    older = forged(cluster, liar, first, first.term)
    fault = append(cluster, liar, victim, first, older, term=term)
    cluster.settle()
    assert "replaces a block" in (fault or "")
    assert cluster.disks[victim].log[2].block_hash == acked.ack_block


def test_a_leader_with_another_state_gets_no_acks_and_stops_nobody() -> None:
    cluster = Cluster(3)
    liar = cluster.founded()
    cluster.liars.add(liar)
    parent = head(cluster.disks[liar], 1, cluster.village)
    block = forged(cluster, liar, parent, parent.term, state_hash=bytes(32))
    for home in cluster.followers():
        assert append(cluster, liar, home, parent, block) is None
        assert "ours is" in cluster.validators[home].disputed
    cluster.settle()
    assert all(cluster.disks[home].last_index() == 1 for home in cluster.followers())
    settled(cluster)


def test_a_block_that_breaks_the_form_is_its_senders_end() -> None:
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    parent = head(cluster.disks[liar], 1, cluster.village)
    good = forged(cluster, liar, parent, parent.term)
    for bad in (
        forged(cluster, liar, parent, parent.term, state_height=5),
        forged(cluster, liar, parent, parent.term, time_s=parent.time_s - 1),
        cluster.village.block(parent, liar, parent.term + 1, election=None, signer=device(victim)),
        cluster.village.block(parent, victim, parent.term),
    ):
        assert append(cluster, liar, victim, parent, bad, term=parent.term + 1) is not None
    assert append(cluster, liar, victim, parent, good, forged(cluster, liar, parent, parent.term)) is not None
    assert cluster.disks[victim].last_index() == 1


def test_a_record_that_the_state_does_not_allow_is_not_acknowledged() -> None:
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    parent = head(cluster.disks[liar], 1, cluster.village)
    validator = cluster.validators[liar]
    state = {"state_height": 1, "state_hash": validator.machine.state_hash(), "time_s": parent.time_s}
    good = cluster.village.order("bela", 1, valid_until_s=cluster.now_s + 60)
    for bad in (
        cluster.village.order("bela", 2, valid_until_s=parent.time_s - 1),
        cluster.village.sign(good.record, device("bela")),
        cluster.village.sign(good.record, key_pair("a stranger")),
    ):
        block = cluster.village.block(parent, liar, parent.term, records=[good, bad], head=state)
        assert append(cluster, liar, victim, parent, block) is None, "the form is in order: nobody is dropped"
        cluster.settle()
        assert cluster.disks[victim].last_index() == 1
    refused = [name for name in cluster.validators[victim].counters if name.startswith("block refused")]
    assert sorted(refused) == ["block refused: EXPIRED", "block refused: UNKNOWN_KEY", "block refused: WRONG_KEY"]
    block = cluster.village.block(parent, liar, parent.term, records=[good], head=state)
    append(cluster, liar, victim, parent, block)
    cluster.settle()
    assert cluster.disks[victim].last_index() == 2


def test_only_the_leader_may_make_us_wait() -> None:
    cluster = Cluster(3)
    cluster.founded()
    liar, victim = cluster.followers()
    parent = head(cluster.disks[liar], 1, cluster.village)
    # In form as far as it can be read, but its state will never come.
    block = forged(cluster, liar, parent, parent.term, state_height=1, time_s=parent.time_s + 10**6)
    for _ in range(100):
        append(cluster, liar, victim, parent, block)
    assert cluster.validators[victim]._intake._parked_bytes == 0
    # Nor may it by naming a term that has not begun.
    append(cluster, liar, victim, parent, block, term=parent.term + 1)
    settled(cluster)
    cluster.until(cluster.agreed)


def test_what_waits_is_bounded_in_bytes_and_number() -> None:
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    parent = head(cluster.disks[liar], 1, cluster.village)
    block = forged(cluster, liar, parent, parent.term, time_s=parent.time_s + 10**6)
    waits = cluster.validators[victim]._intake
    for _ in range(3 * intake.MAX_PARKED):
        append(cluster, liar, victim, parent, block)
    assert len(waits._parked) == intake.MAX_PARKED
    assert waits._parked_bytes == intake.MAX_PARKED * (len(block.encoded) + 16) <= intake.MAX_PARKED_BYTES
    # As soon as another leads, nothing of it waits any more.
    cluster.stop(liar)
    cluster.until(lambda: cluster.leader() and cluster.agreed())
    assert waits._parked_bytes == 0 and not waits._parked


def test_bytes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_PARKED_BYTES", 5000)
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    parent = head(cluster.disks[liar], 1, cluster.village)
    for _ in range(50):
        block = forged(cluster, liar, parent, parent.term, time_s=parent.time_s + 10**6)
        append(cluster, liar, victim, parent, block)
    assert 0 < cluster.validators[victim]._intake._parked_bytes <= 5000


def test_blocks_that_nobody_certifies_do_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_UNCERTIFIED_BYTES", 5000)
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    cluster.cut = {(home, liar) for home in cluster.followers()}
    parent = head(cluster.disks[liar], 1, cluster.village)
    for _ in range(50):
        block = forged(cluster, liar, parent, parent.term, time_s=parent.time_s)
        assert append(cluster, liar, victim, parent, block) is None
        parent = Parent.of(block)
        cluster.settle()
    held = [written for height, written in cluster.disks[victim].log.items() if height > 1]
    assert 2 < len(held) < 30 and sum(len(written.data) for written in held) <= 5000
    cluster.stop(liar)
    monkeypatch.undo()
    cluster.cut = set()
    settled_by_two(cluster)


# --- certificates and acks


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
        msgspec.structs.replace(good, validators=bytes(32)),
        msgspec.structs.replace(good, phase=1),
    ]
    for certificate in bad:
        cluster.liars.add(liar)
        fault = cluster.hand_over(liar, victim, Parcel(certificates=(certificate,)))
        assert fault is not None and validator.final_height == 1 and not validator.halted
    assert validator._finalizer._finality.pending() == []
    settled(cluster)


def test_two_valid_certificates_for_one_height_stop_the_node_that_sees_them() -> None:
    # No honest majority signs both. Whoever sees it must not choose.
    cluster = Cluster(3)
    leader = cluster.founded()
    victim = cluster.followers()[0]
    cluster.may_halt = {victim}
    parent = head(cluster.disks[leader], 1, cluster.village)
    for time_s in (1, 2):
        block = forged(cluster, leader, parent, parent.term, time_s=parent.time_s + time_s)
        certificate = cluster.village.certificate(block)
        cluster.hand_over(leader, victim, Parcel(certificates=(certificate,)))
    halted = cluster.validators[victim].halted
    assert halted is not None and "fork" in halted
    assert cluster.validators[victim].final_height == 1


def test_a_leader_that_has_halted_makes_room() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    cluster.may_halt = {leader}
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
    cluster.may_halt = {victim}
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
    cluster.may_halt = {victim}
    parent = head(cluster.disks[leader], 1, cluster.village)
    validator = cluster.validators[victim]
    append(cluster, leader, victim, parent, forged(cluster, leader, parent, parent.term))
    work = validator.poll()
    assert work is not None and work.batch is not None and work.batch.entries
    other = forged(cluster, leader, parent, parent.term, time_s=parent.time_s + 2)
    cluster.hand_over(leader, victim, Parcel(certificates=(cluster.village.certificate(other),)))
    assert validator.halted
    cluster.disks[victim].persist(work.batch)
    sent = [outgoing.parcel for outgoing in validator.persisted()]
    assert sent and all(parcel.ack is None for parcel in sent)


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


# --- everything at once


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
