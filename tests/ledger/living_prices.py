"""Living prices: a feed that may drive the grid price, in a life in which periods close, late and corrected.

A book of its own keeps what was said when, and works out what each period costs: what the feed said
when it began, or else what is fixed.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from meshnode.settlement.posting import Reason
from protocols.block import SignedRecord
from protocols.records import DRIVES_GRID_PRICE, DRIVES_NOTHING
from tests.ledger import feeds
from tests.ledger.chain import PERIOD_S, account, period_s
from tests.ledger.living import EnergyRules, Living
from zencode.presets import preset

# The preset's, per kWh.
FIXED_U_KWH = 300_000


class PriceRules(EnergyRules):
    """Anna reports prices for times to come and gone, and says whether they count.

    Attributes:
        said: by the time from which it holds: (price, until when it is fresh).
        cost: of each period that a feed has driven.
    """

    # Two hours instead of two days: a life is long enough for periods to become final.
    binding = preset("neighbour_market").replace("accepted for 2 days", "accepted for 120 minutes")

    def __init__(self) -> None:
        super().__init__()
        self.drives = DRIVES_NOTHING
        self.stale_s = 0
        self.said: dict[int, tuple[int, int]] = {}
        self.cost: dict[int, int] = {}

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        before_s = self.chain.now_s
        events = super().block(*records, time_s=time_s)
        # The rules enter what this block says after it: it comes after the periods that have begun by its time.
        first_s = before_s // PERIOD_S * PERIOD_S + PERIOD_S
        for start_s in range(first_s, self.chain.now_s + 1, PERIOD_S):
            self._begin(start_s)
        for event in events:
            if isinstance(event, PeriodClosed | PeriodCorrected):
                found = {one.price_u_kwh for one in event.settlement.postings if one.reason == Reason.GRID}
                assert found <= {self.cost.get(event.start_s, FIXED_U_KWH)}, (event.start_s, found)
                Living.noticed[f"{type(event).__name__} {'by feed' if event.start_s in self.cost else 'fixed'}"] += 1
        return events

    @rule(drives=st.sampled_from((DRIVES_GRID_PRICE, DRIVES_GRID_PRICE, DRIVES_NOTHING)), periods=st.integers(1, 6))
    def define(self, drives: int, periods: int) -> None:
        """Anna alone feeds it: what she says first of a time stands."""
        changes = {"feeders": (account("anna"),), "needed": 1, "drives": drives, "stale_s": periods * PERIOD_S}
        if self.do(feeds.define(self.chain, **changes)) == Verdict.ACCEPTED:
            self.drives, self.stale_s = drives, periods * PERIOD_S

    @rule(price=st.integers(-500_000, 900_000), ahead=st.integers(-3, 4), second=st.sampled_from((0, 0, 0, -1, 1)))
    def say(self, price: int, ahead: int, second: int) -> None:
        """Of a period near to now, or a second beside its beginning."""
        if not self.stale_s:
            self.define(DRIVES_GRID_PRICE, 3)
        period = (self.chain.now_s - period_s(0)) // PERIOD_S + ahead
        at_s = max(0, period_s(period) + second)
        if self.do(feeds.value(self.chain, "anna", price, at_s)) == Verdict.ACCEPTED:
            assert at_s not in self.said
            self.said[at_s] = price, at_s + self.stale_s

    @rule(periods=st.integers(1, 12))
    def nobody_says_anything(self, periods: int) -> None:
        """Several periods may begin and close in one block."""
        self.block(time_s=self.chain.now_s + periods * PERIOD_S)

    @invariant()
    def prices_are_written_down_for_periods_that_may_still_change(self) -> None:
        state = self.chain.machine.state
        final_s = state.meta.row.next_final_s
        written = {start_s: row.price_u_kwh for (start_s, _), row in state.period_prices.items()}
        assert written == {start_s: price for start_s, price in self.cost.items() if start_s >= final_s}

    def _begin(self, start_s: int) -> None:
        newest_s = max((at_s for at_s in self.said if at_s <= start_s), default=None)
        if self.drives == DRIVES_GRID_PRICE and newest_s is not None and start_s <= self.said[newest_s][1]:
            self.cost[start_s] = self.said[newest_s][0]
