"""Models: what each operation answers when operations come one at a time.

A model cuts a history into parts that do not influence one another and gives each its sequential
object. A history is linearizable exactly if each part is (locality, Herlihy and Wing 1990), and small
parts are searched much faster. Here: registers and texts under keys; `ledger` holds the product's model.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from tests.linearizability.history import History, HistoryError, Operation


class Sequential(Protocol):
    """An object that does one operation at a time. States are hashable and never changed in place."""

    @property
    def initial(self) -> Hashable:
        """The state before the first operation."""

    def step(self, state: Any, operation: Operation) -> tuple[Hashable, ...]:
        """The states that may follow; empty if the operation cannot give its output here.

        For a pending operation: the states of every outcome in which it took effect.
        """

    def only_looks(self, state: Any, operation: Operation) -> bool:
        """Whether an operation leaves this state, and every one that may follow, as it is wherever it is possible."""

    def shown(self, state: Any, operations: Sequence[Operation]) -> str:
        """What a person should know of a state in which none of these operations leads on."""

    def kind(self, operation: Operation) -> Hashable:
        """What two pending operations have in common that do the same in every state."""


class Part(msgspec.Struct, frozen=True):
    """Operations on one object that no other part influences.

    earlier: what a model sees without searching. For the index of an operation, indexes of answered
    ones that come before it in every order that explains all answers; the same for all of a kind.
    """

    label: str
    object: Sequential
    operations: tuple[Operation, ...]
    earlier: Mapping[int, Sequence[int]] = {}


class Model(Protocol):
    """What a kind of history is about."""

    @property
    def name(self) -> str:
        """Stands in recordings."""

    def parts(self, history: History) -> Sequence[Part]:
        """The independent parts of a history. Raises HistoryError for what is not an operation of this model."""


class Read(msgspec.Struct, frozen=True, tag=True):
    """Give a register's value; None if nothing was ever written."""

    key: str | None = None


class Write(msgspec.Struct, frozen=True, tag=True):
    """Set a register. The output says nothing."""

    value: int | str | None
    key: str | None = None


class CompareAndSet(msgspec.Struct, frozen=True, tag=True):
    """Set a register if it holds `old`; outputs whether it did."""

    old: int | str | None
    new: int | str | None
    key: str | None = None


class Get(msgspec.Struct, frozen=True, tag=True):
    """Give the text under a key; "" if there is none."""

    key: str


class Put(msgspec.Struct, frozen=True, tag=True):
    """Set the text under a key. The output says nothing."""

    key: str
    value: str


class Append(msgspec.Struct, frozen=True, tag=True):
    """Add to the end of the text under a key. The output says nothing."""

    key: str
    value: str


class Register:
    """One register: Read, Write, CompareAndSet."""

    initial: int | str | None = None

    def step(self, state: int | str | None, operation: Operation) -> tuple[int | str | None, ...]:
        match operation.input:
            case Write(value=value):
                return (value,)
            case CompareAndSet(old=old, new=new):
                if not operation.pending and operation.output != (state == old):
                    return ()
                return (new if state == old else state,)
            case _:
                return (state,) if operation.pending or operation.output == state else ()

    def only_looks(self, state: int | str | None, operation: Operation) -> bool:
        # A comparison that failed changed nothing; one that is pending may yet succeed.
        return isinstance(operation.input, Read) or operation.output is False

    def shown(self, state: int | str | None, operations: Sequence[Operation]) -> str:
        return f"the register holds {state!r}"

    def kind(self, operation: Operation) -> Hashable:
        return operation.input  # type: ignore[no-any-return]


class Text:
    """One text: Get, Put, Append."""

    initial = ""

    def step(self, state: str, operation: Operation) -> tuple[str, ...]:
        match operation.input:
            case Put(value=value):
                return (value,)
            case Append(value=value):
                return (state + value,)
            case _:
                return (state,) if operation.pending or operation.output == state else ()

    def only_looks(self, state: str, operation: Operation) -> bool:
        return isinstance(operation.input, Get)

    def shown(self, state: str, operations: Sequence[Operation]) -> str:
        return f"the text is {state!r}"

    def kind(self, operation: Operation) -> Hashable:
        return operation.input  # type: ignore[no-any-return]


class PerKey:
    """A model of independent objects of one sort under keys."""

    def __init__(self, name: str, sort: type[Register] | type[Text], inputs: tuple[type[Any], ...]) -> None:
        self.name = name
        self._sort = sort
        self._inputs = inputs

    def parts(self, history: History) -> list[Part]:
        keyed: dict[str | None, list[Operation]] = {}
        for operation in history.operations:
            if not isinstance(operation.input, self._inputs):
                expected = ", ".join(one.__name__ for one in self._inputs)
                raise HistoryError(f"{operation}: the {self.name} model knows {expected}")
            keyed.setdefault(operation.input.key, []).append(operation)
        return [
            Part("" if key is None else f"key {key}", self._sort(), tuple(operations))
            for key, operations in keyed.items()
        ]


REGISTER = PerKey("register", Register, (Read, Write, CompareAndSet))
KEY_VALUE = PerKey("key-value", Text, (Get, Put, Append))
