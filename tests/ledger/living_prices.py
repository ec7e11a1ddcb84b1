"""Living prices: feeds that may drive the grid price and the cap, and caps by law, in a life in which periods close.

A book of its own keeps what was said when, and works out what each period costs and which prices it allows:
what the feeds said when it began, or else what is fixed; and the law that was set for it before it began.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from meshnode.execution.floor import OrderGone
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from meshnode.settlement.posting import Reason
from protocols.block import SignedRecord
from protocols.records import DRIVES_GRID_PRICE, DRIVES_NOTHING, DRIVES_PRICE_CAP, SIDE_BUY, SIDE_SELL, CapSet
from tests.ledger import credit, feeds, wishes
from tests.ledger.chain import PERIOD_S, account, period_s
from tests.ledger.living import HOMES, EnergyRules, Living, homes
from zencode.presets import preset

# The preset's, per kWh.
FIXED_U_KWH = 300_000
# A feed by what it may drive.
FEEDS = {DRIVES_GRID_PRICE: "price", DRIVES_PRICE_CAP: "cap"}

drivers = st.sampled_from((DRIVES_GRID_PRICE, DRIVES_PRICE_CAP))
limits = st.sampled_from((90_000, 120_000, 150_000, 180_000, 250_000))
# Periods from the one that runs: what has begun is refused.
ahead = st.sampled_from((None, 0, 1, 2, 3))


class Said:
    """What one feed said, and whether that counts.

    Attributes:
        drives: whether it does.
        stale_s: how long it is fresh.
        said: by the time from which it holds: (price, until when it is fresh).
    """

    def __init__(self) -> None:
        self.drives = False
        self.stale_s = 0
        self.said: dict[int, tuple[int, int]] = {}

    def at(self, start_s: int) -> int | None:
        """What it says of a period that begins."""
        newest_s = max((at_s for at_s in self.said if at_s <= start_s), default=None)
        fresh = newest_s is not None and start_s <= self.said[newest_s][1]
        return self.said[newest_s][0] if self.drives and newest_s is not None and fresh else None


class PriceRules(EnergyRules):
    """Anna reports prices and caps for times to come and gone, and says whether they count; and what the law allows.

    Attributes:
        feeds: by what they may drive.
        cost: of each period whose grid price a feed has driven.
        cap: of each period whose cap a feed has driven.
        law: (floor, cap) by the time from which it holds.
    """

    # Two hours instead of two days: a life is long enough for periods to become final.
    binding = preset("neighbour_market").replace("accepted for 2 days", "accepted for 120 minutes")

    def __init__(self) -> None:
        super().__init__()
        self.feeds = {drives: Said() for drives in FEEDS}
        self.cost: dict[int, int] = {}
        self.cap: dict[int, int] = {}
        self.law: dict[int, tuple[int | None, int | None]] = {0: (None, None)}

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        before_s = self.chain.now_s
        events = super().block(*records, time_s=time_s)
        # The rules enter what this block says after it: it comes after the periods that have begun by its time.
        first_s = before_s // PERIOD_S * PERIOD_S + PERIOD_S
        for start_s in range(first_s, self.chain.now_s + 1, PERIOD_S):
            for drives, written in ((DRIVES_GRID_PRICE, self.cost), (DRIVES_PRICE_CAP, self.cap)):
                found = self.feeds[drives].at(start_s)
                if found is not None:
                    written[start_s] = found
        for event in events:
            if isinstance(event, PeriodClosed | PeriodCorrected):
                found = {one.price_u_kwh for one in event.settlement.postings if one.reason == Reason.GRID}
                assert found <= {self.cost.get(event.start_s, FIXED_U_KWH)}, (event.start_s, found)
                Living.noticed[f"{type(event).__name__} {'by feed' if event.start_s in self.cost else 'fixed'}"] += 1
                self._is_allowed(event)
            Living.noticed["gone as outside"] += isinstance(event, OrderGone)
        return events

    @rule(drives=drivers, counts=st.sampled_from((True, True, False)), periods=st.integers(1, 6))
    def define(self, drives: int, counts: bool, periods: int) -> None:
        """Anna alone feeds it: what she says first of a time stands."""
        changes = {"feeders": (account("anna"),), "needed": 1, "stale_s": periods * PERIOD_S}
        changes |= {"feed": FEEDS[drives], "drives": drives if counts else DRIVES_NOTHING}
        changes |= {"low": 0} if drives == DRIVES_PRICE_CAP else {}
        if self.do(feeds.define(self.chain, **changes)) == Verdict.ACCEPTED:
            self.feeds[drives].drives, self.feeds[drives].stale_s = counts, periods * PERIOD_S

    @rule(
        drives=drivers,
        price=st.integers(-500_000, 900_000),
        ahead=st.integers(-3, 4),
        second=st.sampled_from((0, 0, 0, -1, 1)),
    )
    def say(self, drives: int, price: int, ahead: int, second: int) -> None:
        """Of a period near to now, or a second beside its beginning."""
        self._say(drives, price if drives == DRIVES_GRID_PRICE else abs(price) // 2, ahead, second)

    def _say(self, drives: int, price: int, ahead: int, second: int) -> None:
        feed = self.feeds[drives]
        if not feed.stale_s:
            self.define(drives, True, 3)
        period = (self.chain.now_s - period_s(0)) // PERIOD_S + ahead
        at_s = max(0, period_s(period) + second)
        if self.do(feeds.value(self.chain, "anna", price, at_s, FEEDS[drives])) == Verdict.ACCEPTED:
            assert at_s not in feed.said
            feed.said[at_s] = price, at_s + feed.stale_s

    @rule(periods=st.integers(1, 12))
    def nobody_says_anything(self, periods: int) -> None:
        """Several periods may begin and close in one block."""
        self.block(time_s=self.chain.now_s + periods * PERIOD_S)

    @rule(low=st.none() | limits, high=st.none() | limits, ahead=ahead)
    def set_law(self, low: int | None, high: int | None, ahead: int | None) -> None:
        """A floor and a cap begin with a period, and with another one those before them end."""
        step = CapSet(from_s=self._beginning(ahead), floor_u_kwh=low, cap_u_kwh=high)
        if self.do(credit.parameter(self.chain, step)) == Verdict.ACCEPTED:
            next_s = self.chain.now_s // PERIOD_S * PERIOD_S + PERIOD_S
            self.law[next_s if step.from_s is None else step.from_s] = low, high

    @rule(
        home=homes, sells=st.booleans(), price=limits, ahead=st.integers(0, 4), partner=st.none() | homes, near=limits
    )
    def order(self, home: str, sells: bool, price: int, ahead: int, partner: str | None, near: int) -> None:
        """For a period near to now; perhaps somebody goes first, at a limit of its own."""
        if partner is not None:
            self.do(wishes.first(self.chain, home, SIDE_SELL if sells else SIDE_BUY, partner, near))
        period = (self.chain.now_s - period_s(0)) // PERIOD_S + ahead
        self.do((self.chain.offer if sells else self.chain.bid)(home, period, 300, price))

    @rule(homes=st.permutations(HOMES), by_feed=st.booleans(), bound=limits, prefers=st.booleans(), sets=st.booleans())
    def meet_under_a_cap(self, homes: list[str], by_feed: bool, bound: int, prefers: bool, sets: bool) -> None:
        """Two meet, one perhaps for the other first at any price; then a cap, or a floor, is said for their period."""
        seller, buyer = homes[:2]
        self.order(seller, True, 120_000, 1, None, 0)
        self.order(buyer, False, 180_000, 1, seller if prefers else None, 250_000)
        if sets:
            self.set_price("anna", 90_000, None)
            self.set_price(homes[2], None, 250_000)
        if by_feed:
            self._say(DRIVES_PRICE_CAP, bound, 1, 0)
        else:
            self.set_law(bound - 120_000 if bound > 180_000 else None, bound, 1)
        self.report((300, 300, 300, 300), 1_500)
        self.report((300, 300, 300, 300), 1_500)

    @rule(home=homes, sell=st.none() | limits, buy=st.none() | limits)
    def set_price(self, home: str, sell: int | None, buy: int | None) -> None:
        """From the next period on, as far as the law and the feed allow it then."""
        self.do(credit.price(self.chain, home, sell, buy))

    @invariant()
    def prices_are_written_down_for_periods_that_may_still_change(self) -> None:
        state = self.chain.machine.state
        final_s = state.meta.row.next_final_s
        for drives, written in ((DRIVES_GRID_PRICE, self.cost), (DRIVES_PRICE_CAP, self.cap)):
            found = {start_s: row.price_u_kwh for (start_s, one), row in state.period_prices.items() if one == drives}
            assert found == {start_s: price for start_s, price in written.items() if start_s >= final_s}

    @invariant()
    def no_open_order_is_outside_what_the_law_allows_in_its_period(self) -> None:
        for (start_s, _, _), row in self.chain.machine.state.orders.items():
            low, high = self._law_of(start_s)
            assert low is None or row.price_u_kwh >= low
            assert high is None or row.price_u_kwh <= high

    def _is_allowed(self, event: PeriodClosed | PeriodCorrected) -> None:
        """Nobody trades outside what was allowed when the period began, whatever was said before and after."""
        low, high = self._law_of(event.start_s)
        driven = self.cap.get(event.start_s)
        caps = [one for one in (high, driven) if one is not None]
        traded = [one.price_u_kwh for one in event.settlement.postings if one.reason in (Reason.TRADE, Reason.PRICED)]
        # What is sold and not delivered is a trade too.
        traded += [one.price_u_kwh for one in event.trades] if isinstance(event, PeriodClosed) else []
        for price_u_kwh in traded:
            assert all(price_u_kwh <= cap for cap in caps), (event.start_s, price_u_kwh, caps)
            assert low is None or price_u_kwh >= low, (event.start_s, price_u_kwh, low)
            Living.noticed["traded under a cap"] += bool(caps)
            Living.noticed["traded at the cap"] += price_u_kwh in caps

    def _law_of(self, start_s: int) -> tuple[int | None, int | None]:
        return self.law[max(from_s for from_s in self.law if from_s <= start_s)]

    def _beginning(self, ahead: int | None) -> int | None:
        return None if ahead is None else self.chain.now_s // PERIOD_S * PERIOD_S + ahead * PERIOD_S
