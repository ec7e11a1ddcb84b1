"""Validators among liars: a node with valid keys sends what no honest node would.

The liar may be dropped and may cost time. It must not stop an honest node, make it sign
against itself, get another honest node dropped, or fill anybody's memory.
"""

from __future__ import annotations

from typing import Any

import pytest

from meshnode.network import intake
from meshnode.network.ballots import row_of
from meshnode.network.terms import MAX_TERM_JUMP
from protocols import cose
from protocols.block import Parent
from protocols.parcel import Parcel, pack
from protocols.raft import Entry, Message, MessageKind, Role
from protocols.raft.messages import MAX_INT
from protocols.records import Certificate, Tip, Vote, to_payload
from tests.network.cluster import ELECTION_TICKS, Cluster
from tests.network.liars import append, forged, head, settled
from tests.network.test_validator import accepted, order
from tests.protocols.keys import KeyPair, key_pair
from tests.protocols.village import device

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
        assert cluster.validators[victim].counters["leader not proved: HEARTBEAT"]
        assert cluster.validators[victim].leader == device(cluster.leader()).public
    settled(cluster)


def test_who_has_more_than_its_leader_is_not_blamed() -> None:
    # A liar that voted for this leader although it has acknowledged more is the reason, perhaps.
    cluster = Cluster(3)
    leader = cluster.founded()
    follower = cluster.followers()[0]
    term = cluster.validators[leader].term
    progress = cluster.validators[leader]._core.progress
    epoch = progress[cluster.validators[follower].number].epoch
    assert cluster.lie(follower, leader, MessageKind.APP_RESP, term=term, index=9, epoch=epoch) is None
    assert cluster.validators[leader].counters["message refused: speaks of entries that do not exist"] == 1


def test_a_peer_cannot_make_the_leader_make_blocks() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    fault = cluster.lie(cluster.followers()[0], leader, MessageKind.PROP, entries=(Entry(data=b"x"),))
    assert "PROP from a peer" in (fault or "") and cluster.validators[leader].last_height == 1


def test_a_peer_cannot_make_the_leader_hand_over() -> None:
    # It makes no blocks while it hands over. Asked for one successor after the other, it never would again.
    cluster = Cluster(4)
    leader = cluster.founded()
    liar, other, _ = cluster.followers()
    cluster.liars.add(liar)
    record = order(cluster, 1)
    cluster.add(record)
    for number in range(3 * ELECTION_TICKS):
        successor = cluster.validators[(liar, other)[number % 2]].number
        asked = Message(kind=MessageKind.TRANSFER_LEADER, term=cluster.validators[leader].term, vote=successor)
        fault = cluster.hand_over(liar, leader, Parcel(message=pack(asked)))
        assert "TRANSFER_LEADER from a peer" in (fault or "")
        cluster.step()
    assert accepted(cluster, record) and cluster.leader() == leader


def test_who_gets_on_does_not_look_for_what_a_liar_says_that_it_missed() -> None:
    # A certificate of validators that nobody knows may be one of those who have gone on without this node. It asks the
    # others then, and stops voting if they have more; while blocks become final here it has no reason to.
    cluster = Cluster(4)
    cluster.founded()
    liar, victim, _ = cluster.followers()
    cluster.liars.add(liar)
    unknown = Certificate(validators=bytes(32), ack_term=1, height=2**40, block=bytes(32), signatures=())
    for nonce in range(1, 5):
        cluster.hand_over(liar, victim, Parcel(certificates=(unknown,)))
        cluster.run(ELECTION_TICKS)
        settled(cluster, nonce)
    assert cluster.validators[victim].astray < ELECTION_TICKS
    cluster.hand_over(liar, victim, Parcel(certificates=(unknown,)))
    cluster.run(3 * ELECTION_TICKS)
    assert cluster.validators[victim].astray >= 3 * ELECTION_TICKS, "if nothing happens it is worth a question"


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
    assert cluster.validators[victim].counters["equivocation: two blocks of one term and height"] == 1


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
    # Neither block is certified: the one of the new leader's branch stays, and they go on.
    leader = cluster.leader()
    other = one_home if leader == two_home else two_home
    record = order(cluster, 1)
    cluster.add(record, [one_home, two_home])
    cluster.until(lambda: accepted(cluster, record) and cluster.agreed(), 60 * ELECTION_TICKS)
    assert cluster.disks[other].log[2] == cluster.disks[leader].log[2] and not cluster.faults


def test_a_branch_that_a_lying_leader_gave_to_one_alone_gives_way() -> None:
    # Three blocks of the liar's stand here that nobody else has; the others have certified others
    # of the same heights and term, and much more since.
    cluster = Cluster(5)
    liar = cluster.founded()
    victim, *others = cluster.followers()
    cluster.cut = {(home, liar) for home in cluster.followers()}
    first = head(cluster.disks[liar], 1, cluster.village)
    for homes, shift_s in (([victim], 1), (others, 2)):
        parent = first
        for _ in range(3):
            block = forged(cluster, liar, parent, parent.term, time_s=parent.time_s + shift_s)
            for home in homes:
                assert append(cluster, liar, home, parent, block) is None
            parent = Parent.of(block)
    cluster.settle()
    assert cluster.disks[victim].last_index() == cluster.disks[others[0]].last_index() == 4
    cluster.stop(liar)
    cluster.cut = {(a, b) for a in (victim,) for b in others} | {(b, a) for a in (victim,) for b in others}
    honest = [victim, *others]
    for nonce in range(3):
        record = order(cluster, nonce)
        cluster.add(record, others)
        cluster.until(lambda record=record: accepted(cluster, record), 60 * ELECTION_TICKS)
    cluster.cut = set()
    record = order(cluster, 9)
    cluster.add(record, honest)
    cluster.until(lambda: accepted(cluster, record) and cluster.agreed(), 60 * ELECTION_TICKS)
    assert not cluster.faults and not cluster.validators[victim].halted
    assert cluster.disks[victim].log[2] == cluster.disks[others[0]].log[2]


def test_who_lacks_a_final_block_is_not_elected_though_its_log_is_as_long() -> None:
    # The liar's block of height 2 is final at two nodes; the other two have another one of the same
    # height and term, which nobody certified. By term and height alone their logs are as good.
    cluster = Cluster(5)
    liar = cluster.founded()
    cluster.liars.add(liar)
    *informed, deceived, fourth = cluster.followers()
    first = head(cluster.disks[liar], 1, cluster.village)
    real = forged(cluster, liar, first, first.term)
    other = forged(cluster, liar, first, first.term, time_s=first.time_s + 1)
    cluster.cut = {(home, liar) for home in cluster.followers()}
    for home in cluster.followers():
        block = real if home in informed else other
        assert append(cluster, liar, home, first, block) is None
    cluster.settle()
    certificate = cluster.village.certificate(real, [liar, *informed])
    for home in informed:
        assert cluster.hand_over(liar, home, Parcel(certificates=(certificate,))) is None
    cluster.stop(liar)
    cluster.may_halt = {deceived, fourth}
    cluster.cut = {(one, two) for one in informed for two in informed if one != two}
    for _ in range(20):
        for home in (deceived, fourth):
            cluster.validators[home].campaign()
            cluster.run(ELECTION_TICKS // 2)
            assert cluster.leader() not in (deceived, fourth)
    assert sum(cluster.validators[home].counters["vote refused: lacks a final block"] for home in informed) > 0


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
        cluster.village.block(parent, liar, parent.term, signer=device(victim)),
        cluster.village.block(parent, victim, parent.term),
    ):
        assert append(cluster, liar, victim, parent, bad) is not None
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
