"""Living: a microgrid to which anything may happen, as a state machine whose rules are drawn by hypothesis.

`Living` is the ground: one chain, one block an operation, and a book of its own in which the rules
enter what should have been made and destroyed. A family of rules is a class that inherits from it;
what is to be tested together inherits from several:

    class Everything(TokenRules, EnergyRules): ...

After every operation the invariants of the ledger are asserted, and its supplies against that book.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshnode.ledger import rows
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Event
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from meshnode.settlement.pairs import PairWritten
from protocols.block import SignedRecord
from protocols.records import MEASURE_EXPORT, MEASURE_IMPORT, POLICY_ISSUER, POLICY_METER, POLICY_ONCE
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.tokens import DAY_S, HOUR_S

HOMES = ("anna", "bela", "carla", "dora")
CASHIER = "carla"
# What meters mint: code -> (measure, unit, cap). The coins' cap is soon reached.
METERED = {"LOG": (MEASURE_IMPORT, 20, 10**9), "COIN": (MEASURE_EXPORT, 250, 40)}
# What is issued by hand, with what anna begins with.
ISSUED = {"SUN": 500, "EURO": 0, "ACCESS": 1000}

homes = st.sampled_from(HOMES)
codes = st.sampled_from((*ISSUED, *METERED))
# Thousandths of what somebody has; sometimes more than that.
shares = st.integers(1, 1050)
waits_s = st.sampled_from((HOUR_S, 6 * HOUR_S, DAY_S))
to_whom = st.sampled_from((None, None, *HOMES))
references = st.integers(1, 40).map(lambda number: f"bank {number}")


class Living(RuleBasedStateMachine):
    """See the module text.

    Attributes:
        chain: the microgrid.
        made: units that the ledger said it made or (below zero) destroyed, by asset.
        measured: Wh of all pairs so far, by the asset that counts them and the account.
        happened: operations of all runs so far, by verdict; of the whole test.
        noticed: what meters minted and corrections took back, of the whole test.
        binding: text of the microgrid's binding; None: the usual one.
    """

    happened: ClassVar[Counter[str]] = Counter()
    noticed: ClassVar[Counter[str]] = Counter()
    binding: ClassVar[str | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.chain = Chain(len(HOMES), binding=self.binding)
        self.made: Counter[str] = Counter()
        self.measured: Counter[tuple[str, bytes]] = Counter()

    @initialize()
    def found_assets(self) -> None:
        chain = self.chain
        self.block(
            chain.issue("anna", "SUN", ISSUED["SUN"], 1000),
            chain.issue("anna", "ACCESS", ISSUED["ACCESS"], 1000, policy=POLICY_ONCE),
            chain.issue("anna", "EURO", 0, 5000, asset_kind=0, settles=1, cashier=account(CASHIER)),
            *(tokens.metered(chain, code, *rule) for code, rule in METERED.items()),
        )
        assert set(chain.verdicts()) == {Verdict.ACCEPTED}
        self.made.update(ISSUED)
        self.block(
            *(chain.transfer("anna", home, 60) for home in HOMES[1:]),
            *(chain.transfer("anna", home, 200, "ACCESS") for home in HOMES[1:]),
            *(tokens.pay_in(chain, home, 300, f"first of {home}") for home in HOMES),
        )
        assert set(chain.verdicts()) == {Verdict.ACCEPTED}
        self.made["EURO"] += 300 * len(HOMES)

    def do(self, record: SignedRecord, time_s: int | None = None) -> Verdict:
        """One operation: a record in a block of its own. The chain asserts the ledger's invariants after it."""
        self.block(record, time_s=time_s)
        verdict = self.chain.verdicts()[0]
        step = getattr(record.record, "step", record.record)
        Living.happened[f"{type(step).__name__} {verdict.name}"] += 1
        return verdict

    def block(self, *records: SignedRecord, time_s: int | None = None) -> tuple[Event, ...]:
        """Some records in one block; what meters minted is entered in the book."""
        self.chain.block(*records, time_s=time_s)
        events = self.chain.events[self.chain.machine.height]
        for event in events:
            if isinstance(event, PeriodClosed | PeriodCorrected):
                self._enter(event.start_s, event.pairs)
        return events

    def part(self, home: str, code: str, share: int) -> int:
        """So many thousandths of what a home has of an asset, at least one unit."""
        free, _ = tokens.has(self.chain, home, code)
        return max(1, free * share // 1000)

    def _enter(self, start_s: int, pairs: Iterable[PairWritten]) -> None:
        for written in pairs:
            for one in written.minted:
                self.made[one.asset] += one.units
                Living.noticed["taken back" if one.units < 0 else "minted by a meter"] += 1
            self.measured[("LOG", written.account)] += written.pair.import_wh
            self.measured[("COIN", written.account)] += written.pair.export_wh

    @invariant()
    def what_exists_was_made_and_not_destroyed(self) -> None:
        """I1 with a book of its own, and I2, I3, I4 and the sum of claims by the ledger's own check."""
        state = self.chain.machine.state
        totals: Counter[str] = Counter()
        for (_, code), row in state.balances.items():
            assert row.free >= 0 and row.held >= 0
            totals[code] += row.free + row.held
        for code, asset in state.assets.items():
            assert totals[code] == asset.supply == self.made[code], code
        self.chain.machine.check_invariants()

    @invariant()
    def meters_mint_what_they_measure(self) -> None:
        """I4 to the Wh: units minted, and what waits for the next one, are the sum of a home's pairs."""
        for (code, owner), row in self.chain.machine.state.carries.items():
            _, unit_wh, _ = METERED[code]
            assert row.minted * unit_wh + row.wh == self.measured[(code, owner)], code


class TokenRules(Living):
    """Assets are issued, passed on, destroyed, exchanged, and paid in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.offers: list[SignedRecord] = []
        self.asked: list[SignedRecord] = []
        self.sales: list[SignedRecord] = []
        self.payments: set[str] = set()

    @rule(amount=st.integers(0, 600), code=st.sampled_from(("SUN", "ACCESS", "LOG")), home=st.sampled_from(HOMES[:2]))
    def issue(self, home: str, code: str, amount: int) -> None:
        usual = self.chain.issue(home, code, amount, 1000, policy=POLICY_ONCE if code == "ACCESS" else POLICY_ISSUER)
        measure, unit_wh, cap = METERED["LOG"]
        log = {"asset_kind": 1, "policy": POLICY_METER, "measure": measure, "unit_wh": unit_wh}
        record = self.chain.issue(home, code, amount, cap, **log) if code == "LOG" else usual
        if self.do(record) == Verdict.ACCEPTED:
            self.made[code] += amount

    @rule(giver=homes, taker=homes, code=codes, share=shares)
    def transfer(self, giver: str, taker: str, code: str, share: int) -> None:
        self.do(self.chain.transfer(giver, taker, self.part(giver, code, share), code))

    @rule(home=homes, code=codes, share=shares)
    def burn(self, home: str, code: str, share: int) -> None:
        amount = self.part(home, code, share)
        if self.do(tokens.burn(self.chain, home, amount, code)) == Verdict.ACCEPTED:
            self.made[code] -= amount

    @rule(home=homes, give=codes, want=codes, share=shares, price=st.integers(1, 60), wait_s=waits_s, to=to_whom)
    def offer(self, home: str, give: str, want: str, share: int, price: int, wait_s: int, to: str | None) -> None:
        given = (self.part(home, give, share), give)
        offered = tokens.offer(self.chain, home, given, (price, want), to, until_s=self.chain.now_s + wait_s)
        if self.do(offered) == Verdict.ACCEPTED:
            self.offers.append(offered)

    @precondition(lambda self: self.offers)
    @rule(home=homes, newest=st.booleans(), data=st.data())
    def accept(self, home: str, newest: bool, data: Any) -> None:
        """Both legs, to the unit, or none. A block before it lets time pass, so that nothing else moves."""
        offered = self.offers[-1] if newest else data.draw(st.sampled_from(self.offers), label="offer")
        self.block()
        before = self._everything()
        hold = self.chain.machine.state.holds.get(offered.record_id)
        if hold is not None and newest:
            # Most would be refused if just anybody tried.
            home = next((one for one in HOMES if self._can_take(one, hold)), home)
        if self.do(tokens.accept(self.chain, home, offered), time_s=self.chain.now_s) != Verdict.ACCEPTED:
            assert self._everything() == before
            return
        assert hold is not None
        moved = self._everything()
        moved.subtract(before)
        taker = account(home)
        expected = Counter({(hold.owner, hold.want, 0): hold.want_amount, (taker, hold.want, 0): -hold.want_amount})
        expected.update({(hold.owner, hold.asset, 1): -hold.amount, (taker, hold.asset, 0): hold.amount})
        assert {key: n for key, n in moved.items() if n} == {key: n for key, n in expected.items() if n}

    @precondition(lambda self: self.offers)
    @rule(home=homes, data=st.data())
    def withdraw(self, home: str, data: Any) -> None:
        offered = data.draw(st.sampled_from(self.offers), label="offer")
        self.do(tokens.withdraw(self.chain, home, offered))

    @rule(
        home=homes,
        amount=st.integers(1, 900),
        reference=references,
        cashier=st.sampled_from((CASHIER, CASHIER, "bela")),
    )
    def pay_in(self, home: str, amount: int, reference: str, cashier: str) -> None:
        if self.do(tokens.pay_in(self.chain, home, amount, reference, cashier)) == Verdict.ACCEPTED:
            self.made["EURO"] += amount
            self._once(reference)

    @rule(home=homes, share=shares, wait_s=waits_s)
    def ask(self, home: str, share: int, wait_s: int) -> None:
        asked = tokens.ask(self.chain, home, self.part(home, "EURO", share), until_s=self.chain.now_s + wait_s)
        if self.do(asked) == Verdict.ACCEPTED:
            self.asked.append(asked)

    @precondition(lambda self: self.asked)
    @rule(reference=references, data=st.data())
    def pay_out(self, reference: str, data: Any) -> None:
        asked = data.draw(st.sampled_from(self.asked), label="asked")
        hold = self.chain.machine.state.holds.get(asked.record_id)
        if self.do(tokens.pay_out(self.chain, asked, reference)) == Verdict.ACCEPTED:
            assert hold is not None
            self.made["EURO"] -= hold.amount
            self._once(reference)

    @rule(seller=homes, buyer=homes, code=codes, share=shares, wait_s=waits_s)
    def sell(self, seller: str, buyer: str, code: str, share: int, wait_s: int) -> None:
        sale = tokens.sell(
            self.chain, seller, buyer, self.part(seller, code, share), code, until_s=self.chain.now_s + wait_s
        )
        if self.do(sale) == Verdict.ACCEPTED:
            self.sales.append(sale)

    @precondition(lambda self: self.sales)
    @rule(home=homes, newest=st.booleans(), data=st.data())
    def confirm(self, home: str, newest: bool, data: Any) -> None:
        sale = self.sales[-1] if newest else data.draw(st.sampled_from(self.sales), label="sale")
        hold = self.chain.machine.state.holds.get(sale.record_id)
        if hold is not None and newest:
            # Most would be refused if just anybody tried.
            home = next(one for one in HOMES if account(one) == hold.owner)
        self.do(tokens.confirm(self.chain, home, sale))

    @precondition(lambda self: self.asked or self.sales)
    @rule(home=homes, data=st.data())
    def release(self, home: str, data: Any) -> None:
        held = data.draw(st.sampled_from(self.asked + self.sales), label="held")
        self.do(tokens.release(self.chain, home, held))

    @rule(wait_s=waits_s)
    def wait(self, wait_s: int) -> None:
        """Time passes, with nobody saying anything: periods close, holds end."""
        self.block(time_s=self.chain.now_s + wait_s)
        Living.happened["waited"] += 1

    def _can_take(self, home: str, hold: rows.Hold) -> bool:
        may = account(home) != hold.owner and hold.to in (b"", account(home))
        return may and tokens.has(self.chain, home, hold.want)[0] >= hold.want_amount

    def _once(self, reference: str) -> None:
        assert reference not in self.payments, f"{reference} counted twice"
        self.payments.add(reference)

    def _everything(self) -> Counter[tuple[bytes, str, int]]:
        """Every balance: (account, asset, 0 free or 1 held) -> amount."""
        found: Counter[tuple[bytes, str, int]] = Counter()
        for (owner, code), row in self.chain.machine.state.balances.items():
            found[(owner, code, 0)] = row.free
            found[(owner, code, 1)] = row.held
        return found


class EnergyRules(Living):
    """Meters report, late and wrongly too; periods are closed and corrected."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: Counter[tuple[str, int]] = Counter()
        self.registers: dict[tuple[str, int], tuple[int, int]] = {}

    @rule(
        used=st.tuples(*[st.integers(0, 900)] * len(HOMES)),
        made=st.integers(0, 1500),
        silent=st.none() | homes,
        misread=st.none() | homes,
        share=st.integers(0, 1400),
    )
    def quarter(self, used: tuple[int, ...], made: int, silent: str | None, misread: str | None, share: int) -> None:
        """A quarter of an hour ends; whoever is not silent reports it, one perhaps wrongly. Anna has the roof."""
        period = self.report(used, made, silent)
        Living.happened["quarter"] += 1
        if misread is not None:
            self._correct(misread, period, share)

    def report(self, used: tuple[int, ...], made: int, silent: str | None = None) -> int:
        """The readings of a quarter of an hour; gives its number."""
        period = (self.chain.now_s - period_s(0)) // 900
        readings = []
        for home, used_wh in zip(HOMES, used, strict=True):
            drawn, given = self.registers.get((home, self._before(home, period)), (0, 0))
            net = used_wh - (made if home == "anna" else 0)
            self.registers[(home, period)] = drawn + max(net, 0), given + max(-net, 0)
            if home != silent:
                readings.append(self.reading(home, period, self.registers[(home, period)]))
                self.versions[(home, period)] = 1
        self.block(*readings, time_s=period_s(period + 1) + 5)
        return period

    @precondition(lambda self: self.registers)
    @rule(share=st.integers(0, 1400), data=st.data())
    def correct(self, share: int, data: Any) -> None:
        """A register was misread, or not read at all: so many thousandths were drawn of what was said."""
        newest = sorted(self.registers, key=lambda key: key[::-1])[-6:]
        home, period = data.draw(st.sampled_from(newest), label="register")
        self._correct(home, period, share)

    def _correct(self, home: str, period: int, share: int) -> None:
        drawn, given = self.registers[(home, period)]
        begin, _ = self.registers.get((home, self._before(home, period)), (0, 0))
        new = (begin + (drawn - begin) * share // 1000, given)
        version = self.versions[(home, period)]
        self.versions[(home, period)] += 1
        if self.do(self.reading(home, period, new, version)) == Verdict.ACCEPTED:
            self.registers[(home, period)] = new

    def reading(self, home: str, period: int, registers: tuple[int, int], version: int = 0) -> SignedRecord:
        """What a home's meter says at the end of a period."""
        return self.chain.reading(home, period, *registers, version=version)

    def _before(self, home: str, period: int) -> int:
        """The newest period before this one of which a home has registers; -1 without one."""
        return max((number for name, number in self.registers if name == home and number < period), default=-1)
