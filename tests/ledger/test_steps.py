"""Steps on the ledger: every event in every state of an order, legal or not, as records and time bring it about.

Emil buys energy from carla. An order is brought to each state by records; then each event is tried by the record
(or the time) that stands for it. A legal one leads where the life cycle's table says; any other is refused by name and
moves nothing of anybody's.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any
from unittest import mock

import pytest

from meshnode.execution.floor import OrderTraded
from meshnode.execution.orders import terms_hash
from meshnode.ledger.verdicts import Verdict
from meshnode.market.lifecycle import MOVES, Event, State
from protocols.block import SignedRecord
from protocols.records import GOOD_AT_ONCE, Order, OrderBooked, OrderPrepared, OrderStep, TradeReversed
from tests.ledger.chain import member
from tests.ledger.order_stories import EURO, amend, buy, cancel, give, market, sell
from tests.ledger.tokens import DAY_S

ENERGY = "ENERGY"
UNITS, PRICE = 4, 10
# Longer than a step stays, or an order of these stories.
LONG_S, SHORT_S = 400 * DAY_S, DAY_S // 4
Key = tuple[int, int]


class Life:
    """One order on a ledger.

    Attributes:
        prepared, booked, order: the records of its first three steps, as far as it has come.
        trade: the key of its first trade.
    """

    def __init__(self, stays_s: int) -> None:
        self.chain = market()
        self.chain.block(self.chain.join(member("emil")))
        give(self.chain, "emil", 1000, EURO)
        give(self.chain, "carla", 100, ENERGY)
        self.prepared = self.chain.speak("emil", OrderStep, step=OrderPrepared(attributes=bytes(32)))
        self.booked: SignedRecord | None = None
        self.order: SignedRecord | None = None
        self.trade: Key = (10**6, 0)
        self.stays_s = stays_s
        self.expires_s = self.chain.now_s + stays_s

    def say(self, *records: SignedRecord, time_s: int | None = None) -> list[Verdict]:
        self.chain.block(*records, time_s=time_s)
        for event in self.chain.events[self.chain.machine.height]:
            if isinstance(event, OrderTraded) and self.trade[0] == 10**6:
                self.trade = event.height, event.number
        return self.chain.verdicts()

    def terms(self, booked: bytes | None = None) -> SignedRecord:
        """The order, always the same one."""
        return buy(self.chain, "emil", UNITS, PRICE, expires_s=self.expires_s, booked=booked)

    def meet(self, units: int, **terms: Any) -> SignedRecord:
        return sell(self.chain, "carla", units, PRICE, **terms)

    def newest(self) -> SignedRecord:
        """The record that stands for the order now."""
        return self.order or self.booked or self.prepared

    def state(self) -> State:
        """Where the order stands: its trade if there is one, else what rests, else what was committed to."""
        found = self.chain.machine.state
        if self.trade in found.executions:
            return State(found.executions[self.trade].state)
        if self.trade[0] != 10**6:
            return State.SETTLEMENT
        if self.order is not None and self.order.record_id in found.standing:
            return State(found.standing[self.order.record_id].state)
        step = found.committed.get(self.newest().record_id)
        return State.CANCELLED if step is None else State(step.state)

    def picture(self) -> tuple[Any, ...]:
        """What everybody has, and all that is known of the order."""
        found = self.chain.machine.state
        tables = (found.balances, found.holds, found.standing, found.committed, found.executions)
        return self.state(), *(tuple(table.items()) for table in tables)  # type: ignore[attr-defined]


# --- to each state


def reach(state: State, stays_s: int = LONG_S) -> Life:
    """An order in a state, by the records that lead there."""
    life = Life(stays_s)
    assert life.say(life.prepared) == [Verdict.ACCEPTED]
    if state == State.PRE_EXECUTION:
        return life
    wanted = life.terms().record
    assert isinstance(wanted, Order)
    step = OrderBooked(prepared=life.prepared.record_id, terms=terms_hash(wanted))
    life.booked = life.chain.speak("emil", OrderStep, step=step)
    assert life.say(life.booked) == [Verdict.ACCEPTED]
    if state == State.BOOKING:
        return life
    life.order = life.terms(booked=life.booked.record_id)
    assert life.say(life.order) == [Verdict.ACCEPTED]
    if state == State.CANCELLED:
        life.say(cancel(life.chain, "emil", life.order))
    if state in (State.CONFIRMATION, State.CANCELLED):
        return life
    # A part of it trades while it is in transaction; all of it before its period is final.
    life.say(life.meet(1 if state == State.TRANSACTION else UNITS))
    if state == State.TRANSACTION:
        return life
    wanted_state = (State.MATCHING,) if state == State.MATCHING else (State.SETTLEMENT,)
    for _ in range(80):
        if life.state() in wanted_state:
            return life
        life.say(time_s=life.chain.now_s + DAY_S // 4)
    raise AssertionError(f"{state.name} was not reached: {life.state().name}")


# --- each event, as it comes about


def _book(life: Life) -> list[Verdict]:
    step = OrderBooked(prepared=life.prepared.record_id, terms=bytes(32))
    booked = life.chain.speak("emil", OrderStep, step=step)
    verdicts = life.say(booked)
    if verdicts == [Verdict.ACCEPTED]:
        life.booked = booked
    return verdicts


def _confirm(life: Life) -> list[Verdict]:
    step = life.booked or life.prepared
    order = life.terms(booked=step.record_id)
    verdicts = life.say(order)
    if verdicts == [Verdict.ACCEPTED]:
        life.order = order
    return verdicts


def _match_or_settle(life: Life) -> list[Verdict]:
    """Days pass until everything that can be settled is; a step by a quarter of a day."""
    for _ in range(80):
        life.say(time_s=life.chain.now_s + DAY_S // 4)
    return []


def _match(life: Life) -> list[Verdict]:
    if life.state() != State.TRANSACTION:
        return _match_or_settle(life)
    for _ in range(80):
        life.say(time_s=life.chain.now_s + DAY_S // 4)
        if life.state() != State.TRANSACTION:
            break
    return []


def _fail(life: Life) -> list[Verdict]:
    """Who gave it is no member any more: a guard of its first step does not hold."""
    return [one for one in life.say(life.chain.leave("emil", by="anna")) if one != Verdict.ACCEPTED]


def _expire(life: Life) -> list[Verdict]:
    """What is over goes with the next block, what was only committed to with the next period that closes."""
    life.say(time_s=life.chain.now_s + life.stays_s + 900)
    for _ in range(10):
        life.say(time_s=life.chain.now_s + 900)
    return []


def _reverse(life: Life) -> list[Verdict]:
    height, number = life.trade
    step = TradeReversed(height=height, number=number)
    return life.say(*(life.chain.speak(home, OrderStep, step=step) for home in ("emil", "carla")))


ATTEMPTS: dict[Event, Callable[[Life], list[Verdict]]] = {
    Event.BOOK: _book,
    Event.CONFIRM: _confirm,
    Event.TRADE: lambda life: life.say(life.meet(1, good=GOOD_AT_ONCE)),
    Event.AMEND: lambda life: life.say(amend(life.chain, "emil", life.newest(), UNITS - 1, PRICE)),
    Event.MATCH: _match,
    Event.SETTLE: _match_or_settle,
    Event.CANCEL: lambda life: life.say(cancel(life.chain, "emil", life.newest())),
    Event.EXPIRE: _expire,
    Event.FAIL: _fail,
    Event.REVERSE: _reverse,
}
# How the ledger names what cannot be; time alone is refused nothing.
REFUSED = {
    Event.BOOK: Verdict.UNKNOWN_STEP,
    Event.CONFIRM: Verdict.UNKNOWN_STEP,
    Event.TRADE: Verdict.NOT_FILLED,
    Event.AMEND: Verdict.UNKNOWN_ORDER,
    Event.CANCEL: Verdict.UNKNOWN_ORDER,
    Event.REVERSE: Verdict.UNKNOWN_TRADE,
}
BY_TIME = (Event.MATCH, Event.SETTLE, Event.EXPIRE, Event.FAIL)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)), ids=lambda one: one.name)
def test_every_event_in_every_state(state: State, event: Event) -> None:
    # Where time is to settle what has not even been ordered, a step stays for longer than usual.
    stays_s = SHORT_S if event == Event.EXPIRE else LONG_S
    with mock.patch("meshnode.ledger.standing.COMMITTED_S", stays_s):
        life = reach(state, stays_s)
        assert life.state() is state
        before = life.picture()
        verdicts = ATTEMPTS[event](life)
    move = MOVES.get((state, event))
    if move is not None:
        assert set(verdicts) <= {Verdict.ACCEPTED}
        assert life.state() is move.to
    elif event in BY_TIME:
        assert not verdicts
        assert life.state() in _by_time(state, event)
    else:
        assert set(verdicts) == {REFUSED[event]}
        assert life.picture() == before
    _nothing_is_left_behind(life)


def _by_time(state: State, event: Event) -> tuple[State, ...]:
    """Where time leads by itself: what is final today is settled at the end of the day, whatever was tried."""
    if event in (Event.MATCH, Event.SETTLE) and state in (State.TRANSACTION, State.MATCHING):
        return (State.SETTLEMENT,)
    return (state, State.SETTLEMENT) if (state, event) == (State.MATCHING, Event.EXPIRE) else (state,)


def _nothing_is_left_behind(life: Life) -> None:
    """Whatever has gone wrong before a trade: all that emil had is free again."""
    found = life.chain.machine.state
    if life.state() is State.CANCELLED and not len(found.standing):
        held = {row.held for _, row in found.balances.items()}
        assert held <= {0}


def test_every_state_can_be_reached_and_every_event_tried() -> None:
    assert set(ATTEMPTS) == set(Event) and set(REFUSED) | set(BY_TIME) == set(Event)
    assert len(list(product(State, Event))) == 70


def test_a_step_leads_to_one_order_only() -> None:
    """What was prepared is booked once, and what was booked is ordered once."""
    life = reach(State.BOOKING)
    again = OrderBooked(prepared=life.prepared.record_id, terms=bytes(32))
    assert life.say(life.chain.speak("emil", OrderStep, step=again)) == [Verdict.UNKNOWN_STEP]
    assert life.booked is not None
    first, second = (life.terms(booked=life.booked.record_id) for _ in range(2))
    assert life.say(first, second) == [Verdict.ACCEPTED, Verdict.UNKNOWN_STEP]


def test_only_who_committed_takes_it_back() -> None:
    life = reach(State.PRE_EXECUTION)
    assert life.say(cancel(life.chain, "carla", life.prepared)) == [Verdict.UNKNOWN_ORDER]
    assert life.say(cancel(life.chain, "emil", life.prepared)) == [Verdict.ACCEPTED]
