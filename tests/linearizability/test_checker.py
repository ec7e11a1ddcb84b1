"""Small stories of a register, one for each way to get a verdict wrong."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import pytest

from tests.linearizability.checker import Bounds, Progress, Result, Verdict, check
from tests.linearizability.history import History, HistoryError, Operation, Recorder
from tests.linearizability.imagined import ImaginedRegister, ask_register, imagine
from tests.linearizability.models import (
    KEY_VALUE,
    REGISTER,
    Append,
    CompareAndSet,
    Get,
    Part,
    Put,
    Read,
    Register,
    Write,
)

# (input, call, return or None, output)
Told = tuple[Any, int, int | None, Any]


def history(*told: Told) -> History:
    return History(
        tuple(Operation(f"{n}", call, returned, asked, out) for n, (asked, call, returned, out) in enumerate(told))
    )


def write(value: int, call: int, returned: int | None) -> Told:
    return (Write(value), call, returned, None)


def read(value: int | None, call: int, returned: int | None) -> Told:
    return (Read(), call, returned, value)


def compare_and_set(old: int, new: int, done: bool | None, call: int, returned: int | None) -> Told:
    return (CompareAndSet(old, new), call, returned, done)


LINEARIZABLE: dict[str, tuple[Told, ...]] = {
    "nothing happened": (),
    "nothing was answered": (write(1, 0, None), read(None, 1, None)),
    "one after the other": (write(1, 0, 1), read(1, 2, 3)),
    "an empty register is read": (read(None, 0, 1), write(1, 2, 3)),
    "a read during a write sees the old": (write(1, 0, 1), write(2, 2, 9), read(1, 3, 4)),
    "a read during a write sees the new": (write(1, 0, 1), write(2, 2, 9), read(2, 3, 4)),
    "first the old, then the new": (write(1, 0, 1), write(2, 2, 9), read(1, 3, 4), read(2, 5, 6)),
    "a call at the moment of a return overlaps": (write(1, 0, 5), read(None, 5, 6)),
    "a pending write never happened": (write(1, 0, None), read(None, 5, 6)),
    "a pending write happened at once": (write(1, 0, None), read(1, 5, 6), read(1, 7, 8)),
    "a pending write happened much later": (write(1, 0, None), write(2, 1, 2), read(2, 3, 4), read(1, 5, 6)),
    "two equal pending writes happened one by one": (
        *(write(1, 0, None), write(1, 7, None)),
        *(write(2, 1, 2), read(1, 3, 4), write(3, 5, 6), read(3, 8, 9), read(1, 10, 11)),
    ),
    # The write of 3 would change nothing at first, and must all the same come second.
    "a write of what is there already has to wait": (
        *(write(3, 0, 1), write(3, 2, 20), write(4, 3, 20)),
        *(read(4, 5, 6), read(3, 7, 8)),
    ),
    "a comparison fails beside a write": (write(1, 0, 9), compare_and_set(1, 2, False, 1, 2), read(1, 10, 11)),
    "a pending comparison succeeds late": (
        *(compare_and_set(2, 3, None, 0, None), read(None, 1, 2)),
        *(write(2, 3, 4), read(2, 5, 6), read(3, 7, 8)),
    ),
    "the return of a later call comes first": (write(1, 0, 9), write(2, 1, 3), read(1, 4, 5), read(1, 10, 11)),
}

NOT_LINEARIZABLE: dict[str, tuple[Told, ...]] = {
    "a stale read": (write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)),
    "a value that nobody wrote": (write(1, 0, 1), read(7, 0, 5)),
    "a value from the future": (read(1, 0, 1), write(1, 2, 3)),
    "first the new, then the old": (write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6)),
    "two readers see two writes in both orders": (
        *(write(1, 0, 9), write(2, 0, 9)),
        *(read(1, 1, 2), read(2, 3, 4), read(1, 5, 6)),
    ),
    "a pending write happened before its call": (read(1, 0, 1), write(1, 5, None)),
    "a pending write happened twice": (
        *(write(1, 0, None), read(1, 1, 2)),
        *(write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)),
    ),
    "a pending write came and went": (write(1, 0, None), read(1, 1, 2), read(None, 3, 4)),
    "the second of two equal pending writes comes too late": (
        *(write(1, 0, None), read(1, 1, 2), write(2, 3, 4), read(1, 5, 6), write(1, 7, None)),
    ),
    "a comparison succeeds on nothing": (compare_and_set(1, 2, True, 0, 1),),
    "a comparison fails on what is there": (write(1, 0, 1), compare_and_set(1, 2, False, 2, 3)),
    "two comparisons take the same value": (
        *(write(1, 0, 1), compare_and_set(1, 2, True, 2, 9), compare_and_set(1, 3, True, 2, 9)),
    ),
    "a pending comparison that cannot have succeeded": (compare_and_set(2, 3, None, 0, None), read(3, 1, 2)),
}


@pytest.mark.parametrize("told", LINEARIZABLE.values(), ids=LINEARIZABLE.keys())
def test_linearizable(told: tuple[Told, ...]) -> None:
    result = check(history(*told), REGISTER)
    assert result.verdict == Verdict.LINEARIZABLE, result.explained()


@pytest.mark.parametrize("told", NOT_LINEARIZABLE.values(), ids=NOT_LINEARIZABLE.keys())
def test_not_linearizable(told: tuple[Told, ...]) -> None:
    assert check(history(*told), REGISTER).verdict == Verdict.NOT_LINEARIZABLE


@pytest.mark.parametrize("seed", range(5))
def test_an_order_that_is_found_explains_every_answer(seed: int) -> None:
    """Of 300 operations of 5 clients: everything answered stands in it once, in time, and fits."""
    random = Random(seed)
    lived = imagine(random, 5, 300, ask_register, ImaginedRegister().answer)
    result = check(lived, REGISTER)
    (order,) = result.orders.values()
    assert {id(one) for one in order} >= {id(one) for one in lived.operations if not one.pending}
    assert len({id(one) for one in order}) == len(order)
    states: set[Any] = {None}
    for operation in order:
        states = {after for state in states for after in Register().step(state, operation)}
    assert states
    for earlier, later in itertools.combinations(order, 2):
        assert later.returned is None or later.returned >= earlier.call


def test_keys_are_searched_apart_and_the_wrong_one_is_named() -> None:
    told = history(
        *((Append("a", "x"), 0, 1, None), (Get("a"), 2, 3, "x"), (Get("a"), 4, 5, "x")),
        *((Put("b", "y"), 0, 1, None), (Append("b", "z"), 2, 3, None), (Get("b"), 4, 5, "z")),
    )
    result = check(told, KEY_VALUE)
    assert result.verdict == Verdict.NOT_LINEARIZABLE
    assert result.stuck is not None
    assert result.stuck.part == "key b"
    assert [one.input for one in result.stuck.order] == [Put("b", "y"), Append("b", "z")]
    assert result.explained() == (
        "not linearizable: 7 states searched; no order explains key b.\n"
        "The order that gets furthest has length 2 and ends with\n"
        "    client 3: Put(key='b', value='y') called at 0, returned at 1\n"
        "    client 4: Append(key='b', value='z') called at 2, returned at 3\n"
        "Now the text is 'yz'. One of these had to come next, and none leads on:\n"
        "    client 5: Get(key='b') called at 4, answered 'z' at 5"
    )


def crowded(writers: int, *more: Told) -> History:
    """So many writes at once, and a value that none of them wrote: every set of them has to be tried."""
    return history(*(write(value, 0, 100) for value in range(writers)), read(-1, 0, 100), *more)


def test_a_crowd_is_searched_to_the_end() -> None:
    """Sets of writes, with the last one done as state, and one where nothing is written: 8 * 2^7 + 1."""
    result = check(crowded(8), REGISTER)
    assert (result.verdict, result.states) == (Verdict.NOT_LINEARIZABLE, 8 * 2**7 + 1)


def test_reads_that_fit_are_not_tried_in_every_order() -> None:
    reads = (read(1, 2, 100) for _ in range(30))
    result = check(history(write(1, 0, 1), *reads, read(-1, 2, 100)), REGISTER)
    assert result.verdict == Verdict.NOT_LINEARIZABLE
    assert result.states == 32


def test_equal_pending_writes_are_not_tried_in_every_order() -> None:
    """None of thirty, or one: a second one changes nothing any more."""
    lost = (write(1, 0, None) for _ in range(30))
    result = check(history(*lost, read(-1, 1, 100)), REGISTER)
    assert result.verdict == Verdict.NOT_LINEARIZABLE
    assert result.states == 2


def test_beyond_its_bound_of_states_nothing_is_known() -> None:
    result = check(crowded(16), REGISTER, Bounds(states=1_000))
    assert (result.verdict, result.states) == (Verdict.UNKNOWN, 1_000)
    assert result.explained() == "unknown: 1,000 states searched"


def test_beyond_its_time_nothing_is_known() -> None:
    clock = itertools.count().__next__
    seen: list[Progress] = []
    result = check(crowded(16), REGISTER, Bounds(seconds=3), seen.append, clock)
    assert result.verdict == Verdict.UNKNOWN
    assert 0 < result.states < 3_000
    # Beside the crowd there is one answer that cannot be explained.
    assert [(one.explained, one.answered) for one in seen] == [(16, 17)] * 3
    assert seen[0].states < seen[1].states < seen[2].states <= result.states


def test_a_large_part_that_is_given_up_does_not_hide_a_small_one_that_has_no_order() -> None:
    lost = tuple((Write(value, "crowd"), 0, 100, None) for value in range(16))
    told = history(*lost, (Read("crowd"), 0, 100, -1), *((Read(f"{n}"), 0, 1, n % 2 or None) for n in range(2)))
    assert check(told, REGISTER, Bounds(states=1_000)).verdict == Verdict.NOT_LINEARIZABLE
    (good, bad) = told.operations[-2:]
    alone = History((*told.operations[:-2], good))
    assert check(alone, REGISTER, Bounds(states=1_000)).verdict == Verdict.UNKNOWN
    assert check(History((bad,)), REGISTER).verdict == Verdict.NOT_LINEARIZABLE


class InOrder(Register):
    """A register of which somebody knows that the operations came as they are listed."""

    def parts(self, listed: History) -> list[Part]:
        last = len(listed.operations)
        return [Part("", self, listed.operations, {later: range(later) for later in range(last)})]

    name = "in order"


def test_what_a_model_knows_to_come_earlier_has_to() -> None:
    told = (write(1, 0, 9), write(2, 0, 9), read(2, 10, 11))
    assert check(history(*told), InOrder()).verdict == Verdict.LINEARIZABLE
    assert check(history(told[1], told[0], told[2]), InOrder()).verdict == Verdict.NOT_LINEARIZABLE
    late = (write(1, 0, 9), write(2, 0, None), read(2, 10, 11))
    assert check(history(late[0], late[1], late[2]), REGISTER).verdict == Verdict.LINEARIZABLE
    known = Part("", Register(), history(*late).operations, {1: (2,)})
    assert check(History(known.operations), _Only(known)).verdict == Verdict.NOT_LINEARIZABLE


class _Only:
    name = "one part"

    def __init__(self, part: Part) -> None:
        self._part = part

    def parts(self, listed: History) -> list[Part]:
        assert listed.operations == self._part.operations
        return [self._part]


def test_hundreds_of_lost_answers_are_no_trouble() -> None:
    """A fifth of 2,000 answers is lost; equal ones are interchangeable and needless ones are left out."""
    lived = imagine(Random(3), 8, 2_000, ask_register, ImaginedRegister().answer, lost_ppm=200_000)
    assert lived.pending > 350
    result: Result = check(lived, REGISTER)
    assert result.verdict == Verdict.LINEARIZABLE
    assert result.states < 100_000


def test_a_recorder_writes_down_what_clients_see() -> None:
    recorder = Recorder()
    first = recorder.called("anna", Write(1))
    second = recorder.called("bela", Read())
    recorder.returned(second, 1)
    refused = recorder.called("bela", Write(2))
    recorder.failed(refused)
    assert recorder.history() == History(
        (Operation("anna", 0, None, Write(1)), Operation("bela", 1, 2, Read(), 1)),
    )
    recorder.returned(first, None)
    assert recorder.history().operations[0].returned == 4
    assert recorder.history().pending == 0
    for closed in (first, second, refused):
        with pytest.raises(HistoryError, match=f"call {closed} is not open"):
            recorder.returned(closed, None)


def test_a_recorder_may_have_a_clock() -> None:
    recorder = Recorder(iter((1_000, 5_000)).__next__)
    recorder.returned(recorder.called("anna", Read()), None)
    (only,) = recorder.history().operations
    assert (only.call, only.returned) == (1_000, 5_000)


def test_a_return_before_the_call_is_refused() -> None:
    with pytest.raises(HistoryError, match=r"client 0: .* called at 5, answered 1 at 4: a return before the call"):
        history(read(1, 5, 4))


def test_operations_of_another_model_are_refused() -> None:
    with pytest.raises(HistoryError, match="the register model knows Read, Write, CompareAndSet"):
        check(history((Get("a"), 0, 1, "")), REGISTER)
    with pytest.raises(HistoryError, match="the key-value model knows Get, Put, Append"):
        check(history(read(1, 0, 1)), KEY_VALUE)
