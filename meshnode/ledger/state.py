"""State: the tables of the replicated ledger and the one hash over all of them.

A table maps keys to frozen rows. Every row is a leaf `SHA-256(0x00 || CBOR [table,
key, row])`; leaves fall into 256 buckets by the first byte of the hash of their
key; a bucket's hash is the Merkle root of its leaves in key order, the state hash
is the Merkle root of the buckets. Changing a row costs one bucket, and any row can
be proved with its bucket's leaves and eight sibling hashes.

Iteration is always in key order: nothing here depends on the order of insertion.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from meshnode.ledger import delivery_rows, feed_rows, order_rows, origin_rows, rows
from protocols import cbor, merkle

BUCKETS = 256

Key = TypeVar("Key", bound="bytes | str | int | tuple[bytes | str | int, ...]")
RowT = TypeVar("RowT", bound=msgspec.Struct)


class Table(Generic[Key, RowT]):
    """One table of the state: a sorted view over a dict, which tells the state what changed."""

    def __init__(self, state: State, number: int, row_type: type[RowT]) -> None:
        self._rows: dict[Key, RowT] = {}
        # The sorted keys, once somebody has iterated; kept up to date from then on.
        self._order: list[Key] | None = None
        self._number = number
        self._row_type = row_type
        self._state = state
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
        self._state.touch(self._number, key, msgspec.structs.astuple(row))

    def delete(self, key: Key) -> None:
        """Remove a row; it must be there."""
        del self._rows[key]
        if self._order is not None:
            del self._order[bisect_left(self._order, key)]
        self._state.touch(self._number, key, None)

    def items(self) -> Iterator[tuple[Key, RowT]]:
        """All rows in key order, as they are when the iteration begins."""
        for key in tuple(self._sorted()):
            yield key, self._rows[key]

    def range(self, low: Key, high: Key) -> Iterator[tuple[Key, RowT]]:
        """The rows with low <= key < high in key order, as they are when the iteration begins."""
        keys = self._sorted()
        for key in keys[bisect_left(keys, low) : bisect_left(keys, high)]:
            yield key, self._rows[key]

    def _sorted(self) -> list[Key]:
        if self._order is None:
            self._order = sorted(self._rows)
        return self._order

    def load(self, key: Any, values: list[Any]) -> None:
        """Put a row from its CBOR form (snapshots)."""
        self.put(_tuples(key), self._row_type(*[_tuples(value) for value in values]))


class Meters(Table[bytes, rows.Meter]):
    """The table of meters, which also knows those of each account.

    That index is made from the rows and is no part of the state hash. It is there because
    every order and every late reading asks for the meters of one account.
    """

    def __init__(self, state: State, number: int) -> None:
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


class Balances(Table[tuple[bytes, str], rows.Balance]):
    """The table of balances, which also knows whose have changed since somebody asked.

    No part of the state hash: standing orders are looked at again when their account has something new.
    """

    def __init__(self, state: State, number: int) -> None:
        super().__init__(state, number, rows.Balance)
        self._changed: set[bytes] = set()

    def put(self, key: tuple[bytes, str], row: rows.Balance) -> None:
        """Write a row."""
        self._changed.add(key[0])
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


class Quorums(Table[int, rows.Quorum]):
    """The table of quorum configurations, which also has them as one tuple: every message asks for them."""

    def __init__(self, state: State, number: int) -> None:
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


class State:
    """The whole replicated state of a microgrid."""

    def __init__(self) -> None:
        self._tables: dict[int, Table[Any, Any]] = {}
        self._buckets: list[dict[bytes, bytes]] = [{} for _ in range(BUCKETS)]
        # The Merkle tree over the buckets, as a heap: the root is 1, the children of n are 2n and 2n + 1.
        self._tree: list[bytes] = _empty_tree()
        self._dirty: set[int] = set()
        self.meta = Meta(self, 1, rows.Meta)
        self.accounts: Table[bytes, rows.Account] = Table(self, 2, rows.Account)
        self.names: Table[str, rows.NameOf] = Table(self, 3, rows.NameOf)
        self.keys: Table[bytes, rows.Key] = Table(self, 4, rows.Key)
        self.meters = Meters(self, 5)
        self.nonces: Table[tuple[bytes, int], rows.Nonce] = Table(self, 6, rows.Nonce)
        self.assets: Table[str, rows.Asset] = Table(self, 7, rows.Asset)
        self.balances = Balances(self, 8)
        self.orders: Table[tuple[int, int, int], rows.OpenOrder] = Table(self, 9, rows.OpenOrder)
        self.order_places: Table[bytes, rows.OrderPlace] = Table(self, 10, rows.OrderPlace)
        self.registers: Table[tuple[bytes, int], rows.Registers] = Table(self, 11, rows.Registers)
        self.metered: Table[tuple[int, bytes], rows.PeriodEnergy] = Table(self, 12, rows.PeriodEnergy)
        self.trades: Table[tuple[int, int], rows.PeriodTrade] = Table(self, 13, rows.PeriodTrade)
        self.periods: Table[int, rows.Period] = Table(self, 14, rows.Period)
        self.claims: Table[bytes, rows.Claim] = Table(self, 15, rows.Claim)
        self.bindings: Table[bytes, rows.BindingTree] = Table(self, 16, rows.BindingTree)
        self.schedule: Table[int, rows.Scheduled] = Table(self, 17, rows.Scheduled)
        self.order_counts: Table[tuple[int, bytes], rows.OrderCount] = Table(self, 19, rows.OrderCount)
        self.support: Table[bytes, rows.NodeSupport] = Table(self, 18, rows.NodeSupport)
        self.quorums = Quorums(self, 20)
        self.seats: Table[bytes, rows.Seat] = Table(self, 21, rows.Seat)
        self.findings: Table[tuple[bytes, int, int], rows.Finding] = Table(self, 22, rows.Finding)
        self.asset_rules: Table[str, rows.AssetRules] = Table(self, 23, rows.AssetRules)
        self.holds: Table[bytes, rows.Hold] = Table(self, 24, rows.Hold)
        self.hold_ends: Table[tuple[int, bytes], rows.HoldEnd] = Table(self, 25, rows.HoldEnd)
        self.hold_counts: Table[bytes, rows.HoldCount] = Table(self, 26, rows.HoldCount)
        self.references: Table[tuple[str, str], rows.Reference] = Table(self, 27, rows.Reference)
        self.carries: Table[tuple[str, bytes], rows.Carry] = Table(self, 28, rows.Carry)
        self.pairs: Table[tuple[int, bytes, int], rows.Pair] = Table(self, 29, rows.Pair)
        self.standing: Table[bytes, order_rows.Standing] = Table(self, 40, order_rows.Standing)
        self.standing_of: Table[tuple[bytes, bytes], order_rows.StandingOf] = Table(self, 41, order_rows.StandingOf)
        self.committed: Table[bytes, order_rows.Committed] = Table(self, 42, order_rows.Committed)
        self.executions: Table[tuple[int, int], order_rows.Execution] = Table(self, 43, order_rows.Execution)
        self.trading_days: Table[int, order_rows.TradingDay] = Table(self, 44, order_rows.TradingDay)
        self.auctions: Table[bytes, order_rows.Auction] = Table(self, 45, order_rows.Auction)
        self.auction_bids: Table[tuple[bytes, bytes], order_rows.AuctionBid] = Table(self, 46, order_rows.AuctionBid)
        self.agents: Table[tuple[bytes, str], order_rows.Agent] = Table(self, 65, order_rows.Agent)
        self.preferences: Table[tuple[bytes, int, str, str], order_rows.Preference] = Table(
            self, 66, order_rows.Preference
        )
        self.order_partners: Table[bytes, order_rows.OrderPartner] = Table(self, 67, order_rows.OrderPartner)
        self.points: Table[bytes, delivery_rows.Point] = Table(self, 35, delivery_rows.Point)
        self.deliveries: Table[bytes, delivery_rows.Delivery] = Table(self, 36, delivery_rows.Delivery)
        self.delivery_ends: Table[tuple[int, bytes], delivery_rows.DeliveryEnd] = Table(
            self, 37, delivery_rows.DeliveryEnd
        )
        self.storages: Table[str, delivery_rows.Storage] = Table(self, 38, delivery_rows.Storage)
        self.keeps: Table[tuple[str, bytes], delivery_rows.Keep] = Table(self, 39, delivery_rows.Keep)
        self.credentials: Table[bytes, delivery_rows.Credential] = Table(self, 60, delivery_rows.Credential)
        self.installations: Table[bytes, origin_rows.Installation] = Table(self, 30, origin_rows.Installation)
        self.stored_lots: Table[tuple[bytes, int], origin_rows.LotRow] = Table(self, 31, origin_rows.LotRow)
        self.more_registers: Table[tuple[bytes, int], origin_rows.MoreRegisters] = Table(
            self, 32, origin_rows.MoreRegisters
        )
        self.grid_carbon: Table[tuple[int, int], origin_rows.GridCarbon] = Table(self, 33, origin_rows.GridCarbon)
        self.certificates: Table[tuple[bytes, int, bytes, int], origin_rows.Certificate] = Table(
            self, 34, origin_rows.Certificate
        )
        self.feeds: Table[str, feed_rows.FeedRow] = Table(self, 50, feed_rows.FeedRow)
        self.reports: Table[tuple[str, int, bytes], feed_rows.Report] = Table(self, 51, feed_rows.Report)
        self.agreed: Table[tuple[str, int], feed_rows.Agreed] = Table(self, 52, feed_rows.Agreed)
        self.contracts: Table[bytes, rows.Contract] = Table(self, 55, rows.Contract)
        self.contracts_of: Table[tuple[bytes, bytes], rows.ContractOf] = Table(self, 56, rows.ContractOf)

    def register(self, table: Table[Any, Any], number: int) -> None:
        """Give a table its number; part of every leaf, so never reused."""
        if number in self._tables:
            raise ValueError(f"table number {number} is taken")
        self._tables[number] = table

    def touch(self, number: int, key: Any, row: tuple[Any, ...] | None) -> None:
        """A row was written (or deleted, if None)."""
        place = cbor.encode([number, key])
        name = hashlib.sha256(place).digest()
        bucket = name[0]
        if row is None:
            del self._buckets[bucket][name]
        else:
            self._buckets[bucket][name] = merkle.leaf_hash(cbor.encode([number, key, row]))
        self._dirty.add(bucket)

    def state_hash(self) -> bytes:
        """The hash over every row of every table: only what changed is computed again."""
        tree = self._tree
        for bucket in self._dirty:
            leaves = self._buckets[bucket]
            tree[BUCKETS + bucket] = merkle.root([leaves[name] for name in sorted(leaves)])
        stale = {(BUCKETS + bucket) // 2 for bucket in self._dirty}
        self._dirty.clear()
        while stale and stale != {0}:
            for node in stale:
                tree[node] = merkle.node_hash(tree[2 * node], tree[2 * node + 1])
            stale = {node // 2 for node in stale}
        return tree[1]

    def dump(self) -> list[list[Any]]:
        """Every row as [table, key, values], in order: a snapshot."""
        return [
            [number, key, list(msgspec.structs.astuple(row))]
            for number in sorted(self._tables)
            for key, row in self._tables[number].items()
        ]

    @staticmethod
    def restore(entries: list[list[Any]]) -> State:
        """The state of a snapshot; its hash tells whether it is the right one.

        Raises:
            ValueError: a table or a row that this version does not know.
        """
        state = State()
        for number, key, values in entries:
            table = state._tables.get(number)
            if table is None:
                raise ValueError(f"snapshot: table {number} is unknown to this version")
            try:
                table.load(key, values)
            except TypeError as error:
                raise ValueError(f"snapshot: a row of table {number} does not fit: {error}") from error
        return state


def _empty_tree() -> list[bytes]:
    tree = [merkle.root(())] * (2 * BUCKETS)
    for node in range(BUCKETS - 1, 0, -1):
        tree[node] = merkle.node_hash(tree[2 * node], tree[2 * node + 1])
    return tree


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
