"""Living credit: limits, deposits, fees that cannot be paid, and prices and levies that are set ahead, in any life.

What was in force in a period is remembered when it begins: nothing that anybody says later may change it.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from meshnode.ledger.movements import Moved, What
from meshnode.ledger.parameter_rows import Prices
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement import Reason, Tariff, parameters
from meshnode.settlement.closing import PeriodClosed
from protocols.block import SignedRecord
from protocols.records import SIDE_BUY, Amend, CapSet, GridFeesSet, LocationSet, SolidaritySet
from tests.ledger import credit as say
from tests.ledger import delivering, tokens
from tests.ledger.chain import account, period_s
from tests.ledger.living import HOMES, EnergyRules, Living, homes, shares
from tests.ledger.tokens import HOUR_S

InForce = tuple[Tariff, dict[bytes, Prices], tuple[int | None, int | None]]

prices = st.sampled_from((90_000, 120_000, 150_000, 180_000, 250_000))
limits = st.sampled_from((None, 0, 0, 500, 20_000, 10**9))
# Periods from the one that runs: what has begun is refused.
ahead = st.sampled_from((None, None, -1, 0, 1, 2))


class CreditRules(EnergyRules):
    """See the module text.

    Attributes:
        deposits: that were left, given back or not.
        in_force: what was in force in each period, as it was when the period began.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deposits: list[SignedRecord] = []
        self.in_force: dict[int, InForce] = {}
        self.heaped = 0

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        owing = {key for key, row in self.chain.machine.state.keeps.items() if row.arrears_u}
        events = super().block(*records, time_s=time_s)
        for event in events:
            if isinstance(event, Moved) and event.what == What.STORED and event.asset == "HEAP":
                self.made["HEAP"] += event.amount
            if isinstance(event, PeriodClosed):
                found = {posting.reason for posting in event.settlement.postings}
                Living.noticed["traded at set prices"] += Reason.PRICED in found
                Living.noticed["levied"] += Reason.LEVY in found
        for key in owing:
            row = self.chain.machine.state.keeps.get(key)
            Living.noticed["arrears were paid"] += row is None or not row.arrears_u
        self._remember_prices()
        return events

    @rule(home=homes, energy_wh=st.integers(1, 900), price_u=prices, ahead=st.integers(0, 2), sells=st.booleans())
    def order_for_period(self, home: str, energy_wh: int, price_u: int, ahead: int, sells: bool) -> None:
        """Whoever has a limit stays within it by what it orders."""
        chain, period = self.chain, (self.chain.now_s - period_s(0)) // 900 + ahead
        self.do((chain.offer if sells else chain.bid)(home, period, energy_wh, price_u))
        stands = say.stands(chain, home)
        if chain.verdicts() == [Verdict.ACCEPTED] and not sells and stands.limit_u is not None:
            assert stands.exposure_u <= stands.cash_u + stands.limit_u, stands

    @precondition(lambda self: self.chain.machine.state.orders)
    @rule(energy_wh=st.integers(1, 900), price_u=st.none() | prices, data=st.data())
    def change_order(self, energy_wh: int, price_u: int | None, data: Any) -> None:
        """An order of a period becomes another one, by the same bounds; less at the same price is always allowed."""
        chain = self.chain
        rows = {row.record_id: row for _, row in chain.machine.state.orders.items()}
        before = rows[data.draw(st.sampled_from(sorted(rows)), label="order")]
        home = next(one for one in HOMES if account(one) == before.account)
        limit_u = before.price_u_kwh if price_u is None else price_u
        verdict = self.do(chain.speak(home, Amend, order=before.record_id, energy_wh=energy_wh, price_u_kwh=limit_u))
        if limit_u == before.price_u_kwh and energy_wh <= before.energy_wh:
            assert verdict in (Verdict.ACCEPTED, Verdict.PERIOD_OVER, Verdict.UNKNOWN_ORDER), verdict
        stands = say.stands(chain, home)
        costs_more = before.side == SIDE_BUY and (energy_wh > before.energy_wh and limit_u >= before.price_u_kwh)
        if verdict == Verdict.ACCEPTED and costs_more and stands.limit_u is not None:
            assert stands.exposure_u <= stands.cash_u + stands.limit_u, stands

    @rule(home=st.none() | homes, limit_u=limits, by=st.sampled_from(("anna", "anna", "bela")))
    def set_limit(self, home: str | None, limit_u: int | None, by: str) -> None:
        self.do(say.limit(self.chain, home, limit_u, by))

    @rule(home=homes)
    def strain_credit(self, home: str) -> None:
        """Whoever may owe nothing wants more than anybody has."""
        self.do(say.limit(self.chain, home, 0))
        self.order_for_period(home, 900, 120_000, 1, sells=False)

    @rule(home=homes, share=shares, to=st.sampled_from(("anna", "anna", "dora")), by=st.none() | homes)
    def leave_deposit(self, home: str, share: int, to: str, by: str | None) -> None:
        """Somebody leaves a deposit; somebody may want to give it back, now or later."""
        left = say.deposit(self.chain, home, self.part(home, "EURO", share), to)
        if self.do(left) == Verdict.ACCEPTED:
            self.deposits.append(left)
        if self.deposits and by is not None:
            self.do(say.release(self.chain, self.deposits[-1], by))

    @rule(home=homes, much=st.integers(1, 900), helped=st.booleans())
    def heap(self, home: str, much: int, helped: bool) -> None:
        """Somebody fills a battery whose fee soon costs more than anybody has; perhaps whoever is rich helps out."""
        chain = self.chain
        if "HEAP" not in chain.machine.state.storages:
            parts = {"owners": ((account("dora"), 3),), "owners_ppm": 600_000, "others": ((account("carla"), 400_000),)}
            fee = {"fee_asset": "EURO", "fee_u_kwh": 5_000, **parts}
            self.block(chain.issue("anna", "HEAP", 0, 10**9, asset_kind=1))
            self.block(delivering.storage(chain, "anna", "bela", asset="HEAP", efficiency_ppm=1_000_000, **fee))
            self.block(delivering.stored(chain, 0, 0, asset="HEAP", meter="bela"))
            assert chain.verdicts() == [Verdict.ACCEPTED]
        record = delivering.stored(chain, self.heaped + much, 0, (home, much, 0), asset="HEAP", meter="bela")
        if self.do(record) == Verdict.ACCEPTED:
            self.heaped += much
        if helped:
            self.block(time_s=self.chain.now_s + HOUR_S)
            rich = max(HOMES, key=lambda one: tokens.has(self.chain, one, "EURO")[0])
            self.send_money(rich, home, 1000)

    @rule(giver=homes, taker=homes, share=shares)
    def send_money(self, giver: str, taker: str, share: int) -> None:
        """Money comes to who may owe some."""
        self.do(self.chain.transfer(giver, taker, self.part(giver, "EURO", share), "EURO"))

    @rule(
        buyer=st.sampled_from(HOMES[1:]), used=st.integers(1, 900), made=st.integers(1, 1500), silent=st.none() | homes
    )
    def meet_at_prices(self, buyer: str, used: int, made: int, silent: str | None) -> None:
        """Anna, who has the roof, and somebody else set prices that meet, and wait until they are in force."""
        self.block(say.price(self.chain, "anna", sell=90_000), say.price(self.chain, buyer, buy=250_000))
        for _ in range(2):
            self.report((0, used, used, used), made, silent)
        # What has begun is bought at the price that was set for it.
        self.do(say.price(self.chain, buyer, buy=90_000, from_s=self._beginning(-1)))

    @rule(home=homes, sell=st.none() | prices, buy=st.none() | prices, ahead=ahead)
    def set_price(self, home: str, sell: int | None, buy: int | None, ahead: int | None) -> None:
        self.do(say.price(self.chain, home, sell, buy, self._beginning(ahead)))

    @rule(grid=st.none() | prices, by=st.sampled_from(("anna", "bela")), ahead=ahead)
    def set_outside(self, grid: int | None, by: str, ahead: int | None) -> None:
        self.do(say.outside(self.chain, grid, None, by, self._beginning(ahead)))

    @rule(base=st.integers(0, 2), levy_u_kwh=st.sampled_from((0, 10_000, 33_333)), ahead=ahead)
    def set_levy(self, base: int, levy_u_kwh: int, ahead: int | None) -> None:
        self.do(say.levy(self.chain, f"on {base}", base, levy_u_kwh, from_s=self._beginning(ahead)))

    @rule(share_ppm=st.sampled_from((0, 50_000, 333_333)), home=homes, ahead=ahead)
    def set_solidarity(self, share_ppm: int, home: str, ahead: int | None) -> None:
        helped = ((account(home), 1),) if share_ppm else ()
        step = SolidaritySet(from_s=self._beginning(ahead), share_ppm=share_ppm, helped=helped)
        self.do(say.parameter(self.chain, step))

    @rule(fees=st.sampled_from(((), (50_000, 20_000, 5_000), (33_333,))), home=homes, at=st.integers(0, 3), ahead=ahead)
    def set_grid_fees(self, fees: tuple[int, ...], home: str, at: int, ahead: int | None) -> None:
        levels = ("north" if at % 2 else "south", "feeder 1")[: at // 2 + 1]
        step = LocationSet(from_s=self._beginning(ahead), account=account(home), levels=levels)
        self.do(say.parameter(self.chain, step))
        self.do(say.parameter(self.chain, GridFeesSet(from_s=self._beginning(ahead), fees_u_kwh=fees)))

    @rule(home=homes)
    def cap_what_is_offered(self, home: str) -> None:
        """Somebody offers at more than is allowed from the next period on."""
        self.order_for_period(home, 1, 250_000, 2, sells=True)
        self.set_cap(90_000, 1)

    @rule(cap=st.none() | prices, ahead=ahead)
    def set_cap(self, cap: int | None, ahead: int | None) -> None:
        self.do(say.parameter(self.chain, CapSet(from_s=self._beginning(ahead), cap_u_kwh=cap)))

    @invariant()
    def what_has_begun_is_as_it_was_announced(self) -> None:
        final_s = self.chain.machine.state.meta.row.next_final_s
        self.in_force = {start: known for start, known in self.in_force.items() if start >= final_s}
        for start, known in self.in_force.items():
            assert self._said_of(start) == known, f"what was in force in {start} has changed"

    @invariant()
    def no_open_order_is_dearer_than_the_law_allows(self) -> None:
        state = self.chain.machine.state
        for (start, _, _), row in state.orders.items():
            _, cap = parameters.caps(state, start)
            assert cap is None or row.price_u_kwh <= cap

    def _beginning(self, ahead: int | None) -> int | None:
        return None if ahead is None else self.chain.now_s // 900 * 900 + ahead * 900

    def _remember_prices(self) -> None:
        start = self.chain.now_s // 900 * 900
        if start not in self.in_force:
            self.in_force[start] = self._said_of(start)

    def _said_of(self, start: int) -> InForce:
        machine = self.chain.machine
        tariff = parameters.tariff(machine.state, start, machine.rules(start).period.tariff)
        return tariff, parameters.prices(machine.state, start), parameters.caps(machine.state, start)
