"""Living deliveries: sessions, redemptions and a common battery, in a life in which anything else happens too.

A book of its own keeps what meters have signed: every end of a delivery is worked out again from it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from meshnode.ledger.delivery_rows import POINT_STATION, Keep
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.market.delivery import Phase
from meshnode.settlement.delivering import DeliveryEnded
from protocols.block import SignedRecord
from tests.ledger import delivering as say
from tests.ledger import tokens
from tests.ledger.chain import account
from tests.ledger.living import HOMES, EnergyRules, Living, TokenRules, homes

# As the station of bela asks; small, because everybody has a few hundred EURO.
TARIFF = {"price_u_kwh": 20, "fee_u_kwh": 7, "flat_u": 3}
UNIT_WH = 250
EFFICIENCY = 9, 10
MILLION = 1_000_000
# Each gives six coins.
SUNNY_QUARTERS = 3
KEEPING = (What.STORED, What.TAKEN_OUT, What.RESTORED)
POINTS = {"bela": "session", "carla": "coins", "dora": "kept"}


class DeliveryRules(Living):
    """Who reserves may not come, who delivers may fall silent, and meters sign what they like.

    Attributes:
        signed: (first counter, newest counter) of each delivery, as ticks said that took effect.
        ended: of each payer in COIN: (Wh delivered, coins burned).
    """

    def __init__(self) -> None:
        super().__init__()
        self.reserved: list[tuple[str, SignedRecord]] = []
        self.signed: dict[bytes, tuple[int, int]] = {}
        self.ended: dict[bytes, Counter[str]] = {}
        self.charged: Counter[bytes] = Counter()
        self.kept: Counter[bytes] = Counter()

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        events = super().block(*records, time_s=time_s)
        for event in events:
            if isinstance(event, DeliveryEnded):
                self._ended(event)
            elif isinstance(event, Moved) and event.what in KEEPING and event.asset == "KEPT":
                self.made[event.asset] += event.amount if event.taker else -event.amount
                self.kept[event.taker or event.giver] += event.amount if event.taker else -event.amount
        return events

    @rule(
        named=st.sampled_from((None, None, None, *HOMES)),
        at=st.sampled_from(sorted(POINTS)),
        much=st.integers(1, 60),
        wait_s=st.sampled_from((60, 3600)),
        runs=st.lists(st.integers(0, 900), max_size=3),
        last=st.sampled_from(("never comes", "cancelled", "falls silent", "end", "end")),
    )
    def deliver(self, named: str | None, at: str, much: int, wait_s: int, runs: list[int], last: str) -> None:
        """Somebody reserves - who has most, if nobody is named - and perhaps comes; its meter signs for a while."""
        if not len(self.chain.machine.state.points):
            self._open_points()
        code = {"session": "EURO", "coins": "COIN", "kept": "KEPT"}[POINTS[at]]
        home = named or max(HOMES, key=lambda one: tokens.has(self.chain, one, code)[0])
        until = {"until_s": self.chain.now_s + wait_s}
        if POINTS[at] == "session":
            record = say.reserve(self.chain, home, at, 100 * much, **TARIFF, **until)
        else:
            coins = (1 + much // 20, UNIT_WH) if POINTS[at] == "coins" else (10 * much, 1)
            if named is None:
                coins = max(1, min(coins[0], tokens.has(self.chain, home, code)[0])), coins[1]
            record = say.redeem(self.chain, home, at, *coins, **until)
        if self.do(record) != Verdict.ACCEPTED:
            return
        self.reserved.append((at, record))
        if last == "cancelled":
            self.do(say.cancel(self.chain, home, record))
        if last in ("never comes", "cancelled"):
            return
        self._tick(at, record, "begin", 1000, 5)
        for more_wh in runs:
            self._tick(at, record, "run", self.signed[record.record_id][1] + more_wh, 70)
        if last == "end":
            self._tick(at, record, "end", self.signed[record.record_id][1] + much, 5)

    @precondition(lambda self: self.reserved)
    @rule(
        sign=st.sampled_from(("begin", "run", "run", "run", "end")),
        more_wh=st.integers(-50, 900),
        wait_s=st.sampled_from((5, 70, 70, 400)),
        data=st.data(),
    )
    def tick(self, sign: str, more_wh: int, wait_s: int, data: Any) -> None:
        at, reserved = data.draw(st.sampled_from(self.reserved[-3:]), label="reserved")
        known = self.signed.get(reserved.record_id, (0, 1000))
        self._tick(at, reserved, sign, max(0, known[1] + more_wh), wait_s)

    def _open_points(self) -> None:
        """A station, a controller for coins, and a common battery with another controller."""
        chain = self.chain
        self.block(
            say.station(chain, "bela", **TARIFF),
            say.coin_point(chain, "carla"),
            chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1),
        )
        parts = {"owners": ((account("dora"), 3),), "owners_ppm": 700_000, "others": ((account("anna"), 300_000),)}
        fee = {"fee_asset": "EURO", "fee_u_kwh": 40, **parts}
        self.block(say.storage(chain, access="ACCESS", **fee), say.stored(chain, 0, 0))
        self.block(say.coin_point(chain, "dora", "KEPT", 1, route=1))
        assert chain.verdicts() == [Verdict.ACCEPTED]

    def _tick(self, at: str, reserved: SignedRecord, sign: str, counter_wh: int, wait_s: int) -> None:
        """The end is worked out from what was signed: a tick is in the book before its block, if it is to count."""
        known = self.signed.get(reserved.record_id)
        record = say.tick(self.chain, at, reserved, sign, counter_wh)
        row = self.chain.machine.state.deliveries.get(reserved.record_id)
        # A block ends what has fallen silent before it looks at its records: such a tick comes too late.
        takes = row is not None and self.chain.now_s + wait_s <= row.deadline_s
        takes = takes and (known is None) == (sign == "begin") and (known is None or counter_wh >= known[1])
        if takes:
            self.signed[reserved.record_id] = (known[0] if known else counter_wh, counter_wh)
        if self.do(record, time_s=self.chain.now_s + wait_s) == Verdict.ACCEPTED:
            assert takes, "a tick took effect that should not have"
        elif known is None:
            self.signed.pop(reserved.record_id, None)
        else:
            self.signed[reserved.record_id] = known

    @precondition(lambda self: self.reserved)
    @rule(home=homes, data=st.data())
    def cancel_delivery(self, home: str, data: Any) -> None:
        _, reserved = data.draw(st.sampled_from(self.reserved[-3:]), label="reserved")
        self.do(say.cancel(self.chain, home, reserved))

    @precondition(lambda self: "KEPT" in self.chain.machine.state.storages)
    @rule(home=homes, into_wh=st.integers(0, 900), out_wh=st.integers(0, 600), wrong=st.sampled_from((0, 0, 0, 1)))
    def store(self, home: str, into_wh: int, out_wh: int, wrong: int) -> None:
        storage = self.chain.machine.state.storages["KEPT"]
        counters = storage.charged_wh + into_wh + wrong, storage.discharged_wh + out_wh
        if self.do(say.stored(self.chain, *counters, (home, into_wh, out_wh))) == Verdict.ACCEPTED:
            assert not wrong
            self.charged[account(home)] += into_wh

    @precondition(lambda self: "KEPT" in self.chain.machine.state.storages)
    @rule(to=homes, into_wh=st.integers(0, 300), out_wh=st.integers(0, 300), wrong=st.sampled_from((0, 0, 0, 1)))
    def restore(self, to: str, into_wh: int, out_wh: int, wrong: int) -> None:
        """The storage's meter says that it was another one's than who had most; of a corrected period, if there is."""
        state = self.chain.machine.state
        start_s = max(
            (start_s for start_s, row in state.periods.items() if row.corrections),
            default=self.chain.machine.next_period_s,
        )
        keeps = {home: state.keeps.get(("KEPT", account(home))) or Keep() for home in HOMES if home != to}
        home = max(keeps, key=lambda one: keeps[one].charged_wh)
        into_wh = min(into_wh, keeps[home].charged_wh) + wrong
        out_wh = min(out_wh, keeps[home].burned_wh + keeps[home].short_wh)
        record = say.restored(self.chain, start_s, (home, -into_wh, -out_wh), (to, into_wh - wrong, out_wh))
        if self.do(record) == Verdict.ACCEPTED:
            assert state.periods[start_s].corrections and not wrong
            self.charged.update({account(home): -into_wh, account(to): into_wh})
            Living.noticed["restored"] += bool(into_wh or out_wh)

    @invariant()
    def nobody_waits_longer_than_was_said(self) -> None:
        for row in (row for _, row in self.chain.machine.state.deliveries.items()):
            assert row.phase in (Phase.ENDED, Phase.CANCELLED) or self.chain.now_s <= row.deadline_s

    @invariant()
    def coins_burn_for_what_flowed(self) -> None:
        """To the Wh: burned coins, and what is carried to the next one, are all that was delivered."""
        state = self.chain.machine.state
        for payer, sums in self.ended.items():
            keep = state.keeps.get(("COIN", payer))
            open_wh = keep.unpaid_wh if keep else 0
            for _, row in state.deliveries.items():
                if row.payer == payer and row.asset == "COIN" and row.phase in (Phase.RESERVED, Phase.RUNNING):
                    open_wh += row.carried_wh
            assert sums["burned"] * UNIT_WH + open_wh == sums["wh"]

    @invariant()
    def stored_energy_is_what_went_in_less_losses(self) -> None:
        """To the millionth of a Wh."""
        for payer, charged_wh in self.charged.items():
            keep = self.chain.machine.state.keeps.get(("KEPT", payer))
            open_ = (keep.rest, keep.burned_wh + keep.due_wh - keep.owed_wh) if keep else (0, 0)
            kept = (self.kept[payer] + open_[1]) * MILLION + open_[0]
            assert kept == charged_wh * MILLION * EFFICIENCY[0] // EFFICIENCY[1]

    def _ended(self, event: DeliveryEnded) -> None:
        row = event.delivery
        first, newest = self.signed.get(event.delivery_id, (0, 0))
        wh = min(newest - first, row.purchased_wh)
        Living.noticed[f"{'session' if row.kind == POINT_STATION else row.asset} {Phase(row.phase).name}"] += 1
        if row.kind == POINT_STATION:
            energy = wh * TARIFF["price_u_kwh"] // 1000
            fee = wh * TARIFF["fee_u_kwh"] // 1000 + TARIFF["flat_u"]
            assert (row.paid, row.fee) == ((energy, fee) if wh else (0, 0)), f"{wh} Wh"
            return
        self.made[row.asset] -= row.paid
        if row.asset == "KEPT":
            assert row.paid == wh
            return
        sums = self.ended.setdefault(row.payer, Counter())
        sums["wh"] += wh
        sums["burned"] += row.paid


class HouseholdsDelivered(TokenRules, EnergyRules, DeliveryRules):
    """Assets, cash, what meters say, and what points deliver."""

    def _open_points(self) -> None:
        """After a sunny morning: Anna has coins, and something stored."""
        super()._open_points()
        for _ in range(SUNNY_QUARTERS):
            self.report((0,) * len(HOMES), 1500)
        self.store("anna", 900, 0, 0)
