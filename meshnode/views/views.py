"""Views: what the ledger did, as rows for screens, in views.sqlite beside the ledger.

Derived data: the file may be deleted at any time and is made again by replaying blocks.
It remembers the height it reflects; applying a block twice changes nothing.

One connection writes, in whatever thread the node chooses. Questions come from other
threads at the same time and each borrows a connection of its own: with a write-ahead
log nobody waits for the writer, and every question sees whole blocks only.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from meshnode.machine import Event
from meshnode.store import DiskFull
from meshnode.store.database import is_full
from meshnode.views import billing, history, origin, reading, rows, schema
from meshnode.views.writing import found, write_block
from protocols.block import Block
from protocols.records import Genesis, chain_id

log = logging.getLogger(__name__)

FILE = "views.sqlite"
# One answer is at most this long: a year of quarter-hours of one home is seven of them,
# and a page shows a hundred. Whoever wants more asks again from where the answer ended.
MAX_ROWS = 5_000
# The report is for short runs; its newest periods are a month of quarter-hours.
MAX_REPORT_PERIODS = 3_000
# Connections kept for questions; a page asks a handful at once. Each costs some 100 KiB.
READERS_KEPT = 4
# The write-ahead log is cut back to this, so that a long replay leaves no large file.
WAL_KEPT_BYTES = 4 * 1024 * 1024
# Page cache of one connection, KiB.
CACHE_KIB = 512
# Time stamps are below 2^40 (the year 36812), and so are heights.
END_S = 1 << 40
# Numbers of postings are below this.
END_POSTING = 1 << 62

P = ParamSpec("P")
R = TypeVar("R")


class ViewsError(Exception):
    """The views cannot be used or written: place, what was found, what to do."""


class ViewsFull(ViewsError, DiskFull):
    """There is no room on the disk; it can be tried again."""


class Views:
    """The views of one microgrid. Made by `Views.open`; every method may be called from any thread."""

    def __init__(self, path: Path, db: sqlite3.Connection, height: int) -> None:
        """Use `Views.open`."""
        self._path = path
        self._db = db
        self._height = height
        self._writing = threading.Lock()
        self._lending = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @staticmethod
    def open(directory: Path, genesis: Genesis, ledger_height: int | None = None) -> Views:
        """Open the views in a microgrid's directory, or begin them anew.

        They begin at height 0 if the file is missing, damaged, of another version or of
        another chain, or reflects more than the ledger has; the caller then applies
        the blocks from `height` + 1 on.

        Args:
            ledger_height: final height of the ledger; None skips that comparison.
        Raises:
            ViewsError: the disk refuses.
        """
        path, chain = directory / FILE, chain_id(genesis)
        try:
            opened = _taken_up(path, chain, ledger_height)
            if opened is None:
                _remove(path)
                opened = _connect(path), 0
                _begin(opened[0], genesis, chain)
        except (sqlite3.Error, OSError) as error:
            raise ViewsError(f"{path}: {error}; check the disk, its space and the permissions") from error
        return Views(path, *opened)

    def close(self) -> None:
        """Let go of the file."""
        with self._writing, self._lending:
            self._closed = True
            for reader in self._idle:
                reader.close()
            self._idle.clear()
            self._db.close()

    @property
    def height(self) -> int:
        """Height of the last block that is reflected; 0 at the beginning."""
        return self._height

    def apply(self, block: Block, events: tuple[Event, ...]) -> None:
        """Enter the next block with what `Machine.apply` said of it, in one transaction.

        A block that is reflected already is left alone.

        Raises:
            ViewsError: a block is missing before it, another block is reflected at its
                height, or the disk fails. A damaged file is removed, so that the next start makes it anew.
        """
        height = block.header.height
        with self._writing:
            if height <= self._height:
                known = reading.block_hash(self._db, height)
                if known != block.block_hash:
                    raise ViewsError(
                        f"{self._path}: reflects another block at height {height} than the ledger has; "
                        f"stop the node and delete the file, it is made again from the ledger"
                    )
                return
            if height != self._height + 1:
                raise ViewsError(
                    f"{self._path}: got block {height}, expected {self._height + 1}; feed the blocks between"
                )
            try:
                with self._db:
                    self._db.execute("BEGIN IMMEDIATE")
                    write_block(self._db, block, events)
                    self._db.execute("UPDATE reflects SET height = ?", (height,))
            except sqlite3.OperationalError as error:
                kind = ViewsFull if is_full(error) else ViewsError
                raise kind(
                    f"{self._path}: block {height} not written: {error}; check the disk and its space"
                ) from error
            except sqlite3.DatabaseError as error:
                _remove(self._path)
                raise ViewsError(
                    f"{self._path}: damaged ({error}) and removed; start the node again, "
                    f"it makes the file anew from the ledger"
                ) from error
            self._height = height

    # --- questions

    def recent_blocks(self, limit: int, below: int | None = None) -> list[rows.BlockRow]:
        """The newest blocks (under a height), newest first."""
        return self._ask(reading.blocks, END_S if below is None else below, _bounded(limit))

    def verdict(self, record_id: bytes) -> int | None:
        """The ledger's verdict on a record, where it stands first; None if no reflected block carries it."""
        return self._ask(reading.verdict, record_id)

    def record(self, record_id: bytes) -> rows.RecordRow | None:
        """A record where it stands first; None if no reflected block carries it."""
        return self._ask(reading.record, record_id)

    def records_of_block(self, height: int) -> list[rows.RecordRow]:
        """The records of a block with their verdicts, in their order; a block bounds their number."""
        return self._ask(reading.records_of_block, height)

    def readings(self, meter: bytes, from_s: int, to_s: int, limit: int = MAX_ROWS) -> list[rows.ReadingRow]:
        """A meter's readings for the periods that begin in [from_s, to_s), in order."""
        return self._ask(reading.readings, meter, from_s, to_s, _bounded(limit))

    def periods(self, from_s: int, to_s: int, limit: int = MAX_ROWS, *, newest: bool = False) -> list[rows.PeriodRow]:
        """Closed periods that begin in [from_s, to_s), in order; if there are more than `limit`, the
        oldest of them, or the newest."""
        return self._ask(reading.periods, from_s, to_s, _bounded(limit), newest=newest)

    def lines(
        self, account: bytes | None, from_s: int, to_s: int, limit: int = MAX_ROWS, skip: int = 0
    ) -> list[rows.LineRow]:
        """Lines of an account (None: of all) for the periods that begin in [from_s, to_s), in order.

        Args:
            skip: leave out the first so many, to go on inside a period.
        """
        return self._ask(reading.lines, account, from_s, to_s, _bounded(limit), skip)

    def day(self, account: bytes | None, from_s: int, to_s: int) -> rows.DayRow:
        """Sums over an account's lines (None: everybody's) between two times."""
        return self._ask(reading.day, account, from_s, to_s)

    def trades(
        self, limit: int, account: bytes | None = None, before_s: int = END_S, skip: int = 0
    ) -> list[rows.TradeRow]:
        """Trades (of an account) in periods that begin before a time, newest period first."""
        return self._ask(reading.trades, account, before_s, _bounded(limit), skip)

    def orders(
        self,
        account: bytes | None,
        limit: int = MAX_ROWS,
        *,
        only_open: bool = False,
        below: int | None = None,
        skip: int = 0,
    ) -> list[rows.OrderRow]:
        """Accepted orders of an account (None: of all) in blocks under a height, newest first."""
        height = END_S if below is None else below
        return self._ask(reading.orders, account, only_open, height, _bounded(limit), skip)

    def postings(
        self,
        account: bytes | None = None,
        start_s: int | None = None,
        limit: int = MAX_ROWS,
        below: int | None = None,
    ) -> list[rows.PostingRow]:
        """Postings that an account paid or received (None: all), of one period if given, newest first.

        Args:
            below: only postings with a smaller number: where the answer before ended.
        """
        return self._ask(reading.postings, account, start_s, END_POSTING if below is None else below, _bounded(limit))

    def movements(
        self,
        account: bytes | None = None,
        asset: str | None = None,
        limit: int = MAX_ROWS,
        below: int | None = None,
    ) -> list[rows.MovementRow]:
        """Movements of an asset (None: of all) that an account gave or got (None: all), newest first.

        Args:
            below: only movements with a smaller number: where the answer before ended.
        """
        number = END_POSTING if below is None else below
        return self._ask(history.movements, account, asset, number, _bounded(limit))

    def note(self, record_id: bytes) -> history.Note:
        """What stands beside a wish for money or a sale: (sealed memo, the record's nonce, reference)."""
        return self._ask(history.note, record_id)

    def pairs(self, account: bytes | None, from_s: int, to_s: int, limit: int = MAX_ROWS) -> list[rows.PairRow]:
        """Pairs of an account (None: of all) for the periods that begin in [from_s, to_s), in order."""
        return self._ask(history.pairs, account, from_s, to_s, _bounded(limit))

    def billing_periods(
        self, account: bytes | None = None, limit: int = MAX_ROWS, below_s: int = END_S, skip: int = 0
    ) -> list[rows.BillingRow]:
        """Billing periods of an account (None: of all) that ended and began before a time, newest first."""
        return self._ask(billing.periods, account, below_s, _bounded(limit), skip)

    def shared_hours(self, from_s: int, to_s: int, limit: int = MAX_ROWS, skip: int = 0) -> list[rows.SharedHourRow]:
        """Hours in which energy was shared behind one substation, that begin in [from_s, to_s), in order."""
        return self._ask(billing.hours, from_s, to_s, _bounded(limit), skip)

    def contracts(
        self, account: bytes | None = None, limit: int = MAX_ROWS, below: int | None = None
    ) -> list[rows.ContractRow]:
        """Contracts of which an account is a party (None: all), offered under a height, newest first."""
        return self._ask(history.contracts, account, END_S if below is None else below, _bounded(limit))

    def origins(self, account: bytes | None, from_s: int, to_s: int) -> origin.Origins:
        """Where the energy came from that an account (None: everybody) used in final periods of [from_s, to_s)."""
        return self._ask(origin.of, account, from_s, to_s)

    def certificates(
        self, account: bytes | None = None, limit: int = MAX_ROWS, below: int | None = None
    ) -> list[rows.CertificateRow]:
        """What became of certificates that an account (None: anybody) had or got, newest first."""
        return self._ask(origin.certificates, account, END_POSTING if below is None else below, _bounded(limit))

    def report(self) -> dict[str, Any]:
        """The newest `MAX_REPORT_PERIODS` periods in order: `{"periods": [{"period": its start in UTC
        seconds, "corrections", "completeness_ppm", "price_u_kwh", "members": {name: {own_wh,
        neighbours_wh, grid_wh, consumption_wh, in_u, out_u}}}], "readings", "orders", "trades":
        how many there are}`."""
        return self._ask(reading.report, MAX_REPORT_PERIODS)

    def _ask(
        self, question: Callable[Concatenate[sqlite3.Connection, P], R], *values: P.args, **options: P.kwargs
    ) -> R:
        """Put a question to a borrowed connection, in one transaction: one picture of the ledger."""
        with self._lending:
            if self._closed:
                raise ViewsError(f"{self._path}: closed")
            reader = self._idle.pop() if self._idle else None
        try:
            if reader is None:
                reader = _connect(self._path)
                reader.execute("PRAGMA query_only = ON")
            reader.execute("BEGIN")
            try:
                return question(reader, *values, **options)
            finally:
                reader.execute("COMMIT")
        except sqlite3.Error as error:
            raise ViewsError(
                f"{self._path}: {error}; stop the node and delete the file, it is made again from the ledger"
            ) from error
        finally:
            if reader is not None:
                self._give_back(reader)

    def _give_back(self, reader: sqlite3.Connection) -> None:
        with self._lending:
            if not self._closed and len(self._idle) < READERS_KEPT:
                self._idle.append(reader)
                return
        reader.close()


def _bounded(limit: int) -> int:
    return max(0, min(limit, MAX_ROWS))


def _connect(path: Path) -> sqlite3.Connection:
    # Whoever holds a connection has it alone, so threads may hand it on.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # Losing the newest blocks in a power cut costs a replay of them, nothing else.
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        db.close()
        raise
    return db


def _taken_up(path: Path, chain: bytes, ledger_height: int | None) -> tuple[sqlite3.Connection, int] | None:
    """The file that is there, with the height it reflects; None if it must be made anew."""
    if not path.exists():
        return None
    try:
        db = _connect(path)
    except sqlite3.DatabaseError as error:
        log.warning("%s: %s; made again from the ledger", path, error)
        return None
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        row = db.execute("SELECT chain, height FROM reflects").fetchone() if version == schema.VERSION else None
        if row is not None and row[0] == chain and (ledger_height is None or row[1] <= ledger_height):
            return db, int(row[1])
        log.info("%s: of another version, chain or height than the ledger; made again from it", path)
    except sqlite3.DatabaseError as error:
        log.warning("%s: %s; made again from the ledger", path, error)
    db.close()
    return None


def _begin(db: sqlite3.Connection, genesis: Genesis, chain: bytes) -> None:
    with db:
        db.execute("BEGIN IMMEDIATE")
        for statement in schema.TABLES.split(";"):
            db.execute(statement)
        found(db, genesis)
        db.execute("INSERT INTO reflects VALUES (1, ?, 0)", (chain,))
        db.execute(f"PRAGMA user_version = {schema.VERSION}")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
