"""Living origin: the rules by which certificates are passed on and used, and what was used is traced to its source."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from meshnode.ledger.certificates import Change
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.origin import Lot, Traced
from meshnode.settlement import origins
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected, PeriodFinal
from protocols.block import SignedRecord
from tests.ledger import origin
from tests.ledger.chain import account
from tests.ledger.living import HOMES, EnergyRules, Living, homes, waits_s
from tests.ledger.tokens import DAY_S
from zencode.presets import preset


class OriginRules(EnergyRules):
    """Anna has a roof and a battery, which are confirmed; certificates are passed on and used."""

    # Periods are final after half a day, so that lives see many of them.
    binding: ClassVar[str | None] = preset("neighbour_market").replace("accepted for 2 days", "accepted for 12 hours")

    def __init__(self) -> None:
        super().__init__()
        self.settled: dict[int, dict[bytes, int]] = {}
        self.lots: list[Lot] = []
        self.certified: Counter[str] = Counter()

    @initialize()
    def found_plants(self) -> None:
        chain = self.chain
        announced = (origin.announce(chain, "anna"), origin.announce_battery(chain, "anna"))
        self.block(*announced)
        self.block(*(origin.state(chain, one) for one in announced))
        assert set(chain.verdicts()) == {Verdict.ACCEPTED}
        # A sunny hour, which is final before anything else happens: every life has certificates.
        for used in ((0,) * len(HOMES), (0,) * len(HOMES)):
            self.report(used, 700)
        self.block(time_s=chain.now_s + DAY_S // 2)
        while not len(chain.machine.state.certificates):
            self.block()

    def reading(self, home: str, period: int, registers: tuple[int, int], version: int = 0) -> SignedRecord:
        """Anna's meter counts a plant that makes more than it gives away, and a battery that breathes."""
        if home != "anna":
            return super().reading(home, period, registers, version)
        quarters, (_, given) = period + 2, registers
        more = {"produced_wh": 2 * given + 40 * quarters, "charged_wh": 30 * quarters, "discharged_wh": 25 * quarters}
        return origin.reading(self.chain, home, period, *registers, version=version, **more)

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        events = super().block(*records, time_s=time_s)
        for event in events:
            if isinstance(event, PeriodClosed | PeriodCorrected):
                self.settled[event.start_s] = {line.account: line.consumption_wh for line in event.settlement.lines}
            if isinstance(event, PeriodFinal) and event.origin is not None:
                self._enter_origin(event.start_s, event.origin.traced)
        for moved in origin.moved(events):
            self.certified[Change(moved.change).name] += moved.wh
            Living.noticed[f"certificates {Change(moved.change).name.lower()}"] += 1
        return events

    @rule(giver=st.sampled_from(("anna", "anna", "bela")), taker=homes, wh=st.integers(1, 400))
    def pass_on(self, giver: str, taker: str, wh: int) -> None:
        self.do(origin.give(self.chain, giver, taker, wh))

    @rule(home=st.sampled_from(("anna", *HOMES)), wh=st.integers(1, 400))
    def retire(self, home: str, wh: int) -> None:
        self.do(origin.retire(self.chain, home, wh))

    def _enter_origin(self, start_s: int, traced: tuple[Traced, ...]) -> None:
        """Who has no battery used what the newest settlement says, to the Wh."""
        used: Counter[bytes] = Counter()
        for one in traced:
            for share in one.shares:
                used[share.account] += share.lot.wh
            self.lots += [share.lot for share in one.shares]
            self.lots += [lot for _, lot in (*one.fed_in, *one.cancelled)]
        for account_id, wh in self.settled.pop(start_s).items():
            assert account_id == account("anna") or used[account_id] == wh, start_s
        Living.noticed["periods traced"] += 1

    @invariant()
    def certificates_are_held_or_have_ended(self) -> None:
        held = sum(row.wh for _, row in self.chain.machine.state.certificates.items())
        book = self.certified
        assert held == book["ISSUED"] - book["RETIRED"] - book["LAPSED"]

    def teardown(self) -> None:
        """Every Wh of every issuance has ended in one place or is stored: no gap, nothing twice."""
        stored = [lot for lots in origins.storages(self.chain.machine.state).values() for lot in lots]
        named = sorted(
            (lot for lot in (*self.lots, *stored) if lot.issuance), key=lambda lot: (lot.issuance, lot.first)
        )
        place = (b"", 0)
        for lot in named:
            assert lot.first == (place[1] if lot.issuance == place[0] else 0), lot
            place = lot.issuance, lot.first + lot.wh


class Origins(OriginRules):
    """Meters, storages and certificates, with whoever waits."""

    @rule(wait_s=waits_s)
    def wait(self, wait_s: int) -> None:
        """Time passes: periods close, and become final."""
        self.block(time_s=self.chain.now_s + wait_s)
        Living.happened["waited"] += 1
