"""Levies: what a period's energy is charged for beyond its price - levies for funds, grid fees, a solidarity share.

Pure: lines of energy come in, parts to post go out. Who posts them is the period's settlement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from meshnode.amounts import PPM, PRICE_MAX_U_KWH, AmountError, split
from meshnode.market.grid_fees import GridFees, Location, grid_fee
from meshnode.settlement.posting import POOL_ACCOUNT, Posting, Reason

CONSUMED: Final = 0
NEIGHBOURS: Final = 1
GRID: Final = 2
LEVY_BASES: Final = {CONSUMED: "consumed", NEIGHBOURS: "neighbours", GRID: "grid"}
"""The energy that a levy may be on: what a home uses, takes from neighbours, or draws from the grid."""

EARNING: Final = frozenset({Reason.TRADE, Reason.PRICED, Reason.SHARED, Reason.FEED_IN})
"""What a member earns by energy; what it gets because a partner did not keep a trade is no income."""


class Levy(msgspec.Struct, frozen=True):
    """A levy on energy.

    Fields:
        fund: account that receives it.
        base: one of LEVY_BASES.
        u_kwh: micro-units per kWh, 0 or more.
    """

    fund: bytes
    base: int
    u_kwh: int

    def __post_init__(self) -> None:
        if self.base not in LEVY_BASES or not 0 <= self.u_kwh <= PRICE_MAX_U_KWH:
            raise AmountError(f"levy on {self.base} of {self.u_kwh} u/kWh: expected 0 to 2, and 0 to {PRICE_MAX_U_KWH}")


class Solidarity(msgspec.Struct, frozen=True):
    """A part of what members earn, for those whom the community helps.

    Fields:
        share_ppm: of what each earns in a period, rounded down.
        helped: (account, weight) of who receives it; who is helped gives nothing.
    """

    share_ppm: int
    helped: tuple[tuple[bytes, int], ...]

    def __post_init__(self) -> None:
        if not 0 <= self.share_ppm <= PPM:
            raise AmountError(f"solidarity share of {self.share_ppm} ppm: expected 0 to {PPM}")
        split(0, self.helped)  # refuses an account that is named twice and a weight below zero


def earned_u(postings: Sequence[Posting]) -> dict[bytes, int]:
    """What each account was paid for its energy, by account; a price below zero earns nothing.

    What somebody was paid for another one's surplus, and passed on, is the other one's income.
    """
    found: dict[bytes, int] = {}
    for posting in postings:
        passes_on = posting.reason is Reason.SURPLUS
        if posting.price_u_kwh <= 0 or not (passes_on or posting.reason in EARNING):
            continue
        if posting.credit != POOL_ACCOUNT:
            found[posting.credit] = found.get(posting.credit, 0) + posting.amount_u
        elif passes_on:
            found[posting.debit] = found.get(posting.debit, 0) - posting.amount_u
    return dict(sorted(found.items()))


def taken_by_fee(
    fees: GridFees, locations: Mapping[bytes, Location], postings: Sequence[Posting]
) -> dict[tuple[bytes, int], int]:
    """What each member took from neighbours, by the grid fee that is due for it.

    A trade has two ends. What was shared without naming a partner came from all who gave, in proportion to what
    they gave; nobody takes from itself.

    Returns:
        Wh by (who took it, u_kwh), in this order; the sum is all that was taken from neighbours.
    """
    found: dict[tuple[bytes, int], int] = {}
    given: dict[bytes, int] = {}
    taken: dict[bytes, int] = {}

    def add(taker: bytes, giver_at: Location, energy_wh: int) -> None:
        place = (taker, grid_fee(fees, locations.get(taker, ()), giver_at))
        found[place] = found.get(place, 0) + energy_wh

    for posting in postings:
        legs = (posting.credit, posting.debit)
        giver, taker = legs if posting.price_u_kwh >= 0 else legs[::-1]
        if posting.reason in (Reason.TRADE, Reason.PRICED):
            add(taker, locations.get(giver, ()), posting.energy_wh)
        elif posting.reason is Reason.SHARED and giver == POOL_ACCOUNT:
            taken[taker] = taken.get(taker, 0) + posting.energy_wh
        elif posting.reason is Reason.SHARED:
            given[giver] = given.get(giver, 0) + posting.energy_wh
    # Homes at one place are one giver, so that a thousand homes are no million pairs.
    places = sorted({locations.get(giver, ()) for giver in given})
    number = {place: index.to_bytes(4, "big") for index, place in enumerate(places)}
    whole = dict.fromkeys(number.values(), 0)
    for giver, given_wh in given.items():
        whole[number[locations.get(giver, ())]] += given_wh
    for taker, energy_wh in taken.items():
        weights = dict(whole)
        if taker in given:
            weights[number[locations.get(taker, ())]] -= given[taker]
        for index, part_wh in split(energy_wh, weights.items()).items():
            if part_wh:
                add(taker, places[int.from_bytes(index, "big")], part_wh)
    return dict(sorted(found.items()))
