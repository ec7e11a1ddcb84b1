"""Histories: what clients asked of a shared object, when, and what they were told.

An operation took effect at one moment between its call and its return. One without a return is
pending: its client never learned what became of it, so it may take effect at any later time, or never.
Times are integers of one clock (nanoseconds, or lines of a recording) and only their order counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec


class HistoryError(ValueError):
    """A history that cannot be: says which operation, what was found and what was expected."""


class Operation(msgspec.Struct, frozen=True):
    """One call of one client.

    returned: None while pending; output then says nothing.
    input, output: what the model of the object understands; hashable.
    """

    client: str
    call: int
    returned: int | None
    input: Any
    output: Any = None

    @property
    def pending(self) -> bool:
        """Whether nobody knows what became of it."""
        return self.returned is None

    def __str__(self) -> str:
        answer = "returned" if self.output is None else f"answered {self.output!r}"
        end = "never answered" if self.pending else f"{answer} at {self.returned}"
        return f"client {self.client}: {self.input} called at {self.call}, {end}"


class History(msgspec.Struct, frozen=True):
    """Operations in any order. One that returns at the moment of another's call overlaps it.

    Raises HistoryError for an operation that returns before its call.
    """

    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        for operation in self.operations:
            if operation.returned is not None and operation.returned < operation.call:
                raise HistoryError(f"{operation}: a return before the call; expected times of one clock")

    @property
    def pending(self) -> int:
        """How many operations are pending."""
        return sum(operation.pending for operation in self.operations)


class Recorder:
    """Writes down a history while clients work.

    The contract that makes a verdict mean anything: `called` before the first byte of a request
    can leave, `returned` after the answer has arrived. By default events are numbered, which suits
    clients in one thread; clients in several processes need the nanoseconds of one clock as `now`.
    """

    def __init__(self, now: Callable[[], int] | None = None) -> None:
        self._now = now or itertools.count().__next__
        self._calls: list[Operation] = []
        self._open: set[int] = set()
        self._failed: set[int] = set()

    def called(self, client: str, asked: Any) -> int:
        """A client is about to ask; returns the number to close the call with."""
        self._calls.append(Operation(client, self._now(), None, asked))
        self._open.add(len(self._calls) - 1)
        return len(self._calls) - 1

    def returned(self, call: int, output: Any) -> None:
        """The answer has arrived. A call that is never closed stays pending."""
        self._close(call)
        asked = self._calls[call]
        self._calls[call] = Operation(asked.client, asked.call, self._now(), asked.input, output)

    def failed(self, call: int) -> None:
        """The call certainly had no effect and told nothing: it leaves the history."""
        self._close(call)
        self._failed.add(call)

    def history(self) -> History:
        """Everything until now."""
        return History(tuple(one for number, one in enumerate(self._calls) if number not in self._failed))

    def _close(self, call: int) -> None:
        if call not in self._open:
            raise HistoryError(f"call {call} is not open; expected one of {sorted(self._open)}")
        self._open.remove(call)
