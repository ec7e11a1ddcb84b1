"""Tables: keys and frozen rows, each table with one hash over all of it.

Every row is a leaf `SHA-256(0x00 || CBOR [table, key, row])`. In most tables it stands in the table's tree
(`meshnode.ledger.tree`) under the name `SHA-256(CBOR key)`. Where a period is part of the key, all rows of
one period are one entry of the tree, `SHA-256(0x04 || leaves in key order)`, under the name
`SHA-256(CBOR period)`: a period is written once and hardly ever again, so that closed ones cost a
hash each and no more, however many there are.

Rows are hashed when somebody asks for the hash, once however often they were written. Iteration is always in
key order: nothing here depends on the order of insertion.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from heapq import heappop, heappush
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from meshnode.amounts import value
from meshnode.ledger import rows
from meshnode.ledger.tree import Tree
from protocols import cbor, merkle
from protocols.records import SIDE_BUY

# Of so many periods of a table the leaves are kept: of the open ones, whose rows come one after the other, and
# of those that corrections come for. Any other period is hashed from its rows when it changes.
WARM_PERIODS = 4

_PERIOD = b"\x04"

Key = TypeVar("Key", bound="bytes | str | int | tuple[bytes | str | int, ...]")
RowT = TypeVar("RowT", bound=msgspec.Struct)


class Register(Protocol):
    """What a table makes itself known to."""

    def register(self, table: Table[Any, Any], number: int) -> None:
        """Take in a table under its number."""


class Table(Generic[Key, RowT]):
    """One table of the state: a sorted view over a dict, and its hash."""

    def __init__(self, state: Register, number: int, row_type: type[RowT]) -> None:
        self._rows: dict[Key, RowT] = {}
        # The sorted keys, once somebody has iterated; kept up to date from then on.
        self._order: list[Key] | None = None
        self._number = number
        self._row_type = row_type
        # Keys that were written since the last hash, and the tree as it was then.
        self._written: set[Key] = set()
        self._tree = Tree()
        state.register(self, number)

    def get(self, key: Key) -> RowT | None:
        """The row, or None."""
        return self._rows.get(key)

    def __getitem__(self, key: Key) -> RowT:
        return self._rows[key]

    def __contains__(self, key: Key) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, key: Key, row: RowT) -> None:
        """Write a row."""
        if self._order is not None and key not in self._rows:
            insort(self._order, key)
        self._rows[key] = row
        self._written.add(key)

    def delete(self, key: Key) -> None:
        """Remove a row; it must be there."""
        del self._rows[key]
        if self._order is not None:
            del self._order[bisect_left(self._order, key)]
        self._written.add(key)

    def items(self) -> Iterator[tuple[Key, RowT]]:
        """All rows in key order, as they are when the iteration begins."""
        for key in tuple(self._sorted()):
            yield key, self._rows[key]

    def range(self, low: Key, high: Key) -> Iterator[tuple[Key, RowT]]:
        """The rows with low <= key < high in key order, as they are when the iteration begins."""
        keys = self._sorted()
        for key in keys[bisect_left(keys, low) : bisect_left(keys, high)]:
            yield key, self._rows[key]

    def last(self, low: Key, high: Key) -> tuple[Key, RowT] | None:
        """The last row with low <= key < high, at the cost of a search, however many there are; None if none is."""
        keys = self._sorted()
        end = bisect_left(keys, high)
        return (keys[end - 1], self._rows[keys[end - 1]]) if end > bisect_left(keys, low) else None

    def count(self, low: Key, high: Key) -> int:
        """How many rows have low <= key < high."""
        keys = self._sorted()
        return bisect_left(keys, high) - bisect_left(keys, low)

    def hash(self) -> bytes:
        """The hash over all rows: only what was written since the last time is computed again."""
        tree = self._tree
        for key in self._written:
            name = hashlib.sha256(cbor.encode(key)).digest()
            row = self._rows.get(key)
            if row is not None:
                tree.put(name, self._leaf(key, row))
            elif name in tree:
                tree.remove(name)
        self._written.clear()
        return tree.hash()

    def load(self, key: Any, values: list[Any]) -> None:
        """Put a row from its CBOR form (snapshots)."""
        self.put(_tuples(key), self._row_type(*[_tuples(value) for value in values]))

    def _sorted(self) -> list[Key]:
        if self._order is None:
            self._order = sorted(self._rows)
        return self._order

    def _leaf(self, key: Key, row: RowT) -> bytes:
        return merkle.leaf_hash(cbor.encode([self._number, key, msgspec.structs.astuple(row)]))


class PeriodTable(Table[Key, RowT]):
    """A table whose keys have a period in them; its rows stand by period, and within one by the rest of the key.

    place: of the period in the key, 0 or, of two parts, 1.
    """

    def __init__(self, state: Register, number: int, row_type: type[RowT], place: int = 0, parts: int = 2) -> None:
        super().__init__(state, number, row_type)
        assert place == 0 or (place, parts) == (1, 2), f"no period at {place} of {parts}"
        self._period: Callable[[Any], int] = itemgetter(place)
        self._rest: Callable[[Any], Any] = itemgetter(1 - place if parts == 2 else slice(1, None))
        self._place, self._parts = place, parts
        self._periods: dict[int, dict[Any, RowT]] = {}
        self._written_in: dict[int, set[Any]] = {}
        self._warm: dict[int, dict[Any, bytes]] = {}
        # Each rest once in memory: the same accounts and meters come in every period.
        self._rests: dict[Any, Any] = {}
        self._size = 0

    def get(self, key: Key) -> RowT | None:
        """The row, or None."""
        found = self._periods.get(self._period(key))
        return None if found is None else found.get(self._rest(key))

    def __getitem__(self, key: Key) -> RowT:
        row = self.get(key)
        if row is None:
            raise KeyError(key)
        return row

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return self._size

    def put(self, key: Key, row: RowT) -> None:
        """Write a row."""
        period, rest = self._period(key), self._rest(key)
        rest = self._rests.setdefault(rest, rest)
        of_period = self._periods.setdefault(period, {})
        before = len(of_period)
        of_period[rest] = row
        self._size += len(of_period) - before
        self._written_in.setdefault(period, set()).add(rest)

    def delete(self, key: Key) -> None:
        """Remove a row; it must be there."""
        period, rest = self._period(key), self._rest(key)
        of_period = self._periods[period]
        del of_period[rest]
        self._size -= 1
        if not of_period:
            del self._periods[period]
        self._written_in.setdefault(period, set()).add(rest)

    def items(self) -> Iterator[tuple[Key, RowT]]:
        """All rows in key order, as they are when the iteration begins."""
        yield from self._select(sorted(self._periods), None, None)

    def range(self, low: Key, high: Key) -> Iterator[tuple[Key, RowT]]:
        """The rows with low <= key < high in key order, as they are when the iteration begins."""
        first, last = self._period(low), self._period(high)
        if self._place:
            periods = sorted(self._periods)
        else:
            # Nearly every range is within one period; to look through all of them would grow with the history.
            within = last - first < len(self._periods)
            periods = (
                [period for period in range(first, last + 1) if period in self._periods]
                if within
                else sorted(period for period in self._periods if first <= period <= last)
            )
        yield from self._select(periods, low, high)

    def last(self, low: Key, high: Key) -> tuple[Key, RowT] | None:
        """The last row with low <= key < high; None if none is."""
        return next(reversed(tuple(self.range(low, high))), None)

    def count(self, low: Key, high: Key) -> int:
        """How many rows have low <= key < high."""
        return sum(1 for _ in self.range(low, high))

    def hash(self) -> bytes:
        """The hash over all rows: only the periods that were written since the last time are computed again."""
        for period, written in self._written_in.items():
            name = hashlib.sha256(cbor.encode(period)).digest()
            of_period = self._periods.get(period)
            if of_period is not None:
                self._tree.put(name, self._hash_of(period, of_period, written))
            else:
                self._warm.pop(period, None)
                if name in self._tree:
                    self._tree.remove(name)
        self._written_in.clear()
        return self._tree.hash()

    def _hash_of(self, period: int, of_period: dict[Any, RowT], written: set[Any]) -> bytes:
        leaves = self._warm.pop(period, None)
        if leaves is None:
            leaves = {rest: self._leaf(self._key(period, rest), row) for rest, row in of_period.items()}
        else:
            for rest in written:
                row = of_period.get(rest)
                if row is not None:
                    leaves[rest] = self._leaf(self._key(period, rest), row)
                else:
                    leaves.pop(rest, None)
        self._warm[period] = leaves
        if len(self._warm) > WARM_PERIODS:
            del self._warm[next(iter(self._warm))]
        return hashlib.sha256(_PERIOD + b"".join([leaves[rest] for rest in sorted(leaves)])).digest()

    def _select(self, periods: list[int], low: Key | None, high: Key | None) -> Iterator[tuple[Key, RowT]]:
        found = [
            (key, row)
            for period in periods
            for rest, row in self._periods[period].items()
            for key in (self._key(period, rest),)
            if (low is None or low <= key) and (high is None or key < high)
        ]
        yield from sorted(found, key=itemgetter(0))

    def _key(self, period: int, rest: Any) -> Any:
        if self._parts == 2:
            return (rest, period) if self._place else (period, rest)
        return (period, *rest)


class Meters(Table[bytes, rows.Meter]):
    """The table of meters, which also knows those of each account.

    That index is made from the rows and is no part of the state hash. It is there because
    every order and every late reading asks for the meters of one account.
    """

    def __init__(self, state: Register, number: int) -> None:
        super().__init__(state, number, rows.Meter)
        self._of_account: dict[bytes, list[bytes]] = {}

    def put(self, key: bytes, row: rows.Meter) -> None:
        """Write a row; a meter stays with its account for ever."""
        known = self.get(key)
        if known is None:
            insort(self._of_account.setdefault(row.account, []), key)
        else:
            assert known.account == row.account, f"meter {key.hex()} would change its account"
        super().put(key, row)

    def delete(self, key: bytes) -> None:
        """Remove a row; it must be there."""
        self._of_account[self[key].account].remove(key)
        super().delete(key)

    def of_account(self, account: bytes) -> Iterator[tuple[bytes, rows.Meter]]:
        """The meters of an account in key order, as they are when the iteration begins."""
        for key in tuple(self._of_account.get(account, ())):
            yield key, self[key]


class Orders(Table[tuple[int, int, int], rows.OpenOrder]):
    """The table of open orders of periods, which also knows what each account would pay for those that buy.

    These sums are made from the rows and are no part of the state hash. Whoever has a credit limit is asked for
    them with every order.
    """

    def __init__(self, state: Register, number: int) -> None:
        super().__init__(state, number, rows.OpenOrder)
        self._promised_u: dict[bytes, int] = {}
        self._wanted_wh: dict[bytes, dict[int, int]] = {}

    def put(self, key: tuple[int, int, int], row: rows.OpenOrder) -> None:
        """Write a row; an order that changes is removed before."""
        assert key not in self, f"order {row.record_id.hex()} would be written twice"
        self._promise(key[0], row, 1)
        super().put(key, row)

    def delete(self, key: tuple[int, int, int]) -> None:
        """Remove a row; it must be there."""
        self._promise(key[0], self[key], -1)
        super().delete(key)

    def promised_u(self, account: bytes) -> int:
        """What an account pays at most to others if all its open orders are filled, by a partner if it names one."""
        return self._promised_u.get(account, 0)

    def wanted_wh(self, account: bytes) -> Mapping[int, int]:
        """How much an account's open orders buy at most, by the start of the period."""
        return self._wanted_wh.get(account, {})

    def _promise(self, start_s: int, row: rows.OpenOrder, sign: int) -> None:
        if row.side == SIDE_BUY:
            price_u_kwh = max(row.price_u_kwh, row.partner_price_u_kwh)
            _add(self._promised_u, row.account, sign * value(price_u_kwh, row.energy_wh))
            wanted = self._wanted_wh.setdefault(row.account, {})
            _add(wanted, start_s, sign * row.energy_wh)
            if not wanted:
                del self._wanted_wh[row.account]


class Balances(Table[tuple[bytes, str], rows.Balance]):
    """The table of balances, which also knows which have changed since somebody asked.

    No part of the state hash: standing orders are looked at again when their account has something new, and
    whoever owes pays when it has.
    """

    def __init__(self, state: Register, number: int) -> None:
        super().__init__(state, number, rows.Balance)
        self._changed: set[bytes] = set()
        self._risen: set[tuple[bytes, str]] = set()

    def put(self, key: tuple[bytes, str], row: rows.Balance) -> None:
        """Write a row."""
        self._changed.add(key[0])
        known = self.get(key)
        if row.free > (0 if known is None else known.free):
            self._risen.add(key)
        super().put(key, row)

    def delete(self, key: tuple[bytes, str]) -> None:
        """Remove a row; it must be there."""
        self._changed.add(key[0])
        super().delete(key)

    def stir(self, account: bytes) -> None:
        """Have an account's orders looked at again, though its balances have not changed."""
        self._changed.add(account)

    def take_changed(self) -> frozenset[bytes]:
        """The accounts whose balances were written, or that were stirred, since the last call."""
        changed = frozenset(self._changed)
        self._changed.clear()
        return changed

    def take_risen(self) -> frozenset[tuple[bytes, str]]:
        """The (account, asset) of which more became free since the last call."""
        risen = frozenset(self._risen)
        self._risen.clear()
        return risen


class Nonces(Table[tuple[bytes, int], rows.Nonce]):
    """The table of nonces, which also knows which ones have run out.

    No part of the state hash: whoever looked through all of them at every period would look at a week of records.
    """

    def __init__(self, state: Register, number: int) -> None:
        super().__init__(state, number, rows.Nonce)
        # A heap. What was removed or written anew meanwhile is left out when its turn comes.
        self._ends: list[tuple[int, tuple[bytes, int]]] = []

    def put(self, key: tuple[bytes, int], row: rows.Nonce) -> None:
        """Write a row."""
        heappush(self._ends, (row.valid_until_s, key))
        super().put(key, row)

    def drop(self, before_s: int) -> None:
        """Remove the rows of records that were valid until a time before `before_s`."""
        while self._ends and self._ends[0][0] < before_s:
            end_s, key = heappop(self._ends)
            row = self.get(key)
            if row is not None and row.valid_until_s == end_s:
                self.delete(key)


class Quorums(Table[int, rows.Quorum]):
    """The table of quorum configurations, which also has them as one tuple: every message asks for them."""

    def __init__(self, state: Register, number: int) -> None:
        super().__init__(state, number, rows.Quorum)
        self._all: tuple[tuple[int, rows.Quorum], ...] | None = None

    def put(self, key: int, row: rows.Quorum) -> None:
        """Write a row."""
        self._all = None
        super().put(key, row)

    def delete(self, key: int) -> None:
        """Remove a row; it must be there."""
        self._all = None
        super().delete(key)

    def all(self) -> tuple[tuple[int, rows.Quorum], ...]:
        """Every row in key order."""
        if self._all is None:
            self._all = tuple(self.items())
        return self._all


class Meta(Table[int, rows.Meta]):
    """The table of the one row that says how far the ledger is, which also has it by name: every message asks."""

    row: rows.Meta

    def put(self, key: int, row: rows.Meta) -> None:
        """Write the row."""
        assert key == 0, f"the table has one row, at 0, not at {key}"
        self.row = row
        super().put(key, row)

    def delete(self, key: int) -> None:
        """Never: a ledger is always somewhere."""
        raise AssertionError("the row of the ledger's height is never removed")


def _add(sums: dict[Any, int], key: Any, change: int) -> None:
    """Change a sum; one of nothing is not kept."""
    sums[key] = sums.get(key, 0) + change
    if not sums[key]:
        del sums[key]


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
