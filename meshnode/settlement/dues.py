"""Dues: money that moves between accounts for no energy - fees of membership, tax, deposits, what is paid back.

Dues move claims as settled energy does: they are paid with the asset that settles, and stand on the next bill.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from meshnode.amounts import split
from meshnode.effects import Blocks
from meshnode.ledger import rows
from meshnode.ledger.knowledge import facts_of, members
from meshnode.ledger.member_rows import Turnover
from meshnode.ledger.state import State
from meshnode.settlement.posting import Entry, Posting, Reason, changes_by_account, fund_account
from zencode.catalogue import ids

COMMUNITY_FUND: Final = "community fund"
DEPOSITS: Final = "deposits"
"""The fund that holds what members left as a security for as long as they are members."""
TAX: Final = "value added tax"
"""The fund of what the community owes the tax office, or is owed by it."""


class DuesPosted(msgspec.Struct, frozen=True):
    """Money moved for no energy; start_s: the settlement period in which it did."""

    start_s: int
    postings: tuple[Posting, ...]


def post(state: State, postings: Iterable[Posting]) -> None:
    """Move claims as postings say, and add them to what the next bills are of."""
    entries = tuple(postings)
    for account, change in changes_by_account(entries).items():
        known = state.claims.get(account)
        amount = change + (known.amount_u if known else 0)
        if amount:
            state.claims.put(account, rows.Claim(amount))
        elif known:
            state.claims.delete(account)
    turned: dict[bytes, list[int]] = {}
    for posting in entries:
        # What is taken back was no credit, and what was credited is no charge.
        taken_back = posting.entry is Entry.REVERSAL
        for account, side in ((posting.debit, 0), (posting.credit, 1)):
            if account in state.accounts:
                sides = turned.setdefault(account, [0, 0])
                sides[1 - side if taken_back else side] += -posting.amount_u if taken_back else posting.amount_u
    for account, (charges_u, credits_u) in sorted(turned.items()):
        row = turnover(state, account)
        changed = msgspec.structs.replace(row, charges_u=row.charges_u + charges_u, credits_u=row.credits_u + credits_u)
        state.turnovers.put(account, changed)


def turnover(state: State, account: bytes) -> Turnover:
    """What an account was charged and credited since its last bill."""
    return state.turnovers.get(account) or Turnover()


def due(state: State, start_s: int, postings: Iterable[Posting]) -> list[DuesPosted]:
    """Post what is due in a period; nothing is no event."""
    entries = tuple(posting for posting in postings if posting.amount_u)
    if not entries:
        return []
    post(state, entries)
    return [DuesPosted(start_s, entries)]


def one(payer: bytes, receiver: bytes, currency: str, amount_u: int, reason: Reason) -> Posting:
    """One movement of money for no energy; below zero it goes the other way."""
    if amount_u < 0:
        payer, receiver = receiver, payer
    return Posting(payer, receiver, currency.encode(), abs(amount_u), 0, 0, reason)


def fees(
    state: State, account: bytes, currency: str, amount_u: int, parts: tuple[tuple[str, int], ...]
) -> list[Posting]:
    """A membership fee, for those among whom the binding splits it."""
    receivers = {recipient(state, name): ppm for name, ppm in parts}
    divided = split(amount_u, sorted(receivers.items()))
    return [
        one(account, receiver, currency, part_u, Reason.MEMBERSHIP)
        for receiver, part_u in sorted(divided.items())
        if receiver != account
    ]


def recipient(state: State, name: str) -> bytes:
    """Whom a binding means: a member of this name, else a fund."""
    known = state.names.get(name)
    return fund_account(name) if known is None else known.account


def of_period(
    state: State, blocks: Blocks, start_s: int, currency: str, parts: tuple[tuple[str, int], ...]
) -> list[DuesPosted]:
    """What every member pays whenever a settlement period closes."""
    if not blocks.says(ids.FEE_PER_PERIOD):
        return []
    postings: list[Posting] = []
    for account in members(state):
        if state.accounts[account].joined_s > start_s:
            continue
        fee = blocks.at(ids.PERIOD_CLOSES, facts_of(state, account, start_s)).last(ids.FEE_PER_PERIOD)
        if fee:
            postings += fees(state, account, currency, fee[0], parts)
    return due(state, start_s, postings)
