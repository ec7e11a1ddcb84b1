"""Rising auction: one seller, one lot; whoever bids most when the time is up pays what it bid.

A state machine without a clock: a bid comes with its time and gives the next state. The
same machine, as a mechanism, auctions off a period's offers one after the other.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from meshnode.market.auction import STEP_U_KWH, AuctionError, Award, Placed, Refusal, check_amounts, refuse_time
from meshnode.market.clearing import Clearing, Trade, by_merit, fills_of, summed_up
from meshnode.market.mechanism import Terms
from meshnode.market.order import Order, sides

NAME: Final = "rising-auction"
VERSION: Final = 1


class Lot(msgspec.Struct, frozen=True):
    """What is auctioned, and how.

    Fields:
        auction_id: the id of the record that called the auction; stands for the seller's order.
        seller: who sells.
        energy_wh: the lot, sold whole.
        reserve_u_kwh: the lowest first bid.
        step_u_kwh: by how much a bid outbids the best one at least, 1 or more.
        opens_s, closes_s: bids are taken from the first second up to, not including, the other.
        snipe_s: a bid within so many seconds of the close moves the close to so many seconds after the
            bid, so that who was outbid can answer; 0: never.
        latest_s: the close is never moved beyond; closes_s or later, so that every auction ends.
    """

    auction_id: bytes
    seller: bytes
    energy_wh: int
    reserve_u_kwh: int
    step_u_kwh: int
    opens_s: int
    closes_s: int
    snipe_s: int
    latest_s: int

    def __post_init__(self) -> None:
        check_amounts(self.auction_id, self.energy_wh, self.reserve_u_kwh)
        if self.step_u_kwh < 1:
            raise AuctionError(
                f"auction {self.auction_id.hex()}: a step of {self.step_u_kwh} u/kWh, expected 1 or more"
            )
        if not self.opens_s < self.closes_s <= self.latest_s or self.snipe_s < 0:
            raise AuctionError(
                f"auction {self.auction_id.hex()}: opens {self.opens_s}, closes {self.closes_s}, at the latest "
                f"{self.latest_s}, {self.snipe_s} s after late bids; expected opens < closes <= latest, and 0 s or more"
            )


class Bid(msgspec.Struct, frozen=True):
    """A bid for the whole lot, in micro-units per kWh."""

    order_id: bytes
    account: bytes
    price_u_kwh: int


class RisingAuction(msgspec.Struct, frozen=True):
    """An auction as it stands.

    Fields:
        lot: what was called.
        closes_s: when it ends as things stand; lot.closes_s or later.
        best: the bid that wins as things stand.
    """

    lot: Lot
    closes_s: int
    best: Bid | None = None


def open_auction(lot: Lot) -> RisingAuction:
    """An auction without bids."""
    return RisingAuction(lot, lot.closes_s)


def least_bid(auction: RisingAuction) -> int:
    """The lowest price that the next bid can have, in micro-units per kWh."""
    if auction.best is None:
        return auction.lot.reserve_u_kwh
    return auction.best.price_u_kwh + auction.lot.step_u_kwh


def place(auction: RisingAuction, bid: Bid, time_s: int) -> Placed[RisingAuction, Bid]:
    """Take a bid, or say why not.

    Args:
        time_s: of the block that brings it; never before that of an earlier bid.
    """
    lot = auction.lot
    refusal = refuse_time(time_s, lot.opens_s, auction.closes_s)
    if refusal is None and bid.account == lot.seller:
        refusal = Refusal.OWN_AUCTION
    if refusal is None and bid.price_u_kwh < least_bid(auction):
        refusal = Refusal.BELOW_RESERVE if auction.best is None else Refusal.BELOW_STEP
    if refusal is not None:
        return Placed(auction, refusal)
    check_amounts(lot.auction_id, lot.energy_wh, bid.price_u_kwh)
    closes_s = max(auction.closes_s, min(time_s + lot.snipe_s, lot.latest_s))
    return Placed(RisingAuction(lot, closes_s, bid), None, auction.best)


def close_auction(auction: RisingAuction, time_s: int) -> Award:
    """The end: the best bid gets the lot at its own price (first price).

    Raises:
        AuctionError: it is not over yet.
    """
    lot, best = auction.lot, auction.best
    if time_s < auction.closes_s:
        raise AuctionError(f"auction {lot.auction_id.hex()} closes at {auction.closes_s}, it is {time_s} only")
    if best is None:
        return Award((), lot.energy_wh)
    trade = Trade(best.account, lot.seller, best.order_id, lot.auction_id, lot.energy_wh, best.price_u_kwh)
    return Award((trade,), 0)


class RisingAuctions:
    """Rising auctions, called one by one or over one period's offers; see the module, and `clear`."""

    name = NAME
    version = VERSION
    open_auction = staticmethod(open_auction)
    place = staticmethod(place)
    close_auction = staticmethod(close_auction)

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Auction off a period's offers one after the other.

        By time, every offer is a lot with its price as reserve. Of the bids of others that still want
        as much energy as the lot has the highest is called out, equal prices by time; nobody outbids
        it, because an order says how far its owner goes. A lot is sold whole or not at all; what a
        winner still wants it bids for the next lots.

        Args:
            orders: one period's orders, in any order.
            terms: not used; prices come from the orders alone.
        """
        ranked, _ = by_merit(orders)
        _, offers = sides(orders)
        wanted = _Wanted([bid.energy_wh for bid in ranked])
        trades: list[Trade] = []
        for offer in offers:
            rank = wanted.first(offer.energy_wh, 0)
            while rank is not None and ranked[rank].account == offer.account:
                rank = wanted.first(offer.energy_wh, rank + 1)
            if rank is None:
                continue
            bid = ranked[rank]
            auction = open_auction(_lot_of(offer))
            auction = place(auction, Bid(bid.order_id, bid.account, bid.price_u_kwh), auction.lot.opens_s).auction
            for trade in close_auction(auction, auction.closes_s).trades:
                wanted.take(rank, trade.energy_wh)
                trades.append(trade)
        return summed_up(NAME, VERSION, trades, fills_of(trades))


MECHANISM: Final = RisingAuctions()


def _lot_of(offer: Order) -> Lot:
    """An offer as the lot of an auction that takes one second."""
    return Lot(
        auction_id=offer.order_id,
        seller=offer.account,
        energy_wh=offer.energy_wh,
        reserve_u_kwh=offer.price_u_kwh,
        step_u_kwh=STEP_U_KWH,
        opens_s=0,
        closes_s=1,
        snipe_s=0,
        latest_s=1,
    )


class _Wanted:
    """What bids still want, by place, in a tree of maxima: the first that wants enough is found in O(log n).

    Without it, a period full of lots that are too large for every bid would look at each pair.
    """

    def __init__(self, energies_wh: Sequence[int]) -> None:
        self._leaves = 1
        while self._leaves < len(energies_wh):
            self._leaves *= 2
        empty = [0] * (self._leaves - len(energies_wh))
        self._most = [0] * self._leaves + [*energies_wh, *empty]
        for node in range(self._leaves - 1, 0, -1):
            self._most[node] = max(self._most[2 * node], self._most[2 * node + 1])

    def first(self, energy_wh: int, start: int) -> int | None:
        """The first place from `start` on that wants at least so much (1 or more), or None."""
        if start >= self._leaves:
            return None
        node = start + self._leaves
        while self._most[node] < energy_wh:
            # Up while it is a right child, then over to the neighbour.
            while node % 2:
                node //= 2
                if node == 0:
                    return None
            node += 1
        while node < self._leaves:
            node = 2 * node if self._most[2 * node] >= energy_wh else 2 * node + 1
        return node - self._leaves

    def take(self, place: int, energy_wh: int) -> None:
        """A bid has got so much."""
        node = place + self._leaves
        self._most[node] -= energy_wh
        while node > 1:
            node //= 2
            self._most[node] = max(self._most[2 * node], self._most[2 * node + 1])
