"""The checker and brute force come to the same verdict on every small history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.linearizability.brute import (
    EMPTY_LEDGER,
    Outcomes,
    explainable,
    ledger_outcomes,
    places_told,
    register_outcomes,
)
from tests.linearizability.checker import Verdict, check
from tests.linearizability.history import History, Operation
from tests.linearizability.imagined import write_of
from tests.linearizability.ledger import (
    LEDGER,
    Absent,
    Final,
    Place,
    ReadBalance,
    ReadCount,
    ReadRecord,
    Refused,
    Value,
    WriteRecord,
)
from tests.linearizability.models import REGISTER, CompareAndSet, Read, Write

# Brute force tries up to n! orders.
MOST_OPERATIONS = 6
# Between two operations of an order; their calls and returns reach over several.
TICKS = 4
# Histories that a generator makes of each object: a second or two.
SEEDED = 2_000

PLACES: dict[str, tuple[Place, ...]] = {"r1": ((1, 0),), "r2": ((1, 1), (2, 0)), "r3": ((2, 0),)}
SOME_PLACES: tuple[Place | None, ...] = (None, (1, 0), (1, 1), (2, 0))
HEIGHTS = (None, 0, 1, 2)
NUMBERS = (None, 0, 1, 2)

# Everything that can be asked, with everything that may be told.
Asked = tuple[Any, tuple[Any, ...]]
WRITTEN: tuple[Any, ...] = tuple(fate(place) for fate in (Final, Refused) for place in SOME_PLACES)
SEEN: tuple[Any, ...] = (
    *(fate(place, height) for fate in (Final, Refused) for place in SOME_PLACES for height in HEIGHTS),
    *(Absent(height) for height in HEIGHTS),
)
VALUES = tuple(Value(value, height) for value in range(-3, 6) for height in HEIGHTS)
ON_A_REGISTER: tuple[Asked, ...] = (
    (Read(), NUMBERS),
    *((Write(value), (None,)) for value in NUMBERS[1:]),
    *((CompareAndSet(old, new), (True, False)) for old in NUMBERS[1:] for new in NUMBERS[1:]),
)
ON_ONE_RECORD: tuple[Asked, ...] = ((WriteRecord("r1"), WRITTEN), (ReadRecord("r1"), SEEN))
ON_RECORDS: tuple[Asked, ...] = tuple(
    asked for record in PLACES for asked in ((WriteRecord(record), WRITTEN), (ReadRecord(record), SEEN))
)
ON_A_LEDGER: tuple[Asked, ...] = (
    *((write_of(record), WRITTEN) for record in PLACES),
    *((ReadRecord(record), SEEN) for record in PLACES),
    (ReadCount(), VALUES),
    *((ReadBalance(account), VALUES) for account in ("anna", "bela")),
)


class Game(msgspec.Struct, frozen=True):
    """What may be asked of an object, as brute force plays it."""

    name: str
    all_asked: tuple[Asked, ...]
    initial: Any
    outcomes: Outcomes


REGISTER_GAME = Game("register", ON_A_REGISTER, None, register_outcomes)
ONE_RECORD_GAME, RECORDS_GAME, LEDGER_GAME = (
    Game(name, all_asked, EMPTY_LEDGER, ledger_outcomes(PLACES))
    for name, all_asked in (("one-record", ON_ONE_RECORD), ("records", ON_RECORDS), ("ledger", ON_A_LEDGER))
)
GAMES = (REGISTER_GAME, ONE_RECORD_GAME, RECORDS_GAME, LEDGER_GAME)
T = TypeVar("T")


class Choose(Protocol):
    """Takes one of several things: hypothesis, or a seeded generator."""

    def __call__(self, things: Sequence[T], /) -> T: ...


def anything(choose: Choose, game: Game) -> History:
    """Whatever may be asked at any time, with any answer."""
    operations = []
    for _ in range(choose(range(MOST_OPERATIONS + 1))):
        asked, answers = choose(game.all_asked)
        call, returned = sorted((choose(range(12)), choose(range(12))))
        if choose(range(4)) == 0:
            operations.append(Operation("c", call, None, asked))
        else:
            operations.append(Operation("c", call, returned, asked, choose(answers)))
    return History(tuple(operations))


def lived(choose: Choose, game: Game) -> History:
    """What clients of a right object see, and sometimes one wrong answer among that."""
    state = game.initial
    operations = []
    for moment in range(0, MOST_OPERATIONS * TICKS, TICKS):
        asked, answers = choose(game.all_asked)
        call, returned = moment - choose(range(3 * TICKS)), moment + choose(range(3 * TICKS))
        operation = Operation("c", call, None, asked)
        if choose(range(4)) > 0:
            told = [msgspec.structs.replace(operation, returned=returned, output=answer) for answer in answers]
            operation = choose([one for one in told if list(game.outcomes(state, one))])
        after = list(game.outcomes(state, operation))
        if after and not (operation.pending and choose(range(2))):
            state = choose(after)
        operations.append(operation)
    wrong = choose(range(3 * MOST_OPERATIONS))
    if wrong < MOST_OPERATIONS and not operations[wrong].pending:
        answers = next(answers for asked, answers in game.all_asked if asked == operations[wrong].input)
        operations[wrong] = msgspec.structs.replace(operations[wrong], output=choose(answers))
    return History(tuple(operations))


def histories(game: Game) -> st.SearchStrategy[History]:
    """Both sorts, chosen by hypothesis, which makes what fails small."""

    @st.composite
    def drawn(draw: st.DrawFn) -> History:
        def choose(things: Sequence[T], /) -> T:
            return draw(st.sampled_from(things))

        return draw(st.sampled_from((anything, lived)))(choose, game)

    return drawn()


def agree_on_register(history: History) -> Verdict:
    return agree(check(history, REGISTER).verdict, explainable(history, None, register_outcomes))


def agree_on_ledger(history: History) -> Verdict:
    outcomes = ledger_outcomes(places_told(history))
    return agree(check(history, LEDGER).verdict, explainable(history, EMPTY_LEDGER, outcomes))


def agree(verdict: Verdict, expected: bool) -> Verdict:
    assert verdict == (Verdict.LINEARIZABLE if expected else Verdict.NOT_LINEARIZABLE)
    return verdict


@given(histories(REGISTER_GAME))
def test_a_register(history: History) -> None:
    agree_on_register(history)


@given(histories(ONE_RECORD_GAME))
def test_one_record(history: History) -> None:
    agree_on_ledger(history)


@given(histories(RECORDS_GAME))
def test_records(history: History) -> None:
    agree_on_ledger(history)


@given(histories(LEDGER_GAME))
def test_records_counts_and_balances(history: History) -> None:
    agree_on_ledger(history)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
def test_thousands_of_histories_of_both_verdicts(game: Game) -> None:
    """Hypothesis is thorough and slow; a generator makes many more histories in the same time."""
    choose = Random(1).choice
    agree_on = agree_on_register if game is REGISTER_GAME else agree_on_ledger
    verdicts = Counter(agree_on(lived(choose, game)) for _ in range(SEEDED))
    assert min(verdicts[Verdict.LINEARIZABLE], verdicts[Verdict.NOT_LINEARIZABLE]) > SEEDED // 20
