"""Ledger: what clients of a microgrid may see when they write records and ask, through any node.

The ledger is one list of records that only grows. A record enters it at most once, however often
its bytes are handed in, and is then final at its place for good; or it is refused for good; or
its fate is open. Others write too, so places need not be without gaps: they rise in the order in which
records enter. An answer read at a height has seen all places up to that height and none above.

What a test does not know it leaves out (None): places, heights, balances. What it does tell is held
against every other answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from tests.linearizability.history import History, HistoryError, Operation
from tests.linearizability.models import Part

# (height, place in the block)
Place = tuple[int, int]


class WriteRecord(msgspec.Struct, frozen=True, tag=True):
    """Hand in a record; outputs Final or Refused, and is pending while neither is known.

    record: its id. moves: what it does to balances once it is final, as (account, amount).
    """

    record: str
    moves: tuple[tuple[str, int], ...] = ()


class ReadRecord(msgspec.Struct, frozen=True, tag=True):
    """Ask what became of a record; outputs Final, Refused or Absent."""

    record: str


class ReadCount(msgspec.Struct, frozen=True, tag=True):
    """Ask how many of the history's records are final; outputs Value."""


class ReadBalance(msgspec.Struct, frozen=True, tag=True):
    """Ask for the sum of the final moves on an account; outputs Value."""

    account: str


class Final(msgspec.Struct, frozen=True, tag=True):
    """The record is on the ledger. height: of the ledger when a read was answered; not for writes."""

    place: Place | None = None
    height: int | None = None


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The record will never be final. place: where the ledger holds its refusal, if it does.

    Only a refusal for good is one: a node that cannot take a record now has failed (Recorder.failed).
    """

    place: Place | None = None
    height: int | None = None


class Absent(msgspec.Struct, frozen=True, tag=True):
    """The ledger does not hold the record, nor its refusal."""

    height: int | None = None


class Value(msgspec.Struct, frozen=True, tag=True):
    """A number that was read."""

    value: int
    height: int | None = None


Input = WriteRecord | ReadRecord | ReadCount | ReadBalance
Output = Final | Refused | Absent | Value

_OUTPUTS: dict[type[Input], tuple[type[Output], ...]] = {
    WriteRecord: (Final, Refused),
    ReadRecord: (Final, Refused, Absent),
    ReadCount: (Value,),
    ReadBalance: (Value,),
}


class _State(NamedTuple):
    """What operations can tell apart.

    moment: how many of the part's moments have passed.
    final: bits of final records whose place nobody knows. refused: bits of refused records.
    records: how many are final, if anybody counts. balances: of the accounts that anybody reads.
    """

    moment: int
    final: int
    refused: int
    records: int
    balances: tuple[int, ...]


class _Record(msgspec.Struct, frozen=True):
    """What a history tells of one record, all answers taken together.

    bit: 0 if only one operation names it, so that no other can tell what became of it.
    place: the first that any answer gives, and moment: the number of the one at which it enters there;
    one after all others, which never passes, if answers give another record the same place.
    refused: whether any answer is a refusal; held: whether one gives the refusal a place.
    moves: by index into _State.balances.
    """

    bit: int
    place: Place | None
    moment: int
    refused: bool
    held: bool
    moves: tuple[tuple[int, int], ...]


class _Ledger:
    """The sequential ledger of one part of a history.

    Answers that tell a place or a height have an order among themselves, whatever their times: each
    is a moment, of a record that enters at its place or of a read that has seen everything up to its
    height. All of them must pass, so one that is passed over can never be made good; nothing may
    pass but the next.
    """

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        accounts = sorted({one.input.account for one in operations if isinstance(one.input, ReadBalance)})
        self._accounts = {account: index for index, account in enumerate(accounts)}
        self._counted = any(isinstance(one.input, ReadCount) for one in operations)
        by_record: dict[str, list[Operation]] = {}
        for one in operations:
            if isinstance(one.input, WriteRecord | ReadRecord):
                by_record.setdefault(one.input.record, []).append(one)
        places = {record: place for record, about in by_record.items() if (place := _place(about)) is not None}
        reads = [_above(one.output.height) for one in operations if _height(one) is not None]
        self._moments: list[Place] = sorted([*places.values(), *reads])
        self._records = {
            record: self._gathered(1 << number, about, places.get(record))
            for number, (record, about) in enumerate(by_record.items())
        }
        self.initial = _State(0, 0, 0, 0, (0,) * len(accounts))

    def _gathered(self, bit: int, about: list[Operation], place: Place | None) -> _Record:
        refusals = [one.output for one in about if not one.pending and isinstance(one.output, Refused)]
        moves = {one.input.moves for one in about if isinstance(one.input, WriteRecord)}
        if len(moves) > 1:
            raise HistoryError(f"{about[0]}: the same record elsewhere moves something else; an id has one content")
        return _Record(
            bit=bit if len(about) > 1 else 0,
            place=place,
            moment=-1 if place is None else self._number(place),
            refused=bool(refusals),
            held=any(refusal.place is not None for refusal in refusals),
            moves=tuple(
                (self._accounts[account], amount)
                for account, amount in next(iter(moves), ())
                if account in self._accounts
            ),
        )

    def _number(self, place: Place) -> int:
        first, after = bisect_left(self._moments, place), bisect_right(self._moments, place)
        return first if after - first == 1 else len(self._moments)

    def step(self, state: _State, operation: Operation) -> tuple[_State, ...]:
        match operation.input:
            case WriteRecord(record=record):
                return tuple(self._written(state, self._records[record], operation))
            case _ if operation.pending:
                return (state,)
            case ReadRecord(record=record):
                fits = self._fits(state, self._records[record], operation.output)
            case ReadBalance(account=account):
                fits = state.balances[self._accounts[account]] == operation.output.value
            case _:
                fits = state.records == operation.output.value
        if not fits or operation.output.height is None:
            return (state,) if fits else ()
        return self._seen(state, operation.output.height)

    def only_looks(self, state: _State, operation: Operation) -> bool:
        if isinstance(operation.input, WriteRecord):
            # What is final stays final: to write it again changes nothing any more.
            return self._is_final(state, self._records[operation.input.record])
        return _height(operation) is None

    def kind(self, operation: Operation) -> Hashable:
        record = self._records[operation.input.record]
        return operation.input if record.bit else record.moves

    def shown(self, state: _State, operations: Sequence[Operation]) -> str:
        facts = [f"{account} has {state.balances[index]}" for account, index in self._accounts.items()]
        if self._counted:
            facts.append(f"{state.records} records are final")
        about = (one.input for one in operations if isinstance(one.input, WriteRecord | ReadRecord))
        for name in dict.fromkeys(asked.record for asked in about):
            record = self._records[name]
            fates = {
                "final": self._is_final(state, record),
                "refused": state.refused & record.bit or self._is_held(state, record),
                "open": True,
            }
            facts.append(f"record {name} is {next(fate for fate, holds in fates.items() if holds)}")
        if state.moment < len(self._moments):
            height, position = self._moments[state.moment]
            told = f"a read at height {height - 1}" if position < 0 else f"the record of place {(height, position)}"
            facts.append(f"{told} has to come before everything with a later place or height")
        return ", ".join(facts)

    def _is_final(self, state: _State, record: _Record) -> bool:
        if record.place is None:
            return bool(state.final & record.bit)
        return not record.held and state.moment > record.moment

    def _is_held(self, state: _State, record: _Record) -> bool:
        return record.held and state.moment > record.moment

    def _fits(self, state: _State, record: _Record, answer: Final | Refused | Absent) -> bool:
        """Whether a read may find this."""
        match answer:
            case Final(place=place):
                return self._is_final(state, record) and place in (None, record.place)
            case Refused(place=None):
                return bool(state.refused & record.bit)
            case Refused(place=place):
                return self._is_held(state, record) and place == record.place
            case _:
                # A refusal that the ledger does not hold is known only where it was given.
                return not self._is_final(state, record) and not self._is_held(state, record)

    def _written(self, state: _State, record: _Record, operation: Operation) -> Iterator[_State]:
        """The states of every fate that a write may give a record, or find that it has."""
        answer = operation.output
        if not operation.pending and answer.place not in (None, record.place):
            return
        if self._is_final(state, record):
            if operation.pending or isinstance(answer, Final):
                yield state
            return
        if (operation.pending or isinstance(answer, Final)) and not state.refused & record.bit and not record.held:
            yield from self._made_final(state, record)
        # A refusal that nobody was told differs in nothing from a write that never takes effect.
        if record.refused and (operation.pending or isinstance(answer, Refused)):
            yield from self._made_refused(state, record, None if operation.pending else answer.place)

    def _made_final(self, state: _State, record: _Record) -> Iterator[_State]:
        balances = list(state.balances)
        for account, amount in record.moves:
            balances[account] += amount
        records = state.records + 1 if self._counted else 0
        made = state._replace(records=records, balances=tuple(balances))
        if record.place is None:
            yield made._replace(final=state.final | record.bit)
        else:
            yield from self._entered(made, record)

    def _made_refused(self, state: _State, record: _Record, told: Place | None) -> Iterator[_State]:
        """Refused by a node alone, unless the answer told a place, or on the ledger, if any answer told one."""
        refused = state._replace(refused=state.refused | record.bit)
        if told is None:
            yield refused
        if not record.held:
            return
        if not self._is_held(state, record):
            yield from self._entered(refused, record)
        elif told is not None:
            yield refused

    def _entered(self, state: _State, record: _Record) -> tuple[_State, ...]:
        """The moment of a record passes, if it is the next."""
        next_one = state.moment == record.moment < len(self._moments)
        return (state._replace(moment=state.moment + 1),) if next_one else ()

    def _seen(self, state: _State, height: int) -> tuple[_State, ...]:
        """The moment of a read passes, if the next is one of this height: all reads of a height are alike."""
        next_one = state.moment < len(self._moments) and self._moments[state.moment] == _above(height)
        return (state._replace(moment=state.moment + 1),) if next_one else ()


def _above(height: int) -> Place:
    """Where a read stands among places: after all of its height and before all of the next."""
    return (height + 1, -1)


def _height(operation: Operation) -> int | None:
    """The height that a read was answered at, if it told."""
    if operation.pending or isinstance(operation.input, WriteRecord):
        return None
    height: int | None = operation.output.height
    return height


def _place(about: list[Operation]) -> Place | None:
    """The first place that any answer about a record gives."""
    answers = [one.output for one in about if not one.pending and isinstance(one.output, Final | Refused)]
    return min((answer.place for answer in answers if answer.place is not None), default=None)


class LedgerModel:
    """Records that are written and asked for through any node."""

    name = "ledger"

    def parts(self, history: History) -> list[Part]:
        """One part for each group of records and accounts that no other record or account touches.

        Heights, places and counts are about the whole ledger: with any of them it is one part.
        """
        for operation in history.operations:
            _demand_known(operation)
        if any(_about_all(operation) for operation in history.operations):
            groups = {"": list(history.operations)}
        else:
            groups = _grouped(history.operations)
        return [
            Part(label, _Ledger(tuple(operations)), tuple(operations), _earlier(operations))
            for label, operations in groups.items()
        ]


LEDGER = LedgerModel()


def _demand_known(operation: Operation) -> None:
    outputs = _OUTPUTS.get(type(operation.input))
    if outputs is None:
        expected = ", ".join(one.__name__ for one in _OUTPUTS)
        raise HistoryError(f"{operation}: the ledger model knows {expected}")
    if operation.pending:
        return
    if not isinstance(operation.output, outputs):
        expected = " or ".join(one.__name__ for one in outputs)
        raise HistoryError(f"{operation}: expected {expected}")
    place = _place([operation])
    if place is not None and min(place) < 0:
        raise HistoryError(f"{operation}: expected a place from (0, 0) on")
    if isinstance(operation.input, WriteRecord) and operation.output.height is not None:
        raise HistoryError(f"{operation}: only a read has a height; ask for the record to see one")


def _about_all(operation: Operation) -> bool:
    if isinstance(operation.input, ReadCount):
        return True
    return _height(operation) is not None or _place([operation]) is not None


def _earlier(operations: list[Operation]) -> dict[int, list[int]]:
    """Who found a record absent comes before all that make it final or find it so.

    A pending write may also have been refused by a node alone, after which it is still absent: where
    anybody was told of a refusal, nothing is known of it.
    """
    absent: dict[str, list[int]] = {}
    refused = set()
    for index, operation in enumerate(operations):
        if operation.pending:
            continue
        if isinstance(operation.output, Absent):
            absent.setdefault(operation.input.record, []).append(index)
        elif isinstance(operation.output, Refused):
            refused.add(operation.input.record)
    return {
        index: absent[operation.input.record]
        for index, operation in enumerate(operations)
        if isinstance(operation.input, WriteRecord | ReadRecord)
        and operation.input.record in absent
        and (operation.input.record not in refused if operation.pending else isinstance(operation.output, Final))
    }


def _grouped(operations: tuple[Operation, ...]) -> dict[str, list[Operation]]:
    """Operations by what they touch, directly or through others: union and find."""
    above: dict[str, str] = {}

    def top(name: str) -> str:
        while above.setdefault(name, name) != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for operation in operations:
        first, *others = _touched(operation)
        for other in others:
            above[top(other)] = top(first)
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(top(next(_touched(operation))), []).append(operation)
    return groups


def _touched(operation: Operation) -> Iterator[str]:
    match operation.input:
        case WriteRecord(record=record, moves=moves):
            yield f"record {record}"
            yield from (f"account {account}" for account, _ in moves)
        case ReadRecord(record=record):
            yield f"record {record}"
        case ReadBalance(account=account):
            yield f"account {account}"
