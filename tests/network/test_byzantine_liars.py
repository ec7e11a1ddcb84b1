"""Byzantine mode among liars: f of 3f + 1, with valid keys, who can neither make two histories nor stop the one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from meshnode.network.terms import MAX_TERM_JUMP
from meshnode.network.wariness import PATIENCE_TIMEOUTS
from protocols import cose
from protocols.block import Parent
from protocols.locks import place_of
from protocols.parcel import Elected, Parcel
from protocols.raft import MessageKind
from protocols.raft.messages import TRANSFER_CONTEXT
from protocols.records import (
    PHASE_COMMIT,
    PHASE_PREPARE,
    Tip,
    Vote,
    to_payload,
)
from tests.network.byzantine import LONG, alive, liar_leads, lock_of, village
from tests.network.cluster import ELECTION_TICKS
from tests.network.liars import append, culprits, entry, forged, head
from tests.protocols.village import device

# --- liars that lead


@pytest.mark.parametrize(("size", "seed"), [(4, 1), (4, 2), (4, 3), (7, 1), (7, 2)])
def test_two_blocks_for_one_height_are_never_both_prepared(size: int, seed: int) -> None:
    cluster = village(size, seed)
    liar, honest = liar_leads(cluster)
    parent = head(cluster.disks[liar], 1, cluster.village)
    blocks = [forged(cluster, liar, parent, parent.term, time_s=parent.time_s + n) for n in (1, 2)]
    for place, home in enumerate(honest):
        append(cluster, liar, home, parent, blocks[place % 2])
    cluster.tamper[liar] = lambda to, parcel: () if parcel.message and parcel.message.entries else (parcel,)
    cluster.settle()
    cluster.stop(liar)
    alive(cluster)
    assert len({cluster.disks[home].log[2].block_hash for home in honest}) == 1
    heard = culprits(cluster, honest)
    assert set(heard) <= {liar}, "whoever is named is the liar"


def test_all_liars_together_prepare_no_second_block() -> None:
    # Of seven, two lie: the leader gives three honest nodes one block and two another, and its accomplice and
    # itself acknowledge both. Five prepare the first; the second never gets more than four.
    cluster = village(7)
    liar, others = liar_leads(cluster)
    accomplice, honest = others[0], others[1:]
    cluster.liars.add(accomplice)
    parent = head(cluster.disks[liar], 1, cluster.village)
    one, two = (forged(cluster, liar, parent, parent.term, time_s=parent.time_s + n) for n in (1, 2))
    for home in honest[:3]:
        append(cluster, liar, home, parent, one)
    for home in honest[3:]:
        append(cluster, liar, home, parent, two)
    cluster.tamper = {home: lambda _to, _parcel: () for home in (liar, accomplice)}
    cluster.settle()
    first = cluster.village.certificate(one, [liar, accomplice, *honest[:3]], phase=PHASE_PREPARE)
    second = cluster.village.certificate(two, [liar, accomplice, *honest[3:]], phase=PHASE_PREPARE)
    for home in honest[:3]:
        assert cluster.hand_over(liar, home, Parcel(certificates=(first,))) is None
    for home in honest[3:]:
        assert "does not hold" in (cluster.hand_over(liar, home, Parcel(certificates=(second,))) or "")
    cluster.settle()
    # The liars finish the first with the three, and nobody hears of it.
    committed = cluster.village.certificate(one, [liar, accomplice, *honest[:3]])
    cluster.stop(liar)
    cluster.stop(accomplice)
    alive(cluster)
    assert all(cluster.disks[home].log[2].block_hash == committed.block for home in honest)
    # Whoever hears of it later has heard nothing new.
    assert cluster.hand_over(liar, honest[4], Parcel(certificates=(committed,))) is None
    assert cluster.validators[honest[4]].halted is None


@pytest.mark.parametrize("seed", range(1, 9))
def test_the_longest_log_and_the_highest_lock_in_different_hands(seed: int) -> None:
    # The liar locks one node on block 2 and gives another a longer log on another branch. Whoever compared
    # lengths of logs as well as locks would never elect anybody again: all three honest votes are needed.
    cluster = village(4, seed)
    liar, honest = liar_leads(cluster)
    parent = head(cluster.disks[liar], 1, cluster.village)
    short = forged(cluster, liar, parent, parent.term, time_s=parent.time_s + 1)
    long = [forged(cluster, liar, parent, parent.term, time_s=parent.time_s + 2)]
    for _ in range(3):
        last = Parent.of(long[-1])
        long.append(forged(cluster, liar, last, last.term, time_s=last.time_s))
    append(cluster, liar, honest[0], parent, short)
    append(cluster, liar, honest[1], parent, *long)
    append(cluster, liar, honest[2], parent, short)
    cluster.tamper[liar] = lambda _to, _parcel: ()
    cluster.settle()
    prepared = cluster.village.certificate(short, [liar, honest[0], honest[2]], phase=PHASE_PREPARE)
    cluster.hand_over(liar, honest[0], Parcel(certificates=(prepared,)))
    cluster.work(honest[0])
    assert place_of(lock_of(cluster, honest[0])) == (parent.term, 2) and cluster.disks[honest[1]].last_index() == 5
    cluster.stop(liar)
    alive(cluster)
    assert all(cluster.disks[home].log[2].block_hash == short.block_hash for home in honest)


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_leader_that_does_nothing_but_lead_is_given_up(seed: int) -> None:
    cluster = village(4, seed)
    liar, honest = liar_leads(cluster)

    # It answers, it sends heartbeats, and finds no record worth a block.
    cluster.pools[liar].select = lambda *_: []  # type: ignore[method-assign]
    alive(cluster, 1, ticks=4 * PATIENCE_TIMEOUTS * ELECTION_TICKS)
    assert sum(cluster.validators[home].counters["leader given up"] for home in honest) >= 2


@pytest.mark.parametrize("kept", ["prepare certificates", "commit certificates", "acks of the others"])
def test_a_leader_that_keeps_what_it_should_tell_is_given_up(kept: str) -> None:
    cluster = village()
    liar, _ = liar_leads(cluster)

    def withhold(_: str, parcel: Parcel) -> Iterator[Parcel]:
        phases = {"prepare certificates": [PHASE_PREPARE], "commit certificates": [PHASE_COMMIT]}.get(kept, [1, 2])
        keep = tuple(c for c in parcel.certificates if c.phase not in phases)
        yield msgspec.structs.replace(parcel, certificates=keep)

    cluster.tamper[liar] = withhold
    alive(cluster, 1)
    cluster.tamper = {}
    alive(cluster, 2)


def test_a_first_block_beside_the_lock_of_its_election_is_refused() -> None:
    cluster = village()
    old, honest = liar_leads(cluster)
    alive(cluster, 1)
    cluster.until(cluster.agreed)
    liar, victim = honest[0], honest[1]
    cluster.liars.add(liar)
    last = cluster.disks[victim].final
    parent = head(cluster.disks[victim], last, cluster.village)
    beside = forged(
        cluster, old, head(cluster.disks[victim], last - 1, cluster.village), parent.term, time_s=parent.time_s + 7
    )
    # A true prepare certificate, of a block that the branch does not have.
    lock = cluster.village.certificate(beside, phase=PHASE_PREPARE)
    term = parent.term + 1
    election = cluster.village.election(liar, term, parent, [old, liar, honest[2]], lock=lock)
    state = {"state_height": last, "state_hash": cluster.validators[victim].machine.state_hash()}
    block = cluster.village.block(parent, liar, term, election=election, head=state)
    fault = cluster.lie(
        liar,
        victim,
        MessageKind.APP,
        term=term,
        index=parent.height,
        log_term=parent.term,
        entries=(entry(block),),
        epoch=1,
        elected=Elected(first=block.header_envelope.encode(), election=election),
    )
    assert "is not on its branch" in (fault or "")


def test_who_is_elected_with_a_lock_cannot_take_its_block_away() -> None:
    # The election certificate is genuine and carries the very lock of the victim. But what the leader sends is
    # another branch, and it keeps back the first block of its term, which would show that. Were the locked block
    # to go for that, it could go everywhere, and nobody would have it when the next one is elected.
    cluster = village()
    liar, honest = liar_leads(cluster)
    victim = honest[0]
    parent = head(cluster.disks[liar], 1, cluster.village)
    ours, other = (forged(cluster, liar, parent, parent.term, time_s=parent.time_s + n) for n in (1, 2))
    append(cluster, liar, victim, parent, ours)
    cluster.work(victim)
    lock = cluster.village.certificate(ours, phase=PHASE_PREPARE)
    cluster.hand_over(liar, victim, Parcel(certificates=(lock,)))
    cluster.work(victim)
    term = parent.term + 1
    election = cluster.village.election(liar, term, Parent.of(other), [liar, *honest[1:]], lock=lock)
    first = cluster.village.block(Parent.of(other), liar, term, election=election)
    asks = {"term": term, "index": 1, "log_term": parent.term, "epoch": 1, "entries": (entry(other),)}
    elected = Elected(first=first.header_envelope.encode(), election=election)
    assert cluster.lie(liar, victim, MessageKind.APP, elected=elected, **asks) is None
    cluster.work(victim)
    validator = cluster.validators[victim]
    assert validator.leader == device(liar).public, "it was elected, and is followed"
    assert validator.counters["append held: it replaces blocks without an election that justifies it"] == 1
    assert cluster.disks[victim].log[2].block_hash == ours.block_hash


# --- liars that vote and stand


def test_an_invented_lock_is_not_counted_and_spoils_no_election() -> None:
    cluster = village()
    old = cluster.founded()
    liar = cluster.followers()[0]
    cluster.liars.add(liar)
    invented = Tip(term=10**6, height=10**6, block=bytes(32))

    def boast(to: str, parcel: Parcel) -> Iterator[Parcel]:
        if parcel.vote is None or parcel.message is None:
            yield parcel
            return
        candidate = cluster.validators[to]
        vote = Vote(
            term=parcel.message.term,
            candidate=device(to).key_id,
            candidate_tip=candidate._chain.tip(candidate.last_height),
            voter_tip=Tip.of_row(parcel.vote[1]),
            lock=invented,
        )
        key = device(liar)
        signature = cose.sign(Vote.KIND, cluster.village.chain_id, to_payload(vote), key.public, key.sign).signature
        yield msgspec.structs.replace(parcel, vote=(key.key_id, parcel.vote[1], invented.row(), signature))

    cluster.tamper[liar] = boast
    cluster.stop(old)
    cluster.run(20 * ELECTION_TICKS)
    assert cluster.leader() in (None, liar), "two honest nodes are no quorum, and its vote does not count"
    cluster.start(old)
    alive(cluster)
    boasted = [
        home for home in cluster.village.homes if cluster.validators[home].counters["vote not counted: a higher lock"]
    ]
    assert boasted and liar not in boasted


def test_a_lock_that_does_not_hold_gets_no_vote() -> None:
    cluster = village()
    cluster.founded()
    alive(cluster, 1)
    cluster.until(cluster.agreed)
    liar, victim, _ = cluster.followers()
    validator = cluster.validators[victim]
    last = cluster.disks[victim].final
    parent = head(cluster.disks[victim], last, cluster.village)
    block = forged(cluster, liar, parent, parent.term)
    asks = {"term": validator.term + 1, "index": last, "log_term": parent.term, "tip": parent.block_hash}
    few = cluster.village.certificate(block, [liar], phase=PHASE_PREPARE)
    assert "does not hold" in (cluster.lie(liar, victim, MessageKind.PRE_VOTE, lock=few, **asks) or "")
    moved = msgspec.structs.replace(lock_of(cluster, victim), ack_term=9)
    assert "does not hold" in (cluster.lie(liar, victim, MessageKind.VOTE, lock=moved, **asks) or "")


def test_nobody_deposes_a_good_leader() -> None:
    cluster = village()
    leader = cluster.founded()
    liar, *_ = cluster.followers()
    term = cluster.validators[leader].term
    for number in range(6 * ELECTION_TICKS):
        for to in cluster.village.homes:
            if to == liar:
                continue
            later = cluster.validators[to].term + 1 + number % 5
            for kind in (MessageKind.APP_RESP, MessageKind.HEARTBEAT_RESP, MessageKind.VOTE_RESP):
                cluster.lie(liar, to, kind, term=later, reject=True)
            tip = head(cluster.disks[liar], 1, cluster.village)
            for kind, context in ((MessageKind.VOTE, TRANSFER_CONTEXT), (MessageKind.PRE_VOTE, b"")):
                asks = {"term": later, "index": 1, "log_term": tip.term, "tip": tip.block_hash, "context": context}
                cluster.lie(liar, to, kind, **asks)
        cluster.faults.clear()
        cluster.step()
    assert cluster.leader() == leader and cluster.validators[leader].term == term
    alive(cluster)


@pytest.mark.parametrize("seed", range(1, 6))
def test_whoever_asks_for_votes_again_and_again_does_not_stop_elections(seed: int) -> None:
    # The leader is gone. The liar asks everybody for votes in one later term after the other, and tells
    # every candidate of later terms still, faster than anybody can be elected.
    cluster = village(4, seed)
    old = cluster.founded()
    liar = cluster.followers()[0]
    cluster.liars.add(liar)
    cluster.stop(old)
    # The old leader's place is taken by its restart, later: three honest votes are needed, and there are two.
    cluster.start(old)
    cluster.tamper[liar] = lambda _to, _parcel: ()
    for _ in range(60 * ELECTION_TICKS):
        for to in cluster.village.homes:
            if to != liar:
                validator = cluster.validators[to]
                last = head(cluster.disks[to], validator.last_height, cluster.village)
                asks = {
                    "term": validator.term + 1,
                    "index": last.height,
                    "log_term": last.term,
                    "tip": last.block_hash,
                    "lock": validator._locking.lock,
                }
                cluster.lie(liar, to, MessageKind.VOTE, **asks)
                cluster.lie(liar, to, MessageKind.VOTE_RESP, term=validator.term + 3, reject=True)
        cluster.faults.clear()
        cluster.step()
        if cluster.leader() not in (None, liar):
            break
    assert cluster.leader() not in (None, liar)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("trick", ["asks for what it cannot get", "asks as if the leader had chosen it"])
def test_requests_for_votes_that_nobody_gives_do_not_stop_elections(trick: str, seed: int) -> None:
    # Neither a lock that is too low nor a hand-over that no leader has signed gets a vote. But each such request
    # is of one term more, and if anybody followed it there, its wait for a leader would begin anew every time.
    cluster = village(4, seed)
    old = cluster.founded()
    alive(cluster, 1)
    cluster.until(cluster.agreed)
    liar = cluster.followers()[0]
    cluster.liars.add(liar)
    cluster.stop(old)
    cluster.start(old)
    cluster.tamper[liar] = lambda _to, _parcel: ()
    for _ in range(60 * ELECTION_TICKS):
        for to in cluster.village.homes:
            if to != liar:
                validator = cluster.validators[to]
                last = head(cluster.disks[to], validator.last_height, cluster.village)
                asks = {
                    "term": validator.term + 1,
                    "index": last.height,
                    "log_term": last.term,
                    "tip": last.block_hash,
                }
                if trick != "asks for what it cannot get":
                    asks |= {"lock": validator.lock, "context": TRANSFER_CONTEXT}
                cluster.lie(liar, to, MessageKind.VOTE, **asks)
        cluster.step()
        if cluster.leader() not in (None, liar):
            break
    assert cluster.leader() not in (None, liar)
    alive(cluster, 2)


def test_honest_nodes_whose_terms_are_far_apart_find_one_another() -> None:
    # Two of the four went on standing while one was cut off; nobody was elected. When the wires are mended its term
    # is thousands below theirs, the fourth is a liar and silent, and all three are needed.
    cluster = village()
    leader = cluster.founded()
    alive(cluster, 1)
    cluster.until(cluster.agreed)
    liar, alone, other = cluster.followers()
    cluster.liars.add(liar)
    cluster.tamper[liar] = lambda _to, _parcel: ()
    for home in (leader, other):
        cluster.stop(home)
        disk = cluster.disks[home]
        disk.hard = msgspec.structs.replace(disk.hard, term=disk.hard.term + 5 * MAX_TERM_JUMP, vote=0)
        cluster.start(home)
    cluster.until(lambda: cluster.leader() not in (None, liar), 4 * LONG)
    alive(cluster, 2)
    assert cluster.validators[alone].term > 5 * MAX_TERM_JUMP


def test_a_node_that_was_left_in_a_later_term_comes_back() -> None:
    cluster = village()
    leader = cluster.founded()
    lost, *_ = cluster.followers()
    # It alone believes in a later term, as after a campaign whose votes were lost.
    cluster.validators[lost]._core._replica.become_follower(9, 0)
    cluster.run(4 * ELECTION_TICKS)
    assert cluster.leader() == leader, "one node is no reason to step down"
    cluster.until(lambda: cluster.agreed() and len({v.term for v in cluster.validators.values()}) == 1, LONG)
    alive(cluster)
