"""Life cycle: every pair of a state and an event, legal or not, and every guard that is missing."""

from itertools import product
from pathlib import Path

import pytest

from meshnode.market.lifecycle import (
    ATTRIBUTES,
    MOVES,
    Event,
    Guard,
    GuardFailed,
    IllegalMove,
    Move,
    State,
    guards,
    missing,
    move,
)
from tests.source import imports

ALL = frozenset(Guard)
STEPS = (State.PRE_EXECUTION, State.BOOKING, State.CONFIRMATION, State.TRANSACTION, State.MATCHING, State.SETTLEMENT)

# The whole life cycle once more, as a person would draw it: from, event, to.
DRAWN = """
PRE_EXECUTION BOOK    BOOKING
PRE_EXECUTION CANCEL  CANCELLED
PRE_EXECUTION EXPIRE  CANCELLED
PRE_EXECUTION FAIL    CANCELLED
BOOKING       CONFIRM CONFIRMATION
BOOKING       CANCEL  CANCELLED
BOOKING       EXPIRE  CANCELLED
BOOKING       FAIL    CANCELLED
CONFIRMATION  TRADE   TRANSACTION
CONFIRMATION  AMEND   CONFIRMATION
CONFIRMATION  CANCEL  CANCELLED
CONFIRMATION  EXPIRE  CANCELLED
CONFIRMATION  FAIL    CANCELLED
TRANSACTION   TRADE   TRANSACTION
TRANSACTION   AMEND   TRANSACTION
TRANSACTION   CANCEL  TRANSACTION
TRANSACTION   EXPIRE  TRANSACTION
TRANSACTION   FAIL    TRANSACTION
TRANSACTION   MATCH   MATCHING
TRANSACTION   REVERSE CANCELLED
MATCHING      SETTLE  SETTLEMENT
MATCHING      REVERSE CANCELLED
"""
EXPECTED = {
    (State[before], Event[event]): State[after] for before, event, after in map(str.split, DRAWN.strip().splitlines())
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)), ids=lambda one: one.name)
def test_every_pair_is_legal_or_refused_by_name(state: State, event: Event) -> None:
    if (state, event) in EXPECTED:
        assert move(state, event, ALL) is EXPECTED[state, event]
        return
    with pytest.raises(IllegalMove) as refused:
        move(state, event, ALL)
    assert state.name in str(refused.value) and event.name in str(refused.value)
    with pytest.raises(IllegalMove):
        guards(state, event)


def test_the_pairs_are_all_there_are() -> None:
    assert len(list(product(State, Event))) == 70
    assert {pair: found.to for pair, found in MOVES.items()} == EXPECTED


@pytest.mark.parametrize(
    ("pair", "found"), MOVES.items(), ids=lambda one: "-".join(x.name for x in one) if isinstance(one, tuple) else ""
)
def test_each_missing_guard_is_named(pair: tuple[State, Event], found: Move) -> None:
    state, event = pair
    assert move(state, event, guards(state, event)) is found.to
    for guard in found.guards:
        with pytest.raises(GuardFailed) as refused:
            move(state, event, ALL - {guard})
        assert refused.value.failed == (guard,) and guard.name in str(refused.value)
    if found.guards:
        with pytest.raises(GuardFailed) as refused:
            move(state, event)
        assert refused.value.failed == found.guards


def test_the_six_steps_lead_from_one_to_the_next() -> None:
    events = (Event.BOOK, Event.CONFIRM, Event.TRADE, Event.MATCH, Event.SETTLE)
    state = State.PRE_EXECUTION
    passed = [state]
    for event in events:
        state = move(state, event, guards(state, event))
        passed.append(state)
    assert tuple(passed) == STEPS


def test_before_a_trade_everything_can_be_called_off() -> None:
    for state, event in product(STEPS[:3], (Event.CANCEL, Event.EXPIRE, Event.FAIL)):
        assert move(state, event) is State.CANCELLED


def test_after_a_trade_only_a_reversal_leads_to_cancelled() -> None:
    leads = {pair for pair, found in MOVES.items() if found.to is State.CANCELLED and pair[0] >= State.TRANSACTION}
    assert leads == {(State.TRANSACTION, Event.REVERSE), (State.MATCHING, Event.REVERSE)}


def test_what_is_settled_or_cancelled_stays() -> None:
    assert not {state for state, _ in MOVES} & {State.SETTLEMENT, State.CANCELLED}


def test_missing_attributes_are_named() -> None:
    said = dict.fromkeys(ATTRIBUTES, "something")
    assert missing(said) == ()
    for name in ATTRIBUTES:
        assert missing({key: value for key, value in said.items() if key != name}) == (name,)
        assert missing(said | {name: "  "}) == (name,)
    assert missing({}) == ATTRIBUTES
    assert missing({"side": "buy"}, ("side", "price")) == ("price",)


def test_an_attribute_that_no_order_has_is_refused() -> None:
    with pytest.raises(ValueError, match="colour: no attribute of an order"):
        missing({"colour": "green"})
    with pytest.raises(ValueError, match="colour"):
        missing({}, ("colour",))


@pytest.mark.parametrize("module", ["lifecycle", "order", "standing", "book"])
def test_orders_know_neither_ledger_nor_accounting(module: str) -> None:
    path = Path("meshnode/market") / f"{module}.py"
    found = [one.module for one in imports(path) if one.is_within("meshnode")]
    beyond = [name for name in found if not name.startswith(("meshnode.market", "meshnode.amounts"))]
    assert beyond == []
