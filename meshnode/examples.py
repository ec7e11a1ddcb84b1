"""Examples: those at the end of a binding's text, carried out by the state machine itself.

For each a ledger is founded on paper and thrown away: whoever is named is a member
with one meter, orders stand in the block that begins their period, readings in the
block that ends it, and every period is settled as it would be in a real microgrid.
Keys are made from names, so that an example comes to the same everywhere. The
blocks are signed by the first member and certified by nobody: there is nobody else.
Periods are counted from midnight, UTC.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from meshnode.keys import SigningKey, verify
from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.machine import Event, Machine, RecordDone
from meshnode.market import Mechanisms
from meshnode.settlement import fund_account
from meshnode.settlement.closing import PeriodClosed
from protocols import block as blocks
from protocols.block import Parent, SignedRecord
from protocols.cose import FORMAT_VERSION
from protocols.records import (
    CLOCK_REAL,
    DEFAULT_LIMITS,
    QUORUM_MAJORITY,
    SIDE_BUY,
    SIDE_SELL,
    Clock,
    Genesis,
    Header,
    MemberEntry,
    MeterEntry,
    OpenCounters,
    Order,
    Reading,
    Record,
    RecordError,
    ValidatorEntry,
    account_id_of,
    chain_id,
    meter_id_of,
)
from zencode import examples as e
from zencode.binding import Statement, encode
from zencode.document import Document, Example, Line
from zencode.explanation import currency_of
from zencode.languages import Phase
from zencode.terms import Terms, terms
from zencode.writer import write_expectation

# Any midnight will do; this one is in January 2027.
MIDNIGHT_S = 20_834 * 86_400
# Orders and their period's first readings may stand in one second; validity counts from there.
ORDER_VALID_S = 3_600
# What bills are rounded to.
CENT_U = 10_000
# Where the binding lets nobody join, members have a role all the same.
DEFAULT_ROLE = "member"


class Expectation(msgspec.Struct, frozen=True):
    """What an example expects and what it came to, as sentences; `line` is where it stands in the text."""

    line: int
    expected: str
    found: str
    met: bool


class Outcome(msgspec.Struct, frozen=True):
    """One example that was carried out.

    Among the expectations are also, as unmet, orders and readings that were refused unexpectedly, and an
    example that no ledger can be made of: a name that is too long for it.
    """

    title: str
    line: int
    expectations: tuple[Expectation, ...]

    @property
    def unmet(self) -> tuple[Expectation, ...]:
        """The expectations that were not met."""
        return tuple(one for one in self.expectations if not one.met)


def run_examples(document: Document, mechanisms: Mechanisms) -> tuple[Outcome, ...]:
    """Carry out all examples of a text.

    Raises:
        TermsError, MechanismError: the binding contradicts itself, or needs what is not installed here.
    """
    return tuple(_run(document, example, mechanisms) for example in document.examples)


def _run(document: Document, example: Example, mechanisms: Mechanisms) -> Outcome:
    try:
        play = _Play(document, example, mechanisms)
        play.play()
    except RecordError as error:
        return Outcome(example.title, example.number, (Expectation(example.number, example.title, str(error), False),))
    expectations = (*play.refusals(), *(play.judge(line) for line in example.of(Phase.THEN)))
    return Outcome(example.title, example.number, tuple(sorted(expectations, key=lambda one: one.line)))


class _Member:
    """Somebody in an example: keys that its name decides, and what its meter has counted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key, self.device, self.meter = (_key(f"{part} of {name}") for part in ("member", "device", "meter"))
        self.account = account_id_of(self.key.public)
        self.import_wh = self.export_wh = 0

    def entry(self, roles: Sequence[str]) -> MemberEntry:
        meter = MeterEntry(meter_key=self.meter.public, metering_point=self.name)
        return MemberEntry(
            name=self.name,
            roles=tuple(sorted(set(roles))),
            member_key=self.key.public,
            device_key=self.device.public,
            meters=(meter,),
        )


class _Play:
    """One example on a ledger of its own."""

    def __init__(self, document: Document, example: Example, mechanisms: Mechanisms) -> None:
        self._language = document.language
        self._currency = currency_of(document.binding)
        facts = terms(document.binding)
        self._length_s = facts.settlement_period_s
        self._given = example.of(Phase.GIVEN)
        self._then = example.of(Phase.THEN)
        names = sorted({_member(line) for line in self._given})
        self._members = {name: _Member(name) for name in names}
        periods = [_value(line, "period") for line in self._given if _id(line) != e.IS_MEMBER] or [1]
        self._periods = range(min(periods), max(periods) + 1)
        self._genesis = self._found(document, facts)
        self._chain_id = chain_id(self._genesis)
        self._machine = Machine(self._genesis, self._chain_id, mechanisms, verify)
        self._head = Parent.of_genesis(self._genesis, self._chain_id)
        self._nonce = 0
        self._refused: dict[int, Verdict] = {}
        self._energy: Counter[tuple[bytes, int]] = Counter()
        self._prices: dict[int, int | None] = {}

    def play(self) -> None:
        """All periods of the example, one after the other."""
        first = self._periods[0]
        self._block(self._start_s(first), [(0, self._reading(member, first - 1)) for member in self._members.values()])
        for period in self._periods:
            self._block(self._start_s(period), list(self._orders(period)))
            records = list(self._readings(period))
            for event in self._block(self._start_s(period + 1), records):
                if isinstance(event, PeriodClosed):
                    self._prices[period] = event.price_u_kwh
                    for row in event.settlement.lines:
                        self._energy[row.account, e.FROM_NEIGHBOURS] += row.neighbours_wh
                        self._energy[row.account, e.FROM_GRID] += row.grid_wh
        self._machine.check_invariants()

    def refusals(self) -> Iterator[Expectation]:
        """What was refused and not expected to be."""
        expected = {(_member(one), _value(one, "period")) for one in self._then if _id(one) == e.ORDER_REFUSED}
        for line in self._given:
            verdict = self._refused.get(line.number)
            if verdict is None or line.statement is None:
                continue
            if _id(line) in (e.BIDS, e.OFFERS) and (_member(line), _value(line, "period")) in expected:
                continue
            yield Expectation(line.number, self._said(line.statement), SENTENCES[verdict], False)

    def judge(self, line: Line) -> Expectation:
        """What one line expects, and what it came to."""
        assert line.statement is not None, "every line of an example is a sentence"
        found = self._come_to(line, line.statement)
        expected = self._said(line.statement)
        return Expectation(line.number, expected, found or expected, not found)

    def _come_to(self, line: Line, statement: Statement) -> str:
        """What came out instead, as a sentence; "" if it is what was expected."""
        id, name = statement.id, str(statement.slots[0])
        if id in (e.BILL, e.RECEIVES, e.FUND_RECEIVES):
            account = fund_account(name) if id == e.FUND_RECEIVES else self._members[name].account
            return self._money(id, name, _value(line, "amount"), account)
        if id in (e.FROM_NEIGHBOURS, e.FROM_GRID):
            energy_wh = self._energy[self._members[name].account, id]
            return "" if energy_wh == _value(line, "energy") else self._said(Statement(id, (name, energy_wh)))
        period = _value(line, "period")
        if id == e.PERIOD_PRICE:
            price = self._prices.get(period)
            if price is None:
                return f"period {period}: no order was cleared, so there is no price"
            return "" if price == _value(line, "price") else self._said(Statement(id, (period, price)))
        orders = [
            one
            for one in self._given
            if _id(one) in (e.BIDS, e.OFFERS) and (_member(one), _value(one, "period")) == (name, period)
        ]
        if not orders:
            return f"'{name}' has no order for period {period} in this example"
        return "" if any(one.number in self._refused for one in orders) else "the order is accepted"

    def _money(self, id: int, name: str, expected_u: int, account: bytes) -> str:
        row = self._machine.state.claims.get(account)
        claim_u = row.amount_u if row else 0
        found_u = -claim_u if id == e.BILL else claim_u
        compared_u = (found_u + CENT_U // 2) // CENT_U * CENT_U if expected_u % CENT_U == 0 else found_u
        if compared_u == expected_u:
            return ""
        if found_u < 0 and id != e.FUND_RECEIVES:
            id = e.RECEIVES if id == e.BILL else e.BILL
        return self._said(Statement(id, (name, abs(found_u))))

    def _said(self, statement: Statement) -> str:
        return write_expectation(statement, self._language, self._currency)

    # --- The ledger ------------------------------------------------------------------------------

    def _found(self, document: Document, facts: Terms) -> Genesis:
        admitted = next((rule.role for rule in facts.join_rules if rule.verdict == "accept"), DEFAULT_ROLE)
        roles: dict[str, list[str]] = {}
        for line in self._given:
            if _id(line) == e.IS_MEMBER and line.statement is not None:
                roles.setdefault(_member(line), []).append(str(line.statement.slots[1]))
        members = [member.entry(roles.get(member.name, [admitted])) for member in self._members.values()]
        start_s = self._start_s(self._periods[0])
        return Genesis(
            format_version=FORMAT_VERSION,
            community="example",
            start_s=start_s,
            quorum_mode=QUORUM_MAJORITY,
            limits=DEFAULT_LIMITS,
            clock=Clock(kind=CLOCK_REAL),
            zone="UTC",
            zone_changes=((0, 0),),
            max_drift_s=1,
            members=tuple(members),
            validators=(ValidatorEntry(device_key=self._first.device.public),),
            binding=encode(document.binding),
            binding_text=b"#",
        )

    @property
    def _first(self) -> _Member:
        return next(iter(self._members.values()))

    def _start_s(self, period: int) -> int:
        return MIDNIGHT_S + (period - 1) * self._length_s

    def _readings(self, period: int) -> Iterator[tuple[int, SignedRecord]]:
        """What all meters say at the end of a period, each with the line that made it count."""
        lines: dict[str, int] = {}
        for line in self._given:
            if _id(line) in (e.DRAWS, e.DELIVERS) and _value(line, "period") == period:
                member = self._members[_member(line)]
                lines[member.name] = line.number
                if _id(line) == e.DRAWS:
                    member.import_wh += _value(line, "energy")
                else:
                    member.export_wh += _value(line, "energy")
        for member in self._members.values():
            yield lines.get(member.name, 0), self._reading(member, period)

    def _reading(self, member: _Member, period: int) -> SignedRecord:
        values = OpenCounters(import_wh=member.import_wh, export_wh=member.export_wh)
        meter = meter_id_of(member.meter.public)
        return self._sign(Reading(meter=meter, period_start_s=self._start_s(period), values=values), member.meter)

    def _orders(self, period: int) -> Iterator[tuple[int, SignedRecord]]:
        for line in self._given:
            if _id(line) not in (e.BIDS, e.OFFERS) or _value(line, "period") != period:
                continue
            self._nonce += 1
            order = Order(
                nonce=self._nonce,
                valid_until_s=self._start_s(period) + ORDER_VALID_S,
                side=SIDE_BUY if _id(line) == e.BIDS else SIDE_SELL,
                period_start_s=self._start_s(period),
                energy_wh=_value(line, "energy"),
                price_u_kwh=_value(line, "price"),
            )
            yield line.number, self._sign(order, self._members[_member(line)].key)

    def _sign(self, record: Record, key: SigningKey) -> SignedRecord:
        return blocks.sign_record(record, self._chain_id, key.public, key.sign)

    def _block(self, time_s: int, records: Sequence[tuple[int, SignedRecord]]) -> tuple[Event, ...]:
        """Make and execute the next block; what is refused is remembered by the line that it came from."""
        parent, machine, leader = self._head, self._machine, self._first.device
        signed = [record for _, record in records]
        state_hash = machine.state_hash()
        assert state_hash is not None, "a machine knows the hash of its own state"
        header = Header(
            height=parent.height + 1,
            term=1,
            parent=parent.block_hash,
            tx_root=blocks.tx_root([record.envelope_bytes for record in signed]),
            tx_count=len(signed),
            state_height=machine.height,
            state_hash=state_hash,
            validators=parent.next_validators,
            next_validators=parent.next_validators,
            time_s=time_s,
        )
        block = blocks.make(header, signed, None, self._chain_id, leader.public, leader.sign)
        events = machine.apply(block)
        for event in events:
            if isinstance(event, RecordDone) and event.verdict != Verdict.ACCEPTED:
                self._refused[records[event.position][0]] = event.verdict
        self._head = Parent.of(block)
        return events


def _key(name: str) -> SigningKey:
    return SigningKey(hashlib.sha256(f"meshnode example, {name}".encode()).digest())


def _id(line: Line) -> int:
    return line.statement.id if line.statement is not None else 0


def _member(line: Line) -> str:
    """Whom a line is about; that is the first slot of every row with a member."""
    assert line.statement is not None, "every line of an example is a sentence"
    return str(line.statement.slots[0])


def _value(line: Line, slot: str) -> int:
    assert line.statement is not None, "every line of an example is a sentence"
    value: int = line.statement.slots[e.EXAMPLES_BY_ID[line.statement.id].index(slot)]  # type: ignore[assignment]
    return value
