"""Finding: one doubtful thing about a binding, and how rules look at a tree.

An error keeps a binding from having terms, on every node alike. So a rule that finds one in
sentences of an earlier version of the catalogue would take a contract in force away: errors
are only ever added for sentences that are new.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from zencode.binding import Binding, Statement
from zencode.sentences import BY_ID

ERROR, WARNING = "error", "warning"

TRADED = "traded energy"


class Lint(Struct, frozen=True):
    """One finding. `statement` is the object of the tree it is about; None is the binding as a whole."""

    level: str
    name: str
    reason: str
    statement: Statement | None = None

    def __str__(self) -> str:
        return f"{self.level}: {self.reason} [{self.name}]"


Findings = Iterator[Lint]


def error(name: str, reason: str, statement: Statement | None = None) -> Lint:
    """A binding that cannot be carried out as it stands."""
    return Lint(ERROR, name, reason, statement)


def warning(name: str, reason: str, statement: Statement | None = None) -> Lint:
    """A binding that works, and probably does not do what its authors meant."""
    return Lint(WARNING, name, reason, statement)


def slot(statement: Statement, name: str) -> Any:
    """The value of a statement's slot."""
    return statement.slots[BY_ID[statement.id].index(name)]


def price(statement: Statement) -> int:
    """The value of a slot called price, in micro-units per kWh."""
    found: int = slot(statement, "price")
    return found


def givens(binding: Binding, *ids: int) -> list[Statement]:
    """The givens of some rows, in the order of the tree."""
    return [given for given in binding.givens if given.id in ids]


def actions(binding: Binding, *ids: int) -> list[Statement]:
    """The actions of some rows, in the order of the file."""
    return [action for block in binding.blocks for action in block.actions if action.id in ids]


def first(binding: Binding, id: int) -> Statement | None:
    """The first action of a row, or None."""
    return next(iter(actions(binding, id)), None)


def events(binding: Binding, *ids: int) -> list[Statement]:
    """The events of some rows, once for each of their blocks."""
    return [block.event for block in binding.blocks if block.event.id in ids]


def percent(ppm: int) -> str:
    """Parts per million as a person reads them."""
    return f"{ppm // 10_000}.{ppm % 10_000:04}".rstrip("0").rstrip(".") + " %"
