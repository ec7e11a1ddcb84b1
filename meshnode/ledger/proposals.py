"""Proposals: bindings that are put to the vote, who voted how, and which one is next.

Here is what the tables say and how votes are counted; whether a tree can be carried out is the machine's business.
One member has one vote, and it stands. Who has left has none; who joined after the proposal has none in it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from meshnode.amounts import PPM
from meshnode.ledger import rows, validators
from meshnode.ledger.governance_rows import (
    ADOPTED,
    BEGUN,
    LAPSED,
    OPEN,
    OVERTAKEN,
    REJECTED,
    UNDECIDED,
    WAITING,
    WITHDRAWN,
    Ballot,
    Proposal,
    ProposalText,
)
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.cose import key_id_of
from protocols.records import BindingProposal, BindingVote

# Four weeks, where the binding says nothing: between two assemblies of a community that meets every month. So long
# a proposal also waits for nodes that could carry it out.
VOTING_S = 28 * 86_400
# Members discuss one binding at a time, some two or three; each costs up to a hundred kilobytes of memory.
MAX_UNDECIDED = 8
# Decided proposals that are kept for showing; all of them are in the blocks for ever.
MAX_DECIDED = 32
# So many of the voting members' nodes must have declared that they could carry a binding out, before it is votable.
SUPPORT_PPM = 900_000

NO = 0
YES = 1
ABSTAIN = 2

# Record ids have 32 bytes, account ids fewer.
_AFTER_ALL = b"\xff" * 33


class Tally(msgspec.Struct, frozen=True):
    """How a vote stands.

    needed: votes for it that adopt it. turnout: votes for or against it without which nothing is decided.
    nodes: of members with a vote. able: those of them that could carry it out.
    """

    electorate: int
    needed: int
    turnout: int
    yes: int
    no: int
    abstained: int
    nodes: int
    able: int

    @property
    def outstanding(self) -> int:
        """Members who have not voted."""
        return self.electorate - self.yes - self.no - self.abstained

    @property
    def is_adopted(self) -> bool:
        """Whether enough have voted, and for it."""
        return self.yes >= self.needed and self.yes + self.no >= self.turnout

    @property
    def is_lost(self) -> bool:
        """Whether all votes that are left could not adopt it."""
        return self.yes + self.outstanding < self.needed or self.electorate - self.abstained < self.turnout

    @property
    def is_votable(self) -> bool:
        """Whether enough nodes could carry it out."""
        return self.able * PPM >= SUPPORT_PPM * self.nodes


class VoteTerms(msgspec.Struct, frozen=True):
    """What the binding in force says of a vote that opens: how long it is open, and how many must take part."""

    open_s: int = VOTING_S
    turnout_ppm: int = 0


class BindingMoved(msgspec.Struct, frozen=True):
    """A proposal has come to another state, or is to begin at another time. tree: of one that begins."""

    proposal: bytes
    row: Proposal
    tree: bytes = b""


# --- what members do


def propose(
    state: State,
    record: BindingProposal,
    record_id: bytes,
    account: bytes,
    binding: bytes,
    in_force: bytes,
    *,
    votes_ppm: int,
    notice_s: int,
    height: int,
    time_s: int,
) -> Verdict:
    """Enter a proposal; the caller has judged its tree as far as it can be judged.

    Args:
        binding: hash of its tree.
        in_force: of the binding in force, which says `votes_ppm` and `notice_s`.
    """
    if record.previous != in_force:
        return Verdict.OTHER_BINDING
    if binding == in_force and adopted(state) is None:
        return Verdict.BINDING_IN_FORCE
    open_ones = undecided(state)
    if len(open_ones) >= MAX_UNDECIDED or any(row.proposer == account for _, row in open_ones):
        return Verdict.TOO_MANY_PROPOSALS
    row = Proposal(
        proposer=account,
        binding=binding,
        previous=in_force,
        not_before_s=record.not_before_s,
        catalogue=record.catalogue,
        mechanisms=record.mechanisms,
        votes_ppm=votes_ppm,
        notice_s=notice_s,
        height=height,
        proposed_s=time_s,
        until_s=time_s + VOTING_S,
    )
    state.proposals.put(record_id, row)
    state.proposal_texts.put(record_id, ProposalText(record.text))
    if binding not in state.bindings:
        state.bindings.put(binding, rows.BindingTree(record.tree))
    return Verdict.ACCEPTED


def vote(state: State, record: BindingVote, account: bytes, time_s: int) -> Verdict:
    """Enter a member's vote."""
    row = state.proposals.get(record.proposal)
    if row is None:
        return Verdict.UNKNOWN_PROPOSAL
    if row.status == WAITING:
        return Verdict.VOTE_NOT_OPEN
    if row.status != OPEN:
        return Verdict.VOTE_OVER
    if not has_vote(state.accounts[account], row):
        return Verdict.NO_VOTE
    if (record.proposal, account) in state.ballots:
        return Verdict.VOTED_ALREADY
    state.ballots.put((record.proposal, account), Ballot(record.choice, time_s))
    return Verdict.ACCEPTED


def withdraw(state: State, proposal_id: bytes, account: bytes, time_s: int) -> tuple[Verdict, list[BindingMoved]]:
    """Take a proposal back that is not decided."""
    row = state.proposals.get(proposal_id)
    if row is None:
        return Verdict.UNKNOWN_PROPOSAL, []
    if row.proposer != account:
        return Verdict.NOT_PROPOSER, []
    if row.status not in UNDECIDED:
        return Verdict.VOTE_OVER, []
    return Verdict.ACCEPTED, [end(state, proposal_id, WITHDRAWN, time_s)]


# --- what is asked


def has_vote(account: rows.Account, row: Proposal) -> bool:
    """Whether a member has a vote in a proposal."""
    return not account.left_s and account.joined_s <= row.proposed_s


def undecided(state: State) -> list[tuple[bytes, Proposal]]:
    """The proposals that are not decided, by id."""
    return [(proposal_id, row) for proposal_id, row in state.proposals.items() if row.status in UNDECIDED]


def adopted(state: State) -> tuple[bytes, Proposal] | None:
    """What is adopted and has not begun; there is at most one."""
    return next(((key, row) for key, row in state.proposals.items() if row.status == ADOPTED), None)


def ballots(state: State, proposal_id: bytes) -> list[tuple[bytes, Ballot]]:
    """The votes in a proposal, by account; gone once it has ended."""
    found = state.ballots.range((proposal_id, b""), (proposal_id, _AFTER_ALL))
    return [(account, row) for (_, account), row in found]


def tally(state: State, proposal_id: bytes, row: Proposal) -> Tally:
    """How a vote stands now."""
    voters = frozenset(account for account, one in state.accounts.items() if has_vote(one, row))
    choices = [one.choice for account, one in ballots(state, proposal_id) if account in voters]
    nodes = [
        key_id
        for key_id, key in state.keys.items()
        if key.purpose == rows.PURPOSE_DEVICE and not key.until_height and key.account in voters
    ]
    return Tally(
        electorate=len(voters),
        needed=max(1, share_of(row.votes_ppm, len(voters))),
        turnout=share_of(row.turnout_ppm, len(voters)),
        yes=choices.count(YES),
        no=choices.count(NO),
        abstained=choices.count(ABSTAIN),
        nodes=len(nodes),
        able=sum(can(state, key_id, row) for key_id in nodes),
    )


def share_of(share_ppm: int, electorate: int) -> int:
    """How many members are a share of all; rounded up, so that 60 % of 4 are 3."""
    return -(-share_ppm * electorate // PPM)


def can(state: State, key_id: bytes, row: Proposal) -> bool:
    """Whether a node has declared that it could carry out a binding."""
    declared = state.support.get(key_id)
    if declared is None or declared.catalogue < row.catalogue:
        return False
    return set(row.mechanisms) <= set(declared.mechanisms)


def is_supported(state: State, row: Proposal, height: int) -> bool:
    """Whether a quorum of a height's validators could carry out a binding."""
    quorum = validators.at(state, height)
    return quorum.is_quorum(key_id_of(key) for key, _ in quorum.voters if can(state, key_id_of(key), row))


# --- what time and votes do


def lapse(state: State, time_s: int) -> list[BindingMoved]:
    """End what is not decided in time."""
    over = [(key, row.status) for key, row in undecided(state) if row.until_s <= time_s]
    return [end(state, key, LAPSED if status == WAITING else REJECTED, time_s) for key, status in over]


def review(state: State, time_s: int, length_s: int, terms_of: Callable[[Proposal], VoteTerms]) -> list[BindingMoved]:
    """Open, adopt and reject what can be, after members or nodes have said something.

    Args:
        length_s: of a settlement period.
        terms_of: what holds for the vote on a proposal if it opens now.
    """
    moved = []
    for key, row in undecided(state):
        if state.accounts[row.proposer].left_s:
            moved.append(end(state, key, WITHDRAWN, time_s))
            continue
        found = tally(state, key, row)
        if row.status == WAITING and found.is_votable:
            terms = terms_of(row)
            changes = {"until_s": time_s + terms.open_s, "turnout_ppm": terms.turnout_ppm}
            row = _put(state, key, row, status=OPEN, opened_s=time_s, **changes)
            found = tally(state, key, row)
            moved.append(BindingMoved(key, row))
        if row.status == OPEN and found.is_adopted:
            moved += _adopt(state, key, row, found, time_s, length_s)
        elif row.status == OPEN and found.is_lost:
            moved.append(end(state, key, REJECTED, time_s))
    return moved


def _adopt(state: State, key: bytes, row: Proposal, found: Tally, time_s: int, length_s: int) -> list[BindingMoved]:
    """What is adopted takes the place of what was adopted before and has not begun."""
    before = adopted(state)
    moved = [] if before is None else [end(state, before[0], OVERTAKEN, time_s)]
    row = _put(
        state,
        key,
        _counted(row, found),
        status=ADOPTED,
        decided_s=time_s,
        from_s=boundary(max(time_s + row.notice_s, row.not_before_s), length_s),
    )
    return [*moved, BindingMoved(key, row)]


def defer(state: State, key: bytes, time_s: int, length_s: int) -> BindingMoved:
    """Too few validators could carry it out: it begins no sooner than with the next period."""
    row = state.proposals[key]
    # A period that begins in this very second has begun.
    row = _put(state, key, row, from_s=boundary(time_s + 1, length_s), deferred=row.deferred + 1)
    return BindingMoved(key, row)


def begin(state: State, key: bytes, time_s: int) -> list[BindingMoved]:
    """A binding is in force from its boundary on; what was to replace the one before it is overtaken."""
    row = _put(state, key, state.proposals[key], status=BEGUN)
    state.schedule.put(row.from_s, rows.Scheduled(row.binding))
    moved = [BindingMoved(key, row, state.bindings[row.binding].tree)]
    moved += [end(state, other, OVERTAKEN, time_s) for other, _ in undecided(state)]
    _forget(state, row.binding)
    return moved


def end(state: State, key: bytes, status: int, time_s: int) -> BindingMoved:
    """A proposal is over; its counts stay for a while, its tree and text go if nothing else needs them."""
    row = state.proposals[key]
    counted = _counted(row, tally(state, key, row))
    row = _put(state, key, counted, status=status, decided_s=time_s, from_s=0)
    for account, _ in ballots(state, key):
        state.ballots.delete((key, account))
    state.proposal_texts.delete(key)
    needed = {one.binding for _, one in state.schedule.items()}
    needed |= {one.binding for _, one in state.proposals.items() if one.status in (*UNDECIDED, ADOPTED)}
    if row.binding not in needed:
        state.bindings.delete(row.binding)
    _forget(state, in_force(state))
    return BindingMoved(key, row)


def in_force(state: State) -> bytes:
    """Hash of the newest binding that has begun."""
    return [row.binding for _, row in state.schedule.items()][-1]


def boundary(time_s: int, length_s: int) -> int:
    """The first period boundary at or after a time."""
    return -(-time_s // length_s) * length_s


def check(state: State) -> None:
    """Invariants: votes only where they count, texts and trees where they are needed, one adopted binding at most.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    live = {key: row for key, row in state.proposals.items() if row.status in (*UNDECIDED, ADOPTED, BEGUN)}
    texts = {key for key, _ in state.proposal_texts.items()}
    assert texts == set(live), "texts of proposals that are over, or none of one that is not"
    assert all(key in live for (key, _), _ in state.ballots.items()), "votes in a proposal that is over"
    needed = {row.binding for row in live.values()} | {row.binding for _, row in state.schedule.items()}
    assert needed == {key for key, _ in state.bindings.items()}, "trees and what needs them differ"
    waiting = [row for row in live.values() if row.status == ADOPTED]
    assert len(waiting) <= 1, "two adopted bindings"
    assert all(row.from_s >= row.decided_s + row.notice_s for row in waiting), "a binding begins before its notice"
    starts = [start for start, _ in state.schedule.items()]
    assert starts == sorted(set(starts)) and starts[0] == 0, "a schedule without a beginning"
    for key, row in live.items():
        if row.status == OPEN:
            found = tally(state, key, row)
            assert not found.is_adopted and not found.is_lost, f"{key.hex()}: decided and still open"


def _counted(row: Proposal, found: Tally) -> Proposal:
    if row.status not in UNDECIDED:
        # What was counted when it was adopted stands.
        return row
    return msgspec.structs.replace(
        row, electorate=found.electorate, yes=found.yes, no=found.no, abstained=found.abstained
    )


def _put(state: State, key: bytes, row: Proposal, **changes: int) -> Proposal:
    changed = msgspec.structs.replace(row, **changes)
    state.proposals.put(key, changed)
    return changed


def _forget(state: State, binding: bytes) -> None:
    """Drop the oldest of those that are over; the one in force stays."""
    over = [
        (row.decided_s, key)
        for key, row in state.proposals.items()
        if row.status not in (*UNDECIDED, ADOPTED) and not (row.status == BEGUN and row.binding == binding)
    ]
    for _, key in sorted(over)[: max(0, len(over) - MAX_DECIDED)]:
        for account, _ in ballots(state, key):
            state.ballots.delete((key, account))
        if key in state.proposal_texts:
            state.proposal_texts.delete(key)
        state.proposals.delete(key)
