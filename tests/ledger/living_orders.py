"""Living orders: the rules by which members order assets, change their minds, undo trades, and hold auctions."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from meshnode.execution.auctions import AuctionClosed
from meshnode.execution.floor import Floor, OrderReversed, OrderTraded
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.order_rows import Execution
from meshnode.ledger.verdicts import Verdict
from protocols.block import SignedRecord
from protocols.records import AuctionRising, OrderStep, TradeReversed
from tests.ledger import order_stories
from tests.ledger.chain import account
from tests.ledger.living import HOMES, Living, homes, shares, to_whom
from tests.ledger.tokens import HOUR_S

Totals = Counter[tuple[bytes, str]]

# Two tokens for money, and one for the other: chains of trades in which one backs the next.
pairs = st.sampled_from((("SUN", "EURO"), ("SUN", "EURO"), ("COIN", "EURO"), ("ACCESS", "SUN")))
prices = st.integers(1, 8)
units = st.integers(1, 40)


class Ordering(Living):
    """What orders and auctions have in common: both legs move, or none."""

    def __init__(self) -> None:
        super().__init__()
        self.trades: list[tuple[int, int, Execution]] = []

    @rule(giver=homes, taker=homes, code=st.sampled_from(("SUN", "EURO", "ACCESS")), share=shares)
    def give(self, giver: str, taker: str, code: str, share: int) -> None:
        """What somebody has been waiting for comes from elsewhere."""
        self.do(self.chain.transfer(giver, taker, self.part(giver, code, share), code))

    def _moves_only_what_was_traded(self, record: SignedRecord) -> Verdict:
        """Both legs of every trade, to the unit, and what they pay of old debts.

        Blocks before it let time pass, so that nothing else moves.
        """
        self.block()
        # After a day of silence one block does not close all periods.
        while self.chain.machine.close_possible(self.chain.now_s):
            self.block(time_s=self.chain.now_s)
        before = self._totals()
        verdict = self.do(record, time_s=self.chain.now_s)
        expected: Totals = Counter()
        for event in self.chain.events[self.chain.machine.height]:
            if isinstance(event, OrderTraded):
                one = event.trade
                self.trades.append((event.height, event.number, one))
                _legs(expected, one, 1)
                Living.noticed["traded"] += 1
            if isinstance(event, OrderReversed):
                _legs(expected, event.trade, -1)
                Living.noticed["reversed"] += 1
            if isinstance(event, Moved) and event.what is What.STORAGE_FEE:
                # Who owes fees for what it has stored pays them with what it has just got.
                expected[event.giver, event.asset] -= event.amount if event.giver else 0
                expected[event.taker, event.asset] += event.amount if event.taker else 0
        # Books are made from rows: a node that takes up this ledger trades as this one does.
        Floor(self.chain.machine.state).check()
        Living.noticed["orders at rest"] += len(self.chain.machine.state.standing)
        moved = self._totals()
        moved.subtract(before)
        assert {key: n for key, n in moved.items() if n} == {key: n for key, n in expected.items() if n}
        return verdict

    def _totals(self) -> Totals:
        """What everybody has of each asset, free or held."""
        found: Totals = Counter()
        for key, row in self.chain.machine.state.balances.items():
            found[key] = row.free + row.held
        return found


class OrderRules(Ordering):
    """Orders of assets, backed and not; amended, cancelled, left to expire; trades undone by both."""

    def __init__(self) -> None:
        super().__init__()
        self.placed: list[tuple[str, SignedRecord]] = []

    @rule(
        home=homes,
        side=st.sampled_from((1, 2)),
        pair=pairs,
        amount=units,
        price=prices,
        good=st.sampled_from((1, 1, 1, 2, 3, 4)),
        unbacked=st.booleans(),
        partner=st.none() | to_whom,
        stays_s=st.none() | st.sampled_from((60, HOUR_S)),
    )
    def order(
        self,
        home: str,
        side: int,
        pair: tuple[str, str],
        amount: int,
        price: int,
        good: int,
        unbacked: bool,
        partner: str | None,
        stays_s: int | None,
    ) -> None:
        terms: dict[str, Any] = {"asset": pair[0], "paid_with": pair[1], "good": good, "unbacked": int(unbacked)}
        if partner is not None:
            terms |= {"partner": account(partner), "partner_price_u_kwh": (price + 1) * order_stories.TICK}
        if stays_s is not None and good == 1:
            terms["expires_s"] = self.chain.now_s + 5 + stays_s
        placed = order_stories.order(self.chain, home, side, amount, price, **terms)
        if self._moves_only_what_was_traded(placed) == Verdict.ACCEPTED:
            self.placed.append((home, placed))

    @precondition(lambda self: self.chain.machine.state.standing)
    @rule(home=homes, amount=units, data=st.data())
    def meet(self, home: str, amount: int, data: Any) -> None:
        """Somebody takes the other side of an order that rests, at its price."""
        table = self.chain.machine.state.standing
        wanted = table[data.draw(st.sampled_from([order_id for order_id, _ in table.items()]), label="order")]
        taken = (3 - wanted.side, min(amount, wanted.open_wh), wanted.price_u_kwh // order_stories.TICK)
        placed = order_stories.order(self.chain, home, *taken, asset=wanted.asset, paid_with=wanted.paid_with)
        if self._moves_only_what_was_traded(placed) == Verdict.ACCEPTED:
            self.placed.append((home, placed))

    @precondition(lambda self: self.placed)
    @rule(amount=units, price=prices, data=st.data())
    def amend(self, amount: int, price: int, data: Any) -> None:
        home, placed = data.draw(st.sampled_from(self.placed[-8:]), label="order")
        self._moves_only_what_was_traded(order_stories.amend(self.chain, home, placed, amount, price))

    @precondition(lambda self: self.placed)
    @rule(home=st.none() | homes, data=st.data())
    def cancel(self, home: str | None, data: Any) -> None:
        owner, placed = data.draw(st.sampled_from(self.placed[-8:]), label="order")
        self._moves_only_what_was_traded(order_stories.cancel(self.chain, home or owner, placed))

    @precondition(lambda self: self.trades)
    @rule(both=st.booleans(), newest=st.booleans(), spent=st.booleans(), home=homes, data=st.data())
    def undo(self, both: bool, newest: bool, spent: bool, home: str, data: Any) -> None:
        wanted = self.trades[-1:] if newest else self.trades[-8:]
        height, number, trade = data.draw(st.sampled_from(wanted), label="trade")
        if spent:
            seller = next(one for one in HOMES if account(one) == trade.seller)
            self.do(self.chain.transfer(seller, home, self.part(seller, trade.paid_with, 1000), trade.paid_with))
        parties = [one for one in HOMES if account(one) in (trade.buyer, trade.seller)] if both else [home]
        for party in parties:
            step = TradeReversed(height=height, number=number)
            self._moves_only_what_was_traded(self.chain.speak(party, OrderStep, step=step))


class AuctionRules(Ordering):
    """Rising and falling auctions, called, bid in, and closed by time."""

    def __init__(self) -> None:
        super().__init__()
        self.auctions: list[SignedRecord] = []

    @rule(home=homes, rises=st.booleans(), pair=pairs, amount=units, price=prices, stays_s=st.sampled_from((60, 900)))
    def call_auction(
        self, home: str, rises: bool, pair: tuple[str, str], amount: int, price: int, stays_s: int
    ) -> None:
        where = {"asset": pair[0], "paid_with": pair[1], "closes_s": self.chain.now_s + 5 + stays_s}
        if rises:
            called = order_stories.rising(self.chain, home, amount, price, 1, **where, snipe_s=60, extends_s=600)
        else:
            called = order_stories.falling(self.chain, home, amount, price, **where)
        if self._moves_only_what_was_traded(called) == Verdict.ACCEPTED:
            self.auctions.append(called)

    @precondition(lambda self: self.auctions)
    @rule(home=homes, amount=units, price=prices, newest=st.booleans(), data=st.data())
    def bid(self, home: str, amount: int, price: int, newest: bool, data: Any) -> None:
        called = self.auctions[-1] if newest else data.draw(st.sampled_from(self.auctions[-8:]), label="auction")
        step = called.record.step  # type: ignore[attr-defined]
        if isinstance(step, AuctionRising):
            amount, price = step.units, step.reserve_u_kwh // order_stories.TICK + price - 1
        else:
            price = max(1, step.maximum_u_kwh // order_stories.TICK - price + 2)
        self._moves_only_what_was_traded(order_stories.bid(self.chain, home, called, amount, price))

    @precondition(lambda self: self.chain.machine.state.auctions)
    @rule(wait_s=st.sampled_from((60, HOUR_S)))
    def wait_for_the_close(self, wait_s: int) -> None:
        """Auctions close; both legs of what they come to move, out of what was held."""
        for event in self.block(time_s=self.chain.now_s + wait_s):
            if isinstance(event, AuctionClosed):
                Living.noticed["auction closed"] += 1
                Living.noticed["auction won"] += bool(event.trades)

    def teardown(self) -> None:
        """At the end of a life, whatever is still called closes; the latest bids may have put it off once."""
        for _ in range(2):
            if self.chain.machine.state.auctions:
                self.wait_for_the_close(HOUR_S)


def _legs(found: Totals, trade: Execution, sign: int) -> None:
    found[trade.buyer, trade.asset] += sign * trade.energy_wh
    found[trade.seller, trade.asset] -= sign * trade.energy_wh
    found[trade.seller, trade.paid_with] += sign * trade.paid
    found[trade.buyer, trade.paid_with] -= sign * trade.paid
