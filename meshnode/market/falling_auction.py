"""Falling auction: one buyer calls for energy; the lowest asks that qualify win, each at its own price.

A state machine without a clock, like the rising auction. Asks are seen by all, and one
may only be replaced by a lower one of the same account, so the price falls until the time is up.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from meshnode.market.auction import AuctionError, Award, Placed, Refusal, check_amounts, refuse_time
from meshnode.market.clearing import Clearing, Trade, by_merit, fills_of, summed_up
from meshnode.market.mechanism import Terms
from meshnode.market.order import Order, sides

NAME: Final = "falling-auction"
VERSION: Final = 1

ASKS_MAX: Final = 256
"""Asks in one auction. They are one row of the ledger, which every new ask rewrites: at about 100 bytes each a
row stays below 32 KB."""
ATTRIBUTES_MAX: Final = 16
"""Attributes of one call or ask; what energy can be asked to be (source, place, kind of meter) needs fewer."""

Attributes = tuple[tuple[str, str], ...]  # (name, value), sorted, each name once


class Call(msgspec.Struct, frozen=True):
    """What a buyer calls for.

    Fields:
        auction_id: the id of the record that called; stands for the buyer's order.
        buyer: who buys.
        energy_wh: how much; several asks may share it.
        maximum_u_kwh: the highest price that is paid.
        attributes: what an ask must say of its energy, for example (("source", "solar"),).
        opens_s, closes_s: asks are taken from the first second up to, not including, the other.
    """

    auction_id: bytes
    buyer: bytes
    energy_wh: int
    maximum_u_kwh: int
    attributes: Attributes
    opens_s: int
    closes_s: int

    def __post_init__(self) -> None:
        check_amounts(self.auction_id, self.energy_wh, self.maximum_u_kwh)
        _check_attributes(self.auction_id, self.attributes)
        if self.opens_s >= self.closes_s:
            raise AuctionError(
                f"auction {self.auction_id.hex()}: opens {self.opens_s}, closes {self.closes_s}; expected a later close"
            )


class Ask(msgspec.Struct, frozen=True):
    """An ask: up to so much energy, at this price, with these attributes."""

    order_id: bytes
    account: bytes
    energy_wh: int
    price_u_kwh: int
    sequence: tuple[int, int]
    attributes: Attributes = ()

    def __post_init__(self) -> None:
        check_amounts(self.order_id, self.energy_wh, self.price_u_kwh)
        _check_attributes(self.order_id, self.attributes)


class FallingAuction(msgspec.Struct, frozen=True):
    """An auction as it stands: the call, and at most one ask of every account, by sequence."""

    call: Call
    asks: tuple[Ask, ...] = ()


def open_auction(call: Call) -> FallingAuction:
    """An auction without asks."""
    return FallingAuction(call)


def place(auction: FallingAuction, ask: Ask, time_s: int) -> Placed[FallingAuction, Ask]:
    """Take an ask, or say why not. A lower one replaces the account's own, and waits behind equal prices."""
    before = next((known for known in auction.asks if known.account == ask.account), None)
    refusal = refuse_time(time_s, auction.call.opens_s, auction.call.closes_s) or _disqualify(auction.call, ask)
    if refusal is None and before is not None and ask.price_u_kwh >= before.price_u_kwh:
        refusal = Refusal.NOT_LOWER
    if refusal is None and before is None and len(auction.asks) >= ASKS_MAX:
        refusal = Refusal.TOO_MANY
    if refusal is not None:
        return Placed(auction, refusal)
    others = tuple(known for known in auction.asks if known is not before)
    return Placed(FallingAuction(auction.call, (*others, ask)), None, before)


def close_auction(auction: FallingAuction, time_s: int) -> Award:
    """The end; see `award`.

    Raises:
        AuctionError: it is not over yet.
    """
    if time_s < auction.call.closes_s:
        raise AuctionError(
            f"auction {auction.call.auction_id.hex()} closes at {auction.call.closes_s}, it is {time_s} only"
        )
    return award(auction.call, auction.asks)


def award(call: Call, asks: Iterable[Ask]) -> Award:
    """Give the energy to the lowest asks that qualify, equal prices by sequence, each at its own price.

    The last winner may get a part of what it asked to sell.
    """
    return _award_ranked(call, sorted(asks, key=lambda ask: (ask.price_u_kwh, ask.sequence)))


class FallingAuctions:
    """Falling auctions, called one by one or over one period's bids; see the module, and `clear`."""

    name = NAME
    version = VERSION
    open_auction = staticmethod(open_auction)
    place = staticmethod(place)
    close_auction = staticmethod(close_auction)

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Let each of a period's bids call for energy, one after the other.

        By time, every bid is a call with its price as maximum and no attributes; the offers of
        others, with what is left of them, are the asks.

        Args:
            orders: one period's orders, in any order.
            terms: not used; prices come from the orders alone.
        """
        _, ranked = by_merit(orders)
        bids, _ = sides(orders)
        left_wh = {offer.order_id: offer.energy_wh for offer in ranked}
        trades: list[Trade] = []
        sold_out = 0  # so many of the lowest offers have nothing left
        for bid in bids:
            while sold_out < len(ranked) and not left_wh[ranked[sold_out].order_id]:
                sold_out += 1
            call = Call(bid.order_id, bid.account, bid.energy_wh, bid.price_u_kwh, (), 0, 1)
            asks = (
                Ask(offer.order_id, offer.account, left_wh[offer.order_id], offer.price_u_kwh, offer.sequence)
                for offer in (ranked[rank] for rank in range(sold_out, len(ranked)))
                if left_wh[offer.order_id]
            )
            for trade in _award_ranked(call, asks).trades:
                left_wh[trade.sell_order] -= trade.energy_wh
                trades.append(trade)
        return summed_up(NAME, VERSION, trades, fills_of(trades))


MECHANISM: Final = FallingAuctions()


def _award_ranked(call: Call, asks: Iterable[Ask]) -> Award:
    """See `award`; of asks that come by price, only as many are looked at as are needed."""
    open_wh = call.energy_wh
    trades: list[Trade] = []
    for ask in asks:
        if ask.price_u_kwh > call.maximum_u_kwh:
            break
        if _disqualify(call, ask) is None:
            energy_wh = min(open_wh, ask.energy_wh)
            trades.append(Trade(call.buyer, ask.account, call.auction_id, ask.order_id, energy_wh, ask.price_u_kwh))
            open_wh -= energy_wh
            if not open_wh:
                break
    return Award(tuple(trades), open_wh)


def _disqualify(call: Call, ask: Ask) -> Refusal | None:
    """Why an ask cannot win a call, or None."""
    if ask.account == call.buyer:
        return Refusal.OWN_AUCTION
    if ask.price_u_kwh > call.maximum_u_kwh:
        return Refusal.ABOVE_MAXIMUM
    return None if set(call.attributes) <= set(ask.attributes) else Refusal.ATTRIBUTE_MISSING


def _check_attributes(what: bytes, attributes: Attributes) -> None:
    names = [name for name, _ in attributes]
    if len(names) > ATTRIBUTES_MAX or names != sorted(set(names)):
        raise AuctionError(
            f"{what.hex()}: attributes {', '.join(names)}; expected at most {ATTRIBUTES_MAX}, sorted, each name once"
        )
