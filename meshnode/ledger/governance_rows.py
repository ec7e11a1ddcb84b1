"""Governance rows: what the tables of proposals, votes and the pause of matching hold; as `rows`, for those alone."""

from __future__ import annotations

import msgspec

# How far a proposal is.
WAITING = 0  # too few members' nodes have declared that they could carry it out
OPEN = 1  # members vote
ADOPTED = 2  # enough have voted for it; it begins when its notice is over
BEGUN = 3  # in force from `from_s` on, until another one is
WITHDRAWN = 4
REJECTED = 5  # the votes that were left were too few to adopt it, or nobody gave them in time
LAPSED = 6  # too few nodes could carry it out in time for a vote to open
OVERTAKEN = 7  # another binding came before it
UNFIT = 8  # when it was to begin it turned out to be none that the ledger could carry out

UNDECIDED = (WAITING, OPEN)
# What is not known, or was never reached.
NEVER = 0


class Proposal(msgspec.Struct, frozen=True):
    """A binding that was proposed; the table's key is the record id of the proposal.

    binding, previous: hashes of trees. catalogue, mechanisms: what a node needs to carry it out.
    votes_ppm, notice_s: how the binding that it replaces wants to be changed. turnout_ppm: how many of all members
    must vote for or against it, as that binding says when the vote opens.
    status: of those above. until_s: nobody votes any more at that time. decided_s: when it was adopted or ended.
    from_s: once adopted, the period boundary at which it begins. deferred: how often that was put off because too few
    validators could carry it out.
    electorate, yes, no, abstained: members with a vote, and the votes, as they were when it was decided.
    """

    proposer: bytes
    binding: bytes
    previous: bytes
    not_before_s: int
    catalogue: int
    mechanisms: tuple[tuple[str, int], ...]
    votes_ppm: int
    notice_s: int
    height: int
    proposed_s: int
    until_s: int
    status: int = WAITING
    opened_s: int = NEVER
    decided_s: int = NEVER
    from_s: int = NEVER
    deferred: int = 0
    electorate: int = 0
    yes: int = 0
    no: int = 0
    abstained: int = 0
    turnout_ppm: int = 0


class ProposalText(msgspec.Struct, frozen=True):
    """A binding as its author wrote it; the table's key is the record id of the proposal."""

    text: bytes


class Ballot(msgspec.Struct, frozen=True):
    """A member's vote; the table's key is (proposal, account). choice: 0 no, 1 yes, 2 abstain."""

    choice: int
    time_s: int


class Pause(msgspec.Struct, frozen=True):
    """No orders meet (one row, key 0, while that is so). until_s: when it ends by itself."""

    account: bytes
    since_s: int
    until_s: int
    reason: str
