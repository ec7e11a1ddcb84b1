"""Call: one record being executed, with what a handler may know of its block and its ledger.

A `Turn` is what a call has of a block, whoever acts in it: also what no record says, such as an agent's order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from meshnode.execution.floor import Floor, Moment
from meshnode.ledger import rows
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.rules import Rules
from meshnode.settlement import parameters
from protocols.block import SignedRecord
from protocols.cose import Verifier
from protocols.evidence import Case
from protocols.records import Evidence, Genesis, Record


class Ledger(Protocol):
    """What a handler may ask of the machine that executes it; see `meshnode.machine.Machine`."""

    genesis: Genesis
    chain_id: bytes
    state: State
    verifier: Verifier
    floor: Floor

    @property
    def next_period_s(self) -> int:
        """Start of the oldest period that is not closed."""

    def rules(self, period_start_s: int | None = None) -> Rules:
        """The rules in force for a period (default: the oldest open one)."""

    def hear(self, evidence: Evidence) -> Case | None:
        """What evidence comes to; None if it proves nothing."""


class Turn(msgspec.Struct, frozen=True):
    """Somebody's turn in a block.

    Attributes:
        record_id: names what comes of it, such as an order and its hold.
        account: whose turn it is.
        height, position: its place in the ledger.
        time_s: of the block.
        events: what happened besides a verdict is added here.
    """

    ledger: Ledger
    record_id: bytes
    account: bytes
    height: int
    position: int
    time_s: int
    events: list[Any]

    @property
    def state(self) -> State:
        """The tables."""
        return self.ledger.state

    @property
    def moment(self) -> Moment:
        """The block, for what happens to standing orders."""
        return Moment(self.height, self.time_s, self.events)

    def on_top_u_kwh(self, starts_s: Iterable[int]) -> dict[int, int]:
        """What is charged for energy that is ordered, beside its price, in each of some periods."""
        return on_top_u_kwh(self.ledger, starts_s)

    def boundary_s(self) -> int:
        """The first period boundary at or after the block's time."""
        return boundary_s(self.time_s, self.ledger.rules().period.length_s)


class Call(Turn, frozen=True):
    """One record being executed.

    Attributes:
        signed: the record.
        key: the row of the key that signed it; the account is its.
    """

    signed: SignedRecord
    key: rows.Key


Handler = Callable[[Call, Any], Verdict]
Handlers = Mapping[type[Record], tuple[int, Handler]]
"""By record type: the purpose of the key that signs it, and what carries it out."""


def merged(*tables: Handlers) -> Handlers:
    """All tables as one.

    Raises:
        ValueError: two of them execute the same kind of record.
    """
    found: dict[type[Record], tuple[int, Handler]] = {}
    for table in tables:
        twice = [struct.__name__ for struct in table if struct in found]
        if twice:
            raise ValueError(f"{', '.join(twice)}: executed by two modules")
        found.update(table)
    return found


def on_top_u_kwh(ledger: Ledger, starts_s: Iterable[int]) -> dict[int, int]:
    """The most that a kWh that is ordered costs beyond its price, in each of some periods."""
    return parameters.on_top_u_kwh(ledger.state, starts_s, lambda start_s: ledger.rules(start_s).period.tariff)


def boundary_s(time_s: int, length_s: int) -> int:
    """The first multiple of a period's length at or after a time."""
    return -(-time_s // length_s) * length_s
