"""Imagined clusters: objects that really do one thing at a time, and clients that see only their own calls.

Everything comes from a seeded generator. Each operation takes effect at a random moment between its call
and its return, so the history is linearizable, whatever else it looks like. Clients that lose
an answer go on; what they asked for may happen much later, or never.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from tests.linearizability.history import History, Operation
from tests.linearizability.ledger import (
    Absent,
    Final,
    Place,
    ReadBalance,
    ReadCount,
    ReadRecord,
    Refused,
    Value,
    WriteRecord,
)
from tests.linearizability.models import CompareAndSet, Read, Write

# A client's operation lasts so many ticks at most; with random pauses, most operations overlap others.
LONGEST = 40
# How long after its call a lost operation may still take effect.
LATEST = 2_000
# One record of so many is refused, and stands on the ledger with its refusal.
REFUSED_OF = 9
ACCOUNTS = ("anna", "bela", "carla")


def imagine(
    random: Random,
    clients: int,
    operations: int,
    ask: Callable[[Random, int], Any],
    answer: Callable[[Any], Any],
    lost_ppm: int = 50_000,
) -> History:
    """A history of clients that work at the same time.

    ask: input of the operation of this number. answer: does it, in the order of the moments of effect.
    lost_ppm: share of answers that are lost, with or without the operation taking effect.
    """
    free = [0] * clients
    planned: list[tuple[int, int, Operation]] = []
    for number in range(operations):
        client = random.randrange(clients)
        call = free[client] + random.randrange(LONGEST)
        returned = call + random.randrange(LONGEST)
        free[client] = returned + 1
        lost = random.randrange(1_000_000) < lost_ppm
        effect = random.randint(call, call + LATEST if lost else returned)
        asked = Operation(f"{client}", call, None if lost else returned, ask(random, number))
        if not (lost and random.random() < 0.5):
            planned.append((effect, number, asked))
        else:
            planned.append((-1, number, asked))
    done = []
    for effect, _, asked in sorted(planned, key=lambda plan: plan[:2]):
        output = answer(asked.input) if effect >= 0 else None
        done.append(asked if asked.pending else msgspec.structs.replace(asked, output=output))
    return History(tuple(done))


class ImaginedLedger:
    """A ledger with blocks that others write to, too."""

    def __init__(self, random: Random, *, places: bool = True) -> None:
        self._random = random
        self._places = places
        self._next = (1, 0)
        self._final: dict[str, tuple[Place, WriteRecord]] = {}
        self._refused: dict[str, Place] = {}

    def answer(self, asked: Any) -> Any:
        """Do one operation."""
        match asked:
            case WriteRecord(record=record):
                if int(record[1:]) % REFUSED_OF == 0:
                    return Refused(self._told(self._refused.setdefault(record, self._take_place())))
                if record not in self._final:
                    self._final[record] = (self._take_place(), asked)
                return Final(self._told(self._final[record][0]))
            case ReadRecord(record=record) if record in self._refused:
                return Refused(self._told(self._refused[record]), self._seen())
            case ReadRecord(record=record):
                found = self._final.get(record)
                return Absent(self._seen()) if found is None else Final(self._told(found[0]), self._seen())
            case ReadCount():
                return Value(len(self._final), self._seen())
            case ReadBalance(account=account):
                moves = [move for _, written in self._final.values() for move in written.moves]
                return Value(sum(amount for owner, amount in moves if owner == account), self._seen())
        raise TypeError(f"{asked!r} is nothing that a ledger can be asked")

    def _take_place(self) -> Place:
        height, position = self._next
        if self._random.random() < 0.3:
            height, position = height + self._random.randint(1, 3), 0
        self._next = (height, position + 1)
        return (height, position)

    def _seen(self) -> int | None:
        """A reader sees whole blocks, so what comes next opens another one."""
        height, position = self._next
        if position:
            self._next = (height + 1, 0)
        return self._next[0] - 1 if self._places else None

    def _told(self, place: Place) -> Place | None:
        return place if self._places else None


def ask_ledger(random: Random, number: int) -> Any:
    """Mostly writes of new records and reads of others'; some are written twice."""
    some = f"r{random.randint(max(0, number - 30), number)}"
    roll = random.randrange(10)
    if roll < 4:
        return write_of(f"r{number}")
    if roll < 5:
        return write_of(some)
    return ReadRecord(some)


def ask_all_of_ledger(random: Random, number: int) -> Any:
    """Also counts and balances."""
    roll = random.randrange(10)
    if roll == 0:
        return ReadCount()
    if roll < 3:
        return ReadBalance(random.choice(ACCOUNTS))
    return ask_ledger(random, number)


def write_of(record: str) -> WriteRecord:
    """The one content that a record of this id has."""
    number = int(record[1:])
    return WriteRecord(record, ((ACCOUNTS[number % 3], number), (ACCOUNTS[number % 2], -1)))


class ImaginedRegister:
    """A register of small numbers."""

    def __init__(self) -> None:
        self._value: int | str | None = None

    def answer(self, asked: Any) -> Any:
        """Do one operation."""
        match asked:
            case Read():
                return self._value
            case Write(value=value):
                self._value = value
                return None
            case CompareAndSet(old=old, new=new):
                fits = self._value == old
                self._value = new if fits else self._value
                return fits
        raise TypeError(f"{asked!r} is nothing that a register can be asked")


def ask_register(random: Random, _number: int) -> Any:
    """Few values, so that most of what is seen fits several orders."""
    return random.choice((Read(), Write(random.randrange(5)), CompareAndSet(random.randrange(5), random.randrange(5))))
