"""State: the tables of the replicated ledger and the one hash over all of them.

The state hash is `SHA-256(0x05 || CBOR [[table, its hash], ...])` over the tables that have rows, by number;
`meshnode.ledger.tables` says what the hash of a table is. It depends on the rows alone. A row can be proved with
the hashes beside it: those of its bucket, of fifteen subtrees for each branch above it, and of the other tables.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from meshnode.ledger import billing_rows, delivery_rows, feed_rows, order_rows, origin_rows, parameter_rows, rows
from meshnode.ledger.tables import Balances, Meta, Meters, Nonces, Orders, PeriodTable, Quorums, Table
from protocols import cbor

_STATE = b"\x05"


class State:
    """The whole replicated state of a microgrid."""

    def __init__(self) -> None:
        self._tables: dict[int, Table[Any, Any]] = {}
        self.meta = Meta(self, 1, rows.Meta)
        self.accounts: Table[bytes, rows.Account] = Table(self, 2, rows.Account)
        self.names: Table[str, rows.NameOf] = Table(self, 3, rows.NameOf)
        self.keys: Table[bytes, rows.Key] = Table(self, 4, rows.Key)
        self.meters = Meters(self, 5)
        self.nonces = Nonces(self, 6)
        self.assets: Table[str, rows.Asset] = Table(self, 7, rows.Asset)
        self.balances = Balances(self, 8)
        self.orders = Orders(self, 9)
        self.order_places: Table[bytes, rows.OrderPlace] = Table(self, 10, rows.OrderPlace)
        self.registers: PeriodTable[tuple[bytes, int], rows.Registers] = PeriodTable(self, 11, rows.Registers, place=1)
        self.metered: PeriodTable[tuple[int, bytes], rows.PeriodEnergy] = PeriodTable(self, 12, rows.PeriodEnergy)
        self.trades: PeriodTable[tuple[int, int], rows.PeriodTrade] = PeriodTable(self, 13, rows.PeriodTrade)
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
        self.pairs: PeriodTable[tuple[int, bytes, int], rows.Pair] = PeriodTable(self, 29, rows.Pair, parts=3)
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
        self.more_registers: PeriodTable[tuple[bytes, int], origin_rows.MoreRegisters] = PeriodTable(
            self, 32, origin_rows.MoreRegisters, place=1
        )
        self.grid_carbon: Table[tuple[int, int], origin_rows.GridCarbon] = Table(self, 33, origin_rows.GridCarbon)
        self.certificates: Table[tuple[bytes, int, bytes, int], origin_rows.Certificate] = Table(
            self, 34, origin_rows.Certificate
        )
        self.feeds: Table[str, feed_rows.FeedRow] = Table(self, 50, feed_rows.FeedRow)
        self.reports: Table[tuple[str, int, bytes], feed_rows.Report] = Table(self, 51, feed_rows.Report)
        self.agreed: Table[tuple[str, int], feed_rows.Agreed] = Table(self, 52, feed_rows.Agreed)
        self.credit_limits: Table[tuple[bytes, bytes], parameter_rows.CreditLimit] = Table(
            self, 61, parameter_rows.CreditLimit
        )
        self.prices: Table[tuple[bytes, int], parameter_rows.Prices] = Table(self, 62, parameter_rows.Prices)
        self.parameters: Table[tuple[int, bytes, int], parameter_rows.Parameter] = Table(
            self, 63, parameter_rows.Parameter
        )
        self.period_prices: Table[tuple[int, int], feed_rows.PeriodPrice] = Table(self, 70, feed_rows.PeriodPrice)
        self.billing_periods: Table[int, billing_rows.BillingPeriod] = Table(self, 75, billing_rows.BillingPeriod)
        self.billing_sums: Table[tuple[int, bytes], billing_rows.BillingSum] = Table(self, 76, billing_rows.BillingSum)
        self.shared_hours: Table[tuple[int, str], billing_rows.SharedHour] = Table(self, 77, billing_rows.SharedHour)
        self.hour_points: Table[tuple[int, str, bytes], billing_rows.HourPoint] = Table(
            self, 78, billing_rows.HourPoint
        )
        self.grants: Table[tuple[str, bytes], delivery_rows.Grant] = Table(self, 79, delivery_rows.Grant)
        self.contracts: Table[bytes, rows.Contract] = Table(self, 55, rows.Contract)
        self.contracts_of: Table[tuple[bytes, bytes], rows.ContractOf] = Table(self, 56, rows.ContractOf)

    def register(self, table: Table[Any, Any], number: int) -> None:
        """Give a table its number; part of every leaf, so never reused."""
        if number in self._tables:
            raise ValueError(f"table number {number} is taken")
        self._tables[number] = table

    @property
    def size(self) -> int:
        """How many rows it has."""
        return sum(len(table) for table in self._tables.values())

    def state_hash(self) -> bytes:
        """The hash over every row of every table: only what changed is computed again."""
        hashes = [(number, self._tables[number].hash()) for number in self._numbers()]
        content = cbor.encode([entry for entry in hashes if len(self._tables[entry[0]])])
        return hashlib.sha256(_STATE + content).digest()

    def dump(self) -> list[list[Any]]:
        """Every row as [table, key, values], in order: a snapshot."""
        return [
            [number, key, list(msgspec.structs.astuple(row))]
            for number in self._numbers()
            for key, row in self._tables[number].items()
        ]

    def _numbers(self) -> list[int]:
        return sorted(self._tables)

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
            except (TypeError, IndexError) as error:
                raise ValueError(f"snapshot: a row of table {number} does not fit: {error}") from error
        return state
