"""Certificate: every way in which acks and votes can be wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocols.block import Parent
from protocols.certificate import QuorumConfig, check_certificate, check_election, quorum_size
from protocols.records import (
    PHASE_PREPARE,
    QUORUM_BYZANTINE,
    QUORUM_MAJORITY,
    Certificate,
    Election,
    Tip,
    Vote,
)
from tests.protocols.keys import key_pair, verify
from tests.protocols.village import Village, device

VILLAGE = Village(5)
FIRST = VILLAGE.block()
PARENT = Parent.of(FIRST)
BLOCK = VILLAGE.block(PARENT, leader="bela", term=3)
GOOD = VILLAGE.certificate(BLOCK, ("anna", "bela", "carla"))


def fault(certificate: Certificate, term: int = 3, village: Village = VILLAGE) -> str:
    return check_certificate(certificate, term, village.quorum, village.chain_id, verify) or ""


def swapped(rows: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """The same signatures under one another's key ids."""
    return tuple((key_id, signature) for (key_id, _), (_, signature) in zip(rows, rows[::-1], strict=True))


def test_a_quorum_of_acks_makes_a_block_final() -> None:
    assert fault(GOOD) == "" and fault(VILLAGE.certificate(BLOCK)) == ""


def test_two_of_five_are_no_quorum() -> None:
    assert "2 signatures are not a quorum of 5" in fault(VILLAGE.certificate(BLOCK, ("anna", "bela")))


def test_acks_of_a_later_term_do_not_certify() -> None:
    # Raft, figure 8: the acks are real, but not of the block's own term.
    later = VILLAGE.certificate(BLOCK, ack_term=4)
    assert "acks of term 4 for a block of term 3" in fault(later)
    assert "acks of term 3 for a block of term 4" in fault(GOOD, term=4)


def test_acks_of_the_prepare_phase_do_not_certify() -> None:
    prepared = VILLAGE.certificate(BLOCK, phase=PHASE_PREPARE)
    assert "only phase 2 (commit) makes a block final" in fault(prepared)
    # Nor can the phase be changed afterwards: it is signed.
    assert "does not hold" in fault(msgspec.structs.replace(prepared, phase=2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validators": bytes(32)}, "names another set of validators"),
        ({"block": bytes(32)}, "does not hold"),
        ({"height": 9}, "does not hold"),
        ({"signatures": GOOD.signatures[::-1]}, "not in ascending order"),
        ({"signatures": GOOD.signatures + GOOD.signatures[-1:]}, "not in ascending order"),
        ({"signatures": tuple((key, bytes(64)) for key, _ in GOOD.signatures)}, "does not hold"),
        ({"signatures": swapped(GOOD.signatures)}, "does not hold"),
        ({"signatures": ()}, "0 signatures are not a quorum"),
    ],
)
def test_what_is_not_what_was_signed(changes: dict[str, Any], message: str) -> None:
    assert message in fault(msgspec.structs.replace(GOOD, **changes))


def test_one_bad_signature_among_enough_good_ones_spoils_it() -> None:
    all_five = VILLAGE.certificate(BLOCK)
    for number in range(5):
        rows = list(all_five.signatures)
        rows[number] = (rows[number][0], bytes(64))
        assert "does not hold" in fault(msgspec.structs.replace(all_five, signatures=tuple(rows)))


def test_a_stranger_cannot_sign() -> None:
    key = key_pair("stranger")
    rows = tuple(sorted((*GOOD.signatures, (key.key_id, bytes(64)))))
    assert "is not a validator of this height" in fault(msgspec.structs.replace(GOOD, signatures=rows))


def test_acks_of_another_microgrid_are_worthless_here() -> None:
    other = Village(5, community="Oberdorf")
    assert "does not hold" in fault(GOOD, village=other)


def test_quorum_sizes() -> None:
    assert [quorum_size(n, QUORUM_MAJORITY) for n in range(1, 11)] == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert [quorum_size(n, QUORUM_BYZANTINE) for n in range(1, 11)] == [1, 2, 2, 3, 4, 4, 5, 6, 6, 7]
    with pytest.raises(ValueError, match="quorum mode 2 is unknown"):
        quorum_size(4, 2)


@pytest.mark.parametrize("voters", range(1, 11))
def test_two_quorums_always_share_a_node_or_an_honest_one(voters: int) -> None:
    assert 2 * quorum_size(voters, QUORUM_MAJORITY) - voters >= 1
    liars = (voters - 1) // 3
    assert 2 * quorum_size(voters, QUORUM_BYZANTINE) - voters >= liars + 1
    # And as many as are allowed to fail can be away.
    assert quorum_size(voters, QUORUM_MAJORITY) <= voters - (voters - 1) // 2
    assert quorum_size(voters, QUORUM_BYZANTINE) <= voters - liars


def test_a_joint_configuration_needs_a_quorum_of_each_half() -> None:
    voters = [(key_pair(name).public, 0) for name in "abcdef"]
    joint = QuorumConfig(QUORUM_MAJORITY, tuple(voters[:3]), tuple(voters[3:]))
    ids = [key_pair(name).key_id for name in "abcdef"]
    assert joint.is_quorum([ids[0], ids[1], ids[3], ids[4]])
    assert not joint.is_quorum(ids[:4]) and not joint.is_quorum(ids[2:])
    assert joint.key_of(ids[5]) == voters[5][0] and joint.key_of(bytes(8)) is None


def test_nobody_is_no_quorum_of_nobody() -> None:
    assert not QuorumConfig(QUORUM_MAJORITY, ()).is_quorum([])
    assert not QuorumConfig(QUORUM_MAJORITY, (), ((key_pair("a").public, 0),)).is_quorum([key_pair("a").key_id])


def test_one_voter_counts_once_and_a_stranger_never() -> None:
    ids = [device(home).key_id for home in VILLAGE.homes]
    assert not VILLAGE.quorum.is_quorum([ids[0]] * 5)
    assert not VILLAGE.quorum.is_quorum([ids[0], ids[1], key_pair("x").key_id, key_pair("y").key_id])


def test_the_configuration_hash_covers_all_of_it() -> None:
    one, two = (key_pair("a").public, 0), (key_pair("b").public, 0)
    configs = [
        QuorumConfig(0, (one, two)),
        QuorumConfig(1, (one, two)),
        QuorumConfig(0, (one,), (two,)),
        QuorumConfig(0, (one,)),
        QuorumConfig(0, (one, (two[0], 1))),
        QuorumConfig(0, (two, one)),
    ]
    assert len({config.config_hash() for config in configs}) == len(configs)


ELECTION = VILLAGE.election("carla", 4, PARENT, ("anna", "bela", "carla"))


def election_fault(election: Election, leader: str = "carla", term: int = 4, parent: Parent = PARENT) -> str:
    key_id = device(leader).key_id
    return check_election(election, key_id, term, parent, VILLAGE.quorum, VILLAGE.chain_id, verify) or ""


def test_a_majority_of_votes_makes_a_leader() -> None:
    assert election_fault(ELECTION) == ""


def test_an_election_is_of_one_leader_one_term_and_one_parent() -> None:
    assert "elects" in election_fault(ELECTION, leader="anna")
    assert "elects" in election_fault(ELECTION, term=5)
    for changes in ({"height": 7}, {"term": 2}, {"block_hash": bytes(32)}):
        other = msgspec.structs.replace(PARENT, **changes)
        assert "names the tip 1 of term 1" in election_fault(ELECTION, parent=other)


def test_two_votes_of_five_elect_nobody() -> None:
    assert "2 votes are not a quorum of 5" in election_fault(VILLAGE.election("carla", 4, PARENT, ("anna", "bela")))


@pytest.mark.parametrize("height_term", [(1, 2), (2, 1), (0, 2)])
def test_nobody_votes_for_an_older_log_than_its_own(height_term: tuple[int, int]) -> None:
    height, term = height_term
    tip = Tip(term=1, height=1, block=PARENT.block_hash)
    newer = Tip(term=term, height=height, block=bytes(32))
    vote = Vote(term=4, candidate=device("carla").key_id, candidate_tip=tip, voter_tip=newer)
    rows = [row for row in ELECTION.votes if row[0] != device("anna").key_id]
    rows.append(VILLAGE.vote_row(vote, device("anna")))
    election = msgspec.structs.replace(ELECTION, votes=tuple(sorted(rows)))
    assert "had a newer tip than the candidate" in election_fault(election)


def test_an_older_log_of_the_voter_is_fine() -> None:
    tip = Tip(term=1, height=1, block=PARENT.block_hash)
    older = Tip(term=0, height=0, block=VILLAGE.chain_id)
    vote = Vote(term=4, candidate=device("carla").key_id, candidate_tip=tip, voter_tip=older)
    rows = [row for row in ELECTION.votes if row[0] != device("anna").key_id]
    rows.append(VILLAGE.vote_row(vote, device("anna")))
    assert election_fault(msgspec.structs.replace(ELECTION, votes=tuple(sorted(rows)))) == ""


@pytest.mark.parametrize("column", [1, 2, 3])
def test_a_vote_is_what_its_voter_signed(column: int) -> None:
    row: list[Any] = list(ELECTION.votes[0])
    row[column] = {1: (0, 0, bytes(32)), 2: (3, 2, bytes(32)), 3: bytes(64)}[column]
    election: Any = msgspec.structs.replace(ELECTION, votes=(tuple(row), *ELECTION.votes[1:]))
    assert "does not hold" in election_fault(election)


def test_votes_ascend_and_are_of_validators() -> None:
    assert "not in ascending order" in election_fault(msgspec.structs.replace(ELECTION, votes=ELECTION.votes[::-1]))
    twice = (*ELECTION.votes, ELECTION.votes[-1])
    assert "not in ascending order" in election_fault(msgspec.structs.replace(ELECTION, votes=twice))
    tip = ELECTION.candidate_tip
    vote = Vote(term=4, candidate=ELECTION.candidate, candidate_tip=tip, voter_tip=tip)
    rows = tuple(sorted((*ELECTION.votes, VILLAGE.vote_row(vote, key_pair("stranger")))))
    assert "is not a validator" in election_fault(msgspec.structs.replace(ELECTION, votes=rows))


def test_a_lock_is_part_of_the_vote() -> None:
    lock = Tip(term=3, height=2, block=b"l" * 32)
    tip = ELECTION.candidate_tip
    vote = Vote(term=4, candidate=ELECTION.candidate, candidate_tip=tip, voter_tip=tip, lock=lock)
    rows = [row for row in ELECTION.votes if row[0] != device("anna").key_id]
    rows.append(VILLAGE.vote_row(vote, device("anna")))
    locked = msgspec.structs.replace(ELECTION, votes=tuple(sorted(rows)))
    assert election_fault(locked) == ""
    assert any(row[2] == lock.row() and locked.vote_of(row) == vote for row in locked.votes)
