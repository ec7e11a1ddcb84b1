"""Life cycle: the six steps of an order, what moves it from one to the next, and what must hold before it does.

    after = move(State.BOOKING, Event.CONFIRM, met={Guard.SIGNED})

A table and nothing else: who checks a guard, and what a step does to holds and balances, is
somebody else's. Whatever fails before step 4 leaves nothing behind; from step 4 on only a reversing
posting, linked to the original, undoes what was done. What has been settled is in reports
and invoices; it is corrected by another order in the other direction, never undone.
"""

import enum
from collections.abc import Set
from typing import Final

import msgspec


class State(enum.IntEnum):
    """Where an order stands; 1 to 6 are the steps that it has reached."""

    PRE_EXECUTION = 1
    BOOKING = 2
    CONFIRMATION = 3
    TRANSACTION = 4
    MATCHING = 5
    SETTLEMENT = 6
    CANCELLED = 7


class Event(enum.IntEnum):
    """What happens to an order."""

    BOOK = 1
    CONFIRM = 2
    TRADE = 3
    """All of it, or a part."""
    AMEND = 4
    MATCH = 5
    SETTLE = 6
    CANCEL = 7
    EXPIRE = 8
    FAIL = 9
    """A guard does not hold any more."""
    REVERSE = 10


class Guard(enum.IntEnum):
    """What must hold before a step is taken."""

    IDENTITY = 1
    """A key of a member, with the credentials that the binding asks for."""
    ATTRIBUTES = 2
    """Nothing is missing that an order has to say (`missing`)."""
    CONTRACT = 3
    """Where the order names a contract, it is signed and holds."""
    SERVICE_LEVEL = 4
    """What the contract promises allows it."""
    METERED = 5
    """What is to be sold was metered or minted, where it is to be."""
    EXPOSURE = 6
    """It commits no more than the member has, and its credit."""
    AGREED = 7
    """Both sides agree, or the market's binding does for them."""
    HELD = 8
    """What it commits is held, as far as it is backed."""
    SIGNED = 9
    IN_SEQUENCE = 10
    """It has a place in the one sequence of all orders."""
    MATCHED = 11
    """The matching rule has found the other side."""
    BOTH_LEGS = 12
    """Both assets change hands in one step."""
    PERIOD_FINAL = 13
    """What was metered in its period is not corrected any more."""
    CLOSED = 14
    """The day or month is closed, and the hashes of its documents are on the ledger."""
    OPEN_PART = 15
    """Something of it is still open."""
    BOTH_AGREE = 16
    """Both parties of the trade want it undone, and both have what is to go back."""


class Move(msgspec.Struct, frozen=True):
    """One legal transition: where it leads, and what must hold before it."""

    to: State
    guards: tuple[Guard, ...] = ()


class IllegalMove(ValueError):
    """An event that an order in this state does not know."""

    def __init__(self, state: State, event: Event) -> None:
        known = ", ".join(one.name for place, one in MOVES if place is state) or "none"
        super().__init__(
            f"order in state {state.name}: {event.name} is not possible, expected one of these events: {known}"
        )
        self.state = state
        self.event = event


class GuardFailed(ValueError):
    """What must hold before a transition does not, named one by one."""

    def __init__(self, state: State, event: Event, failed: tuple[Guard, ...]) -> None:
        names = ", ".join(guard.name for guard in failed)
        super().__init__(f"order in state {state.name}: {event.name} needs {names}, which does not hold")
        self.failed = failed


_CANCELLED: Final = Move(State.CANCELLED)
# What is open goes back; what was traded goes on.
_REST_LEAVES: Final = Move(State.TRANSACTION, (Guard.OPEN_PART,))
_REVERSED: Final = Move(State.CANCELLED, (Guard.BOTH_AGREE, Guard.BOTH_LEGS))
_TRADED: Final = Move(State.TRANSACTION, (Guard.MATCHED, Guard.BOTH_LEGS))
_BEFORE_TRADE: Final = (State.PRE_EXECUTION, State.BOOKING, State.CONFIRMATION)

MOVES: Final[dict[tuple[State, Event], Move]] = {
    (State.PRE_EXECUTION, Event.BOOK): Move(
        State.BOOKING,
        (Guard.IDENTITY, Guard.ATTRIBUTES, Guard.CONTRACT, Guard.SERVICE_LEVEL, Guard.METERED, Guard.EXPOSURE),
    ),
    (State.BOOKING, Event.CONFIRM): Move(
        State.CONFIRMATION, (Guard.AGREED, Guard.HELD, Guard.SIGNED, Guard.IN_SEQUENCE)
    ),
    (State.CONFIRMATION, Event.AMEND): Move(State.CONFIRMATION, (Guard.SIGNED, Guard.HELD)),
    (State.CONFIRMATION, Event.TRADE): _TRADED,
    (State.TRANSACTION, Event.TRADE): _TRADED,
    (State.TRANSACTION, Event.AMEND): Move(State.TRANSACTION, (Guard.OPEN_PART, Guard.SIGNED, Guard.HELD)),
    (State.TRANSACTION, Event.CANCEL): _REST_LEAVES,
    (State.TRANSACTION, Event.EXPIRE): _REST_LEAVES,
    (State.TRANSACTION, Event.FAIL): _REST_LEAVES,
    (State.TRANSACTION, Event.MATCH): Move(State.MATCHING, (Guard.PERIOD_FINAL,)),
    (State.TRANSACTION, Event.REVERSE): _REVERSED,
    (State.MATCHING, Event.SETTLE): Move(State.SETTLEMENT, (Guard.CLOSED,)),
    (State.MATCHING, Event.REVERSE): _REVERSED,
    **{(state, event): _CANCELLED for state in _BEFORE_TRADE for event in (Event.CANCEL, Event.EXPIRE, Event.FAIL)},
}
"""Every legal transition; what is not here is refused by name."""


def move(state: State, event: Event, met: Set[Guard] = frozenset()) -> State:
    """The state after an event.

    Args:
        met: the guards that hold.
    Raises:
        IllegalMove: an order in this state does not know the event.
        GuardFailed: something that must hold does not; all of it is named.
    """
    found = MOVES.get((state, event))
    if found is None:
        raise IllegalMove(state, event)
    failed = tuple(guard for guard in found.guards if guard not in met)
    if failed:
        raise GuardFailed(state, event, failed)
    return found.to


def guards(state: State, event: Event) -> frozenset[Guard]:
    """What must hold before a transition. Raises IllegalMove."""
    found = MOVES.get((state, event))
    if found is None:
        raise IllegalMove(state, event)
    return frozenset(found.guards)


ATTRIBUTES: Final = (
    *("asset_type", "asset_name", "status", "trade_date", "trade_time"),
    *("side", "value", "price", "quantity"),
    *("seller_sales", "seller_shipper", "seller_provider"),
    *("counterparty_id", "counterparty_name", "counterparty_address", "counterparty_date"),
    *("payment_type", "settlement_type", "delivery_type"),
)
"""What an order's documents say, in the order in which they are hashed. A community may not need all of them."""


def missing(said: dict[str, str], wanted: tuple[str, ...] = ATTRIBUTES) -> tuple[str, ...]:
    """The attributes that are not given or are empty, by name.

    Args:
        said: attributes by name.
        wanted: which of them there must be.
    Raises:
        ValueError: something is said that no order has, or wanted that there is not.
    """
    strange = [name for name in (*said, *wanted) if name not in ATTRIBUTES]
    if strange:
        raise ValueError(f"{', '.join(strange)}: no attribute of an order, expected one of {', '.join(ATTRIBUTES)}")
    return tuple(name for name in wanted if not said.get(name, "").strip())
