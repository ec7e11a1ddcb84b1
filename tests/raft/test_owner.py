"""What the owner decides for the core: the data of every entry, and what is final."""

from __future__ import annotations

import pytest

from protocols.raft import (
    CommitRefused,
    ProposalDropped,
    Role,
    Sealer,
)
from tests.raft.nodes import Home, Village, appends, data_of, led_by_1, reads_of, role

# Sealing.


def test_every_entry_is_sealed_once_in_order_by_the_leader_that_appends_it() -> None:
    sealed: dict[int, list[tuple[int, int, bytes, bool]]] = {1: [], 2: [], 3: []}

    def sealer_of(number: int) -> Sealer:
        def seal(term: int, index: int, payload: bytes, first_of_term: bool) -> bytes:
            sealed[number].append((term, index, payload, first_of_term))
            return b"%d/%d:%s" % (term, index, payload)

        return seal

    village = Village(3, {number: sealer_of(number) for number in sealed})
    village.elect(1)
    village[1].propose(b"a")
    village[2].propose(b"handed on")
    village.settle()
    village.cut_off(1)
    village.elect(3)
    village[3].propose(b"b")
    village.settle()
    assert sealed[1] == [(1, 1, b"", True), (1, 2, b"a", False), (1, 3, b"handed on", False)]
    assert sealed[2] == []
    assert sealed[3] == [(2, 4, b"", True), (2, 5, b"b", False)]
    assert data_of(village.homes[2].applied) == [b"1/1:", b"1/2:a", b"1/3:handed on", b"2/4:", b"2/5:b"]


def test_nothing_is_sealed_for_a_proposal_that_is_dropped() -> None:
    sealed = []

    def seal(term: int, index: int, payload: bytes, first_of_term: bool) -> bytes:
        sealed.append(payload)
        return payload

    home = Home(1, (1,), seal, max_uncommitted_entries_size=10)
    home.node.campaign()
    home.work()
    home.node.propose(b"too large, but alone")
    with pytest.raises(ProposalDropped):
        home.node.propose(b"too large")
    assert sealed == [b"", b"too large, but alone"]


# Outside finality.


def test_with_external_commit_a_majority_alone_commits_nothing() -> None:
    village = led_by_1(external_commit=True)
    village[1].propose(b"block")
    village.settle()
    last = village[1].last_index
    assert [village[n].last_index for n in (1, 2, 3)] == [last] * 3
    assert [village[n].commit for n in (1, 2, 3)] == [0, 0, 0]

    assert village[1].commit_to(last, term=1)
    village.settle()
    # Followers hear the leader's commit index and do not take its word for it.
    assert [village[n].commit for n in (1, 2, 3)] == [last, 0, 0]
    assert max(sent.commit for sent in appends(village.heard)) == last
    assert village[2].commit_to(last)
    village.settle()
    assert data_of(village.homes[2].applied) == [b"block"]
    assert not village[2].commit_to(last - 1)
    assert village[2].commit == last


def test_with_external_commit_a_leader_does_not_commit_an_earlier_terms_entry_by_itself() -> None:
    village = led_by_1(external_commit=True)
    old = village[1].last_index
    village.elect(2)
    assert role(village[2]) is Role.LEADER
    assert not village[2].commit_to(old, term=1)
    assert village[2].commit == 0
    assert village[2].commit_to(old + 1)
    assert village[2].commit == old + 1


def test_with_external_commit_an_entry_that_is_not_here_is_refused() -> None:
    village = led_by_1(external_commit=True)
    with pytest.raises(CommitRefused, match="the log ends at 1"):
        village[2].commit_to(2)
    with pytest.raises(CommitRefused, match="the log holds 1/1"):
        village[2].commit_to(1, term=7)
    assert village[2].commit == 0


def test_with_external_commit_a_read_uses_what_is_final() -> None:
    village = led_by_1(external_commit=True)
    village[1].read_index(b"r")
    assert reads_of(village, 1) == []
    village[1].commit_to(1)
    assert reads_of(village, 1) == [(1, b"r")]
