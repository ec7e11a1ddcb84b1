"""Brute force: tries every order of a small history, without any of the checker's rules.

The objects are written a second time here, as plainly as can be and apart from the models, so that
a mistake in one of them shows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from tests.linearizability.history import History, Operation
from tests.linearizability.ledger import Absent, Final, Place, ReadBalance, ReadCount, ReadRecord, Refused, WriteRecord
from tests.linearizability.models import CompareAndSet, Read, Write

Outcomes = Callable[[Any, Operation], Iterator[Any]]


def explainable(history: History, initial: Any, outcomes: Outcomes) -> bool:
    """Whether any order explains a history.

    outcomes: the states after an operation, one for each way in which it may take effect.
    """
    return _explainable(list(history.operations), initial, outcomes)


def _explainable(to_come: list[Operation], state: Any, outcomes: Outcomes) -> bool:
    if all(operation.pending for operation in to_come):
        return True
    for index, operation in enumerate(to_come):
        others = to_come[:index] + to_come[index + 1 :]
        if any(other.returned is not None and other.returned < operation.call for other in others):
            continue
        if any(_explainable(others, after, outcomes) for after in outcomes(state, operation)):
            return True
    return False


def register_outcomes(value: Any, operation: Operation) -> Iterator[Any]:
    """One register without a key."""
    match operation.input:
        case Read():
            if operation.pending or operation.output == value:
                yield value
        case Write(value=new):
            yield new
        case CompareAndSet(old=old, new=new) if value == old:
            if operation.pending or operation.output is True:
                yield new
        case CompareAndSet():
            if operation.pending or operation.output is False:
                yield value


# Records in the order in which they entered: id, whether refused, place (None where nobody tells one), moves.
# Beside them, those that some node refused by itself, and the first place that is still free.
Entry = tuple[str, bool, Place | None, tuple[tuple[str, int], ...]]
LedgerState = tuple[tuple[Entry, ...], frozenset[str], Place]
EMPTY_LEDGER: LedgerState = ((), frozenset(), (0, 0))


Places = Mapping[str, Collection[Place]]


def places_told(history: History) -> Places:
    """The places that any answer gives a record."""
    told: dict[str, set[Place]] = {}
    for one in history.operations:
        if isinstance(one.output, Final | Refused) and one.output.place is not None:
            told.setdefault(one.input.record, set()).add(one.output.place)
    return told


def ledger_outcomes(places: Places) -> Outcomes:
    """A ledger. Records enter at one of their places; those that have none, somewhere unknown."""

    def outcomes(state: LedgerState, operation: Operation) -> Iterator[LedgerState]:
        if isinstance(operation.input, WriteRecord):
            yield from _written(state, operation, places.get(operation.input.record, (None,)))
        elif operation.pending or _fits(state, operation):
            height = None if operation.pending else operation.output.height
            entries, refused, free = state
            if height is None:
                yield state
            elif free <= (height + 1, 0):
                yield (entries, refused, (height + 1, 0))

    return outcomes


def _written(state: LedgerState, operation: Operation, places: Collection[Place | None]) -> Iterator[LedgerState]:
    record, answer = operation.input.record, operation.output
    entries, refused, free = state
    here = [entry for entry in entries if entry[0] == record]
    may_be_final = operation.pending or isinstance(answer, Final)
    may_be_refused = operation.pending or isinstance(answer, Refused)
    told = None if operation.pending else answer.place
    if here:
        ((_, is_refused, place, _),) = here
        if (may_be_refused if is_refused else may_be_final) and told in (None, place):
            yield (entries, refused | {record} if is_refused else refused, free)
        return
    if may_be_refused and told is None:
        yield (entries, refused | {record}, free)
    for place in places:
        if told not in (None, place) or (place is not None and place < free):
            continue
        after = free if place is None else (place[0], place[1] + 1)
        if may_be_final and record not in refused:
            yield ((*entries, (record, False, place, operation.input.moves)), refused, after)
        if may_be_refused and place is not None:
            yield ((*entries, (record, True, place, ())), refused | {record}, after)


def _fits(state: LedgerState, operation: Operation) -> bool:
    entries, refused, _ = state
    answer: Any = operation.output
    match operation.input:
        case ReadRecord(record=record):
            here = [(entry[1], entry[2]) for entry in entries if entry[0] == record]
            match answer:
                case Absent():
                    return not here
                case Final(place=place):
                    return any(not is_refused and place in (None, at) for is_refused, at in here)
                case _ if answer.place is None:
                    return record in refused
                case _:
                    return (True, answer.place) in here
        case ReadCount():
            return bool(answer.value == sum(not is_refused for _, is_refused, _, _ in entries))
        case ReadBalance(account=account):
            moves = [move for _, _, _, moves in entries for move in moves]
            return bool(answer.value == sum(amount for owner, amount in moves if owner == account))
        case _:
            raise TypeError(f"{operation.input!r} is nothing that a ledger can be asked")
