"""Living wishes: the rules by which agents and partners are set, and a store is filled, emptied and sized.

Stored energy is ordered and passed on beside everything else; a book of its own knows who had how much of
it before each block: nobody comes above the maximum in one, whatever happens in it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from meshnode.ledger.movements import Moved, What
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from protocols.block import SignedRecord
from tests.ledger import delivering as say
from tests.ledger import order_stories, tokens, wishes
from tests.ledger.chain import account
from tests.ledger.living import HOMES, Living, homes, shares
from tests.ledger.living_orders import OrderRules, prices

# 2 x cost / (1.5 x price): so many Wh a member.
SIZES_WH = (40, 60, 100)
# What pays for settled periods would bind energy to the prices of the binding.
STORED = ("KEPT", "ACCESS")
pairs = st.sampled_from((("SUN", "EURO"), STORED, STORED))


class WishRules(OrderRules):
    """Everything that members order, with agents, partners, and a common battery whose units are traded."""

    def __init__(self) -> None:
        super().__init__()
        self.charged_wh = 0
        self.discharged_wh = 0

    @initialize()
    def found_storage(self) -> None:
        self.block(self.chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
        self.block(self._sized(SIZES_WH[1]), say.stored(self.chain, 0, 0))
        assert set(self.chain.verdicts()) == {Verdict.ACCEPTED}

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        """Nobody has more stored than is allowed, or than before."""
        before = {home: sum(tokens.has(self.chain, home, "KEPT")) for home in HOMES}
        events = super().block(*records, time_s=time_s)
        for event in events:
            if isinstance(event, Moved) and event.what in (What.STORED, What.TAKEN_OUT):
                self.made["KEPT"] += event.amount if event.what == What.STORED else -event.amount
        state = self.chain.machine.state
        if "KEPT" in state.storages:
            for home in HOMES:
                most_wh = max(state.storages["KEPT"].most_wh, before[home])
                assert sum(tokens.has(self.chain, home, "KEPT")) <= most_wh, f"{home} has more than {most_wh}"
        waits = (row for _, row in state.standing.items() if row.asset == "KEPT" and row.side == 1)
        Living.noticed["waits for room"] += any(not row.unbacked and row.ready_wh < row.open_wh for row in waits)
        Living.noticed["an agent's order rests"] += any(row.order in state.standing for _, row in state.agents.items())
        return events

    @rule(home=homes, into=st.integers(0, 60), out=st.integers(0, 60))
    def store(self, home: str, into: int, out: int) -> None:
        """The battery's meter says what went in and out for somebody."""
        record = say.stored(self.chain, self.charged_wh + into, self.discharged_wh + out, (home, into, out))
        if self.do(record) == Verdict.ACCEPTED:
            self.charged_wh, self.discharged_wh = self.charged_wh + into, self.discharged_wh + out

    @rule(most_wh=st.sampled_from(SIZES_WH))
    def size(self, most_wh: int) -> None:
        """A member may have more from now on, or less."""
        self.do(self._sized(most_wh))

    @rule(giver=homes, taker=homes, share=shares)
    def pass_on(self, giver: str, taker: str, share: int) -> None:
        self.do(self.chain.transfer(giver, taker, self.part(giver, "KEPT", share), "KEPT"))

    @rule(home=homes, side=st.sampled_from((1, 2)), amount=st.integers(1, 90), price=prices, unbacked=st.booleans())
    def order_stored(self, home: str, side: int, amount: int, price: int, unbacked: bool) -> None:
        terms: dict[str, Any] = {"asset": STORED[0], "paid_with": STORED[1], "unbacked": int(unbacked)}
        placed = order_stories.order(self.chain, home, side, amount, price, **terms)
        if self.do(placed) == Verdict.ACCEPTED:
            self.placed.append((home, placed))

    @rule(home=homes, pair=pairs, low=st.integers(0, 30), step=st.integers(0, 40), price=prices)
    def set_agent(self, home: str, pair: tuple[str, str], low: int, step: int, price: int) -> None:
        terms = {"asset": pair[0], "paid_with": pair[1]}
        self.do(wishes.agent(self.chain, home, price, price + 1, low, low + step, low + 2 * step, **terms))

    @precondition(lambda self: self.chain.machine.state.agents)
    @rule(home=st.none() | homes, data=st.data())
    def end_agent(self, home: str | None, data: Any) -> None:
        known = [key for key, _ in self.chain.machine.state.agents.items()]
        owner, asset = data.draw(st.sampled_from(known), label="agent")
        self.do(wishes.agent_off(self.chain, home or next(one for one in HOMES if account(one) == owner), asset))

    @rule(home=homes, side=st.sampled_from((1, 2)), pair=pairs, partner=homes, price=prices)
    def prefer(self, home: str, side: int, pair: tuple[str, str], partner: str, price: int) -> None:
        terms = {"asset": pair[0], "paid_with": pair[1]}
        self.do(wishes.first(self.chain, home, side, partner, price * order_stories.TICK, **terms))

    @precondition(lambda self: self.chain.machine.state.preferences)
    @rule(home=st.none() | homes, data=st.data())
    def prefer_nobody(self, home: str | None, data: Any) -> None:
        known = [key for key, _ in self.chain.machine.state.preferences.items()]
        owner, side, asset, paid_with = data.draw(st.sampled_from(known), label="preference")
        whose = home or next(one for one in HOMES if account(one) == owner)
        self.do(wishes.nobody_first(self.chain, whose, side, asset=asset, paid_with=paid_with))

    def _sized(self, most_wh: int) -> SignedRecord:
        cost_u, price_u_kwh = most_wh * 1_500, 2_000_000
        return say.storage(self.chain, efficiency_ppm=1_000_000, most_cost_u=cost_u, storage_u_kwh=price_u_kwh)
