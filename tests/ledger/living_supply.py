"""Living supply: contracts with priorities come and go while suppliers sell more than they will have.

A book of its own keeps who had promised what to whom when each period began; what is delivered follows it.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement.closing import PeriodClosed
from meshnode.settlement.posting import Reason
from protocols.block import SignedRecord
from protocols.records import ServiceLevel
from tests.ledger import tokens
from tests.ledger.chain import PERIOD_S, account, period_s
from tests.ledger.living import HOMES, EnergyRules, Living, homes

LAST = 1_000
priorities = st.none() | st.integers(0, 3)


class Promise:
    """A contract as a book of its own has it: from when it held, until when, and the number that was agreed on."""

    def __init__(self, parties: tuple[str, str], number: int, from_s: int, until_s: int) -> None:
        self.parties = parties
        self.number = number
        self.from_s = from_s
        self.until_s = until_s


class SupplyRules(EnergyRules):
    """Everybody may supply everybody; orders are for the periods to come.

    Attributes:
        promises: by the record id of the contract's offer, once it is signed.
        offers: contracts that may be signed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.promises: dict[bytes, Promise] = {}
        self.offers: list[tuple[SignedRecord, tuple[str, str], int, int, int]] = []

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        events = super().block(*records, time_s=time_s)
        for event in events:
            if isinstance(event, PeriodClosed):
                self._was_served_in_turn(event)
        return events

    @rule(supplier=homes, customer=homes, number=priorities, ahead=st.integers(-2, 3), periods=st.integers(1, 9))
    def offer(self, supplier: str, customer: str, number: int | None, ahead: int, periods: int) -> None:
        """A contract that begins near to now, also before."""
        from_s = self.chain.now_s + ahead * PERIOD_S
        times = {"from_s": from_s, "until_s": max(self.chain.now_s + 10, from_s + periods * PERIOD_S)}
        level = ServiceLevel(priority=number)
        offered = tokens.contract(self.chain, supplier, customer, service=level, **times)
        if self.do(offered) == Verdict.ACCEPTED:
            number = LAST if number is None else number
            self.offers.append((offered, (supplier, customer), number, times["from_s"], times["until_s"]))
            self.sign(True, 0)

    @precondition(lambda self: self.offers)
    @rule(now=st.booleans(), which=st.integers(0, 9))
    def sign(self, now: bool, which: int) -> None:
        """The newest at once, or another one later."""
        offered, parties, number, from_s, until_s = self.offers[-1 if now else which % len(self.offers)]
        if self.do(tokens.sign(self.chain, parties[1], offered)) == Verdict.ACCEPTED:
            signed_s = self.chain.now_s
            self.promises[offered.record_id] = Promise(parties, number, max(from_s, signed_s), until_s)

    @precondition(lambda self: self.promises)
    @rule(which=st.integers(0, 9), by_supplier=st.booleans())
    def end(self, which: int, by_supplier: bool) -> None:
        """One of the two ends it: it held until then."""
        signed = [one for one in self.offers if one[0].record_id in self.promises]
        offered, parties, *_ = signed[which % len(signed)]
        if self.do(tokens.end(self.chain, parties[0 if by_supplier else 1], offered)) == Verdict.ACCEPTED:
            self.promises[offered.record_id].until_s = self.chain.now_s

    @rule(
        buyers=st.permutations(HOMES[1:]),
        numbers=st.none() | st.lists(priorities, min_size=2, max_size=3),
        made=st.integers(0, 1500),
        silent=st.none() | homes,
        too_late=st.none() | st.sampled_from(("ends", "agrees")),
    )
    def oversell(
        self, buyers: list[str], numbers: list[int | None] | None, made: int, silent: str | None, too_late: str | None
    ) -> None:
        """Anna, who has the roof, sells 300 Wh to each of the others, and a period passes in which she has less."""
        if numbers is not None:
            for home, number in zip(buyers, numbers, strict=False):
                self.offer(HOMES[0], home, number, 0, 9)
        period = (self.chain.now_s - period_s(0)) // PERIOD_S + 1
        self.do(self.chain.offer(HOMES[0], period, 900, 150_000))
        for home in buyers:
            self.do(self.chain.bid(home, period, 300, 150_000))
        self.report((300, 300, 300, 300), made, silent)
        # What was agreed when the period began holds for it.
        if too_late == "ends" and self.promises:
            self.end(-1, by_supplier=True)
        elif too_late == "agrees":
            self.offer(HOMES[0], buyers[-1], 0, -3, 9)
        self.block(time_s=self.chain.now_s + 130)
        self.report((300, 300, 300, 300), made, silent)

    def _was_served_in_turn(self, event: PeriodClosed) -> None:
        begun = [one for one in self.promises.values() if one.from_s <= event.start_s < one.until_s]
        numbers: dict[tuple[bytes, bytes], int] = {}
        for one in begun:
            parties = account(one.parties[0]), account(one.parties[1])
            numbers[parties] = min(numbers.get(parties, LAST), one.number)
        short = {one.debit for one in event.settlement.postings if one.reason is Reason.SELLER_SHORT}
        for seller in {one.seller for one in event.trades}:
            served = [numbers.get((seller, one.buyer), LAST) for one in event.trades if one.seller == seller]
            assert served == sorted(served), (event.start_s, served)
            Living.noticed["short, and served in turn"] += seller in short and len(set(served)) > 1
            Living.noticed["served in turn"] += len(set(served)) > 1
