"""Evidence among validators: who lies is named by those who see it, and what an honest node keeps to answer with.

The liars here are nodes of the cluster whose keys the test uses; everybody else runs the real validator.
"""

from __future__ import annotations

import msgspec

from meshnode.network.watcher import KEPT_PER_SIGNER, MAX_TERMS, Watcher
from protocols.block import Block, Parent
from protocols.certificate import QuorumConfig
from protocols.cose import Envelope
from protocols.evidence import EvidenceKind, judge
from protocols.parcel import Elected, Parcel
from protocols.raft import MessageKind, Role
from protocols.records import Election, Tip, Vote, read_as, to_payload
from protocols.roll import Roll
from tests.network.cluster import ELECTION_TICKS, Cluster, Moment
from tests.network.liars import append, block_at, culprits, forged, head, settled
from tests.network.test_liars import candidate_and_two, vote_row
from tests.network.test_validator import order
from tests.protocols.keys import verify
from tests.protocols.village import Village, device


def named(cluster: Cluster, home: str) -> dict[str, set[str]]:
    """Whom a node has found out by itself: home -> kinds."""
    names = {device(other).key_id: other for other in cluster.village.homes}
    found: dict[str, set[str]] = {}
    for case in cluster.validators[home].watcher.cases:
        found.setdefault(names[case.accused], set()).add(case.kind.name)
    return found


def claim(first: Block) -> Elected:
    """What a leader shows of its term's first block, so that it is followed."""
    assert first.election is not None
    return Elected(first=first.header_envelope.encode(), election=first.election)


def ack_from(cluster: Cluster, liar: str, to: str, block: Block, **changes: int) -> str | None:
    """The liar acknowledges a block to another node."""
    _, ack, signature = cluster.village.ack(block, liar, **changes)
    validator = cluster.validators[to]
    fields = {"term": validator.term, "index": block.header.height, "ack": ack, "ack_signature": signature}
    return cluster.lie(liar, to, MessageKind.APP_RESP, **fields)


# --- what one node sees by itself


def test_a_leader_of_two_blocks_is_named_by_whoever_gets_both() -> None:
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    cluster.cut = {(victim, liar)}
    parent = head(cluster.disks[liar], 1, cluster.village)
    for time_s in (1, 2, 3):
        append(cluster, liar, victim, parent, forged(cluster, liar, parent, parent.term, time_s=parent.time_s + time_s))
        cluster.settle()
    assert named(cluster, victim) == {liar: {"HEADERS"}}
    watcher = cluster.validators[victim].watcher
    assert len(watcher.take()) == 1, "three blocks, one conviction"
    assert not watcher.take() and culprits(cluster, [victim]) == {liar: {"HEADERS"}}


def test_a_block_that_breaks_the_form_convicts_its_leader_and_not_who_was_lied_about() -> None:
    cluster = Cluster(3)
    liar = cluster.founded()
    victim = cluster.followers()[0]
    parent = head(cluster.disks[liar], 1, cluster.village)
    good = forged(cluster, liar, parent, parent.term)
    # Another body hangs on the header: its sender is dropped for it, but has signed nothing of the kind.
    stuffed = msgspec.structs.replace(good.header, tx_count=0)
    assert stuffed == good.header
    body = order(cluster, 1)
    mixed = cluster.village.block(parent, liar, parent.term, records=[body], head={"state_height": 1})
    hung = Block(good.header, good.header_envelope, mixed.records, None, good.block_hash, _encoded(good, mixed))
    assert "records" in (append(cluster, liar, victim, parent, hung) or "")
    assert named(cluster, victim) == {}
    early = forged(cluster, liar, parent, parent.term, time_s=parent.time_s - 1)
    assert append(cluster, liar, victim, parent, early) is not None
    assert named(cluster, victim) == {liar: {"FORM"}}


def _encoded(header_of: Block, records_of: Block) -> bytes:
    from protocols import cbor

    parts = [header_of.header_envelope.encode(), [record.envelope_bytes for record in records_of.records], None]
    return cbor.encode(parts)


def test_a_voter_for_two_candidates_is_named_when_both_elections_are_seen() -> None:
    cluster, _, candidate, liar = candidate_and_two()
    validator, village = cluster.validators[candidate], cluster.village
    parent = head(cluster.disks[candidate], 1, village)
    tip = Tip(term=parent.term, height=parent.height, block=parent.block_hash)
    row = vote_row(cluster, liar, candidate, tip)
    assert cluster.lie(liar, candidate, MessageKind.VOTE_RESP, term=validator.term, vote=row) is None
    cluster.cut = {(liar, candidate)}
    cluster.settle()
    assert validator.role == Role.LEADER
    # The same node, elected in the same term by its own vote and another's: the winner sees its block.
    third = next(home for home in village.homes if home not in (candidate, liar))
    cluster.forged = {third}
    own = village.election(liar, validator.term, parent, (liar, third))
    block = village.block(parent, liar, validator.term, election=own)
    later = village.block(parent, liar, validator.term + 1, election=village.election(liar, validator.term + 1, parent))
    append(cluster, liar, candidate, parent, block, term=validator.term + 1, elected=claim(later))
    assert named(cluster, candidate) == {liar: {"VOTES"}}


def test_an_ack_for_another_block_is_noticed_even_when_it_comes_late() -> None:
    cluster = Cluster(3)
    leader = cluster.founded()
    liar = cluster.followers()[0]
    cluster.add(order(cluster, 1))
    cluster.until(lambda: cluster.heights() == {2})
    parent = head(cluster.disks[leader], 1, cluster.village)
    cluster.forged = {leader}
    other = forged(cluster, leader, parent, parent.term, time_s=parent.time_s + 9)
    # Repeating oneself is no contradiction, nor is the other phase.
    ours = block_at(cluster, leader, 2)
    for phase in (1, 2):
        assert ack_from(cluster, liar, leader, ours, phase=phase) is None
    assert named(cluster, leader) == {}
    assert ack_from(cluster, liar, leader, other) is None
    assert named(cluster, leader) in ({}, {liar: {"ACKS"}})
    # Whoever of the two followers was not needed for the certificate has signed nothing that the leader kept.
    ack_from(cluster, liar, leader, forged(cluster, leader, parent, parent.term, time_s=parent.time_s + 8))
    assert named(cluster, leader) == {liar: {"ACKS"}}


# --- forks


def fork_by_leader() -> tuple[Cluster, str, str, str]:
    """A lying leader of three has its two followers execute different blocks of height 2."""
    cluster = Cluster(3)
    liar = cluster.founded()
    one, two = cluster.followers()
    cluster.liars, cluster.may_fork = {liar}, True
    everybody = cluster.village.homes
    cluster.cut = {(a, b) for a in everybody for b in everybody if a != b}
    parent = head(cluster.disks[liar], 1, cluster.village)
    for home, time_s in ((one, 1), (two, 2)):
        block = forged(cluster, liar, parent, parent.term, time_s=parent.time_s + time_s)
        assert append(cluster, liar, home, parent, block) is None
        cluster.settle()
        # What the follower sent back, with the liar's own ack beside it.
        certificate = cluster.village.certificate(block, [liar, home])
        assert cluster.hand_over(liar, home, Parcel(certificates=(certificate,))) is None
        cluster.settle()
        assert cluster.validators[home].final_height == 2
    return cluster, liar, one, two


def test_a_lying_leader_is_named_by_the_disks_of_those_it_has_parted() -> None:
    cluster, liar, one, two = fork_by_leader()
    assert block_at(cluster, one, 2) != block_at(cluster, two, 2)
    assert culprits(cluster, [one, two]) == {liar: {"HEADERS", "ACKS"}}


def test_who_meets_the_other_history_stops_and_says_who_did_it() -> None:
    cluster, liar, one, two = fork_by_leader()
    cluster.may_halt = {one, two}
    cluster.stop(liar)
    cluster.cut = set()
    cluster.until(lambda: bool(cluster.validators[one].halted or cluster.validators[two].halted), 600)
    halted = next(home for home in (one, two) if cluster.validators[home].halted)
    why = cluster.validators[halted].halted or ""
    assert "is final here" in why and f"{device(liar).key_id.hex()} acknowledged two histories" in why
    assert named(cluster, halted) == {liar: {"ACKS"}}
    # It acknowledges and executes nothing more, and leads no more.
    signed = set(cluster.witness.acks)
    cluster.run(20 * ELECTION_TICKS)
    assert not {key for key in set(cluster.witness.acks) - signed if key[0] == device(halted).key_id}
    assert cluster.validators[halted].final_height == 2 and cluster.validators[halted].role != Role.LEADER


def test_a_voter_that_forgets_what_it_acknowledged_is_named_by_all_disks() -> None:
    # The leader and the liar make block 2 final; the third one has not got it. The leader is cut off, and the
    # liar votes for the third one as if it had only block 1. Nobody else has done anything wrong.
    cluster = Cluster(3)
    leader = cluster.founded()
    liar, third = cluster.followers()
    cluster.may_fork = True
    cluster.cut = {(leader, third), (third, leader)}
    cluster.add(order(cluster, 1), [leader])
    cluster.until(lambda: cluster.validators[leader].final_height == 2)
    village = cluster.village
    one, lost = block_at(cluster, leader, 1), block_at(cluster, leader, 2)
    cluster.stop(leader)
    cluster.liars = {liar}
    cluster.stop(liar)
    cluster.wires.clear()
    validator = cluster.validators[third]
    parent = Parent.of(one)
    tip = Tip(term=parent.term, height=1, block=one.block_hash)
    cluster.run(3 * ELECTION_TICKS)
    for _ in range(200):
        if validator.role == Role.LEADER:
            break
        cluster.step()
        cluster.wires.clear()
        if validator.role == Role.PRE_CANDIDATE:
            cluster.lie(liar, third, MessageKind.PRE_VOTE_RESP, term=validator.term + 1)
        if validator.role == Role.CANDIDATE:
            row = vote_row(cluster, liar, third, tip)
            cluster.lie(liar, third, MessageKind.VOTE_RESP, term=validator.term, vote=row)
    assert validator.role == Role.LEADER
    cluster.settle()
    cluster.wires.clear()
    assert ack_from(cluster, liar, third, block_at(cluster, third, 2)) is None
    cluster.settle()
    assert validator.final_height == 2 and block_at(cluster, third, 2) != lost
    assert culprits(cluster) == {liar: {"OLDER_TIP"}}
    # Without the liar's own disk it is a question: it could still have an answer.
    assert culprits(cluster, [leader, third]) == {}
    assert village.homes


# --- what an honest node keeps


def lured() -> tuple[Cluster, str, str, Parent, Block, bytes]:
    """A victim has acknowledged an uncertified block 2 of a newer term; the leader of the older one has a block too."""
    cluster = Cluster(3)
    liar = cluster.founded()
    victim, honest = cluster.followers()
    cluster.forged, cluster.liars = {liar, honest}, {liar, honest}
    everybody = cluster.village.homes
    cluster.cut = {(a, b) for a in everybody for b in everybody if a != b}
    parent = head(cluster.disks[liar], 1, cluster.village)
    state = {"state_height": 1, "state_hash": cluster.validators[honest].machine.state_hash()}
    newer = cluster.village.block(parent, honest, 5, head=state)
    assert append(cluster, honest, victim, parent, newer, term=5, elected=claim(newer)) is None
    cluster.settle()
    assert cluster.disks[victim].sign.ack_block == newer.block_hash
    older = forged(cluster, liar, parent, parent.term)
    return cluster, liar, victim, parent, older, newer.block_hash


def test_an_acknowledged_block_does_not_leave_the_log_without_a_reason_on_the_disk() -> None:
    cluster, liar, victim, parent, older, acked = lured()
    disk, counters = cluster.disks[victim], cluster.validators[victim].counters
    # It was elected in term 8 as one that has the newer block, and sends the older one.
    tip = Parent(2, 5, acked, 0, 1, parent.next_validators, device(liar).key_id)
    elected = claim(cluster.village.block(tip, liar, 8))
    assert append(cluster, liar, victim, parent, older, term=8, elected=elected) is None
    cluster.settle()
    assert disk.log[2].block_hash == acked
    assert counters["append held: it replaces blocks without an election that justifies it"] == 1
    # An election that is none is a lie; one of another time, or with that block, is no reason.
    village = cluster.village
    for term, extends in ((4, parent), (9, parent), (8, tip)):
        reason = village.election(liar, term, extends)
        assert append_with(cluster, liar, victim, parent, older, reason) is None
        cluster.settle()
        assert disk.log[2].block_hash == acked
    assert "not a quorum" in (
        append_with(cluster, liar, victim, parent, older, village.election(liar, 8, parent, (liar,))) or ""
    )
    good = village.election(liar, 8, parent)
    assert append_with(cluster, liar, victim, parent, older, good) is None
    cluster.settle()
    assert disk.log[2].block_hash == older.block_hash
    assert to_payload(good) in disk.elections, "written with what took the block's place"
    # The block of the older term is promised to the leader, and no ack of it is signed: that would certify nothing.
    assert disk.sign.ack_block == older.block_hash and older.block_hash not in cluster.witness.acks.values()
    # It votes with an older tip now, and has the answer.
    validator = cluster.validators[victim]
    assert [read_as(Election, data).term for data in disk.elections_after(5, 9)] == [8]
    assert validator.watcher.cases == []


def append_with(cluster: Cluster, liar: str, to: str, parent: Parent, block: Block, reason: Election) -> str | None:
    """An append of one block, with an election certificate sent along."""
    from tests.network.liars import entry

    return cluster.lie(
        liar,
        to,
        MessageKind.APP,
        term=8,
        index=parent.height,
        log_term=parent.term,
        entries=(entry(block),),
        epoch=1,
        elections=(reason,),
    )


def test_a_branch_that_shows_its_own_election_needs_no_other_reason() -> None:
    cluster, liar, victim, parent, older, _ = lured()
    state = {"state_height": 1, "state_hash": cluster.validators[liar].machine.state_hash()}
    first = cluster.village.block(Parent.of(older), liar, 8, head=state)
    assert append(cluster, liar, victim, parent, older, first, term=8, elected=claim(first)) is None
    cluster.settle()
    disk = cluster.disks[victim]
    assert disk.log[3].block_hash == first.block_hash == disk.sign.ack_block
    assert first.election is not None and to_payload(first.election) in disk.elections


def test_a_leader_sends_the_reason_along_when_its_branch_is_longer_than_an_append() -> None:
    # Five nodes; the blocks of a term that came to nothing fill more than one append.
    cluster = Cluster(5)
    first = cluster.founded()
    other, *rest = cluster.followers()
    everybody = set(cluster.village.homes)
    cluster.cut = {(a, b) for a in everybody for b in everybody if a != b}
    for nonce in range(1, 4):
        cluster.add(order(cluster, nonce), [first])
        assert cluster.validators[first].propose()
        cluster.settle()
    held = cluster.validators[first].last_height
    assert held > 2
    # The others elect `other`, whose first block reaches nobody but one.
    cluster.cut = {(first, home) for home in rest} | {(home, first) for home in everybody}
    cluster.until(lambda: any(v.term > 1 and v.role == Role.LEADER for v in cluster.validators.values()), 900)
    for validator in cluster.validators.values():
        assert not validator.counters["append held: it replaces blocks without an election that justifies it"]
    cluster.heal()
    cluster.until(cluster.agreed, 900)
    assert culprits(cluster) == {} and other
    elections = {read_as(Election, data).term for data in cluster.disks[rest[0]].elections}
    assert len(elections) >= 2, "every election that it relied on is kept"


def test_who_came_back_without_a_certificate_does_not_lead() -> None:
    # Its next block would name an older state than the one before it: an honest node would convict itself.
    cluster = Cluster(3)
    leader = cluster.founded()
    away, other = cluster.followers()
    cluster.stop(away)
    for nonce in range(1, 5):
        cluster.add(order(cluster, nonce), [leader, other])
        cluster.until(lambda: len({cluster.validators[home].final_height for home in (leader, other)}) == 1)
        cluster.run(3)
    cluster.start(away)
    disk = cluster.disks[away]
    for _ in range(400):
        cluster.slow = {away: 3}
        cluster.step()
        if disk.last_index() > disk.final:
            break
    behind = block_at(cluster, away, disk.last_index()).header.state_height
    assert behind > disk.final, "blocks on the disk, their certificate not yet"
    cluster.stop(away, Moment.BEFORE_PERSIST)
    cluster.stop(leader)
    cluster.slow = {}
    cluster.start(away)
    validator = cluster.validators[away]
    cluster.cut = {(other, away)}
    validator.campaign()
    cluster.run(6 * ELECTION_TICKS)
    assert validator.role == Role.FOLLOWER and disk.final < behind
    cluster.cut = set()
    settled(cluster, 9)
    assert cluster.validators[away].final_height > behind and culprits(cluster) == {}


# --- the watcher's memory


def test_the_memory_is_bounded_and_each_signer_fills_its_own() -> None:
    village = Village(3)
    watcher = Watcher(lambda: Roll.of_genesis(village.genesis, village.chain_id), verify)
    first = village.block()
    watcher.block(first)
    tip = Tip(term=0, height=0, block=village.chain_id)
    for term in range(1, 3 * KEPT_PER_SIGNER):
        vote = Vote(term=term, candidate=device("anna").key_id, candidate_tip=tip, voter_tip=tip)
        watcher.vote(village.vote_row(vote, device("bela")), vote)
    assert len(watcher.statements()) <= KEPT_PER_SIGNER + 1 + len(village.homes)
    assert first.header_envelope.encode() in watcher.statements()
    for term in range(2 * KEPT_PER_SIGNER, 3 * KEPT_PER_SIGNER):
        vote = Vote(term=term, candidate=device("carla").key_id, candidate_tip=tip, voter_tip=tip)
        watcher.vote(village.vote_row(vote, device("bela")), vote)
    found = watcher.take()
    assert len(found) == MAX_TERMS == len(watcher.cases), "a liar does not fill the ledger with its lies"
    assert {evidence.evidence_kind for evidence in found} == {EvidenceKind.VOTES}


def test_what_is_on_the_ledger_already_is_not_handed_in_again() -> None:
    village = Village(3)
    roll = Roll.of_genesis(village.genesis, village.chain_id)
    blocks = [village.block(head={"time_s": village.root.time_s + seconds}) for seconds in (1, 2, 3)]
    seen = Watcher(lambda: roll, verify)
    for block in blocks:
        seen.block(block)
    (evidence,) = seen.take()
    case = judge(evidence, roll, verify)
    again = Watcher(lambda: roll, verify)
    again.dismiss((case.accused, int(case.kind), case.term))
    for block in blocks:
        again.block(block)
    assert again.take() == []
    assert isinstance(QuorumConfig.of_genesis(village.genesis), QuorumConfig) and Envelope


def test_what_was_found_is_not_lost_when_a_node_begins_to_vote_or_ends() -> None:
    # Each part has a watcher of its own. What the one before found goes out with the next, and is not found again.
    village = Village(3)
    roll = Roll.of_genesis(village.genesis, village.chain_id)
    genesis = Parent.of_genesis(village.genesis, village.chain_id)
    one, two, three = (village.block(genesis, "anna", 1, head={"time_s": genesis.time_s + n}) for n in range(3))
    before, after = Watcher(lambda: roll, verify), Watcher(lambda: roll, verify)
    before.header(one.header_envelope, one.header, one.block_hash)
    before.header(two.header_envelope, two.header, two.block_hash)
    after.take_over(before)
    assert [evidence.accused for evidence in after.take()] == [device("anna").key_id] and not before.take()
    assert after.convictions() == before.convictions() != []
    after.header(three.header_envelope, three.header, three.block_hash)
    assert not after.take(), "once is enough"
    for block in (one, two):
        assert block.header_envelope.encode() in after.statements()
