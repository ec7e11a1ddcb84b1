"""Living governance: bindings are proposed, voted on, put off and begun while members order and meters report.

A book of its own keeps who voted how and which node has declared what, and works out what must have come of
it: nothing is adopted, begun or put off that should not be, every period is settled by the binding that was in
force when it began, and nothing trades while matching is paused.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from meshnode.execution.floor import OrderTraded
from meshnode.ledger import proposals
from meshnode.ledger.governance_rows import ADOPTED, BEGUN, LAPSED, OPEN, REJECTED
from meshnode.ledger.proposals import NO, YES, BindingMoved
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event, Machine
from meshnode.settlement.closing import PeriodClosed
from protocols.block import SignedRecord
from tests.ledger import governing as say
from tests.ledger.chain import PERIOD_S, period_s
from tests.ledger.governing import AUCTION, DEARER, FOUNDED, HOURLY, NOTICE_S, WITHOUT_FEE
from tests.ledger.living import HOMES, EnergyRules, Living, homes
from tests.ledger.living_orders import OrderRules
from zencode.binding import binding_hash
from zencode.reader import read

# 66 % of four members; also the majority of four validators.
NEEDED = 3
NEWER = 2
TEXTS = {FOUNDED: ("pay-as-clear",), DEARER: ("pay-as-clear",), WITHOUT_FEE: ("pay-as-clear",)}
TEXTS |= {AUCTION: ("falling-auction",), HOURLY: ("pay-as-clear",)}


class GovernanceRules(OrderRules, EnergyRules):
    """See the module text.

    Attributes:
        votes: of each proposal, by home.
        declared: the catalogue version of each home's node.
        forces: which binding is in force from when on.
        paused_s: until when matching is paused; 0 while it is not.
    """

    binding = FOUNDED

    def __init__(self) -> None:
        super().__init__()
        chain = self.chain
        chain.machine = Machine(
            chain.genesis, chain.chain_id, chain.mechanisms, chain.machine.verifier, catalogue=NEWER
        )
        self.proposed: dict[bytes, tuple[SignedRecord, int, int]] = {}
        self.votes: dict[bytes, dict[str, int]] = {}
        self.declared: dict[str, int] = {}
        self.forces = {0: binding_hash(read(FOUNDED))}
        self.begins: dict[bytes, int] = {}
        self.paused_s = 0

    @initialize()
    def declare_all(self) -> None:
        for home in HOMES:
            self.declare(home, NEWER)

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        was_paused = self.paused_s
        events = super().block(*records, time_s=time_s)
        now_s = self.chain.now_s
        if self.paused_s and self.paused_s <= now_s:
            self.paused_s = 0
        quiet = bool(was_paused and self.paused_s)
        for event in events:
            if isinstance(event, BindingMoved):
                self._moved(event, now_s)
            if quiet:
                assert not isinstance(event, OrderTraded), "orders met while matching was paused"
                assert not (isinstance(event, PeriodClosed) and event.trades), "a period was matched in a pause"
                Living.noticed["closed in a pause"] += isinstance(event, PeriodClosed)
        return events

    @rule(home=homes, text=st.sampled_from(list(TEXTS)), catalogue=st.sampled_from((1, 1, NEWER)))
    def propose(self, home: str, text: str, catalogue: int) -> None:
        needs = tuple((name, 1) for name in TEXTS[text])
        made = say.propose(self.chain, home, text, catalogue=catalogue, mechanisms=needs)
        before_s = self.chain.now_s
        # Before its block is told of: it may open a vote at once.
        self.proposed[made.record_id] = (made, catalogue, before_s)
        self.votes[made.record_id] = {}
        if self.do(made) != Verdict.ACCEPTED:
            del self.proposed[made.record_id], self.votes[made.record_id]

    @precondition(lambda self: self.proposed)
    @rule(home=homes, choice=st.sampled_from((YES, YES, YES, NO, 2)), newest=st.booleans(), data=st.data())
    def vote(self, home: str, choice: int, newest: bool, data: Any) -> None:
        made = self._one_of(newest, data)
        before = dict(self.votes[made.record_id])
        self.votes[made.record_id].setdefault(home, choice)
        if self.do(say.vote(self.chain, home, made, choice)) != Verdict.ACCEPTED:
            self.votes[made.record_id] = before
        else:
            assert home not in before, f"{home} voted twice"

    @rule(
        home=homes,
        text=st.sampled_from(list(TEXTS)),
        catalogue=st.sampled_from((1, NEWER)),
        choice=st.sampled_from((YES, YES, NO)),
        data=st.data(),
    )
    def all_vote(self, home: str, text: str, catalogue: int, choice: int, data: Any) -> None:
        """Rarely would enough of them be drawn one by one."""
        self.propose(home, text, catalogue)
        for voter in HOMES if self.proposed else ():
            self.vote(voter, choice, True, data)

    @rule(first=st.sampled_from(HOMES[:2]), second=st.sampled_from(HOMES[2:]), data=st.data())
    def set_back(self, first: str, second: str, data: Any) -> None:
        """All adopt what needs the newer catalogue, and two cards are restored from old images before it begins."""
        for home in HOMES:
            self.declare(home, NEWER)
        self.all_vote("anna", WITHOUT_FEE, NEWER, YES, data)
        self.declare(first, 1)
        self.declare(second, 1)
        self.nobody_says_anything(4)

    @precondition(lambda self: self.proposed)
    @rule(home=homes, data=st.data())
    def take_back(self, home: str, data: Any) -> None:
        self.do(say.withdraw(self.chain, home, self._one_of(True, data)))

    @rule(home=homes, catalogue=st.sampled_from((1, NEWER, NEWER)))
    def declare(self, home: str, catalogue: int) -> None:
        self.declared[home] = catalogue
        assert self.do(say.declare(self.chain, home, catalogue)) == Verdict.ACCEPTED

    @rule(home=st.sampled_from(("anna", "anna", "bela")), periods=st.integers(1, 5))
    def pause(self, home: str, periods: int) -> None:
        made = say.pause(self.chain, home, periods * PERIOD_S)
        if self.do(made) == Verdict.ACCEPTED:
            self.paused_s = made.record.step.until_s  # type: ignore[attr-defined]

    @rule(home=st.sampled_from(("anna", "anna", "bela")))
    def resume(self, home: str) -> None:
        before_s, self.paused_s = self.paused_s, 0
        if self.do(say.resume(self.chain, home)) != Verdict.ACCEPTED and before_s > self.chain.now_s:
            self.paused_s = before_s

    @rule(
        home=homes, sells=st.booleans(), ahead=st.integers(0, 6), energy=st.integers(1, 400), price=st.integers(80, 290)
    )
    def order_energy(self, home: str, sells: bool, ahead: int, energy: int, price: int) -> None:
        """Of a period that may be one of the next binding."""
        period = (self.chain.now_s - period_s(0)) // PERIOD_S + ahead
        make = self.chain.offer if sells else self.chain.bid
        self.do(make(home, period, energy, price * 1000))

    @rule(periods=st.integers(1, 4))
    def nobody_says_anything(self, periods: int) -> None:
        self.block(time_s=self.chain.now_s + periods * PERIOD_S)

    @invariant()
    def every_period_is_settled_by_what_was_in_force_when_it_began(self) -> None:
        for start_s, row in self.chain.machine.state.periods.items():
            assert row.binding == self._in_force(start_s), f"the period of {start_s}"
        assert self.chain.machine.rules(self.chain.now_s).binding == self._in_force(self.chain.now_s)

    def _in_force(self, time_s: int) -> bytes:
        return self.forces[max(start for start in self.forces if start <= time_s)]

    def _moved(self, event: BindingMoved, now_s: int) -> None:
        """Whether it may have come to that, by the book."""
        row, cast = event.row, list(self.votes.get(event.proposal, {}).values())
        catalogue = self.proposed[event.proposal][1]
        able = sum(version >= catalogue for version in self.declared.values())
        yes, left = cast.count(YES), len(HOMES) - len(cast)
        if row.status == OPEN:
            assert able == len(HOMES), f"{able} of 4 nodes are no 90 %"
        if row.status == ADOPTED and not row.deferred:
            assert yes >= NEEDED and row.from_s % PERIOD_S == 0 and row.from_s >= now_s + NOTICE_S, row
            assert row.from_s < now_s + NOTICE_S + PERIOD_S, row
        if row.status == ADOPTED and row.deferred:
            assert able < NEEDED and now_s >= self.begins[event.proposal], row
            Living.noticed["put off"] += 1
        if row.status == ADOPTED:
            self.begins[event.proposal] = row.from_s
        if row.status == REJECTED:
            late = now_s >= self.proposed[event.proposal][2] + proposals.VOTING_S
            assert yes + left < NEEDED or late, row
        if row.status == LAPSED:
            assert now_s >= self.proposed[event.proposal][2] + proposals.VOTING_S
        if row.status == BEGUN:
            assert able >= NEEDED and now_s >= row.from_s == self.begins[event.proposal], row
            self.forces[row.from_s] = row.binding
        Living.noticed[f"status {row.status}"] += 1

    def _one_of(self, newest: bool, data: Any) -> SignedRecord:
        found = [made for made, _, _ in self.proposed.values()]
        return found[-1] if newest else data.draw(st.sampled_from(found), label="proposal")
