"""Locks: which elections free whom in byzantine mode, and how prepare acks come together."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocols.block import Parent
from protocols.certificate import check_election, check_lock_before
from protocols.finality import MAX_AHEAD, Link
from protocols.locks import NOWHERE, Prepares, commit_ack, place_of, place_of_tip, tip_of
from protocols.records import PHASE_COMMIT, PHASE_PREPARE, QUORUM_BYZANTINE, Ack, Certificate, Election, Tip, Vote
from tests.protocols.keys import verify
from tests.protocols.village import Village, device

VILLAGE = Village(4, quorum_mode=QUORUM_BYZANTINE)
ONE = VILLAGE.block()
TWO = VILLAGE.block(Parent.of(ONE))
OTHER = VILLAGE.block(Parent.of(ONE), head={"time_s": 1_800_000_077})
TIP = Parent.of(TWO)
THREE = ("anna", "bela", "carla")
LOW = VILLAGE.certificate(ONE, THREE, phase=PHASE_PREPARE)
HIGH = VILLAGE.certificate(TWO, THREE, phase=PHASE_PREPARE)


def fault(election: Election, parent: Parent = TIP) -> str:
    found = check_election(
        election, device("dora").key_id, election.term, parent, VILLAGE.quorum, VILLAGE.chain_id, verify
    )
    return found or ""


def elected(lock: Certificate | None = None, *, named: Tip | None = None, voters: Any = THREE) -> Election:
    """Dora in term 2 behind block two: everybody names the lock that she shows, but Anna, who may name another one."""
    good = VILLAGE.election("dora", 2, TIP, voters, lock=lock)
    if named is None:
        return good
    vote = Vote(
        term=2, candidate=good.candidate, candidate_tip=good.candidate_tip, voter_tip=good.candidate_tip, lock=named
    )
    rows = [row for row in good.votes if row[0] != device("anna").key_id]
    return msgspec.structs.replace(good, votes=tuple(sorted((*rows, VILLAGE.vote_row(vote, device("anna"))))))


def test_places_go_by_term_then_height() -> None:
    assert NOWHERE == place_of(None) == place_of_tip(None) < place_of(LOW) < place_of(HIGH)
    later = msgspec.structs.replace(LOW, ack_term=2)
    assert place_of(HIGH) < place_of(later) == place_of_tip(tip_of(later)) == (2, 1)


def test_an_election_with_or_without_locks_holds() -> None:
    assert fault(elected()) == fault(elected(LOW)) == fault(elected(HIGH)) == ""
    # A commit certificate is no less than the prepare certificate that must have come before it.
    assert fault(elected(VILLAGE.certificate(TWO, THREE))) == ""
    # Some have less than the candidate shows, or nothing.
    assert fault(elected(HIGH, named=tip_of(LOW))) == ""


def test_a_byzantine_quorum_is_more_than_a_majority() -> None:
    assert "2 votes are not a quorum of 4" in fault(elected(HIGH, voters=("anna", "bela")))
    assert "2 signatures are not a quorum" in fault(
        elected(VILLAGE.certificate(TWO, ("anna", "bela"), phase=PHASE_PREPARE))
    )


def test_nobody_may_have_had_a_higher_lock() -> None:
    assert "had a higher lock" in fault(elected(LOW, named=tip_of(HIGH)))
    assert "had a higher lock" in fault(elected(None, named=tip_of(LOW)))
    invented = Tip(term=1, height=9, block=bytes(32))
    assert "had a higher lock" in fault(elected(HIGH, named=invented))
    assert "another block at the same place" in fault(
        elected(HIGH, named=Tip(term=1, height=2, block=OTHER.block_hash))
    )


def test_longer_logs_of_voters_do_not_matter() -> None:
    # A lying leader can make anybody's log longer than everybody else's.
    good = elected(HIGH)
    long = Tip(term=1, height=7, block=bytes(32))
    vote = Vote(term=2, candidate=good.candidate, candidate_tip=good.candidate_tip, voter_tip=long, lock=tip_of(HIGH))
    rows = [row for row in good.votes if row[0] != device("anna").key_id]
    assert (
        fault(msgspec.structs.replace(good, votes=tuple(sorted((*rows, VILLAGE.vote_row(vote, device("anna"))))))) == ""
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"block": bytes(32)}, "does not hold"),
        ({"ack_term": 2}, "does not hold"),
        ({"validators": bytes(32)}, "another set of validators"),
        ({"phase": PHASE_COMMIT}, "does not hold"),
    ],
)
def test_a_lock_that_is_shown_must_hold(changes: dict[str, Any], message: str) -> None:
    assert message in fault(elected(msgspec.structs.replace(HIGH, **changes)))


def test_a_lock_lies_before_the_tip_and_the_term() -> None:
    assert "cannot be before its tip" in fault(
        VILLAGE.election("dora", 2, Parent.of(ONE), THREE, lock=HIGH), Parent.of(ONE)
    )
    same_term = VILLAGE.certificate(TWO, THREE, phase=PHASE_PREPARE, ack_term=2)
    assert "cannot be before its tip" in fault(elected(same_term))


def test_the_branch_must_have_the_block_of_the_lock() -> None:
    ours = {1: ONE.block_hash, 2: TWO.block_hash}
    theirs = {1: ONE.block_hash, 2: OTHER.block_hash}
    assert check_lock_before(elected(HIGH), ours.get) is None
    assert check_lock_before(elected(), theirs.get) is None
    assert "is not on its branch" in (check_lock_before(elected(HIGH), theirs.get) or "")
    assert "is not on its branch" in (check_lock_before(elected(HIGH), {1: ONE.block_hash}.get) or "")


# --- prepare acks


def link(block: Any) -> Link:
    return Link(block.header.height, block.header.term, block.block_hash, VILLAGE.quorum)


def prepares(*given: tuple[Any, str], **changes: Any) -> Prepares:
    found = Prepares()
    for block, home in given:
        key_id, ack, signature = VILLAGE.ack(block, home, phase=PHASE_PREPARE, **changes)
        found.add(key_id, ack, signature, 0)
    return found


def test_three_of_four_prepare_a_block() -> None:
    assert prepares((ONE, "anna"), (ONE, "bela"), (ONE, "bela")).certify(link(ONE)) is None
    assert prepares(*((ONE, home) for home in THREE)).certify(link(ONE)) == LOW
    assert commit_ack(LOW) == VILLAGE.ack(ONE, "anna")[1]


def test_acks_of_two_blocks_do_not_add_up() -> None:
    found = prepares((TWO, "anna"), (TWO, "bela"), (OTHER, "carla"), (OTHER, "dora"))
    assert found.certify(link(TWO)) is None and found.certify(link(OTHER)) is None


def test_only_the_newest_term_is_kept_and_what_is_not_final() -> None:
    found = prepares((ONE, "anna"), (ONE, "bela"))
    key_id, ack, signature = VILLAGE.ack(ONE, "carla", phase=PHASE_PREPARE, ack_term=2)
    found.add(key_id, ack, signature, 0)
    key_id, ack, signature = VILLAGE.ack(ONE, "carla", phase=PHASE_PREPARE)
    found.add(key_id, ack, signature, 0)
    assert found.certify(link(ONE)) is None, "the others were forgotten, and the older one came too late"
    for height in range(1, 3 * MAX_AHEAD):
        far = Ack(validators=bytes(32), ack_term=2, height=height, block=bytes(32), phase=PHASE_PREPARE)
        found.add(b"someone!", far, bytes(64), 5)
    assert len(found._acks) == MAX_AHEAD and min(found._acks) == 6
