"""Checker: searches for an order of operations, one at a time, that explains what clients saw.

The search walks configurations: which operations have taken effect, and the state they made. From one,
any operation may come next whose call is not later than the earliest return among those still to come
(Wing and Gong, Testing and verification of linearizability, 1993). A configuration is never searched
twice (Lowe, Testing for linearizability, 2017), each independent part of a history is searched alone
(Horn and Kroening, Faster linearizability checking via P-compositionality, 2015), and four rules of
this module keep the search short and lose no order that is needed:

1. An operation that only looks, and fits, comes at once: no other order gets further without it.
2. Of pending operations that do the same in every state, the one called first comes first.
3. What can be reached with some pending operations used can be reached, in the same state and with
   the same answers given, with fewer of them used: only such least sets are searched on.
4. What a model knows to come earlier in every order has to have come (`Part.earlier`).

Pending operations need not come at all: the search is over when every answered one has its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec

from tests.linearizability.history import History, Operation
from tests.linearizability.models import Model, Part, Sequential

# Configurations of one history that are kept. They take up to 600 bytes each: 300 MB at the bound.
MAX_STATES = 500_000
# One history: recorded ones take milliseconds, and a test that waits longer is broken anyway.
MAX_SECONDS = 120.0
# Steps between two looks at the clock; a look costs as much as a step.
STEPS_PER_LOOK = 1_000
# Operations of an order that an explanation shows: enough to see what led to the state at its end.
LAST_SHOWN = 8


class Verdict(StrEnum):
    """What a search came to. UNKNOWN: a bound was reached first, which says nothing."""

    LINEARIZABLE = "linearizable"
    NOT_LINEARIZABLE = "not linearizable"
    UNKNOWN = "unknown"


class Bounds(msgspec.Struct, frozen=True):
    """How much one history may cost. The search gives up, with UNKNOWN, at the first that is reached."""

    states: int = MAX_STATES
    seconds: float = MAX_SECONDS


class Progress(msgspec.Struct, frozen=True):
    """How far a search is: states searched in the whole history, most answers explained in this part."""

    part: str
    states: int
    explained: int
    answered: int


class Waiting(msgspec.Struct, frozen=True):
    """An operation that had to come next, and one, if any, that it must come after all the same."""

    operation: Operation
    after: Operation | None

    def __str__(self) -> str:
        return f"    {self.operation}" + (f"\n        but only after {self.after}" if self.after else "")


class Stuck(msgspec.Struct, frozen=True):
    """The furthest that any order of a part got.

    order: the operations in that order; state: what they made, in words;
    waiting: the operations of which one had to come next, and none leads on.
    """

    part: str
    order: tuple[Operation, ...]
    state: str
    waiting: tuple[Waiting, ...]


class Result(msgspec.Struct, frozen=True):
    """A verdict and what it stands on.

    orders: for LINEARIZABLE, an order of every part, by label, that explains every answer.
    stuck: for NOT_LINEARIZABLE, the part that no order explains.
    """

    verdict: Verdict
    states: int
    orders: dict[str, tuple[Operation, ...]]
    stuck: Stuck | None = None

    def explained(self) -> str:
        """The verdict in lines for a person."""
        searched = f"{self.verdict}: {self.states:,} states searched"
        if self.stuck is None:
            return searched
        stuck = self.stuck
        last = "\n".join(f"    {one}" for one in stuck.order[-LAST_SHOWN:]) or "    (none)"
        waiting = "\n".join(str(one) for one in stuck.waiting)
        return (
            f"{searched}; no order explains {stuck.part or 'the answers'}.\n"
            f"The order that gets furthest has length {len(stuck.order)} and ends with\n{last}\n"
            f"Now {stuck.state}. One of these had to come next, and none leads on:\n{waiting}"
        )


def check(
    history: History,
    model: Model,
    bounds: Bounds | None = None,
    progress: Callable[[Progress], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """Whether some order explains a history.

    Parts are searched one after the other, the smallest first, until one has no order or a bound is reached.

    progress: called every STEPS_PER_LOOK steps. clock: seconds, for the bound.
    Raises HistoryError if the history is not one of this model.
    """
    bounds = bounds or Bounds()
    budget = _Budget(bounds, progress, clock)
    orders = {}
    for part in sorted(model.parts(history), key=lambda part: len(part.operations)):
        search = _Search(part, budget)
        found = search.run()
        if found == Verdict.NOT_LINEARIZABLE:
            return Result(found, budget.states, {}, search.stuck())
        if found == Verdict.UNKNOWN:
            return Result(found, budget.states, {})
        orders[part.label] = search.order()
    return Result(Verdict.LINEARIZABLE, budget.states, orders)


class _Budget:
    """What the bounds leave, over all parts of a history."""

    def __init__(self, bounds: Bounds, progress: Callable[[Progress], None] | None, clock: Callable[[], float]) -> None:
        self.states = 0
        self._bounds = bounds
        self._progress = progress
        self._clock = clock
        self._end = clock() + bounds.seconds
        self._steps = 0
        self._late = False

    def spent(self, search: _Search) -> bool:
        """Count one step; whether the search must be given up."""
        self._steps += 1
        if self._steps % STEPS_PER_LOOK == 0:
            self._late = self._clock() >= self._end
            if self._progress is not None:
                self._progress(Progress(search.label, self.states, search.most, search.answered))
        return self._late or self.states >= self._bounds.states


class _Configuration(NamedTuple):
    """Which operations have taken effect, and the state that they made.

    Answered operations are numbered by call: those below `base` have, `base` itself has not, and
    bit i of `ahead` is set if base + i has. `used` holds, in a field of bits for each kind of
    pending operation, how many of that kind have.
    """

    base: int
    ahead: int
    used: int
    state: Hashable


class _Kind(msgspec.Struct):
    """Pending operations that do the same in every state, by call, and their field in `used`."""

    operations: list[Operation]
    earlier: list[int]
    shift: int
    mask: int


class _Move(NamedTuple):
    """An operation that may come next, and the configuration that it leads to."""

    operation: Operation
    reached: _Configuration


class _Search:
    """The search of one part: depth first, with an explicit stack."""

    def __init__(self, part: Part, budget: _Budget) -> None:
        self.label = part.label
        self.most = 0
        self._object: Sequential = part.object
        self._budget = budget
        by_call = sorted(range(len(part.operations)), key=lambda index: part.operations[index].call)
        answered = [index for index in by_call if not part.operations[index].pending]
        numbers = {index: number for number, index in enumerate(answered)}
        earlier = {index: [numbers[one] for one in before] for index, before in part.earlier.items()}
        self._answered = [part.operations[index] for index in answered]
        # Returns apart, so that the innermost loop compares integers.
        self._returns = [one.returned for one in self._answered if one.returned is not None]
        self._earlier = [earlier.get(index, []) for index in answered]
        self._kinds, self._guards = _kinds(part, by_call, earlier)
        self._least: dict[Hashable, list[int]] = {}
        self._trail: list[Operation] = []
        self._best = _Configuration(0, 0, 0, part.object.initial)
        self._best_trail: list[Operation] = []
        self._best_kept = True

    @property
    def answered(self) -> int:
        """How many answers are to be explained."""
        return len(self._answered)

    def run(self) -> Verdict:
        """Search until an order is found, none is left or a bound is reached."""
        start = self._best
        self._is_new(start)
        stack = [self._moves(start)]
        if not self._answered:
            return Verdict.LINEARIZABLE
        while stack:
            if self._budget.spent(self):
                return Verdict.UNKNOWN
            move = next(stack[-1], None)
            if move is None:
                stack.pop()
                self._keep_best()
                if self._trail:
                    self._trail.pop()
            elif self._is_new(move.reached):
                self._trail.append(move.operation)
                self._note(move.reached)
                if move.reached.base == len(self._answered):
                    return Verdict.LINEARIZABLE
                stack.append(self._moves(move.reached))
        return Verdict.NOT_LINEARIZABLE

    def order(self) -> tuple[Operation, ...]:
        """The order that was found."""
        return tuple(self._trail)

    def stuck(self) -> Stuck:
        """The furthest that the search got."""
        best = self._best
        numbers = self._candidates(best)[0]
        state = self._object.shown(best.state, [self._answered[number] for number in numbers])
        waiting = tuple(Waiting(self._answered[number], self._missing(best, number)) for number in numbers)
        return Stuck(self.label, tuple(self._best_trail), state, waiting)

    def _missing(self, here: _Configuration, number: int) -> Operation | None:
        missing = (one for one in self._earlier[number] if not _have_come(here, [one]))
        return next((self._answered[one] for one in missing), None)

    def _moves(self, here: _Configuration) -> Iterator[_Move]:
        candidates, deadline = self._candidates(here)
        candidates = [number for number in candidates if _have_come(here, self._earlier[number])]
        for number in candidates:
            operation = self._answered[number]
            if self._object.only_looks(here.state, operation) and self._object.step(here.state, operation):
                yield self._answer(here, number, here.state)
                return
        for number in sorted(candidates, key=self._returns.__getitem__):
            for state in self._object.step(here.state, self._answered[number]):
                yield self._answer(here, number, state)
        for kind in self._kinds:
            count = here.used >> kind.shift & kind.mask
            called = count < len(kind.operations) and kind.operations[count].call <= deadline
            if called and _have_come(here, kind.earlier):
                operation = kind.operations[count]
                used = here.used + (1 << kind.shift)
                for state in self._object.step(here.state, operation):
                    yield _Move(operation, here._replace(used=used, state=state))

    def _candidates(self, here: _Configuration) -> tuple[list[int], int]:
        """The answered operations that may come next, and the earliest return among those to come."""
        number, ahead = here.base, here.ahead
        deadline = self._returns[number]
        waiting = []
        while number < len(self._answered) and self._answered[number].call <= deadline:
            if not ahead & 1:
                waiting.append(number)
                deadline = min(deadline, self._returns[number])
            number += 1
            ahead >>= 1
        # The deadline fell on the way, and not below any of these calls: none returns before the last was called.
        return waiting, deadline

    def _answer(self, here: _Configuration, number: int, state: Hashable) -> _Move:
        """An answered operation comes next."""
        ahead = here.ahead | 1 << (number - here.base)
        passed = (~ahead & (ahead + 1)).bit_length() - 1
        reached = _Configuration(here.base + passed, ahead >> passed, here.used, state)
        return _Move(self._answered[number], reached)

    def _is_new(self, one: _Configuration) -> bool:
        """Remember a configuration, unless one that can do all it can was searched (rule 3)."""
        key = (one.base, one.ahead, one.state)
        least = self._least.get(key)
        if least is None:
            self._least[key] = [one.used]
        elif any(self._within(other, one.used) for other in least):
            return False
        else:
            least[:] = [other for other in least if not self._within(one.used, other)]
            least.append(one.used)
        self._budget.states += 1
        return True

    def _within(self, fewer: int, more: int) -> bool:
        """Whether no field of one `used` is above its fellow: then no subtraction takes a field's guard bit."""
        return ((more | self._guards) - fewer) & self._guards == self._guards

    def _note(self, reached: _Configuration) -> None:
        explained = reached.base + reached.ahead.bit_count()
        if explained > self.most:
            self.most = explained
            self._best = reached
            self._best_kept = False

    def _keep_best(self) -> None:
        """Before the first step back, and not at every step forward, copy the way to the furthest."""
        if not self._best_kept:
            self._best_kept = True
            self._best_trail = list(self._trail)


def _have_come(here: _Configuration, numbers: list[int]) -> bool:
    """Whether all these answered operations have taken effect."""
    return all(number < here.base or here.ahead >> (number - here.base) & 1 for number in numbers)


def _kinds(part: Part, by_call: list[int], earlier: dict[int, list[int]]) -> tuple[list[_Kind], int]:
    """Pending operations by kind (rule 2), and the guard bits above the fields of `used`."""
    grouped: dict[Hashable, list[int]] = {}
    for index in by_call:
        operation = part.operations[index]
        if operation.pending and not part.object.only_looks(part.object.initial, operation):
            grouped.setdefault(part.object.kind(operation), []).append(index)
    kinds = []
    shift = guards = 0
    for indexes in grouped.values():
        width = len(indexes).bit_length()
        operations = [part.operations[index] for index in indexes]
        kinds.append(_Kind(operations, earlier.get(indexes[0], []), shift, (1 << width) - 1))
        guards |= 1 << (shift + width)
        shift += width + 1
    return kinds, guards
