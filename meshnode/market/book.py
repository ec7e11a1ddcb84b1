"""Book: the resting orders of one continuous market, and what executes when something changes.

    book = Book(rows)                 as the ledger's rows say; nothing executes
    effects = book.place(order, TimeInForce.GTC)
    ...                               apply the effects to holds, balances and rows

Rules:
1. Price, then sequence. A trade is at the older order's price.
2. Only the backed part of an order (`ready_wh`) trades. What is not backed rests, is quoted, and keeps its
   priority, which is the sequence of its booking; `back` says that it became backed, and it trades at once.
3. Nobody trades with itself: an order passes over those of its own account, and both stay. Who books orders
   bounds how many an account has, and with it how many are passed over.
4. A partner goes first (see `_candidates`), at the price that was set for it.
5. No two orders rest that could trade (`executable_cross` looks for such a pair; there is none).
"""

from collections.abc import Generator, Iterable, Iterator
from typing import Final

import msgspec

from meshnode.market.clearing import Trade
from meshnode.market.order import OrderError, Side
from meshnode.market.ranking import Entry, Ranking
from meshnode.market.standing import (
    FREE,
    STANDING_MAX,
    Band,
    Effects,
    Leaving,
    Left,
    StandingOrder,
    TimeInForce,
    meeting_price,
)

_OTHER: Final = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}
# Bids rank from the highest price, offers from the lowest.
_SIGN: Final = {Side.BUY: -1, Side.SELL: 1}

Match = tuple[StandingOrder, int, int]  # a resting order, the Wh that it trades, the price


class Quote(msgspec.Struct, frozen=True):
    """The best prices of a book; None: nobody.

    Fields:
        buying_u_kwh: what energy costs: the lowest offer, backed or not.
        selling_u_kwh: what energy brings: the highest bid, backed or not.
        buying_now_u_kwh, selling_now_u_kwh: the same of what can be executed right away.
    """

    buying_u_kwh: int | None
    selling_u_kwh: int | None
    buying_now_u_kwh: int | None
    selling_now_u_kwh: int | None


class Book:
    """A continuous order book; see the module. Every operation returns its effects and has them done in the book."""

    def __init__(self, orders: Iterable[StandingOrder] = ()) -> None:
        """A book as it once stood; the orders come in any sequence and nothing executes.

        Raises:
            OrderError: orders that cannot rest side by side.
        """
        self._orders: dict[bytes, StandingOrder] = {}
        self._all = {side: Ranking() for side in Side}
        self._ready = {side: Ranking() for side in Side}
        # Backed orders by (side, the partner that they name), by their price for it.
        self._naming: dict[tuple[Side, bytes], Ranking] = {}
        self._owned: dict[tuple[Side, bytes], dict[bytes, None]] = {}
        self._expiring = Ranking()
        self._newest = (-1, -1)
        for order in sorted(orders, key=lambda order: order.sequence):
            self._check_new(order)
            self._insert(order)

    def __len__(self) -> int:
        return len(self._orders)

    def __contains__(self, order_id: bytes) -> bool:
        return order_id in self._orders

    def get(self, order_id: bytes) -> StandingOrder | None:
        """A resting order, or None."""
        return self._orders.get(order_id)

    def __iter__(self) -> Iterator[StandingOrder]:
        """All resting orders by sequence: the rows to keep."""
        return iter(sorted(self._orders.values(), key=lambda order: order.sequence))

    def of_side(self, side: Side) -> list[StandingOrder]:
        """The resting orders of a side by priority."""
        return sorted(
            (order for order in self._orders.values() if order.side is side),
            key=lambda order: (_SIGN[side] * order.price_u_kwh, order.sequence),
        )

    def of_account(self, account: bytes) -> list[StandingOrder]:
        """An account's resting orders by sequence: those that a change of its balances may back."""
        owned = [self._orders[order_id] for side in Side for order_id in self._owned.get((side, account), ())]
        return sorted(owned, key=lambda order: order.sequence)

    def quote(self) -> Quote:
        """The best prices, of all orders and of those that are backed."""
        return Quote(
            buying_u_kwh=_price(self._all[Side.SELL], Side.SELL),
            selling_u_kwh=_price(self._all[Side.BUY], Side.BUY),
            buying_now_u_kwh=_price(self._ready[Side.SELL], Side.SELL),
            selling_now_u_kwh=_price(self._ready[Side.BUY], Side.BUY),
        )

    def place(self, order: StandingOrder, time_in_force: TimeInForce = TimeInForce.GTC, band: Band = FREE) -> Effects:
        """Take in a new order: trade what can be traded, and let the rest rest if it may.

        Args:
            order: with a sequence above those of all orders before it. Who calls has let time
                pass (`expire`) and does not bring an order that has expired.
            band: the prices allowed; all orders in the book keep to it (see `keep_within`).
        Raises:
            OrderError: an order that cannot be; the caller checks before booking.
        """
        self._check_new(order)
        self._newest = order.sequence
        if time_in_force is TimeInForce.MARKET:
            order = msgspec.structs.replace(order, price_u_kwh=band.protect(order.side, order.price_u_kwh))
        if not all(map(band.admits, order.prices())):
            return _left(order, Leaving.OUT_OF_BAND)
        if time_in_force is TimeInForce.FOK and not self._fills_whole(order):
            return _left(order, Leaving.KILLED)
        return self._execute(order, rests=time_in_force is TimeInForce.GTC)

    def back(self, order_id: bytes, ready_wh: int) -> Effects:
        """Say how much of a resting order is backed now. More: it trades at once, if it meets somebody.

        It trades with the best orders of the other side, each time at the price of the older of the two.
        When one change of a balance backs several orders (`of_account`), they are given one after the
        other by sequence.

        Raises:
            OrderError: no such order, or more ready than is open.
        """
        order = self._resting(order_id)
        changed = msgspec.structs.replace(order, ready_wh=ready_wh)
        if ready_wh == order.ready_wh:
            return Effects()
        self._remove(order)
        if ready_wh < order.ready_wh:
            self._insert(changed)
            return Effects(resting=(changed,))
        return self._execute(changed, rests=True)

    def amend(
        self,
        order_id: bytes,
        total_wh: int,
        price_u_kwh: int,
        *,
        sequence: tuple[int, int],
        ready_wh: int,
        band: Band = FREE,
    ) -> Effects:
        """Change a resting order's energy or price.

        Less energy at the same price keeps its place. Anything else is a new booking under the same
        id: it gets the new sequence and trades what it can.

        Args:
            total_wh: all that the order wants, with what it has traded already, so that a trade that
                comes in between does not turn less into more. What is traded cannot be taken
                back: a total of no more than that ends the order (`CANCELLED`).
            sequence: of the amendment.
            ready_wh: how much of the amended order is backed.
            band: the prices allowed.
        Raises:
            OrderError: no such order, or an amendment that cannot be; the order stays as it was.
        """
        order = self._resting(order_id)
        open_wh = total_wh - order.filled_wh
        if open_wh <= 0:
            return self.cancel(order_id)
        kept = price_u_kwh == order.price_u_kwh and open_wh <= order.energy_wh
        changed = msgspec.structs.replace(
            order,
            energy_wh=open_wh,
            price_u_kwh=price_u_kwh,
            ready_wh=min(ready_wh, open_wh),
            sequence=order.sequence if kept else sequence,
        )
        if not all(map(band.admits, changed.prices())):
            raise OrderError(
                f"order {order_id.hex()}: {price_u_kwh} u/kWh is not allowed, expected a price in the band"
            )
        if not kept:
            self._check_sequence(changed)
            self._newest = sequence
        self._remove(order)
        return self._execute(changed, rests=True)

    def cancel(self, order_id: bytes) -> Effects:
        """Take an order out.

        Raises:
            OrderError: no such order.
        """
        order = self._resting(order_id)
        self._remove(order)
        return _left(order, Leaving.CANCELLED)

    def expire(self, time_s: int) -> Effects:
        """Time has passed: take out what is no longer good, by expiry and then sequence."""
        left: list[Left] = []
        while (first := self._expiring.first()) is not None and first[0] <= time_s:
            order = self._orders[first[3]]
            self._remove(order)
            left.append(Left(order, Leaving.EXPIRED))
        return Effects(left=tuple(left))

    def keep_within(self, band: Band) -> Effects:
        """Law or binding has changed: take out the orders whose prices are no longer allowed, by sequence.

        Not only trades beyond the band are prevented: the limit of an older order is a price.
        """
        out = [order for order in self if not all(map(band.admits, order.prices()))]
        for order in out:
            self._remove(order)
        return Effects(left=tuple(Left(order, Leaving.OUT_OF_BAND) for order in out))

    def executable_cross(self) -> tuple[StandingOrder, StandingOrder] | None:
        """A bid and an offer that rest although they could trade: a bug; None if there is none.

        Looks at every pair where prices cross or partners are named: for tests and for checking a ledger.
        """
        best = self.quote()
        if not self._naming and (
            best.buying_now_u_kwh is None
            or best.selling_now_u_kwh is None
            or best.selling_now_u_kwh < best.buying_now_u_kwh
        ):
            return None
        bids = [order for order in self.of_side(Side.BUY) if order.ready_wh]
        offers = [order for order in self.of_side(Side.SELL) if order.ready_wh]
        return next(((bid, offer) for bid in bids for offer in offers if meeting_price(bid, offer) is not None), None)

    # --- execution ---------------------------------------------------------------------------------

    def _execute(self, order: StandingOrder, *, rests: bool) -> Effects:
        """Trade an order that is not in the book with those that are; the rest goes (back) in, or leaves."""
        trades: list[Trade] = []
        resting: list[StandingOrder] = []
        left: list[Left] = []
        for other, energy_wh, price_u_kwh in self._matches(order):
            bid, offer = (order, other) if order.side is Side.BUY else (other, order)
            trades.append(Trade(bid.account, offer.account, bid.order_id, offer.order_id, energy_wh, price_u_kwh))
            order = _less(order, energy_wh)
            rest = _less(other, energy_wh)
            if rest.energy_wh:
                self._replace(other, rest)
                resting.append(rest)
            else:
                self._remove(other)
                left.append(Left(rest, Leaving.FILLED))
        if order.energy_wh and rests:
            self._insert(order)
            resting.append(order)
        else:
            left.append(Left(order, Leaving.UNFILLED if order.energy_wh else Leaving.FILLED))
        return Effects(tuple(trades), tuple(resting), tuple(left))

    def _fills_whole(self, order: StandingOrder) -> bool:
        # Not backed whole, it cannot trade whole: then nothing is looked through, and who makes others look
        # through many orders has the means to buy them all.
        return order.ready_wh == order.energy_wh == sum(energy_wh for _, energy_wh, _ in self._matches(order))

    def _matches(self, order: StandingOrder) -> list[Match]:
        """What the backed part of an order would trade with; the book stays as it is."""
        found: list[Match] = []
        left_wh = order.ready_wh
        if left_wh:
            candidates = self._candidates(order)
            for other, price_u_kwh in candidates:
                energy_wh = min(left_wh, other.ready_wh)
                found.append((other, energy_wh, price_u_kwh))
                left_wh -= energy_wh
                if not left_wh:
                    break
            candidates.close()
        return found

    def _candidates(self, order: StandingOrder) -> Generator[tuple[StandingOrder, int], None, None]:
        """The backed orders that an order meets, with the price, in the sequence in which they are its turn.

        1. Those of the partner that the order names.
        2. Those that name the order's account as their partner, as long as their price is not worse for the
           order than the best of the others: one side's preference costs the other nothing.
        3. All others.
        Each of the three by price, then sequence.
        """
        if order.partner is not None:
            yield from self._of_partner(order, order.partner)
        ranking = self._ready[_OTHER[order.side]]
        naming = self._naming.get((_OTHER[order.side], order.account))
        if naming is None:
            yield from self._walk(order, ranking, friends=False)
            return
        friends, others = self._walk(order, naming, friends=True), self._walk(order, ranking, friends=False)
        try:
            yield from _merge(order.side, friends, others)
        finally:
            friends.close()
            others.close()

    def _of_partner(self, order: StandingOrder, partner: bytes) -> list[tuple[StandingOrder, int]]:
        side = _OTHER[order.side]
        owned = (self._orders[order_id] for order_id in self._owned.get((side, partner), ()))
        ranked = sorted(
            (other for other in owned if other.ready_wh),
            key=lambda other: (_SIGN[side] * other.limit_for(order.account), other.sequence),
        )
        met = ((other, meeting_price(order, other)) for other in ranked)
        return [(other, price_u_kwh) for other, price_u_kwh in met if price_u_kwh is not None]

    def _walk(
        self, order: StandingOrder, ranking: Ranking, *, friends: bool
    ) -> Generator[tuple[StandingOrder, int], None, None]:
        """The orders of a ranking that an order meets, from the top.

        Only those that name its account as their partner, or only those that do not; never those of the
        partner that it names itself, who had their turn.
        """
        furthest = _SIGN[_OTHER[order.side]] * order.price_u_kwh
        taken: list[Entry] = []
        try:
            while (entry := ranking.take()) is not None:
                taken.append(entry)
                if entry[0] > furthest:
                    break
                other = self._orders[entry[3]]
                if (other.partner == order.account) is not friends or other.account == order.partner:
                    continue
                if (price_u_kwh := meeting_price(order, other)) is not None:
                    yield other, price_u_kwh
        finally:
            ranking.put_back(taken)

    # --- what rests --------------------------------------------------------------------------------

    def _resting(self, order_id: bytes) -> StandingOrder:
        order = self._orders.get(order_id)
        if order is None:
            raise OrderError(f"order {order_id.hex()} is not in the book; it may be filled, cancelled or expired")
        return order

    def _check_new(self, order: StandingOrder) -> None:
        if order.order_id in self._orders:
            raise OrderError(f"order {order.order_id.hex()} is in the book already")
        if not order.energy_wh:
            raise OrderError(f"order {order.order_id.hex()}: 0 Wh are open, expected 1 or more")
        if len(self._orders) >= STANDING_MAX:
            raise OrderError(f"{len(self._orders)} orders rest in the book, the limit is {STANDING_MAX}")
        self._check_sequence(order)

    def _check_sequence(self, order: StandingOrder) -> None:
        if order.sequence <= self._newest:
            raise OrderError(
                f"order {order.order_id.hex()} at sequence {order.sequence}, expected one above {self._newest}"
            )

    def _insert(self, order: StandingOrder) -> None:
        self._newest = max(self._newest, order.sequence)
        self._orders[order.order_id] = order
        self._all[order.side].add(_rank(order, order.price_u_kwh), order.sequence, order.order_id)
        self._owned.setdefault((order.side, order.account), {})[order.order_id] = None
        if order.expires_s is not None:
            self._expiring.add(order.expires_s, order.sequence, order.order_id)
        if order.ready_wh:
            self._make_ready(order)

    def _remove(self, order: StandingOrder) -> None:
        del self._orders[order.order_id]
        self._all[order.side].discard(order.order_id)
        owned = self._owned[order.side, order.account]
        del owned[order.order_id]
        if not owned:
            del self._owned[order.side, order.account]
        if order.expires_s is not None:
            self._expiring.discard(order.order_id)
        if order.ready_wh:
            self._make_unready(order)

    def _replace(self, before: StandingOrder, after: StandingOrder) -> None:
        """An order has traded in part: same price, same place."""
        self._orders[after.order_id] = after
        if not after.ready_wh:
            self._make_unready(before)

    def _make_ready(self, order: StandingOrder) -> None:
        self._ready[order.side].add(_rank(order, order.price_u_kwh), order.sequence, order.order_id)
        if order.partner is not None:
            key = (order.side, order.partner)
            rank = _rank(order, order.limit_for(order.partner))
            self._naming.setdefault(key, Ranking()).add(rank, order.sequence, order.order_id)

    def _make_unready(self, order: StandingOrder) -> None:
        self._ready[order.side].discard(order.order_id)
        if order.partner is not None:
            key = (order.side, order.partner)
            self._naming[key].discard(order.order_id)
            if not self._naming[key]:
                del self._naming[key]


def _merge(
    side: Side, friends: Iterator[tuple[StandingOrder, int]], others: Iterator[tuple[StandingOrder, int]]
) -> Iterator[tuple[StandingOrder, int]]:
    """Take turns: a friend while its price is no worse for an order of this side, else the best of the others."""
    cost = -_SIGN[side]  # times a price: what the order would rather have low
    friend, other = next(friends, None), next(others, None)
    while friend is not None or other is not None:
        if other is None or (friend is not None and cost * friend[1] <= cost * other[1]):
            assert friend is not None
            yield friend
            friend = next(friends, None)
        else:
            yield other
            other = next(others, None)


def _rank(order: StandingOrder, price_u_kwh: int) -> int:
    return _SIGN[order.side] * price_u_kwh


def _less(order: StandingOrder, energy_wh: int) -> StandingOrder:
    return msgspec.structs.replace(
        order,
        energy_wh=order.energy_wh - energy_wh,
        ready_wh=order.ready_wh - energy_wh,
        filled_wh=order.filled_wh + energy_wh,
    )


def _left(order: StandingOrder, why: Leaving) -> Effects:
    return Effects(left=(Left(order, why),))


def _price(ranking: Ranking, side: Side) -> int | None:
    first = ranking.first()
    return None if first is None else _SIGN[side] * first[0]
