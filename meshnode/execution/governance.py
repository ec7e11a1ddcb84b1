"""Governance: bindings that are proposed, voted on and begun, and the emergency stop of the market."""

from __future__ import annotations

import hashlib
from functools import partial

from meshnode.effects import Facts, Outcome
from meshnode.execution.call import Call, Handlers, Ledger
from meshnode.execution.floor import Moment
from meshnode.ledger import alarms, pausing, proposals, rows
from meshnode.ledger.governance_rows import UNFIT, Proposal
from meshnode.ledger.proposals import BindingMoved, VoteTerms
from meshnode.ledger.verdicts import Verdict
from meshnode.rules import can_be_judged, unfit
from protocols.block import SignedRecord
from protocols.records import (
    BindingProposal,
    BindingVote,
    BindingWithdraw,
    Join,
    JoinVote,
    KeyChange,
    Leave,
    MatchingPause,
    PauseBegin,
    PauseEnd,
    Support,
)
from zencode.catalogue import ids

# After these a vote may have another result, or may open.
_STIRRING = (BindingProposal, BindingVote, Support, Join, JoinVote, Leave, KeyChange)


def due(ledger: Ledger, height: int, time_s: int) -> Proposal | None:
    """The adopted binding that begins with a block of this height and time, before which a node must be able to carry
    it out; None if none does, or if it is put off."""
    found = proposals.adopted(ledger.state)
    if found is None or found[1].from_s > time_s or not proposals.is_supported(ledger.state, found[1], height):
        return None
    return found[1]


def begin(ledger: Ledger, moment: Moment) -> None:
    """Time has passed: a pause or a vote may be over, and what was adopted may begin."""
    if pausing.lapse(ledger.state, moment.time_s):
        ledger.floor.look_at_all(moment)
    moment.events.extend(proposals.lapse(ledger.state, moment.time_s))
    found = proposals.adopted(ledger.state)
    if found is not None and found[1].from_s <= moment.time_s:
        moment.events.extend(_begin(ledger, *found, moment))


def review(ledger: Ledger, moment: Moment, records: tuple[SignedRecord, ...]) -> None:
    """What a block's records changed may decide a vote."""
    if any(isinstance(signed.record, _STIRRING) for signed in records):
        length_s = ledger.rules(moment.time_s).period.length_s
        terms_of = partial(_vote_terms, ledger, moment)
        moment.events.extend(proposals.review(ledger.state, moment.time_s, length_s, terms_of))


def heed(ledger: Ledger, moment: Moment, outcome: Outcome, reason: str) -> None:
    """Pause the matching of orders if the binding says so of something that has happened.

    Args:
        reason: what has happened, for everybody to read.
    """
    said = outcome.last(ids.PAUSE)
    if said is not None and pausing.begin_by_binding(ledger.state, said[0], moment.time_s, reason):
        ledger.floor.look_at_all(moment)


def _vote_terms(ledger: Ledger, moment: Moment, row: Proposal) -> VoteTerms:
    """What the binding in force says when a vote opens; whom it warns of one is warned."""
    time_s = moment.time_s
    roles = frozenset(ledger.state.accounts[row.proposer].roles)
    outcome = ledger.rules(time_s).blocks.at(ids.VOTE_OPENS, Facts(time_s=time_s, roles=roles))
    alarms.raise_alarm(ledger.state, outcome, ids.VOTE_OPENS, height=moment.height, time_s=time_s, account=row.proposer)
    time, turnout = outcome.last(ids.VOTE_TIME), outcome.last(ids.TURNOUT)
    return VoteTerms(time[0] if time else proposals.VOTING_S, turnout[0] if turnout else 0)


def _begin(ledger: Ledger, key: bytes, row: Proposal, moment: Moment) -> list[BindingMoved]:
    state, time_s = ledger.state, moment.time_s
    ground = ledger.rules(time_s)
    if not proposals.is_supported(state, row, moment.height):
        return [proposals.defer(state, key, time_s, ground.period.length_s)]
    # Now that every node that goes on has its catalogue and its packages, all of them can judge it by these.
    if unfit(state.bindings[row.binding].tree, row.catalogue, row.mechanisms, ground, ledger.genesis):
        return [proposals.end(state, key, UNFIT, time_s)]
    return proposals.begin(state, key, time_s)


# --- records


def _propose(call: Call, record: BindingProposal) -> Verdict:
    ground = call.rules
    # A node that carries out the binding in force has its catalogue and its packages. Nobody can be asked to
    # judge a tree by others: that is done when it is to begin.
    if can_be_judged(record.tree, record.catalogue, record.mechanisms, ground):
        fault = unfit(record.tree, record.catalogue, record.mechanisms, ground, call.ledger.genesis)
        if fault:
            return fault
    return proposals.propose(
        call.state,
        record,
        call.record_id,
        call.account,
        hashlib.sha256(record.tree).digest(),
        ground.binding,
        votes_ppm=ground.terms.votes_ppm,
        notice_s=ground.terms.notice_s,
        height=call.height,
        time_s=call.time_s,
    )


def _vote(call: Call, record: BindingVote) -> Verdict:
    return proposals.vote(call.state, record, call.account, call.time_s)


def _withdraw(call: Call, record: BindingWithdraw) -> Verdict:
    verdict, moved = proposals.withdraw(call.state, record.proposal, call.account, call.time_s)
    call.events.extend(moved)
    return verdict


def _pause(call: Call, record: MatchingPause) -> Verdict:
    match record.step:
        case PauseBegin() as step:
            verdict = pausing.begin(call.state, step, call.account, call.rules.pausing, call.time_s)
        case PauseEnd():
            verdict = pausing.finish(call.state, call.account)
    if verdict == Verdict.ACCEPTED:
        call.ledger.floor.look_at_all(call.moment)
    return verdict


EXECUTED: Handlers = {
    BindingProposal: (rows.PURPOSE_MEMBER, _propose),
    BindingVote: (rows.PURPOSE_MEMBER, _vote),
    BindingWithdraw: (rows.PURPOSE_MEMBER, _withdraw),
    MatchingPause: (rows.PURPOSE_MEMBER, _pause),
}
