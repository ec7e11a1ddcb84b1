"""Amendments: what leads from one binding to another, as single changes that can be made one after the other.

Rules and givens are told apart by what they say, events by their conditions, actions by their sentence: so
another price is one amendment, and not a sentence that goes and one that comes. After all of them
the one binding is the other, to the byte; in between it may be one that nobody could carry out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct

from zencode.binding import Binding, Block, Statement, same_fact, sorted_statements
from zencode.kinds import Value
from zencode.sentences import BY_ID

T = TypeVar("T")

LineOf = Callable[[Statement], int]
"""The line on which a statement stands; 0 if that is not known."""


class Amendment(Struct, frozen=True):
    """One change: these statements go, those come.

    One of each is a sentence with other values; several are a whole block. `line` is that of the new
    text, for what only goes that of the sentence after which it stood; 0 is the beginning.
    """

    removed: tuple[Statement, ...]
    added: tuple[Statement, ...]
    line: int


class _Fact(Struct, frozen=True):
    """A rule or given of either binding; change: the number of its amendment, None if both have it."""

    old: Statement | None
    new: Statement | None
    change: int | None


class _Case(Struct, frozen=True):
    """A block of either binding. head: the amendment of the block as such, of its event or conditions."""

    old: Block | None
    new: Block | None
    head: int | None
    actions: tuple[_Fact, ...]


class Amendments:
    """The way from one binding to another.

    Attributes:
        changes: in the order of the new text.
    """

    def __init__(self, old: Binding, new: Binding, line_of: LineOf = lambda statement: 0) -> None:
        """Compare two bindings.

        Args:
            line_of: tells the line of a statement of `new`; without lines the order is that of the tree.
        """
        self._old, self._new = old, new
        found = _Found(line_of)
        self._rules = found.facts(old.rules, new.rules)
        self._givens = found.facts(old.givens, new.givens)
        self._cases = found.cases(old.blocks, new.blocks)
        order = sorted(range(len(found.amendments)), key=lambda number: found.amendments[number].line)
        self.changes = tuple([found.amendments[number] for number in order])
        self._rank = {number: rank for rank, number in enumerate(order)}

    def after(self, count: int) -> Binding:
        """The binding when the first `count` changes have been made; the title changes with the last."""
        whole = self._new if count == len(self.changes) else self._old
        blocks = [self._block(case, count) for case in self._cases]
        return Binding(
            whole.scenario,
            whole.title,
            sorted_statements(self._facts(self._rules, count)),
            sorted_statements(self._facts(self._givens, count)),
            tuple([block for block in blocks if block is not None]),
        )

    def _made(self, change: int | None, count: int) -> bool:
        return change is not None and self._rank[change] < count

    def _facts(self, facts: Sequence[_Fact], count: int) -> list[Statement]:
        chosen = [fact.new if self._made(fact.change, count) else fact.old for fact in facts]
        return [statement for statement in chosen if statement is not None]

    def _block(self, case: _Case, count: int) -> Block | None:
        head = case.new if self._made(case.head, count) else case.old
        if head is None:
            return None
        actions = self._facts(case.actions, count) if case.old and case.new else list(head.actions)
        # An event with nothing to do is none.
        return Block(head.event, head.conditions, tuple(actions)) if actions else None


class _Found:
    """Amendments as they are found; `last` is the line of the sentence before."""

    def __init__(self, line_of: LineOf) -> None:
        self.amendments: list[Amendment] = []
        self._line_of = line_of
        self._last = 0

    def facts(self, old: Sequence[Statement], new: Sequence[Statement]) -> list[_Fact]:
        """Rules or givens: the same fact with other values is a change of it."""
        self._last = 0
        before, after = ({same_fact(statement): statement for statement in part} for part in (old, new))
        keys: list[tuple[Value, ...]] = sorted(before.keys() | after.keys())
        return [self._fact(before.get(key), after.get(key)) for key in keys]

    def cases(self, old: Sequence[Block], new: Sequence[Block]) -> list[_Case]:
        """Blocks: alike in event and conditions, or at least of the same sentences."""
        self._last = 0
        return [self._case(*pair) for pair in _aligned(old, new, (_head, _sentences))]

    def _fact(self, old: Statement | None, new: Statement | None) -> _Fact:
        if old == new:
            self._pass(new)
            return _Fact(old, new, None)
        return _Fact(old, new, self._amend((old,) if old else (), (new,) if new else ()))

    def _case(self, old: Block | None, new: Block | None) -> _Case:
        if old is None or new is None:
            return _Case(old, new, self._amend(_all(old), _all(new)), ())
        head = None
        if _head(old) != _head(new):
            head = self._amend((old.event, *old.conditions), (new.event, *new.conditions))
        else:
            self._pass(new.event)
        actions = [self._fact(*pair) for pair in _aligned(old.actions, new.actions, (_itself, _id, _under))]
        return _Case(old, new, head, tuple(actions))

    def _amend(self, removed: tuple[Statement, ...], added: tuple[Statement, ...]) -> int:
        if added:
            self._pass(added[0])
        self.amendments.append(Amendment(removed, added, self._last))
        if added:
            self._pass(added[-1])
        return len(self.amendments) - 1

    def _pass(self, statement: Statement | None) -> None:
        self._last = (self._line_of(statement) if statement else 0) or self._last


def _all(block: Block | None) -> tuple[Statement, ...]:
    return () if block is None else (block.event, *block.conditions, *block.actions)


def _head(block: Block) -> object:
    return (block.event, block.conditions)


def _sentences(block: Block) -> object:
    return (block.event.id, tuple([condition.id for condition in block.conditions]))


def _itself(statement: Statement) -> object:
    return statement


def _id(statement: Statement) -> object:
    return statement.id


def _under(statement: Statement) -> object:
    # Another way to share in the place of one: not nothing in between.
    return BY_ID[statement.id].under


def _aligned(
    old: Sequence[T], new: Sequence[T], alike: Sequence[Callable[[T], object]]
) -> list[tuple[T | None, T | None]]:
    """Two lists side by side: the longest common part by the first likeness, what lies between by the next."""
    if not alike:
        return [*((one, None) for one in old), *((None, one) for one in new)]
    like, *weaker = alike
    found: list[tuple[T | None, T | None]] = []
    before, after = 0, 0
    for left, right in _common([like(one) for one in old], [like(one) for one in new]):
        between = _aligned(old[before:left], new[after:right], weaker)
        found += [*between, (old[left], new[right])]
        before, after = left + 1, right + 1
    rest = _aligned(old[before:], new[after:], weaker)
    return found + rest


def _common(old: Sequence[object], new: Sequence[object]) -> list[tuple[int, int]]:
    """Places of a longest common subsequence."""
    longest = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for left in reversed(range(len(old))):
        for right in reversed(range(len(new))):
            same = old[left] == new[right]
            longest[left][right] = (
                longest[left + 1][right + 1] + 1 if same else max(longest[left + 1][right], longest[left][right + 1])
            )
    found, left, right = [], 0, 0
    while left < len(old) and right < len(new):
        if old[left] == new[right]:
            found.append((left, right))
            left, right = left + 1, right + 1
        elif longest[left + 1][right] >= longest[left][right + 1]:
            left += 1
        else:
            right += 1
    return found
