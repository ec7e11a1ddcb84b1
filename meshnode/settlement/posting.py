"""Posting: one amount that leaves one account and reaches another.

Double entry: the same integer on both legs. Also here: the accounts that belong
to no member. Whether an account can pay is the ledger's business.
"""

import enum
import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

GRID_ACCOUNT: Final = b"grid".ljust(16, b"\0")
"""The world outside: pays for what is fed in, is paid for what is drawn. Its balance may be below zero;
together with the members and the funds it sums to zero."""
POOL_ACCOUNT: Final = b"pool".ljust(16, b"\0")
"""What is shared without naming a partner is paid through this account; at zero after every settlement."""

COMMUNITY_FUND: Final = "community fund"
"""Who receives what nobody else is named for."""

_FUND_PREFIX: Final = b"fund"
_FUND_DIGEST_BYTES: Final = 12


def fund_account(name: str) -> bytes:
    """The 16-byte account id of a fund that the binding names, for example `community fund`.

    Equal names give equal ids, to the byte: the caller passes the name as the binding's tree has it.
    """
    return _FUND_PREFIX + hashlib.sha256(name.encode()).digest()[:_FUND_DIGEST_BYTES]


CONSUMERS: Final = fund_account("consumers")
PRODUCERS: Final = fund_account("producers")
"""Recipients that stand for many: whoever took energy from neighbours in the period, and whoever gave it, in
proportion. Nothing is ever posted to them."""


def is_fund(account: bytes) -> bool:
    """Whether an account id is that of a fund."""
    return account.startswith(_FUND_PREFIX)


class Reason(enum.IntEnum):
    """Why money moves. Codes are stored: they are never reused or renumbered."""

    TRADE = 1
    """Traded energy that was delivered, at the price of the trade."""
    SELLER_SHORT = 2
    """The seller delivered less than sold: makes up the difference to the grid price."""
    BUYER_SHORT = 3
    """The buyer took less than bought: makes up the difference to the feed-in price."""
    SHARED = 4
    """Energy shared inside the community without a trade, at the sharing rate."""
    GRID = 5
    """Energy drawn from the grid, at the grid price."""
    FEED_IN = 6
    """Energy fed into the grid, at the feed-in price."""
    FEE = 7
    """A fund's or a member's part of a fee on energy; what is for many goes through the pool."""
    GRID_FEE = 8
    """What the grid takes for energy from neighbours, by the level at which the two are connected."""
    LEVY = 9
    """A levy on energy, for its fund."""
    SOLIDARITY = 10
    """A part of what members earned, through the pool, for those whom the community helps; of no energy."""
    PRICED = 11
    """Energy between two members who have set what they sell and buy at and ordered nothing."""
    INCENTIVE = 12
    """What the authority pays for shared energy; it comes from outside, as what the grid pays."""
    STORAGE_FEE = 13
    """A fee for stored energy, where no asset pays it; of no energy, as all that follow."""
    SURPLUS = 20
    """What a member's share exceeds its use, at the feed-in price, from who feeds it in, through the pool."""
    LOST = 21
    """Of a billing period: surplus beyond what the bought energy cost, taken back by the grid; of no energy."""
    SHARED_HOURS = 22
    """Of a billing period: what is paid from outside for energy shared within its hours; of no energy."""
    MEMBERSHIP = 30
    """A fee of membership."""
    TAX = 31
    """Value added tax on a bill."""
    DEPOSIT = 32
    """What the community holds of a member's money for as long as it is one; or gives back when it leaves."""
    PAID_BACK = 33
    """What the community pays a member whose meter it does not hear."""

    PACKAGE = 100
    """What a statement of a package charges, see `meshnode.settlement.additions`; of no energy."""


class Entry(enum.IntEnum):
    """How a posting came about. Codes are stored."""

    FIRST = 0
    """By the first settlement of the period."""
    REVERSAL = 1
    """By a correction: takes back an earlier posting, the legs swapped, everything else equal."""
    REPLACEMENT = 2
    """By a correction: what the corrected settlement says instead."""


class Posting(msgspec.Struct, frozen=True):
    """One movement of money, with the energy that explains it.

    Fields:
        debit: account that pays.
        credit: account that receives; never the same.
        asset: id of the asset that moves.
        amount_u: how much, 0 or more (direction is told by the legs).
        energy_wh: energy the amount is for, above 0 but for what is of no energy.
        price_u_kwh: price of that energy. Delivered energy goes from credit to debit; a price
            below zero turns the legs around, so that energy goes from debit to credit.
        reason: why.
        orders: ids of the buying and the selling order for trades and what follows from
            them; empty otherwise.
        entry: first, reversal or replacement.

    Invariant: amount_u = |value(price_u_kwh, energy_wh)|, except for SHARED, SURPLUS, FEE, LEVY and INCENTIVE, where
    the value is computed once for all and divided by the splitter, and for what has no energy.
    """

    debit: bytes
    credit: bytes
    asset: bytes
    amount_u: int
    energy_wh: int
    price_u_kwh: int
    reason: Reason
    orders: tuple[bytes, ...] = ()
    entry: Entry = Entry.FIRST


def changes_by_account(postings: Iterable[Posting]) -> dict[bytes, int]:
    """Received minus paid of every account that occurs, in account id order; the sum is always zero."""
    changes: dict[bytes, int] = {}
    for posting in postings:
        changes[posting.debit] = changes.get(posting.debit, 0) - posting.amount_u
        changes[posting.credit] = changes.get(posting.credit, 0) + posting.amount_u
    return dict(sorted(changes.items()))
