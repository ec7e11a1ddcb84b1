"""Joining: what the binding says to somebody who asks to join, and what the members say where it asks them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshnode.amounts import PPM
from meshnode.effects import Facts
from meshnode.execution.call import Call, Handlers, Ledger, boundary_s
from meshnode.execution.floor import Moment
from meshnode.ledger import knowledge, members, rows
from meshnode.ledger.credit import COMMUNITY
from meshnode.ledger.member_rows import JoinRequest
from meshnode.ledger.members import ADMINISTRATOR
from meshnode.ledger.parameter_rows import CreditLimit
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.rules import Rules
from meshnode.settlement import dues
from meshnode.settlement.posting import Reason, fund_account
from protocols.records import Join, JoinVote, account_id_of
from protocols.records.schema import read_as, to_payload
from zencode.catalogue import ids

# What an invitation shows by itself.
INVITATION: Final = "invitation"
# As many as an assembly looks at; a Join has some 600 bytes.
MAX_REQUESTS: Final = 64
_VERDICTS: Final = (ids.ACCEPT, ids.REFUSE, ids.ASK)


class Answer(msgspec.Struct, frozen=True):
    """What the binding says to a newcomer.

    verdict: ACCEPTED, MEMBERS_ASKED, or why not. needed_ppm, within_s: of the members, in so much time, where they
    are asked. deposit_u, limit_u: that come with membership; None: no limit.
    """

    verdict: Verdict
    needed_ppm: int = 0
    within_s: int = 0
    deposit_u: int = 0
    limit_u: int | None = None


class Admitted(msgspec.Struct, frozen=True):
    """The members have agreed: a newcomer belongs to the community from now on."""

    request: bytes
    join: Join


def answer(rules: Rules, record: Join, time_s: int) -> Answer:
    """What the binding says to a request. Whoever wants several roles needs a yes for each."""
    substation = rules.members.substation
    facts = Facts(
        time_s=time_s,
        credentials=frozenset({INVITATION, *record.shows}),
        substations=frozenset(record.behind) or (None if substation is None else frozenset({substation})),
    )
    found = Answer(Verdict.ACCEPTED)
    for role in record.member.roles:
        if role == ADMINISTRATOR or role in rules.members.roles:
            continue
        outcome = rules.blocks.at(ids.JOIN, facts, role, deciding=_VERDICTS)
        decided = next((action for action in outcome.actions if action.id in _VERDICTS), None)
        if outcome.unknown:
            return Answer(Verdict.FACT_MISSING)
        if decided is None:
            return Answer(Verdict.ROLE_NOT_ADMITTED)
        if decided.id == ids.REFUSE:
            return Answer(Verdict.JOIN_REFUSED)
        needed_ppm, within_s = decided.slots if decided.id == ids.ASK else (0, 0)
        limit: Any = outcome.last(ids.CREDIT_LIMIT)
        limits = [one for one in (found.limit_u, limit and limit[0]) if one is not None]
        found = Answer(
            verdict=Verdict.MEMBERS_ASKED if decided.id == ids.ASK else found.verdict,
            needed_ppm=max(found.needed_ppm, _whole(needed_ppm)),
            within_s=max(found.within_s, _whole(within_s)),
            deposit_u=found.deposit_u + sum(_whole(one.slots[0]) for one in outcome.of(ids.DEPOSIT)),
            limit_u=min(limits, default=None),
        )
    return found


def lapse(ledger: Ledger, time_s: int) -> None:
    """Requests whose time is over are refused."""
    for request, row in ledger.state.join_requests.items():
        if row.until_s < time_s:
            ledger.state.join_requests.delete(request)


def _join(call: Call, record: Join) -> Verdict:
    ledger, state = call.ledger, call.state
    if not members.is_administrator(state, call.account):
        return Verdict.NOT_ADMINISTRATOR
    said = answer(call.rules, record, call.time_s)
    if said.verdict not in (Verdict.ACCEPTED, Verdict.MEMBERS_ASKED):
        return said.verdict
    fault = members.fault_of_join(state, record, ledger.chain_id, ledger.verifier)
    if fault != Verdict.ACCEPTED:
        return fault
    if said.verdict == Verdict.MEMBERS_ASKED:
        if len(state.join_requests) >= MAX_REQUESTS:
            return Verdict.TOO_MANY_REQUESTS
        row = JoinRequest(to_payload(record), said.needed_ppm, call.time_s + said.within_s)
        state.join_requests.put(call.record_id, row)
        return said.verdict
    _admit(ledger, call.moment, record, said)
    return Verdict.ACCEPTED


def _vote(call: Call, record: JoinVote) -> Verdict:
    """A member's word; the request is decided as soon as enough agree, or too many do not."""
    state = call.state
    row = state.join_requests.get(record.request)
    if row is None:
        return Verdict.UNKNOWN_REQUEST
    agreed, against = set(row.agreed) - {call.account}, set(row.against) - {call.account}
    (agreed if record.agrees else against).add(call.account)
    there = set(knowledge.members(state))
    agreed, against = agreed & there, against & there
    if len(agreed) * PPM >= row.needed_ppm * len(there):
        state.join_requests.delete(record.request)
        join = read_as(Join, row.join)
        # Its name may be taken by now; then nobody can be admitted by it.
        if members.fault_of_entry(state, join.member) == Verdict.ACCEPTED and not members.is_full(state):
            _admit(call.ledger, call.moment, join, answer(call.rules, join, call.time_s))
            call.events.append(Admitted(record.request, join))
    elif (len(there) - len(against)) * PPM < row.needed_ppm * len(there):
        state.join_requests.delete(record.request)
    else:
        changed = msgspec.structs.replace(row, agreed=tuple(sorted(agreed)), against=tuple(sorted(against)))
        state.join_requests.put(record.request, changed)
    return Verdict.ACCEPTED


def _admit(ledger: Ledger, moment: Moment, record: Join, said: Answer) -> None:
    state, rules = ledger.state, ledger.rules(moment.time_s)
    first_s = boundary_s(moment.time_s, rules.period.length_s)
    members.found(state, record.member, moment.height, moment.time_s, first_s)
    account = account_id_of(record.member.member_key)
    if said.limit_u is not None:
        state.credit_limits.put((account, COMMUNITY), CreditLimit(said.limit_u))
    if said.deposit_u:
        hold(state, moment, account, ledger.next_period_s, rules.period.currency, said.deposit_u)


def hold(state: State, moment: Moment, account: bytes, start_s: int, currency: str, amount_u: int) -> None:
    """The community holds so much more of a member's money; below zero it gives that back."""
    posting = dues.one(account, fund_account(dues.DEPOSITS), currency, amount_u, Reason.DEPOSIT)
    moment.events.extend(dues.due(state, start_s, (posting,)))
    row = dues.turnover(state, account)
    state.turnovers.put(account, msgspec.structs.replace(row, deposit_u=row.deposit_u + amount_u))


def _whole(value: Any) -> int:
    number: int = value
    return number


EXECUTED: Handlers = {Join: (rows.PURPOSE_MEMBER, _join), JoinVote: (rows.PURPOSE_MEMBER, _vote)}
