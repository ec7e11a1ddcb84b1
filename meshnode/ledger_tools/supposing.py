"""Supposing: a machine that carries out another binding than its ledger's, and the steps that lead to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from meshnode import keys
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.ledger_tools.bills import Tally
from meshnode.machine import Event, Machine, RecordDone
from meshnode.market import MechanismError, Mechanisms
from meshnode.rules import Rules
from meshnode.settlement import SettlementError
from protocols.block import Block
from protocols.records import Genesis
from zencode.amendments import Amendment, Amendments
from zencode.binding import Binding, BindingTreeError
from zencode.terms import TermsError

MAX_STEPS = 12
"""So many steps are replayed on the way to another binding, each of them the whole range; of more, neighbours go
together."""


class SupposedMachine(Machine):
    """Carries out a binding from a settlement period on, whatever its ledger says of bindings."""

    def __init__(
        self,
        genesis: Genesis,
        chain_id: bytes,
        mechanisms: Mechanisms,
        state: State,
        rules: Rules,
        from_s: int,
    ) -> None:
        """Take up a ledger.

        Args:
            state: as it was before the first block that `rules` may matter to; it is changed.
            rules: of the binding.
            from_s: start of the first settlement period for which they hold.
        """
        self._instead, self._from_s = rules.binding, from_s
        super().__init__(genesis, chain_id, mechanisms, keys.verify, state)
        self._rules[rules.binding] = rules

    def apply(self, block: Block) -> tuple[Event, ...]:
        """Execute a block as if its header named the state that it meets here."""
        own = self.state_hash(block.header.state_height)
        if own is not None:
            block = msgspec.structs.replace(block, header=msgspec.structs.replace(block.header, state_hash=own))
        return super().apply(block)

    def _binding(self, period_start_s: int) -> bytes:
        return self._instead if period_start_s >= self._from_s else super()._binding(period_start_s)


class Run:
    """One machine on its way through the ledger, with the bills so far.

    Attributes:
        refused: how many records were not accepted.
    """

    def __init__(self, machine: Machine, span: tuple[int, int]) -> None:
        self.machine, self.tally = machine, Tally(*span)
        self.refused = 0

    def apply(self, block: Block) -> list[RecordDone]:
        """What became of the block's records."""
        events = self.machine.apply(block)
        self.tally.take(events)
        done = [event for event in events if isinstance(event, RecordDone)]
        self.refused += sum(event.verdict != Verdict.ACCEPTED for event in done)
        return done

    @property
    def is_over(self) -> bool:
        """Whether no block can change a bill any more."""
        return self.machine.state.meta.row.next_final_s >= self.tally.to_s


class Stage(msgspec.Struct, frozen=True):
    """The binding after some more amendments."""

    amendments: tuple[Amendment, ...]
    rules: Rules


def stages(amendments: Amendments, resolve: Callable[[Binding], Rules]) -> list[Stage]:
    """The way from one binding to another, amendment by amendment; where one alone makes no binding, with the next.

    Args:
        resolve: gives the rules of a binding.
    Raises:
        BindingTreeError, TermsError, MechanismError, SettlementError: the binding at its end cannot be carried out.
    """
    found: list[Stage] = []
    waiting: list[Amendment] = []
    for count, amendment in enumerate(amendments.changes, 1):
        waiting.append(amendment)
        try:
            rules = resolve(amendments.after(count))
        except (BindingTreeError, TermsError, MechanismError, SettlementError):
            if count == len(amendments.changes):
                raise
            continue
        found.append(Stage(tuple(waiting), rules))
        waiting = []
    # More than are replayed one by one: neighbours together.
    each = -(-len(found) // MAX_STEPS) or 1
    return [_joined(found[first : first + each]) for first in range(0, len(found), each)]


def _joined(found: Sequence[Stage]) -> Stage:
    return Stage(tuple([one for stage in found for one in stage.amendments]), found[-1].rules)
