"""Auction: what rising and falling auctions share - what a bid does, why it is refused, and how one ends."""

import enum
from typing import Final, Generic, TypeVar

import msgspec

from meshnode.amounts import ENERGY_MAX_WH, PRICE_MAX_U_KWH
from meshnode.market.clearing import Trade

STEP_U_KWH: Final = 1_000
"""The step of a rising auction if nobody says otherwise: the default tick of prices, 0.001 per kWh."""


AuctionT = TypeVar("AuctionT")
EntryT = TypeVar("EntryT")


class AuctionError(ValueError):
    """An auction, or a call on one, that cannot be: a bug of the caller, who checks before booking."""


class Refusal(enum.IntEnum):
    """Why an auction does not take a bid or an ask."""

    NOT_OPEN = 1
    CLOSED = 2
    OWN_AUCTION = 3
    """Whoever calls an auction does not take part in it."""
    BELOW_RESERVE = 4
    BELOW_STEP = 5
    """It does not outbid the best one by the step."""
    ABOVE_MAXIMUM = 6
    NOT_LOWER = 7
    """The account's own ask is as low already."""
    ATTRIBUTE_MISSING = 8
    TOO_MANY = 9


class Placed(msgspec.Struct, Generic[AuctionT, EntryT], frozen=True):
    """What a bid or an ask did.

    Fields:
        auction: the next state; the same if it was refused.
        refusal: why it was not taken, or None.
        displaced: the bid or ask that stands no longer because of it: its hold is released.
    """

    auction: AuctionT
    refusal: Refusal | None = None
    displaced: EntryT | None = None


class Award(msgspec.Struct, frozen=True):
    """How an auction ended.

    Fields:
        trades: with the winners, each at its own price; none: nobody qualified.
        open_wh: what found no taker.
    """

    trades: tuple[Trade, ...]
    open_wh: int


def check_amounts(auction_id: bytes, energy_wh: int, price_u_kwh: int) -> None:
    """Raise AuctionError for an energy or price out of bounds."""
    if not 1 <= energy_wh <= ENERGY_MAX_WH:
        raise AuctionError(f"auction {auction_id.hex()}: {energy_wh} Wh, expected 1 to {ENERGY_MAX_WH}")
    if abs(price_u_kwh) > PRICE_MAX_U_KWH:
        raise AuctionError(
            f"auction {auction_id.hex()}: {price_u_kwh} u/kWh, expected {-PRICE_MAX_U_KWH} to {PRICE_MAX_U_KWH}"
        )


def refuse_time(time_s: int, opens_s: int, closes_s: int) -> Refusal | None:
    """Why nothing is taken at this time, or None: opens_s <= time < closes_s."""
    if time_s < opens_s:
        return Refusal.NOT_OPEN
    return Refusal.CLOSED if time_s >= closes_s else None
