"""Leadership is proved before it is followed: stories of those who only say that they lead, or were chosen."""

from __future__ import annotations

import msgspec
import pytest

from protocols import leadership
from protocols.block import Parent
from protocols.parcel import Elected
from protocols.raft import MessageKind, Role
from protocols.raft.messages import TRANSFER_CONTEXT
from protocols.records import Election
from tests.network.cluster import ELECTION_TICKS, Cluster
from tests.network.liars import append, forged, head, settled
from tests.network.test_validator import order
from tests.protocols.village import device


def claim(cluster: Cluster, leader: str, parent: Parent, term: int, voters: list[str]) -> tuple[Elected, Election]:
    """What would prove that `leader` was elected by these voters, and the votes alone."""
    election = cluster.village.election(leader, term, parent, voters)
    block = cluster.village.block(parent, leader, term, election=election)
    return Elected(first=block.header_envelope.encode(), election=election), election


def test_the_heartbeat_of_a_term_that_nobody_won_is_not_followed() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, victim = cluster.followers()
    validator = cluster.validators[victim]
    before = (validator.term, validator.leader)
    for kind in (MessageKind.HEARTBEAT, MessageKind.APP, MessageKind.TIMEOUT_NOW):
        assert cluster.lie(liar, victim, kind, term=validator.term + 1) is None
    assert (validator.term, validator.leader) == before and validator.role == Role.FOLLOWER
    assert validator.counters["leader not proved: HEARTBEAT"] == 1
    # Nor does it keep the victim from seeing that its leader is gone.
    cluster.stop(leader)
    for _ in range(4 * ELECTION_TICKS):
        cluster.lie(liar, victim, MessageKind.HEARTBEAT, term=validator.term)
        cluster.step()
        if validator.leader != before[1]:
            break
    assert validator.leader != before[1], "the true leader is missed although another one goes on talking"


def test_the_leader_does_not_step_down_for_one_who_only_says_that_it_leads() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar = cluster.followers()[0]
    term = cluster.validators[leader].term
    cluster.lie(liar, leader, MessageKind.HEARTBEAT, term=term + 1)
    assert cluster.validators[leader].role == Role.LEADER and cluster.validators[leader].term == term


def test_an_unproved_leader_replaces_no_block() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, victim = cluster.followers()
    cluster.cut = {(victim, leader)}
    cluster.add(order(cluster, 1))
    assert cluster.validators[leader].propose()
    cluster.settle()
    assert cluster.validators[victim].last_height == 2
    parent = head(cluster.disks[leader], 1, cluster.village)
    ours = cluster.disks[victim].log[2].block_hash
    # Signed and in form but for the votes, which it does not have.
    block = cluster.village.block(parent, liar, 5, election=cluster.village.election(liar, 5, parent, [liar]))
    assert append(cluster, liar, victim, parent, block, term=5) is None
    cluster.settle()
    assert cluster.disks[victim].log[2].block_hash == ours
    cluster.cut = set()
    settled(cluster, 2)


@pytest.mark.parametrize("trick", ["minority", "another's", "other votes", "old tip", "no header"])
def test_a_claim_that_does_not_hold_is_its_makers_end(trick: str) -> None:
    cluster = Cluster(3)
    cluster.founded()
    liar, victim = cluster.followers()
    homes = list(cluster.village.homes)
    parent = head(cluster.disks[liar], 1, cluster.village)
    term = cluster.validators[victim].term + 1
    good, election = claim(cluster, liar, parent, term, homes)
    made = {
        "minority": lambda: claim(cluster, liar, parent, term, [liar])[0],
        "another's": lambda: claim(cluster, victim, parent, term, homes)[0],
        "other votes": lambda: msgspec.structs.replace(
            good, election=msgspec.structs.replace(election, votes=election.votes[:2])
        ),
        "old tip": lambda: claim(cluster, liar, msgspec.structs.replace(parent, term=term), term, homes)[0],
        "no header": lambda: msgspec.structs.replace(good, first=b"header"),
    }[trick]()
    fault = cluster.lie(liar, victim, MessageKind.HEARTBEAT, term=term, elected=made)
    assert fault is not None and cluster.validators[victim].term == term - 1
    # The same with everything in order is followed: the test above would not notice if nothing were.
    assert cluster.lie(liar, victim, MessageKind.HEARTBEAT, term=term, elected=good) is None
    assert cluster.validators[victim].leader == device(liar).public


def test_who_restarts_without_the_first_block_is_shown_the_proof_again() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    away = cluster.followers()[0]
    # The next term begins without this node's disk: its block and its memory of the proof are lost.
    cluster.stop(away)
    cluster.validators[leader].transfer(cluster.validators[cluster.followers()[0]].number)
    cluster.until(lambda: cluster.leader() not in (None, leader) and cluster.agreed())
    term = cluster.validators[cluster.leader()].term
    for _ in range(3):
        cluster.start(away)
        # Its answers get lost, so that its log stays where it is.
        cluster.slow[away] = 100_000
        cluster.until(lambda: cluster.validators[away].leader == device(cluster.leader()).public)
        cluster.stop(away)
    assert cluster.validators[cluster.leader()].term == term
    cluster.slow = {}
    cluster.start(away)
    cluster.until(cluster.agreed)


def test_who_has_the_first_block_needs_no_other_proof() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    follower = cluster.followers()[0]
    cluster.stop(follower)
    cluster.start(follower)
    validator = cluster.validators[leader]
    cluster.run(3)
    assert cluster.validators[follower].leader == device(leader).public
    assert cluster.validators[follower].counters["leader not proved: HEARTBEAT"] == 0
    assert all(outgoing.parcel.elected is None for outgoing in validator.urgent())


def test_nobody_is_elected_in_the_leaders_name_without_its_word() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, victim = cluster.followers()
    validator = cluster.validators[victim]
    term = validator.term
    tip = head(cluster.disks[liar], 1, cluster.village)
    asks = {"term": term + 1, "index": 1, "log_term": tip.term, "context": TRANSFER_CONTEXT, "tip": tip.block_hash}
    chain, boss, other = cluster.village.chain_id, device(leader), device(victim)
    no_words = [
        None,
        leadership.sign_handover(term, device(liar).key_id, chain, device(liar).public, device(liar).sign),
        leadership.sign_handover(term, other.key_id, chain, boss.public, boss.sign),
        leadership.sign_handover(term + 1, device(liar).key_id, chain, boss.public, boss.sign),
    ]
    for word in no_words:
        cluster.lie(liar, victim, MessageKind.VOTE, handover=word, **asks)
        assert validator.term == term and validator.leader == boss.public, "its leader is alive"
    assert validator.counters["campaign in the leader's name without its word"] == len(no_words)
    word = leadership.sign_handover(term, device(liar).key_id, chain, boss.public, boss.sign)
    cluster.lie(liar, victim, MessageKind.VOTE, handover=word, **asks)
    assert validator.term == term + 1, "the leader's own word is taken"


def test_a_forged_first_block_does_not_prove_more_than_its_votes() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, victim = cluster.followers()
    parent = head(cluster.disks[leader], 1, cluster.village)
    # The liar goes on in a term that it did win, but for another leader's block.
    block = forged(cluster, liar, parent, parent.term)
    assert append(cluster, liar, victim, parent, block) is None
    assert cluster.validators[victim].counters["leader not proved: APP"] == 1
    cluster.settle()
    assert cluster.disks[victim].last_index() == 1
