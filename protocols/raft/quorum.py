"""Quorums: what a majority, or two majorities at once, or more than that, have voted for and have stored.

Pure functions of sets and answers; which messages count as answers is decided
elsewhere. Source: Raft dissertation (Ongaro, 2014), sections 3.4 and 4.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum

import msgspec

EVERYTHING = 2**64 - 1
"""What an empty quorum has committed: nothing that could hold back the other half of a joint one."""


class VoteResult(Enum):
    """How a vote stands."""

    PENDING = 1  # both outcomes are still possible
    LOST = 2
    WON = 3


def majority_vote(voters: Set[int], votes: Mapping[int, bool], needed: int = 0) -> VoteResult:
    """How one majority stands: WON with more than half in favour, LOST when that can no longer happen.

    Without voters it is WON: in a joint quorum the empty half must not block.

    Args:
        needed: how many must be in favour, if more than half are not enough.
    """
    quorum = max(len(voters) // 2 + 1, needed)
    yes = sum(1 for voter in voters if votes.get(voter) is True)
    missing = sum(1 for voter in voters if voter not in votes)
    if yes >= quorum or not voters:
        return VoteResult.WON
    return VoteResult.PENDING if yes + missing >= quorum else VoteResult.LOST


def majority_committed(voters: Set[int], stored: Mapping[int, int], needed: int = 0) -> int:
    """The largest index that more than half of `voters`, or `needed`, have stored; a voter not in `stored` has none.

    EVERYTHING without voters.
    """
    if not voters:
        return EVERYTHING
    ordered = sorted(stored.get(voter, 0) for voter in voters)
    return ordered[len(ordered) - max(len(ordered) // 2 + 1, needed)]


class Quorum(msgspec.Struct, frozen=True):
    """The voters of a membership: one majority, or two that must both agree while it is joint.

    needed: of the incoming half, if a majority of it is not enough; at most as many as there are.
    """

    incoming: frozenset[int] = frozenset()
    outgoing: frozenset[int] = frozenset()
    needed: int = 0

    @property
    def ids(self) -> frozenset[int]:
        """Everybody who votes in either half."""
        return self.incoming | self.outgoing

    def vote(self, votes: Mapping[int, bool]) -> VoteResult:
        """LOST as soon as one half is lost, WON when both are won."""
        results = {majority_vote(self.incoming, votes, self.needed), majority_vote(self.outgoing, votes)}
        if VoteResult.LOST in results:
            return VoteResult.LOST
        return VoteResult.PENDING if VoteResult.PENDING in results else VoteResult.WON

    def committed(self, stored: Mapping[int, int]) -> int:
        """The largest index stored by a majority of each half."""
        incoming = majority_committed(self.incoming, stored, self.needed)
        return min(incoming, majority_committed(self.outgoing, stored))

    def __str__(self) -> str:
        halves = [self.incoming, self.outgoing] if self.outgoing else [self.incoming]
        return "&&".join("(" + " ".join(map(str, sorted(half))) + ")" for half in halves)
