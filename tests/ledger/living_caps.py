"""Living caps: what the law allows begins and ends while energy is ordered and auctioned for what settles periods.

A book of its own keeps what was set, and from when; nothing rests and nothing trades outside it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from meshnode.execution.auctions import bids
from meshnode.execution.floor import OrderGone, OrderTraded
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.market import Leaving
from protocols.block import SignedRecord
from protocols.records import AuctionRising, CapSet
from tests.ledger import credit, order_stories, tokens
from tests.ledger.chain import PERIOD_S, account
from tests.ledger.living import HOMES, Living, homes
from tests.ledger.living_orders import AuctionRules, OrderRules

WATT, EURO = "WATT", "EURO"
# What the preset allows for a kWh.
FLOOR_U, CAP_U = 80_000, 290_000

# Of a unit; some are always outside.
prices = st.sampled_from((70, 90, 120, 150, 180, 250, 300))
laws = st.none() | st.sampled_from((90_000, 120_000, 150_000, 180_000, 250_000))
units = st.integers(1, 3)


class CapRules(OrderRules, AuctionRules):
    """Everybody has energy and money; anna says what is lawful, and from when.

    Attributes:
        law: (floor, cap) by the time from which it holds.
        called: auctions of energy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.law: dict[int, tuple[int | None, int | None]] = {0: (None, None)}
        self.called: list[SignedRecord] = []

    @initialize()
    def found_assets(self) -> None:
        super().found_assets()
        self.block(self.chain.issue("anna", WATT, 40, 10**6, asset_kind=1))
        self.block(
            *(self.chain.transfer("anna", home, 10, WATT) for home in HOMES[1:]),
            *(tokens.pay_in(self.chain, home, 800, f"second of {home}") for home in HOMES),
        )
        assert set(self.chain.verdicts()) == {Verdict.ACCEPTED}
        self.made[WATT] += 40
        self.made[EURO] += 800 * len(HOMES)

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        standing = {one for one, _ in self.chain.machine.state.standing.items()}
        events = super().block(*records, time_s=time_s)
        for event in events:
            if isinstance(event, OrderTraded) and (event.trade.asset, event.trade.paid_with) == (WATT, EURO):
                assert self._allows(event.price_u_kwh), f"traded at {event.price_u_kwh}"
                Living.noticed["traded under a law"] += self._now() != (None, None)
            if isinstance(event, OrderGone) and event.why == Leaving.OUT_OF_BAND:
                Living.noticed["an order went" if event.order_id in standing else "a bid went"] += 1
        return events

    @rule(low=laws, high=laws, ahead=st.sampled_from((None, 0, 1, 2, 3)))
    def set_law(self, low: int | None, high: int | None, ahead: int | None) -> None:
        """From the next period on, or a later one; without either what was set before ends."""
        from_s = None if ahead is None else self.chain.now_s // PERIOD_S * PERIOD_S + ahead * PERIOD_S
        step = CapSet(from_s=from_s, floor_u_kwh=low, cap_u_kwh=high)
        if self.do(credit.parameter(self.chain, step)) == Verdict.ACCEPTED:
            next_s = self.chain.now_s // PERIOD_S * PERIOD_S + PERIOD_S
            self.law[next_s if from_s is None else from_s] = low, high

    @rule(wait_s=st.sampled_from((60, PERIOD_S, 2 * PERIOD_S)))
    def wait_for_the_law(self, wait_s: int) -> None:
        self.block(time_s=self.chain.now_s + wait_s)

    @rule(
        home=homes,
        side=st.sampled_from((1, 2)),
        amount=units,
        price=prices,
        unbacked=st.booleans(),
        partner=st.none() | homes,
        near=prices,
    )
    def order_energy(
        self, home: str, side: int, amount: int, price: int, unbacked: bool, partner: str | None, near: int
    ) -> None:
        terms: dict[str, Any] = {"asset": WATT, "paid_with": EURO, "unbacked": int(unbacked)}
        if partner is not None:
            terms |= {"partner": account(partner), "partner_price_u_kwh": near * order_stories.TICK}
        placed = order_stories.order(self.chain, home, side, amount, price, **terms)
        if self.do(placed) == Verdict.ACCEPTED:
            self.placed.append((home, placed))

    @rule(
        home=homes, rises=st.booleans(), amount=units, price=prices, stays_s=st.sampled_from((PERIOD_S, 3 * PERIOD_S))
    )
    def call_for_energy(self, home: str, rises: bool, amount: int, price: int, stays_s: int) -> None:
        where = {"asset": WATT, "paid_with": EURO, "closes_s": self.chain.now_s + 5 + stays_s}
        if rises:
            called = order_stories.rising(self.chain, home, amount, price, 1, **where)
        else:
            called = order_stories.falling(self.chain, home, amount, price, **where)
        if self.do(called) == Verdict.ACCEPTED:
            self.called.append(called)

    @precondition(lambda self: self.called)
    @rule(home=homes, amount=units, price=prices, data=st.data())
    def bid_for_energy(self, home: str, amount: int, price: int, data: Any) -> None:
        called = data.draw(st.sampled_from(self.called[-6:]), label="auction")
        step = called.record.step  # type: ignore[attr-defined]
        amount = step.units if isinstance(step, AuctionRising) else amount
        self.do(order_stories.bid(self.chain, home, called, amount, price))

    @rule(home=homes, other=homes, rises=st.booleans())
    def bind_what_stands(self, home: str, other: str, rises: bool) -> None:
        """Somebody bids what soon nobody may pay, or asks what soon is too little; and the law begins."""
        law = {"floor_u_kwh": 150_000} if not rises else {"cap_u_kwh": 150_000}
        limit, price = (120, 250) if rises else (180, 90)
        self.call_for_energy(home, rises, 1, limit, 3 * PERIOD_S)
        if self.called:
            self.do(order_stories.bid(self.chain, other, self.called[-1], 1, price))
        self.order_energy(other, 1 if rises else 2, 1, price, True, None, price)
        self.set_law(law.get("floor_u_kwh"), law.get("cap_u_kwh"), None)
        self.wait_for_the_law(PERIOD_S)

    @invariant()
    def nothing_stands_outside_the_law(self) -> None:
        state = self.chain.machine.state
        for _, row in state.standing.items():
            if (row.asset, row.paid_with) == (WATT, EURO):
                assert self._allows(row.price_u_kwh) and (not row.partner or self._allows(row.partner_price_u_kwh)), row
        for auction_id, called in state.auctions.items():
            if (called.asset, called.paid_with) == (WATT, EURO):
                assert self._allows(called.limit_u_kwh), called
                assert all(self._allows(one.price_u_kwh) for _, one in bids(state, auction_id)), auction_id.hex()

    def _now(self) -> tuple[int | None, int | None]:
        return self.law[max(from_s for from_s in self.law if from_s <= self.chain.now_s)]

    def _allows(self, price_u_kwh: int) -> bool:
        low, high = self._now()
        return max(FLOOR_U, low or 0) <= price_u_kwh <= min(CAP_U, CAP_U if high is None else high)
