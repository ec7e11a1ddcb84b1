"""Living bills: billing periods and shared hours in a life in which readings are late, missing, wrong and corrected.

A book of its own keeps how each settlement period stands now, and what held in it; from that alone it works out
what every billing period comes to, and what of it must have been posted.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from meshnode.amounts import PPM, split, value
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement import GRID_ACCOUNT, Metered, Posting, Reason, fund_account
from meshnode.settlement.billing_periods import BillingFinal, BillingPosted
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from protocols.block import SignedRecord
from protocols.records import CompensationSet, IncentiveSet, LocationSet
from tests.ledger import credit as say
from tests.ledger.billing import FUND, binding
from tests.ledger.chain import PERIOD_S, account
from tests.ledger.living import EnergyRules, Living, homes

HOUR_S = 3_600
# Periods from the next one.
ahead = st.integers(0, 3)
Sums = dict[bytes, int]


class BillingRules(EnergyRules):
    """Anna says whether surplus is set off, what shared hours earn, and who hangs on which substation.

    Attributes:
        said: what was said from when on, by what it is about.
        periods: how each settlement period stands: its postings and its meters.
        terms: whether surplus is set off in a period, what an hour earns, where everybody is.
        bills: (first, last) settlement period of each billing period that has ended, and postings so far.
    """

    # Two hours instead of two days: a life is long enough for billing periods to become final.
    binding = binding().replace("accepted for 2 days", "accepted for 120 minutes")

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[object, dict[int, object]] = {}
        self.periods: dict[int, tuple[tuple[Posting, ...], tuple[Metered, ...]]] = {}
        self.bills: dict[int, BillingPosted] = {}
        self.posted: dict[int, Counter[tuple[bytes, bytes]]] = {}

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        events = super().block(*records, time_s=time_s)
        for event in events:
            if isinstance(event, PeriodClosed | PeriodCorrected):
                self.periods[event.start_s] = event.settlement.postings, event.metered
            elif isinstance(event, BillingPosted):
                assert event.entry == 0 or event.first_s in self.bills
                self.bills[event.first_s] = event
                legs = self.posted.setdefault(event.first_s, Counter())
                for one in event.postings:
                    legs[one.debit, one.credit] += one.amount_u
                Living.noticed["bill corrected" if event.entry else "bill"] += 1
                Living.noticed["lost"] += any(one.reason is Reason.LOST for one in event.postings)
                Living.noticed["incentive"] += any(one.reason is Reason.SHARED_HOURS for one in event.postings)
            elif isinstance(event, BillingFinal):
                self._check_bill(self.bills.pop(event.first_s))
                Living.noticed["bill final"] += 1
        return events

    @rule(applies=st.sampled_from((1, 1, 0)), ahead=ahead)
    def set_compensation(self, applies: int, ahead: int) -> None:
        from_s = self._next(ahead)
        if self.do(say.parameter(self.chain, CompensationSet(from_s=from_s, applies=applies))) == Verdict.ACCEPTED:
            self.said.setdefault("compensation", {})[from_s] = applies

    @rule(
        u_kwh=st.sampled_from((0, 110_000, 33_333)),
        parts=st.sampled_from(((450, 450), (333, 667), (0, 0))),
        ahead=ahead,
    )
    def set_incentive(self, u_kwh: int, parts: tuple[int, int], ahead: int) -> None:
        from_s, (producers, consumers) = self._next(ahead), (1_000 * part for part in parts)
        fund = FUND if producers + consumers < PPM else None
        step = IncentiveSet(
            from_s=from_s, incentive_u_kwh=u_kwh, producers_ppm=producers, consumers_ppm=consumers, fund=fund
        )
        if self.do(say.parameter(self.chain, step)) == Verdict.ACCEPTED:
            self.said.setdefault("incentive", {})[from_s] = (u_kwh, producers, consumers)
            self.place("anna", "AC1", ahead)
            self.place("bela", "AC1", ahead)

    @rule(home=homes, at=st.sampled_from(("AC1", "AC1", "AC2", "")), ahead=ahead)
    def place(self, home: str, at: str, ahead: int) -> None:
        from_s = self._next(ahead)
        step = LocationSet(from_s=from_s, account=account(home), levels=(at, "feeder") if at else ())
        if self.do(say.parameter(self.chain, step)) == Verdict.ACCEPTED:
            self.said.setdefault(account(home), {})[from_s] = at

    @rule(
        used=st.lists(st.integers(0, 900), min_size=12, max_size=12),
        made=st.integers(0, 1500),
        silent=st.none() | homes,
    )
    def an_hour(self, used: list[int], made: int, silent: str | None) -> None:
        """Four quarters of an hour, of which somebody is silent in the second; it reports again in the third."""
        for number in range(4):
            self.report((0, *used[3 * number : 3 * number + 3]), made, silent if number == 1 else None)

    @invariant()
    def every_bill_is_what_its_periods_come_to(self) -> None:
        for bill in self.bills.values():
            self._check_bill(bill)

    def _check_bill(self, bill: BillingPosted) -> None:
        state = self.chain.machine.state
        starts = [start_s for start_s in self.periods if bill.first_s <= start_s <= bill.last_s]
        bought, surplus, incentive = self._bought(starts), self._surplus(starts), self._incentive(starts)
        due: Counter[tuple[bytes, bytes]] = Counter()
        for one in bought.keys() | surplus.keys():
            lost_u = surplus[one] - min(surplus[one], max(0, bought[one]))
            due[one, GRID_ACCOUNT] += lost_u
        for one, amount_u in incentive.items():
            due[GRID_ACCOUNT, one] += amount_u
        posted = self.posted[bill.first_s]
        for one, other in due.keys() | posted.keys():
            net_u = due[one, other] - due[other, one]
            assert posted[one, other] - posted[other, one] == net_u, (bill.first_s, one.hex(), other.hex())
        lines = {line.account: line for line in bill.lines}
        for one, line in lines.items():
            assert (line.compensation.bought_u, line.compensation.surplus_u) == (bought[one], surplus[one])
            assert line.incentive_u == incentive[one]
        assert not state.billing_periods or max(first_s for first_s, _ in state.billing_periods.items()) >= bill.first_s

    def _bought(self, starts: list[int]) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for one in self._postings(starts, Reason.GRID):
            found[one.debit] += one.amount_u
        return found

    def _surplus(self, starts: list[int]) -> Counter[bytes]:
        found: Counter[bytes] = Counter()
        for one in self._postings(starts, Reason.FEED_IN, Reason.SURPLUS):
            found[one.credit] += one.amount_u
            found[one.debit] -= one.amount_u
        return Counter({one: amount for one, amount in found.items() if len(one.rstrip(b"\0")) > 4})

    def _postings(self, starts: list[int], *reasons: Reason) -> list[Posting]:
        """Of the periods in which surplus is set off."""
        chosen = [start_s for start_s in starts if self._at("compensation", start_s, 0)]
        return [one for start_s in chosen for one in self.periods[start_s][0] if one.reason in reasons]

    def _incentive(self, starts: list[int]) -> Counter[bytes]:
        """By hours, each with what held in the first of its periods in which anything did."""
        found: Counter[bytes] = Counter()
        for hour_s in sorted({start_s // HOUR_S * HOUR_S for start_s in starts}):
            for substation in ("AC1", "AC2"):
                for one, part_u in self._hour(hour_s, substation).items():
                    found[one] += part_u
        return found

    def _hour(self, hour_s: int, substation: str) -> Sums:
        injected: Counter[bytes] = Counter()
        withdrawn: Counter[bytes] = Counter()
        terms: tuple[int, int, int] | None = None
        for start_s in range(hour_s, hour_s + HOUR_S, PERIOD_S):
            if start_s not in self.periods:
                continue
            here = [one for one in self.periods[start_s][1] if self._at(one.account, start_s, "") == substation]
            here = [one for one in here if one.export_wh or one.import_wh]
            said = self._at("incentive", start_s, (0, 0, 0))
            if terms is None and (not here or not said[0]):  # type: ignore[index]
                continue
            terms = terms or said  # type: ignore[assignment]
            for one in here:
                injected[one.account] += one.export_wh
                withdrawn[one.account] += one.import_wh
        if terms is None:
            return {}
        earned_u = value(terms[0], min(injected.total(), withdrawn.total()))
        parts = {b"producers": terms[1], b"consumers": terms[2], fund_account(FUND): PPM - terms[1] - terms[2]}
        shares = split(earned_u, [(name, ppm) for name, ppm in parts.items() if ppm])
        found: Counter[bytes] = Counter()
        for name, share_u in shares.items():
            weights = {b"producers": injected, b"consumers": withdrawn}.get(name)
            if share_u:
                found.update(split(share_u, weights.items()) if weights is not None else {name: share_u})
        return found

    def _at(self, what: object, start_s: int, default: object) -> object:
        said = self.said.get(what, {})
        newest = max((from_s for from_s in said if from_s <= start_s), default=None)
        return default if newest is None else said[newest]

    def _next(self, ahead: int) -> int:
        return (self.chain.now_s // PERIOD_S + 1 + ahead) * PERIOD_S
