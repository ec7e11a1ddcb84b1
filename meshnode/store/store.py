"""Store: the one writer of a microgrid's ledger on disk.

`persist` is the only way in: one batch, one transaction, one fsync. When it returns,
the batch survives a power cut; when it raises, nothing of it is promised and the
process must end, because after a failed fsync nobody knows what the disk holds.

All calls are synchronous and safe from several threads. What Raft asks for all the
time (indexes, terms and the newest entries) comes from memory and never waits for a write.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from types import TracebackType

import msgspec

from meshnode.store import rows
from meshnode.store.cache import TailCache
from meshnode.store.place import (
    DATABASE_FILE,
    GENESIS_FILE,
    Lock,
    StoreError,
    chain_of,
    check_chain_id,
    check_genesis,
    make_directory,
    microgrid_directory,
    read_genesis,
    refill,
    write_genesis,
)
from meshnode.store.reader import BUSY_S, LedgerReader
from meshnode.store.rows import Batch, DamagedRow, Entry, HardState, SignState, Standing
from protocols import block as blocks
from protocols.records import Election, read_as

# At start this many entries are checked beside those that are not final: what Raft reads
# first, and where a failing card shows. The rest is checked when it is read.
CHECKED_AT_OPEN = 64
# The write-ahead log is cut back to this after a checkpoint, so that one catch-up does not
# leave a large file behind.
WAL_KEPT_BYTES = 8 * 1024 * 1024


class Store:
    """One microgrid's ledger, open for writing.

    Invariants:
        first_index() <= every index <= last_index(), without gaps;
        final_height() <= last_index(), and no entry at or below it ever changes.
    """

    def __init__(self, place: Path, chain_id: bytes, lock: Lock) -> None:
        """Use `Store.open`."""
        self.place = place
        self.chain_id = chain_id
        self._path = place / DATABASE_FILE
        self._lock = lock
        self._writing = threading.Lock()
        self._failed: str | None = None
        # The reader looks first: it refuses files that are no ledger, before anything writes to them.
        self._reader = LedgerReader(place, archive=False)
        try:
            self._db = _connect(self._path)
            try:
                self._standing = self._read_standing()
                self._cache = TailCache()
                self._first = self._reader.bounds("log")[0]
                self._read_tail()
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._reader.close()
            raise

    @staticmethod
    def create(directory: Path, genesis_bytes: bytes) -> None:
        """Found the ledger of a microgrid in a node's directory; open it afterwards.

        A founding that was interrupted is done again from its beginning.

        Args:
            directory: the node's; the ledger goes to microgrids/<chain id>/ in it.
            genesis_bytes: canonical encoding of the genesis.
        Raises:
            StoreError: the genesis is not one, or the ledger is there already.
        """
        check_genesis(genesis_bytes)
        chain_id = chain_of(genesis_bytes)
        place = microgrid_directory(directory, chain_id)
        try:
            make_directory(place)
            lock = Lock(place)
            try:
                if (place / GENESIS_FILE).exists():
                    raise StoreError(f"{place}: this microgrid has a ledger here already; nothing was changed")
                for unfinished in place.glob(DATABASE_FILE + "*"):
                    unfinished.unlink()
                found_database(place / DATABASE_FILE, chain_id)
                write_genesis(place, genesis_bytes)
            finally:
                lock.release()
        except OSError as error:
            raise StoreError(f"{place}: {error.strerror}; check the disk and the permissions") from error
        except sqlite3.Error as error:
            raise StoreError(f"{place}: {why(error)}") from error

    @staticmethod
    def open(directory: Path, chain_id: bytes) -> Store:
        """Open the ledger of a microgrid for writing and check its newest part.

        A damaged end that was never acknowledged is cut off: Raft fetches it again.

        Args:
            directory: the node's.
        Raises:
            StoreError: no ledger, another process has it, another version, the genesis is
                not that of `chain_id`, or what this node acknowledged is damaged (`height` says where).
        """
        check_chain_id(chain_id)
        place = microgrid_directory(directory, chain_id)
        found = chain_of(read_genesis(place))
        if found != chain_id:
            raise StoreError(f"{place}: the genesis here belongs to {found.hex()}; it was altered or misplaced")
        try:
            lock = Lock(place)
        except OSError as error:
            raise StoreError(f"{place}: {error.strerror}; check the disk and the permissions") from error
        try:
            return Store(place, chain_id, lock)
        except sqlite3.Error as error:
            lock.release()
            raise StoreError(f"{place / DATABASE_FILE}: {why(error)}") from error
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the ledger; what was persisted is on disk already."""
        with self._writing:
            self._failed = self._failed or "it was closed"
            self._reader.close()
            self._db.close()
            self._lock.release()

    def persist(self, batch: Batch) -> None:
        """Write a batch: one transaction, one fsync.

        Entries at or below the final height may come again, if they are the same. A batch
        that is refused has changed nothing.

        Raises:
            StoreError: the disk failed or is full, or the batch would change what is final,
                leave a gap, or certify what is not final. The caller ends the process.
        """
        with self._writing:
            if self._failed is not None:
                raise StoreError(f"{self._path}: not written, {self._failed}; start the node again")
            if batch == Batch():
                return
            entries = self._new_entries(batch.entries)
            standing = self._next_standing(batch, entries[-1].index if entries else self.last_index())
            records = self._records_made_final(entries, standing.final_height)
            self._check_certificates(batch.certificates, standing.final_height)
            try:
                self._write(entries, batch.certificates, standing, records, elections=batch.elections)
            except sqlite3.Error as error:
                self._failed = f"an earlier write failed ({error})"
                raise StoreError(f"{self._path}: {why(error)}") from error
            self._cache.replace_from(entries)
            self._standing = standing

    def hard_state(self) -> HardState:
        """Raft's hard state."""
        return self._standing.hard_state

    def sign_state(self) -> SignState:
        """What this node signed last."""
        return self._standing.sign_state

    def lock(self) -> bytes:
        """The encoded prepare certificate that binds this node; empty if none does."""
        return self._standing.lock

    def final_height(self) -> int:
        """Blocks up to here are final; 0 at the beginning."""
        return self._standing.final_height

    def first_index(self) -> int:
        """Index of the first entry that is here, or would be."""
        return self._first

    def last_index(self) -> int:
        """Index of the last entry; first_index() - 1 if there is none."""
        return self._standing.last_height

    def term(self, index: int) -> int:
        """Term of an entry; 0 at index 0, where the genesis stands.

        Raises:
            LookupError: no such entry here.
            StoreError: it is damaged.
        """
        return 0 if index == 0 else self.entry(index).term

    def entry(self, index: int) -> Entry:
        """One entry.

        Raises:
            LookupError: no such entry here.
            StoreError: it is damaged.
        """
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        if not self._first <= index <= self.last_index():
            raise LookupError(f"entry {index}: the log goes from {self._first} to {self.last_index()}")
        try:
            found = self._reader.entry(index)
        except DamagedRow as damage:
            raise self._damaged(damage) from damage
        if found is None:
            raise StoreError(f"{self._path}: entry {index} is missing; {self._refill()}", index)
        return found

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Entries with low <= index < high: as many as fit into `max_bytes` of data, but at least one.

        Raises:
            LookupError: low >= high, or some of them are not here.
            StoreError: one of them is damaged.
        """
        if not self._first <= low < high <= self.last_index() + 1:
            raise LookupError(f"entries {low} to {high - 1}: the log goes from {self._first} to {self.last_index()}")
        found: list[Entry] = []
        size = 0
        for index in range(low, high):
            entry = self.entry(index)
            size += len(entry.data)
            if found and size > max_bytes:
                break
            found.append(entry)
        return found

    def certificate(self, height: int) -> bytes | None:
        """The certificate of exactly this height, if this node has one.

        Raises:
            StoreError: it is damaged.
        """
        found = self.certificate_from(height)
        return found[1] if found is not None and found[0] == height else None

    def certificate_from(self, height: int) -> tuple[int, bytes] | None:
        """Height and bytes of the lowest certificate at or above a height.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return self._reader.certificate_from(height)
        except DamagedRow as damage:
            raise self._damaged(damage) from damage

    def certificate_below(self, height: int) -> tuple[int, bytes] | None:
        """Height and bytes of the highest certificate at or below a height.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return self._reader.certificate_below(height)
        except DamagedRow as damage:
            raise self._damaged(damage) from damage

    def elections_after(self, term: int, limit: int) -> list[bytes]:
        """Election certificates of later terms than this, the first ones first.

        Raises:
            StoreError: one of them is damaged.
        """
        try:
            return self._reader.elections_after(term, limit)
        except DamagedRow as damage:
            raise self._damaged(damage) from damage

    def last_certificate(self) -> tuple[int, bytes] | None:
        """Height and bytes of the highest certificate.

        Raises:
            StoreError: it is damaged.
        """
        return self.certificate_below(self.final_height())

    def find_record(self, record_id: bytes) -> tuple[int, int] | None:
        """Height and position of a record of a final block; where it stood first, if it came again."""
        return self._reader.find_record(record_id)

    def _new_entries(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """The entries that are to be written: those above the final height, after a check of the others."""
        if not entries:
            return ()
        first = entries[0].index
        if [entry.index for entry in entries] != list(range(first, first + len(entries))):
            raise StoreError(f"{self._path}: not written, entries from {first} on are not of consecutive indexes")
        if not self._first <= first <= self.last_index() + 1:
            raise StoreError(
                f"{self._path}: entry {first} not written, the log goes from {self._first} to {self.last_index()}"
            )
        final = self._standing.final_height
        for entry in entries[: max(0, final + 1 - first)]:
            if entry != self.entry(entry.index):
                raise StoreError(
                    f"{self._path}: entry {entry.index} not written: block {entry.block_hash.hex()} would replace "
                    f"{self.entry(entry.index).block_hash.hex()}, which is final; two certified histories are a fork",
                    entry.index,
                )
        return entries[max(0, final + 1 - first) :]

    def _next_standing(self, batch: Batch, last: int) -> Standing:
        now = self._standing
        final = now.final_height if batch.final_height is None else batch.final_height
        if not now.final_height <= final <= last:
            raise StoreError(f"{self._path}: final height {final} not written, expected {now.final_height} to {last}")
        return msgspec.structs.replace(
            now,
            hard_state=batch.hard_state or now.hard_state,
            sign_state=batch.sign_state or now.sign_state,
            final_height=final,
            last_height=last,
            lock=now.lock if batch.lock is None else batch.lock,
        )

    def _records_made_final(self, entries: tuple[Entry, ...], final: int) -> list[tuple[bytes, int, int]]:
        new = {entry.index: entry for entry in entries}
        found = []
        for height in range(self._standing.final_height + 1, final + 1):
            entry = new.get(height) or self.entry(height)
            try:
                block = blocks.read(entry.data, self.chain_id)
            except blocks.BlockError as error:
                raise StoreError(f"{self._path}: block {height} cannot become final: {error}", height) from error
            found += [(record.record_id, height, position) for position, record in enumerate(block.records)]
        return found

    def _check_certificates(self, certificates: tuple[tuple[int, bytes], ...], final: int) -> None:
        for height, _ in certificates:
            if not 1 <= height <= final:
                raise StoreError(
                    f"{self._path}: certificate of height {height} not written, the final height is {final}", height
                )

    def _write(
        self,
        entries: tuple[Entry, ...],
        certificates: tuple[tuple[int, bytes], ...],
        standing: Standing,
        records: list[tuple[bytes, int, int]],
        cut_above: int | None = None,
        elections: tuple[bytes, ...] = (),
    ) -> None:
        db = self._db
        if entries:
            cut_above = entries[0].index - 1
        db.execute("BEGIN IMMEDIATE")
        try:
            if cut_above is not None:
                db.execute("DELETE FROM log WHERE height > ?", (cut_above,))
                db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", map(rows.log_row, entries))
            db.executemany(
                "INSERT OR REPLACE INTO certificate VALUES (?, ?, ?)",
                [rows.certificate_row(height, data) for height, data in certificates],
            )
            db.executemany("INSERT OR IGNORE INTO election VALUES (?, ?, ?)", map(_election_row, elections))
            # A record may stand in a later block again, without effect; the first place counts.
            db.executemany("INSERT OR IGNORE INTO record VALUES (?, ?, ?)", records)
            _put_standing(db, standing)
            db.execute("COMMIT")
        except BaseException:
            # SQLite has rolled back by itself after some errors (a full disk), not after others.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _read_standing(self) -> Standing:
        try:
            standing = self._reader.standing()
        except DamagedRow as damage:
            raise StoreError(
                f"{self._path}: {damage}; what this node signed last is lost\n    {refill(self.place)}"
            ) from damage
        if standing.chain_id != self.chain_id:
            raise StoreError(
                f"{self._path}: is the ledger of {standing.chain_id.hex()}; expected {self.chain_id.hex()}, "
                f"put each database back beside its genesis"
            )
        return standing

    def _read_tail(self) -> None:
        """Check the newest entries; cut off what is damaged if this node has promised nothing about it."""
        standing = self._standing
        promised = max(standing.sign_state.ack_height, standing.final_height, standing.hard_state.commit)
        good = max(self._first - 1, min(standing.last_height, standing.final_height) - CHECKED_AT_OPEN)
        damage: DamagedRow | None = None
        for row in self._reader.log_rows(good + 1, standing.last_height + 1):
            try:
                entry = rows.read_log_row(row)
            except DamagedRow as found:
                damage = found
                break
            if entry.index != good + 1:
                break
            self._cache.replace_from((entry,))
            good += 1
        if good == standing.last_height:
            return
        if good < promised:
            raise StoreError(f"{self._path}: {damage or f'log row {good + 1} is missing'}; {self._refill()}", good + 1)
        standing = msgspec.structs.replace(standing, last_height=good)
        self._write((), (), standing, [], cut_above=good)
        self._standing = standing

    def _damaged(self, damage: DamagedRow) -> StoreError:
        return StoreError(f"{self._path}: {damage}; {self._refill()}", damage.height)

    def _refill(self) -> str:
        return f"the disk has lost part of what this node acknowledged\n    {refill(self.place)}"


def _connect(path: Path) -> sqlite3.Connection:
    # Transactions are written out here: the module's own would begin and end where nobody looks.
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    return db


def found_database(path: Path, chain_id: bytes) -> None:
    """Make the database of a ledger without blocks. Raises sqlite3.Error, OSError."""
    db = _connect(path)
    try:
        path.chmod(0o600)
        db.execute("BEGIN IMMEDIATE")
        for statement in rows.SCHEMA:
            db.execute(statement)
        _put_standing(db, rows.first_standing(chain_id))
        db.execute("COMMIT")
    finally:
        db.close()


def _election_row(data: bytes) -> tuple[int | bytes, ...]:
    return rows.election_row(read_as(Election, data).term, data)


def _put_standing(db: sqlite3.Connection, standing: Standing) -> None:
    values = rows.standing_row(standing)
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT OR REPLACE INTO standing (one, {rows.STANDING_COLUMNS}) VALUES (1, {marks})", values)


def why(error: sqlite3.Error) -> str:
    """An error of SQLite in words that say what to do."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "the disk is full; nothing that was acknowledged is lost: make room and start the node again"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk failed ({error}, {name}); nothing that was acknowledged is lost: check the card"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"cannot be written ({error}); check its owner and permissions"
    if name.startswith("SQLITE_BUSY"):
        return "another program holds it; no tool may write to the ledger beside the node"
    return f"{error} ({name or type(error).__name__}); the file is damaged or was changed by another program"
