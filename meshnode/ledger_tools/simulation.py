"""Simulation: a recorded ledger under another binding, as if everybody had acted the same.

Every final block is executed again: by the machine that made the ledger, whose state hashes must be those that
the leaders signed, and by machines that carry out another binding from a settlement period on. What
members would have paid then is told against what they pay; and the way from the one binding to the other is
gone sentence by sentence, so that each difference has the line that it comes from. The sentences go in
the order of the text: where two work together, the later one is told what both make.

Nobody acts otherwise here than on the ledger: who would have ordered or joined under other rules is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from meshnode import keys
from meshnode.execution.call import boundary_s
from meshnode.ledger.parameter_rows import INCENTIVE, LEVY
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.ledger_tools.bills import Bill
from meshnode.ledger_tools.supposing import Run, Stage, SupposedMachine, stages
from meshnode.machine import Machine, RecordDone, StateMismatch
from meshnode.market import Mechanisms
from meshnode.rules import Rules, rules_of
from meshnode.settlement import GRID_ACCOUNT, POOL_ACCOUNT, fund_account
from meshnode.settlement.dues import DEPOSITS, TAX
from meshnode.store import LedgerReader, chain_of, microgrids, read_genesis
from meshnode.store.place import check_genesis
from meshnode.store.rows import DamagedRow, read_log_row
from protocols import block as blocks
from protocols.block import Block, BlockError
from protocols.records import Genesis
from zencode.amendments import Amendment, Amendments
from zencode.binding import Binding, binding_hash, check_tree, decode, encode, statements
from zencode.document import Document
from zencode.kinds import Value
from zencode.terms import DEFAULT_FUND

MAX_VERDICTS = 1_000
"""So many records that fare otherwise are listed; each is counted. Nobody reads more, and each is kept in memory."""
_NEVER_S = 1 << 60
_VERIFY = "see what is wrong with: meshnode ledger verify"

Progress = Callable[[int, int], None]
"""(blocks executed, blocks to execute); called after every block. What it raises ends the simulation."""


class SimulationError(ValueError):
    """A simulation that cannot be made, or whose ledger is not what was agreed: what was found, what to do."""


class Outcome(msgspec.Struct, frozen=True):
    """One account under both bindings.

    Attributes:
        kind: "member", "fund" or "grid".
        name: of a member or fund; hex digits where nobody knows it.
    """

    account: bytes
    kind: str
    name: str
    old: Bill
    new: Bill

    @property
    def gain_u(self) -> int:
        """How much better off it is under the new binding; of all accounts together zero."""
        return self.old.total_u - self.new.total_u


class Step(msgspec.Struct, frozen=True):
    """Sentences that changed, and what their change comes to after all those above them.

    Attributes:
        amendments: one, or several that took the step together.
        gains: (account, micro-units) of all that gain or lose by it, who gains most first; together zero.
        refused: how many records more are refused by it; below zero: fewer.
    """

    amendments: tuple[Amendment, ...]
    gains: tuple[tuple[bytes, int], ...]
    refused: int


class OtherVerdict(msgspec.Struct, frozen=True):
    """A record that fares otherwise under the new binding."""

    record_id: bytes
    kind: str
    height: int
    position: int
    account: bytes
    old: Verdict
    new: Verdict


class Holding(msgspec.Struct, frozen=True):
    """Units of an asset that an account has at the end, free and held, where the two bindings differ."""

    account: bytes
    asset: str
    old: int
    new: int


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """What another binding would have come to.

    Attributes:
        from_s, to_s: the first settlement period that is told, and the end of the last one.
        blocks, records: that were executed, from the genesis on.
        periods: how many of the range have closed; `final`: of these can no more be corrected.
        hashes: how many state hashes, signed by leaders, the machine that made the ledger came to again.
        claims: how many accounts' bills add up to what the ledger says that they owe or are owed.
        in_force: hash of the binding in force at from_s; old: of the one that is compared.
        outcomes: members by name, then funds, then the grid.
        names: of all accounts that anything here is about.
        differing: how many records fare otherwise; `verdicts`: the first ones of them.
    """

    community: str
    chain_id: bytes
    currency: str
    from_s: int
    to_s: int
    blocks: int
    records: int
    periods: int
    final: int
    hashes: int
    claims: int
    in_force: bytes
    old: bytes
    new: bytes
    outcomes: tuple[Outcome, ...]
    names: dict[bytes, str]
    steps: tuple[Step, ...]
    differing: int
    verdicts: tuple[OtherVerdict, ...]
    holdings: tuple[Holding, ...]


def simulate(
    directory: Path,
    new: Document,
    mechanisms: Mechanisms,
    *,
    against: Binding | None = None,
    from_s: int | None = None,
    to_s: int | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Execute a ledger again under another binding.

    A running node is not disturbed. Memory is that of three machines and their bills, whatever the ledger's length.

    Args:
        directory: of the node, which then has one microgrid, or of the microgrid.
        new: the binding to try.
        against: what to compare it with; else the binding in force.
        from_s, to_s: only settlement periods that begin in between; `new` is in force from the first one on.
    Raises:
        StoreError: there is no ledger, or it cannot be read.
        SimulationError: the ledger is damaged, its replay is not what was agreed, or the bindings cannot be
            compared on it.
        TermsError, MechanismError: a binding that cannot be carried out here.
    """
    place, *others = microgrids(directory)
    if others:
        raise SimulationError(f"{directory}: {1 + len(others)} microgrids\n    name the directory of one of them")
    span = (from_s or 0, _NEVER_S if to_s is None else to_s)
    if span[0] >= span[1]:
        raise SimulationError(f"the range begins at {span[0]} s and ends at {span[1]} s\n    name an end after it")
    genesis_bytes = read_genesis(place)
    with LedgerReader(place) as reader:
        ledger = _Ledger(reader, check_genesis(genesis_bytes), chain_of(genesis_bytes), progress)
        return _Trial(ledger, mechanisms, new, against, span).run()


class _Ledger:
    """The final blocks on disk, read as often as is asked for, and how far that is."""

    def __init__(self, reader: LedgerReader, genesis: Genesis, chain_id: bytes, progress: Progress | None) -> None:
        self.genesis, self.chain_id = genesis, chain_id
        self.final = reader.standing().final_height
        self.to_read = self.final
        self._reader, self._progress, self._read = reader, progress, 0

    def blocks(self, after: int) -> Iterator[Block]:
        """The blocks above a height; each is counted when the next one is asked for."""
        for row in self._reader.log_rows(after + 1, self.final + 1):
            try:
                block = blocks.read(read_log_row(row).data, self.chain_id)
            except (DamagedRow, BlockError) as error:
                raise SimulationError(f"{error}\n    {_VERIFY}") from error
            yield block
            self._read += 1
            if self._progress is not None:
                self._progress(self._read, self.to_read)


class _Trial:
    """One simulation; see `simulate`."""

    def __init__(
        self,
        ledger: _Ledger,
        mechanisms: Mechanisms,
        new: Document,
        against: Binding | None,
        span: tuple[int, int],
    ) -> None:
        self._ledger, self._mechanisms, self._span = ledger, mechanisms, span
        self._new, self._against = new, against
        machine = Machine(ledger.genesis, ledger.chain_id, mechanisms, keys.verify)
        self._made = Run(machine, span)
        self._hashes = self._records = 0
        self._verdicts: list[OtherVerdict] = []
        self._differing = 0

    def run(self) -> Simulation:
        """Both bindings side by side, then those on the way."""
        block = self._reach(self._span[0])
        start, height = self._made.machine.state.dump(), self._made.machine.height
        first, in_force, tree = self._in_force(start, block)
        old_binding = self._against or decode(tree)
        amendments = Amendments(old_binding, self._new.binding, self._new.line_of)
        old_rules = in_force if self._against is None else self._resolve(self._against)
        way = stages(amendments, self._resolve)
        new_rules = way[-1].rules if way else self._resolve(self._new.binding)
        for rules in (old_rules, new_rules):
            _refuse_others(in_force, rules)
        old = self._made if self._against is None else self._suppose(start, old_rules)
        new = self._suppose(start, new_rules)
        self._ledger.to_read += len(way[:-1]) * (self._ledger.final - height)
        self._side_by_side(old, new, in_force, height)
        if not self._made.tally.periods:
            raise SimulationError("no settlement period of the ledger lies in the range\n    name an earlier --from")
        claims = self._check_claims()
        between = [self._replayed(start, stage, height) for stage in way[:-1]]
        told = _steps(way, [old, *between, new])
        return self._report(first, in_force, old, new, told, claims)

    # --- replays

    def _reach(self, from_s: int) -> Block | None:
        """Execute what is before the range; the first block in it."""
        for block in self._ledger.blocks(0):
            if block.header.time_s >= from_s:
                return block
            self._execute(block)
        return None

    def _in_force(self, start: list[list[object]], block: Block | None) -> tuple[int, Rules, bytes]:
        """The first settlement period that is told, and the rules and the tree in force in it.

        The range's first block may itself begin a binding; so it is executed once beforehand.
        """
        machine = Machine(
            self._ledger.genesis, self._ledger.chain_id, self._mechanisms, keys.verify, State.restore(start)
        )
        length_s = machine.rules(self._span[0]).period.length_s
        first = max(boundary_s(self._span[0], length_s), machine.next_period_s)
        if block is not None:
            machine.apply(block)
        rules = machine.rules(first)
        return first, rules, machine.state.bindings[rules.binding].tree

    def _side_by_side(self, old: Run, new: Run, in_force: Rules, height: int) -> None:
        runs = [self._made, new] if old is self._made else [self._made, old, new]
        for block in self._ledger.blocks(height):
            found = {id(self._made): self._execute(block)}
            found |= {id(run): run.apply(block) for run in runs[1:]}
            self._compare(block, found[id(old)], found[id(new)])
            if self._against is None:
                self._refuse_another(in_force)
            if all(run.is_over for run in runs):
                break

    def _replayed(self, start: list[list[object]], stage: Stage, height: int) -> Run:
        run = self._suppose(start, stage.rules)
        for block in self._ledger.blocks(height):
            run.apply(block)
            if run.is_over:
                break
        return run

    def _execute(self, block: Block) -> list[RecordDone]:
        """By the machine that made the ledger."""
        head, machine = block.header, self._made.machine
        self._hashes += machine.state_hash(head.state_height) is not None
        try:
            done = self._made.apply(block)
        except StateMismatch as error:
            raise SimulationError(
                f"block {head.height}: replaying the binding in force gives something else than was agreed: {error}\n"
                f"    {_VERIFY}"
            ) from error
        self._records += len(done)
        return done

    def _suppose(self, start: list[list[object]], rules: Rules) -> Run:
        ledger, state = self._ledger, State.restore(start)
        machine = SupposedMachine(ledger.genesis, ledger.chain_id, self._mechanisms, state, rules, self._span[0])
        return Run(machine, self._span)

    def _resolve(self, binding: Binding) -> Rules:
        check_tree(binding)
        genesis = self._ledger.genesis
        return rules_of(encode(binding), genesis.limits, self._mechanisms, genesis.zone_changes)

    # --- checks

    def _check_claims(self) -> int:
        """What the bills add up to is what the ledger says that everybody is owed; of how many accounts."""
        on_ledger = {account: row.amount_u for account, row in self._made.machine.state.claims.items()}
        accounts = sorted(on_ledger.keys() | self._made.tally.claims.keys())
        for account in accounts:
            issued, again = on_ledger.get(account, 0), self._made.tally.claims.get(account, 0)
            if issued != again:
                raise SimulationError(
                    f"account {account.hex()}: its bills add up to {again} u, the ledger says {issued} u\n    {_VERIFY}"
                )
        return len(accounts)

    def _refuse_another(self, in_force: Rules) -> None:
        machine = self._made.machine
        if machine.next_period_s < self._span[1] and machine.binding_hash() != in_force.binding:
            raise SimulationError(
                f"another binding came into force at {machine.next_period_s} s, inside the range\n"
                "    end it there with --to, or begin there with --from, or name what to compare with by --against"
            )

    def _compare(self, block: Block, old: Sequence[RecordDone], new: Sequence[RecordDone]) -> None:
        for before, after in zip(old, new, strict=True):
            if before.verdict == after.verdict:
                continue
            self._differing += 1
            if len(self._verdicts) < MAX_VERDICTS:
                self._verdicts.append(
                    OtherVerdict(
                        record_id=before.record_id,
                        kind=type(before.record).__name__,
                        height=block.header.height,
                        position=before.position,
                        account=before.account or after.account,
                        old=before.verdict,
                        new=after.verdict,
                    )
                )

    # --- what is told

    def _report(
        self, first_s: int, in_force: Rules, old: Run, new: Run, steps: tuple[Step, ...], claims: int
    ) -> Simulation:
        machine = self._made.machine
        holdings = _holdings(old.machine, new.machine)
        outcomes = self._outcomes(old, new)
        names = self._names(old.machine, new.machine)
        told = {outcome.account for outcome in outcomes} | {holding.account for holding in holdings}
        told |= {other.account for other in self._verdicts}
        told.update(account for step in steps for account, _ in step.gains)
        return Simulation(
            community=self._ledger.genesis.community,
            chain_id=self._ledger.chain_id,
            currency=in_force.period.currency,
            from_s=first_s,
            to_s=max(first_s, min(self._span[1], machine.next_period_s)),
            blocks=machine.height,
            records=self._records,
            periods=self._made.tally.periods,
            final=self._made.tally.final,
            hashes=self._hashes,
            claims=claims,
            in_force=in_force.binding,
            old=in_force.binding if self._against is None else binding_hash(self._against),
            new=binding_hash(self._new.binding),
            outcomes=outcomes,
            names={account: names.get(account, account.hex()) for account in sorted(told)},
            steps=steps,
            differing=self._differing,
            verdicts=tuple(self._verdicts),
            holdings=holdings,
        )

    def _outcomes(self, old: Run, new: Run) -> tuple[Outcome, ...]:
        before, after = old.tally.bills(), new.tally.bills()
        names = self._names(old.machine, new.machine)
        members = old.machine.state.accounts, new.machine.state.accounts
        found = []
        # What is shared goes through the pool and leaves nothing in it.
        for account in (before.keys() | after.keys()) - {POOL_ACCOUNT}:
            is_member = any(account in table for table in members)
            kind = "member" if is_member else "grid" if account == GRID_ACCOUNT else "fund"
            bills = before.get(account, Bill()), after.get(account, Bill())
            found.append(Outcome(account, kind, names.get(account, account.hex()), *bills))
        order = ("member", "fund", "grid")
        found.sort(key=lambda one: (order.index(one.kind), one.name, one.account))
        total = sum(outcome.gain_u for outcome in found)
        assert total == 0, f"gains and losses sum to {total} u"
        return tuple(found)

    def _names(self, *machines: Machine) -> dict[bytes, str]:
        """Members by their names; funds by those that bindings, levies and incentives give them."""
        texts = {DEFAULT_FUND, DEPOSITS, TAX}
        texts |= {text for binding in (self._new.binding, self._against) if binding for text in _texts(binding)}
        found: dict[bytes, str] = {GRID_ACCOUNT: "grid"}
        for machine in machines:
            # Of those that have begun: what is only proposed may need a package that is not installed here.
            begun = {row.binding for _, row in machine.state.schedule.items()}
            for binding in sorted(begun):
                texts.update(_texts(decode(machine.state.bindings[binding].tree)))
            for (what, subject, _), row in machine.state.parameters.items():
                texts |= {subject.decode()} if what == LEVY else set()
                texts |= {str(row.values[-1])} if what == INCENTIVE else set()
        found |= {fund_account(text): text for text in sorted(texts)}
        for machine in machines:
            found |= {account: row.name for account, row in machine.state.accounts.items()}
        return found


def _refuse_others(in_force: Rules, other: Rules) -> None:
    """Bindings under which the readings and amounts of this ledger would mean something else."""
    ours, theirs = in_force.period, other.period
    if ours.length_s != theirs.length_s:
        raise SimulationError(
            f"the readings of this ledger are of {ours.length_s} s, the binding settles every {theirs.length_s} s\n"
            "    try it with the settlement period of the ledger"
        )
    if ours.currency != theirs.currency:
        raise SimulationError(
            f"the amounts of this ledger are in {ours.currency}, the binding's in {theirs.currency}\n"
            "    try it with the currency of the ledger"
        )


def _steps(way: Sequence[Stage], runs: Sequence[Run]) -> tuple[Step, ...]:
    """What each stage changed. runs: that of the beginning, and one after each stage; without stages two alike."""
    found = []
    for stage, (before, after) in zip(way, pairwise(runs), strict=False):
        old, new = before.tally.bills(), after.tally.bills()
        gains = [
            (account, old.get(account, Bill()).total_u - new.get(account, Bill()).total_u)
            for account in sorted(old.keys() | new.keys())
        ]
        moved = tuple(sorted([one for one in gains if one[1]], key=lambda one: -one[1]))
        found.append(Step(stage.amendments, moved, after.refused - before.refused))
    return tuple(found)


def _holdings(old: Machine, new: Machine) -> tuple[Holding, ...]:
    before, after = ({key: row.free + row.held for key, row in one.state.balances.items()} for one in (old, new))
    keys = sorted(before.keys() | after.keys())
    found = [Holding(*key, before.get(key, 0), after.get(key, 0)) for key in keys]
    return tuple([one for one in found if one.old != one.new])


def _texts(binding: Binding) -> Iterator[str]:
    """Every text that stands in a slot."""

    def within(value: Value) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            for part in value:
                yield from within(part)

    for statement in statements(binding):
        yield from within(statement.slots)
