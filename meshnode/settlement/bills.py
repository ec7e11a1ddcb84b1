"""Bills: what a member has to pay, or is paid, for a billing period.

A bill is of what was posted since the one before it, also of corrections of earlier periods, with the fees and the
tax that are due with it. It comes when the last period of the billing period has closed; of somebody who left,
when the account closes. Amounts are micro-units of the currency.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshnode.amounts import PPM
from meshnode.effects import Blocks, Outcome
from meshnode.ledger.knowledge import facts_of
from meshnode.ledger.member_rows import Bill
from meshnode.ledger.state import State
from meshnode.local_time import cycle_of
from meshnode.settlement import dues
from meshnode.settlement.dues import DuesPosted
from meshnode.settlement.member_rules import MemberRules
from meshnode.settlement.posting import Posting, Reason, fund_account
from zencode.catalogue import ids

CENT_U: Final = 10_000
"""What bills are rounded to: a hundredth of the currency."""


class BillIssued(msgspec.Struct, frozen=True):
    """A member got a bill."""

    account: bytes
    bill: Bill


def issue(
    state: State, blocks: Blocks, rules: MemberRules, currency: str, start_s: int, end_s: int
) -> list[DuesPosted | BillIssued]:
    """The bills that are due when a period has closed.

    Args:
        start_s, end_s: of the period.
    """
    events: list[DuesPosted | BillIssued] = []
    regular = cycle_of(rules.zone, start_s, *rules.billing) != cycle_of(rules.zone, end_s, *rules.billing)
    for account, row in state.accounts.items():
        turned = state.turnovers.get(account)
        if row.left_s:
            # The last bill comes when the account closes.
            if turned is not None and turned.closes_s <= end_s:
                events += _issue(state, blocks, rules, currency, account, start_s, end_s)
                state.turnovers.delete(account)
        elif regular and row.joined_s < end_s:
            events += _issue(state, blocks, rules, currency, account, start_s, end_s)
    return events


def _issue(
    state: State, blocks: Blocks, rules: MemberRules, currency: str, account: bytes, start_s: int, end_s: int
) -> list[DuesPosted | BillIssued]:
    before = state.bills.get(account)
    from_s = state.accounts[account].joined_s if before is None else before.until_s
    outcome = blocks.at(ids.BILL_DUE, facts_of(state, account, end_s))
    events: list[DuesPosted | BillIssued] = []
    events += dues.due(state, start_s, _fees(state, outcome, rules, currency, account, (from_s, end_s)))
    turned = dues.turnover(state, account)
    tax_ppm = rules.tax_ppm.get(state.accounts[account].name, 0)
    tax_u, tax_credit_u = (_half_up(amount * tax_ppm, PPM) for amount in (turned.charges_u, turned.credits_u))
    fund = fund_account(dues.TAX)
    events += dues.due(
        state,
        start_s,
        (
            dues.one(account, fund, currency, tax_u, Reason.TAX),
            dues.one(fund, account, currency, tax_credit_u, Reason.TAX),
        ),
    )
    exact = (turned.charges_u + tax_u, turned.credits_u + tax_credit_u)
    if outcome.of(ids.NET):
        exact = (max(0, exact[0] - exact[1]), max(0, exact[1] - exact[0]))
    paid = tuple(_half_up(amount, CENT_U) * CENT_U for amount in exact) if rules.rounds else exact
    collecting = outcome.last(ids.COLLECT)
    company, within_s = collecting if collecting else (rules.company, 0)
    bill = Bill(
        from_s=from_s,
        until_s=end_s,
        charges_u=turned.charges_u,
        credits_u=turned.credits_u,
        tax_u=tax_u,
        tax_credit_u=tax_credit_u,
        pay_u=paid[0],
        receive_u=paid[1],
        collector=company,
        due_s=end_s + within_s if collecting else 0,
    )
    state.bills.put(account, bill)
    # What rounding left is on the next bill.
    rest = msgspec.structs.replace(turned, charges_u=exact[0] - paid[0], credits_u=exact[1] - paid[1])
    state.turnovers.put(account, rest)
    return [*events, BillIssued(account, bill)]


def _fees(
    state: State, outcome: Outcome, rules: MemberRules, currency: str, account: bytes, span: tuple[int, int]
) -> list[Posting]:
    """The fees for the cycles that ended since the last bill."""
    postings: list[Posting] = []
    for action in outcome.of(ids.FEE_PER_CYCLE):
        fee_u, cycle = action.slots
        assert isinstance(fee_u, int) and isinstance(cycle, tuple)
        first, last = (cycle_of(rules.zone, moment, *cycle) for moment in span)
        postings += dues.fees(state, account, currency, fee_u * (last - first), rules.fee_split)
    return postings


def _half_up(number: int, unit: int) -> int:
    """A number in units, halves away from zero."""
    whole = (2 * abs(number) + unit) // (2 * unit)
    return whole if number >= 0 else -whole
