"""Floor: where orders of assets meet. The books beside the table of standing orders, and what their effects move.

A book is made from the rows, and is no part of the state: one for each asset and the asset that pays for it.
Nothing stays half done: before a step everything is checked, and both legs of every trade
are moved with it. Whatever changes a balance may back an order that rests without, or take its room; `look_again` gives
each its turn by the sequence of booking, a supplier's own by the priorities of its customers, until nothing changes any
more (invariant I7: nothing rests that could trade).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from meshnode.amounts import value
from meshnode.ledger import contracts, standing
from meshnode.ledger.balances import change
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.order_rows import NO_EXPIRY, NO_PRICE, NOBODY, Execution, Standing
from meshnode.ledger.state import State
from meshnode.market import Band, Book, Effects, Leaving, Quote, Side, StandingOrder, TimeInForce, Trade, lifecycle
from meshnode.market.lifecycle import Event, Guard
from meshnode.market.standing import STANDING_MAX
from meshnode.settlement import storing

Pair = tuple[str, str]  # an asset, and the asset that pays for it

# Nothing is ever written to it.
_EMPTY = Book()
_TRADED = frozenset({Guard.MATCHED, Guard.BOTH_LEGS})
_WHY_GONE = {
    Leaving.CANCELLED: Event.CANCEL,
    Leaving.EXPIRED: Event.EXPIRE,
    Leaving.UNFILLED: Event.CANCEL,
    Leaving.KILLED: Event.FAIL,
    Leaving.OUT_OF_BAND: Event.FAIL,
}


class OrderTraded(msgspec.Struct, frozen=True):
    """Two standing orders traded; both legs are done. The table's key, and its row."""

    height: int
    number: int
    trade: Execution
    price_u_kwh: int


class OrderGone(msgspec.Struct, frozen=True):
    """An order no longer rests, or never came to. why: a `Leaving`."""

    order_id: bytes
    account: bytes
    why: int
    open_wh: int
    filled_wh: int


class OrderReversed(msgspec.Struct, frozen=True):
    """A trade was undone; original: its key."""

    height: int
    original: tuple[int, int]
    trade: Execution


class Moment(msgspec.Struct, frozen=True):
    """The block in which something happens, and where its events go."""

    height: int
    time_s: int
    events: list[Any]


class Floor:
    """The books of one ledger."""

    def __init__(self, state: State) -> None:
        """Make the books from the rows; nothing executes."""
        self._state = state
        self._books: dict[Pair, Book] = {}
        self._waiting: dict[bytes, set[bytes]] = {}
        self._numbered = (-1, 0)
        by_pair: dict[Pair, list[StandingOrder]] = {}
        for order_id, row in state.standing.items():
            by_pair.setdefault((row.asset, row.paid_with), []).append(_order(order_id, row))
            self._note(order_id, row)
        for pair, orders in by_pair.items():
            self._books[pair] = Book(orders)

    # --- what is asked

    def pairs(self) -> list[Pair]:
        """Of which assets orders rest, in order."""
        return sorted(pair for pair, book in self._books.items() if len(book))

    def quote(self, pair: Pair) -> Quote:
        """The best prices of a pair."""
        return self._books.get(pair, _EMPTY).quote()

    def is_full(self, pair: Pair) -> bool:
        """Whether a pair's book takes no more orders."""
        return len(self._books.get(pair, _EMPTY)) >= STANDING_MAX

    def depth(self, pair: Pair, side: Side) -> list[StandingOrder]:
        """The resting orders of a side by priority."""
        return self._books.get(pair, _EMPTY).of_side(side)

    # --- what is done; the caller has checked everything

    def place(self, moment: Moment, order_id: bytes, row: Standing, good: TimeInForce) -> Effects:
        """Take in a new order, as it would rest; `ready_wh` is what may trade now."""
        standing.fit_hold(self._state, order_id, row, moment.time_s)
        effects = self._book(_pair(row)).place(_order(order_id, row), good)
        self._carry_out(moment, {order_id: row}, effects)
        return effects

    def amend(self, moment: Moment, order_id: bytes, row: Standing, total_wh: int) -> None:
        """Change an order; `row` is as it would rest with its new price, sequence, open and ready part."""
        before = self._state.standing[order_id]
        if total_wh <= before.filled_wh:
            self.cancel(moment, order_id)
            return
        self._move(before, Event.AMEND, {Guard.OPEN_PART, Guard.SIGNED, Guard.HELD})
        standing.fit_hold(self._state, order_id, row, moment.time_s)
        effects = self._book(_pair(row)).amend(
            order_id, total_wh, row.price_u_kwh, sequence=(row.height, row.position), ready_wh=row.ready_wh
        )
        self._carry_out(moment, {order_id: row}, effects)

    def cancel(self, moment: Moment, order_id: bytes) -> None:
        """Take an order out."""
        self._carry_out(moment, {}, self._book(_pair(self._state.standing[order_id])).cancel(order_id))

    def expire(self, moment: Moment) -> None:
        """Time has passed: what is no longer good goes."""
        for pair in sorted(self._books):
            self._carry_out(moment, {}, self._books[pair].expire(moment.time_s))

    def keep_within(self, moment: Moment, band_of: Callable[[Pair], Band]) -> None:
        """Other prices are allowed from now on: orders outside leave the books, and what is held for them is free."""
        for pair in sorted(self._books):
            self._carry_out(moment, {}, self._books[pair].keep_within(band_of(pair)))

    def withdraw_all(self, moment: Moment, account: bytes) -> None:
        """A member has left: its orders go."""
        for order_id, _ in standing.of(self._state, account):
            self.cancel(moment, order_id)

    def look_again(self, moment: Moment) -> None:
        """Balances have changed: pay arrears, back what can be backed now, and trade it, until nothing changes."""
        while changed := self._changed(moment):
            waiting = [(order_id, self._state.standing[order_id]) for who in changed for order_id in self._waiting[who]]
            waiting.sort(key=lambda item: (item[1].height, item[1].position))
            for order_id, _ in contracts.in_turn(self._state, moment.time_s, waiting, self._parties):
                # What came before it in this round may have filled it, or brought money to who owes some.
                self._pay_arrears(moment)
                if order_id in self._state.standing:
                    self._back(moment, order_id)

    def stored(self, asset: str) -> None:
        """An asset is stored energy now, or other rules say how much a member may have: its orders get another look."""
        for order_id, row in self._state.standing.items():
            if row.asset == asset:
                self._note(order_id, row)
                self._state.balances.stir(row.account)

    def _parties(self, item: tuple[bytes, Standing]) -> tuple[bytes, bytes]:
        """Who gives an order, and for whom it is: the customer of its contract, else the partner, if it sells."""
        _, row = item
        if row.side != Side.SELL:
            return row.account, NOBODY
        contract = self._state.contracts.get(row.contract)
        named = contract is not None and contract.offered_by == row.account
        return row.account, contract.to if contract is not None and named else row.partner

    def _changed(self, moment: Moment) -> list[bytes]:
        """Who waits for means and has something new, after old debts were paid."""
        self._pay_arrears(moment)
        return [account for account in self._state.balances.take_changed() if account in self._waiting]

    def _pay_arrears(self, moment: Moment) -> None:
        while paid := storing.collect(self._state):
            moment.events.extend(paid)

    def reverse(self, moment: Moment, key: tuple[int, int]) -> None:
        """Both legs of a trade go back; both parties have agreed, and have them."""
        trade = self._state.executions[key]
        undone = _step(trade, Event.REVERSE, frozenset({Guard.BOTH_AGREE, Guard.BOTH_LEGS}))
        legs = (
            (trade.buyer, trade.seller, trade.asset, trade.energy_wh),
            (trade.seller, trade.buyer, trade.paid_with, trade.paid),
        )
        for giver, taker, asset, amount in legs:
            change(self._state, giver, asset, free=-amount)
            change(self._state, taker, asset, free=amount)
            moment.events.append(Moved(What.REVERSED, giver, taker, asset, amount))
        self._state.executions.put(key, undone)
        moment.events.append(OrderReversed(moment.height, key, undone))

    def close(self, final_s: int) -> None:
        """Periods have become final: trades are matched with theirs, and settled with the last of their day."""
        for key, trade in self._state.executions.items():
            if trade.time_s >= final_s:
                break
            if trade.state == lifecycle.State.TRANSACTION:
                trade = _step(trade, Event.MATCH, frozenset({Guard.PERIOD_FINAL}))
                self._state.executions.put(key, trade)
            if trade.time_s - trade.time_s % standing.DAY_S + standing.DAY_S <= final_s:
                if trade.state == lifecycle.State.MATCHING:
                    trade = _step(trade, Event.SETTLE, frozenset({Guard.CLOSED}))
                standing.settle(self._state, key, trade)

    def check(self) -> None:
        """Invariant I7, and that books and rows are the same.

        Raises:
            AssertionError: our bug, never a peer's.
        """
        rows = {order_id: _order(order_id, row) for order_id, row in self._state.standing.items()}
        booked = {order.order_id: order for book in self._books.values() for order in book}
        assert rows == booked, "books and rows of standing orders differ"
        for pair, book in self._books.items():
            assert book.executable_cross() is None, f"{pair}: an executable cross rests in the book"
        standing.check(self._state)

    # --- effects

    def _back(self, moment: Moment, order_id: bytes) -> None:
        row = self._state.standing[order_id]
        ready_wh = standing.tradable_wh(self._state, order_id, row)
        if ready_wh == row.ready_wh:
            return
        backed = msgspec.structs.replace(row, ready_wh=ready_wh)
        standing.fit_hold(self._state, order_id, backed, moment.time_s)
        self._carry_out(moment, {order_id: backed}, self._book(_pair(row)).back(order_id, ready_wh))

    def _carry_out(self, moment: Moment, fresh: dict[bytes, Standing], effects: Effects) -> None:
        """Move both legs of each trade, then write what rests and let go of what has left.

        Args:
            fresh: rows of orders that are new or changed, where the table has them otherwise or not at all.
        """
        known = {
            one.order_id: fresh.get(one.order_id) or self._state.standing[one.order_id] for one in _touched(effects)
        }
        for trade in effects.trades:
            for order_id in (trade.buy_order, trade.sell_order):
                state = self._move(known[order_id], Event.TRADE, _TRADED)
                known[order_id] = msgspec.structs.replace(known[order_id], state=state)
            self.trade(moment, _pair(known[trade.buy_order]), trade)
        for order in effects.resting:
            row = _row(known[order.order_id], order)
            standing.fit_hold(self._state, order.order_id, row, moment.time_s)
            standing.put(self._state, order.order_id, row)
            self._note(order.order_id, row)
        for one in effects.left:
            row = _row(known[one.order.order_id], one.order)
            if one.why is not Leaving.FILLED:
                self._move(row, _WHY_GONE[one.why], {Guard.OPEN_PART})
            standing.drop(self._state, one.order.order_id)
            self._forget(one.order.order_id, row)
            moment.events.append(OrderGone(one.order.order_id, row.account, int(one.why), row.open_wh, row.filled_wh))

    def trade(self, moment: Moment, pair: Pair, trade: Trade) -> None:
        """Both legs of a trade, out of the holds that have the ids of its two sides."""
        height, number = self._numbered
        number = number + 1 if height == moment.height else 0
        self._numbered = (moment.height, number)
        asset, paid_with = pair
        done = Execution(
            buyer=trade.buyer,
            seller=trade.seller,
            buy_order=trade.buy_order,
            sell_order=trade.sell_order,
            asset=asset,
            paid_with=paid_with,
            energy_wh=trade.energy_wh,
            paid=value(trade.price_u_kwh, trade.energy_wh),
            time_s=moment.time_s,
            state=int(lifecycle.State.TRANSACTION),
        )
        standing.execute(self._state, self._numbered, done)
        moment.events.append(OrderTraded(moment.height, number, done, trade.price_u_kwh))
        moment.events.append(Moved(What.TRADED, trade.seller, trade.buyer, asset, trade.energy_wh))
        moment.events.append(Moved(What.TRADED, trade.buyer, trade.seller, paid_with, done.paid))

    @staticmethod
    def _move(row: Standing, event: Event, met: set[Guard] | frozenset[Guard]) -> int:
        return int(lifecycle.move(lifecycle.State(row.state), event, met))

    # --- the index

    def _book(self, pair: Pair) -> Book:
        return self._books.setdefault(pair, Book())

    def _note(self, order_id: bytes, row: Standing) -> None:
        """Remember who waits for means or room, and who may lose room again."""
        if row.ready_wh < row.open_wh or (row.side == Side.BUY and row.asset in self._state.storages):
            self._waiting.setdefault(row.account, set()).add(order_id)
        else:
            self._forget(order_id, row)

    def _forget(self, order_id: bytes, row: Standing) -> None:
        mine = self._waiting.get(row.account)
        if mine is not None:
            mine.discard(order_id)
            if not mine:
                del self._waiting[row.account]


def _step(trade: Execution, event: Event, met: frozenset[Guard]) -> Execution:
    state = lifecycle.move(lifecycle.State(trade.state), event, met)
    return msgspec.structs.replace(trade, state=int(state))


def _touched(effects: Effects) -> list[StandingOrder]:
    return [*effects.resting, *(one.order for one in effects.left)]


def _pair(row: Standing) -> Pair:
    return row.asset, row.paid_with


def _order(order_id: bytes, row: Standing) -> StandingOrder:
    return StandingOrder(
        order_id=order_id,
        account=row.account,
        side=Side(row.side),
        energy_wh=row.open_wh,
        ready_wh=row.ready_wh,
        price_u_kwh=row.price_u_kwh,
        sequence=(row.height, row.position),
        filled_wh=row.filled_wh,
        expires_s=None if row.expires_s == NO_EXPIRY else row.expires_s,
        partner=None if row.partner == NOBODY else row.partner,
        partner_price_u_kwh=None if row.partner_price_u_kwh == NO_PRICE else row.partner_price_u_kwh,
    )


def _row(before: Standing, order: StandingOrder) -> Standing:
    """A row as its order now stands."""
    height, position = order.sequence
    return msgspec.structs.replace(
        before,
        open_wh=order.energy_wh,
        ready_wh=order.ready_wh,
        filled_wh=order.filled_wh,
        price_u_kwh=order.price_u_kwh,
        height=height,
        position=position,
    )
