"""Standing order: a limit order of the continuous market, and what becomes of it.

What it says, at which price two of them meet, and the words for how one leaves the
book. Holds and balances are somebody else's: an order only says how much of it is backed.
"""

import enum
from typing import Final

import msgspec

from meshnode.amounts import ENERGY_MAX_WH, PRICE_MAX_U_KWH
from meshnode.market.clearing import Trade
from meshnode.market.order import OrderError, Side

STANDING_MAX: Final = 100_000
"""Orders that rest in one book: 100 bytes each in a row, so 10 MB of a household node's memory. Whoever books
orders refuses the one that would be too many."""


class TimeInForce(enum.IntEnum):
    """How long an order is good."""

    GTC = 1
    """Good till cancelled, or till its expiry: what does not trade at once rests."""
    IOC = 2
    """Immediate or cancel: what does not trade at once is cancelled."""
    FOK = 3
    """Fill or kill: trades at once and whole, or not at all."""
    MARKET = 4
    """IOC at a protection price, which must be given: the worst price that is still taken. Where it lies
    beyond a legal cap it is brought down to it; a limit beyond the cap is refused."""


class Leaving(enum.IntEnum):
    """Why an order is no longer in the book, or never came to rest in it."""

    FILLED = 1
    CANCELLED = 2
    EXPIRED = 3
    UNFILLED = 4
    """The rest of an IOC or market order."""
    KILLED = 5
    """A FOK order that could not be filled whole."""
    OUT_OF_BAND = 6
    """A price that law or binding does not allow (any more)."""


class Band(msgspec.Struct, frozen=True):
    """The prices that law and binding allow; None: no such bound."""

    floor_u_kwh: int | None = None
    cap_u_kwh: int | None = None

    def admits(self, price_u_kwh: int) -> bool:
        """Whether a trade at this price is allowed."""
        return (self.floor_u_kwh is None or price_u_kwh >= self.floor_u_kwh) and (
            self.cap_u_kwh is None or price_u_kwh <= self.cap_u_kwh
        )

    def protect(self, side: Side, price_u_kwh: int) -> int:
        """A market order's protection price, brought to the bound that lies before it."""
        if side is Side.BUY:
            return price_u_kwh if self.cap_u_kwh is None else min(price_u_kwh, self.cap_u_kwh)
        return price_u_kwh if self.floor_u_kwh is None else max(price_u_kwh, self.floor_u_kwh)

    def bring(self, side: Side, price_u_kwh: int) -> int | None:
        """A limit that may have been given when other prices were allowed: as good as is allowed now.

        Who would pay more pays the cap, who would take less takes the floor; None where nothing is allowed.
        """
        limit = self.protect(side, price_u_kwh)
        return limit if self.admits(limit) else None


FREE: Final = Band()
"""No bounds."""


class StandingOrder(msgspec.Struct, frozen=True):
    """A limit order of the continuous market, as it stands.

    Fields:
        order_id: the id of the signed record that placed it.
        account: who buys or sells.
        side: buy or sell.
        energy_wh: still open, 0 to `ENERGY_MAX_WH`; 0 only once it has left the book.
        ready_wh: the part of it that is backed and may trade now, 0 to energy_wh.
        price_u_kwh: the highest price a buyer pays, the lowest a seller takes; may be below zero.
        sequence: (height, position in the block) of its booking, its priority among equal prices.
        filled_wh: traded so far.
        expires_s: the first second at which it is no longer good; None: till cancelled.
        partner: an account that is served before all others; None: nobody.
        partner_price_u_kwh: the limit towards the partner, instead of price_u_kwh; given if a partner is.
    """

    order_id: bytes
    account: bytes
    side: Side
    energy_wh: int
    ready_wh: int
    price_u_kwh: int
    sequence: tuple[int, int]
    filled_wh: int = 0
    expires_s: int | None = None
    partner: bytes | None = None
    partner_price_u_kwh: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.energy_wh <= ENERGY_MAX_WH:
            raise OrderError(f"order {self.order_id.hex()}: {self.energy_wh} Wh, expected 0 to {ENERGY_MAX_WH}")
        if not 0 <= self.ready_wh <= self.energy_wh:
            raise OrderError(
                f"order {self.order_id.hex()}: {self.ready_wh} Wh are ready, expected 0 to {self.energy_wh}"
            )
        for price_u_kwh in (self.price_u_kwh, self.partner_price_u_kwh):
            if price_u_kwh is not None and abs(price_u_kwh) > PRICE_MAX_U_KWH:
                raise OrderError(
                    f"order {self.order_id.hex()}: {price_u_kwh} u/kWh, "
                    f"expected {-PRICE_MAX_U_KWH} to {PRICE_MAX_U_KWH}"
                )
        if (self.partner is None) != (self.partner_price_u_kwh is None):
            raise OrderError(f"order {self.order_id.hex()}: a partner and a price for it come together")
        if self.partner == self.account:
            raise OrderError(f"order {self.order_id.hex()}: names its own account as partner, expected another")

    def limit_for(self, other: bytes) -> int:
        """The limit price towards an account."""
        if self.partner_price_u_kwh is not None and self.partner == other:
            return self.partner_price_u_kwh
        return self.price_u_kwh

    def prices(self) -> tuple[int, ...]:
        """Every limit that it states."""
        return (self.price_u_kwh,) if self.partner_price_u_kwh is None else (self.price_u_kwh, self.partner_price_u_kwh)


class Left(msgspec.Struct, frozen=True):
    """An order that is gone: as it last stood (energy_wh is what it did not trade), and why."""

    order: StandingOrder
    why: Leaving


class Effects(msgspec.Struct, frozen=True):
    """What one operation did; every order that it touched is in `resting` or in `left`, never in both.

    Fields:
        trades: in the order in which they came about; both legs of each are due at once.
        resting: orders that are in the book with other amounts than before, or newly, as they now stand.
        left: orders that are no longer in the book, or never came to rest.
    """

    trades: tuple[Trade, ...] = ()
    resting: tuple[StandingOrder, ...] = ()
    left: tuple[Left, ...] = ()


def meeting_price(one: StandingOrder, other: StandingOrder) -> int | None:
    """The price at which a bid and an offer meet, or None if they do not.

    They meet if neither belongs to the other's account and the limits towards one another cross. The
    price is the older order's limit; where an order names the other's account as its
    partner it is the price for the partner, and where both do, the older order's.

    Args:
        one, other: one bid and one offer, either way round.
    """
    if one.account == other.account:
        return None
    bid, offer = (one, other) if one.side is Side.BUY else (other, one)
    if bid.limit_for(offer.account) < offer.limit_for(bid.account):
        return None
    older, newer = (one, other) if one.sequence < other.sequence else (other, one)
    if newer.partner == older.account and older.partner != newer.account:
        return newer.limit_for(older.account)
    return older.limit_for(newer.account)
