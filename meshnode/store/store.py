"""Store: the one writer of a microgrid's ledger on disk.

`persist` is the only way in: one batch, one transaction, one fsync. When it returns,
the batch survives a power cut; when it raises, nothing of it is promised and the
process must end, because after a failed fsync nobody knows what the disk holds.

All calls are synchronous and safe from several threads. What Raft asks for all the
time (indexes, terms and the newest entries) comes from memory and never waits for a write.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path
from types import TracebackType

import msgspec

from meshnode.store import reservation
from meshnode.store.cache import TailCache
from meshnode.store.database import KEYS, Changes, connect, is_full, records_of, transaction, why, write
from meshnode.store.mending import Mending
from meshnode.store.place import (
    DATABASE_FILE,
    Damage,
    DiskFull,
    Lock,
    StoreError,
    chain_of,
    check_chain_id,
    microgrid_directory,
    read_genesis,
    refill,
)
from meshnode.store.reader import LedgerReader
from meshnode.store.refounding import create
from meshnode.store.reservation import Places
from meshnode.store.rows import Batch, DamagedRow, Entry, HardState, SignState, Standing
from meshnode.store.signfile import SignFile, boot_id
from meshnode.store.survey import survey
from protocols import block as blocks

log = logging.getLogger(__name__)

# At start this many of the newest entries are taken into memory: what Raft reads first.
CACHED_AT_OPEN = 64


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
        self._key_id = b""
        self._has_signed = False
        self._boot = boot_id()
        self._sign_file = SignFile(place)
        self._mending = Mending()
        # Nothing is ever dropped from the beginning.
        self._first = 1
        # The reader looks first: it refuses files that are no ledger, before anything writes to them.
        self._reader = LedgerReader(place, archive=False)
        try:
            self._db = connect(self._path)
            try:
                self._standing = self._read_standing()
                self._cache = TailCache()
                self._survey()
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._reader.close()
            raise

    @staticmethod
    def create(directory: Path, genesis_bytes: bytes) -> None:
        """Found the ledger of a microgrid in a node's directory; see `meshnode.store.refounding.create`."""
        create(directory, genesis_bytes)

    @staticmethod
    def open(directory: Path, chain_id: bytes) -> Store:
        """Open the ledger of a microgrid for writing and check every row of it.

        A damaged end that is not final is cut off: Raft fetches it again. What is lost of the rest
        must be filled again before anything is signed (`lost`).

        Args:
            directory: the node's.
        Raises:
            StoreError: no ledger, another process has it, another version, the genesis is
                not that of `chain_id`, or what this node signed last cannot be read.
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
            try:
                if self._failed is None:
                    self._stop_in_order()
            finally:
                self._failed = self._failed or "it was closed"
                self._reader.close()
                self._db.close()
                self._lock.release()

    def places(self, key_id: bytes) -> Places:
        """The two places that say what was signed, for a judgement whether this device key may sign.

        Args:
            key_id: of the device key that signs what is persisted from now on.
        """
        self._key_id = key_id
        file = self._sign_file
        return Places(
            signed=self.sign_state(),
            newest=file.newest,
            older=file.older,
            is_there=file.is_there,
            key_id=key_id,
            boot=self._boot,
        )

    def retire(self, reason: str) -> None:
        """The device key that `places` named never signs again here, whatever a later start finds.

        Raises:
            StoreError: the disk refuses.
        """
        with self._writing:
            file = self._sign_file
            file.write(
                reservation.changed(file.newest, self._key_id, self._boot, self.sign_state(), retired=reason or "?")
            )

    def persist(self, batch: Batch) -> None:
        """Write a batch: one transaction, one fsync.

        Entries at or below the final height may come again, if they are the same. A batch
        that is refused has changed nothing.

        Raises:
            DiskFull: there is no room; the same batch may be tried again.
            StoreError: the disk failed, or the batch would change what is final,
                leave a gap, or certify what is not final. The caller ends the process.
        """
        with self._writing:
            if self._failed is not None:
                raise StoreError(f"{self._path}: not written, {self._failed}; start the node again")
            if batch == Batch():
                return
            changes = self._mended(batch) if self._mending.lost else self._changes(batch)
            if batch.sign_state is not None:
                self._reserve(batch.sign_state)
            try:
                write(self._db, changes)
            except sqlite3.Error as error:
                if is_full(error):
                    raise DiskFull(f"{self._path}: {why(error)}") from error
                self._failed = f"an earlier write failed ({error})"
                raise StoreError(f"{self._path}: {why(error)}") from error
            self._standing = changes.standing
            if self._mending.lost:
                self._mending = self._mending.after(batch.entries[-1].index)
            else:
                self._cache.replace_from(changes.entries)

    @property
    def lost(self) -> tuple[int, ...]:
        """Final heights that the disk has lost, or lost the proof of; ascending.

        While there are any, the log seems to end before the first of them, and `persist` takes
        only what fills it again: final blocks from there on, with certificates. Nothing may be signed.
        """
        return self._mending.lost

    def kept_height(self) -> int:
        """Up to which height the views may have come: the final height, also where blocks before it are lost."""
        return self._standing.final_height

    def reindex(self, records: tuple[tuple[bytes, int, int], ...]) -> None:
        """Enter these (record id, height, position) into the index of records. Raises StoreError."""
        with self._writing:
            write(self._db, Changes(standing=self._standing, records=list(records), replace=True))

    def repaid(self, final_height: int) -> None:
        """If what this disk had lost of what was acknowledged is final here now, it is owed no more."""
        with self._writing:
            newest = self._sign_file.newest
            if newest is not None and 0 < newest.owed[1] <= final_height and not newest.retired:
                self._sign_file.write(
                    reservation.changed(newest, newest.key_id, newest.boot, self.sign_state(), owed=(0, 0))
                )

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
        return self._mending.seen(self._standing.final_height)

    def first_index(self) -> int:
        """Index of the first entry that is here, or would be."""
        return self._first

    def last_index(self) -> int:
        """Index of the last entry; first_index() - 1 if there is none."""
        return self._mending.seen(self._standing.last_height)

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
            raise self._damaged(damage, damage.height) from damage
        if found is None:
            raise self._damaged(f"entry {index} is missing", index)
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
            raise self._damaged(damage, damage.height) from damage

    def certificate_below(self, height: int) -> tuple[int, bytes] | None:
        """Height and bytes of the highest certificate at or below a height.

        Raises:
            StoreError: it is damaged.
        """
        try:
            return self._reader.certificate_below(height)
        except DamagedRow as damage:
            raise self._damaged(damage, damage.height) from damage

    def elections_after(self, term: int, limit: int) -> list[bytes]:
        """Election certificates of later terms than this, the first ones first.

        Raises:
            StoreError: one of them is damaged.
        """
        try:
            return self._reader.elections_after(term, limit)
        except DamagedRow as damage:
            raise self._damaged(damage, damage.height) from damage

    def find_record(self, record_id: bytes) -> tuple[int, int] | None:
        """Height and position of a record of a final block; where it stood first, if it came again."""
        return self._reader.find_record(record_id)

    def _reserve(self, promised: SignState) -> None:
        """Write the sign file if it does not cover these promises yet; before the database does."""
        file = self._sign_file
        stored = self._standing.sign_state.sequence
        needed = reservation.before_signing(file.newest, self._key_id, self._boot, promised, stored)
        if needed is not None:
            file.write(needed)
        self._has_signed = True

    def _stop_in_order(self) -> None:
        """Mark that this node has stopped in order, if it has signed since it started."""
        newest = self._sign_file.newest
        if newest is None or newest.retired or not self._has_signed:
            return
        self._sign_file.write(
            reservation.changed(newest, newest.key_id, self._boot, self._standing.sign_state, clean=True)
        )

    def _changes(self, batch: Batch) -> Changes:
        """What a batch changes on disk."""
        entries = self._new_entries(batch.entries)
        standing = self._next_standing(batch, entries[-1].index if entries else self.last_index())
        self._check_certificates(batch.certificates, standing.final_height)
        return Changes(
            cut_above=entries[0].index - 1 if entries else None,
            entries=entries,
            certificates=batch.certificates,
            elections=batch.elections,
            records=self._records_made_final(entries, standing.final_height),
            standing=standing,
        )

    def _mended(self, batch: Batch) -> Changes:
        """What a batch fills again of what is lost, and what it adds."""
        self._check_order(batch.entries)
        if batch.sign_state is not None or not batch.entries or batch.final_height != batch.entries[-1].index:
            raise StoreError(f"{self._path}: not written, only final blocks are taken while some are lost")
        changes = self._mending.fill(batch, self._standing, self._reader, self.chain_id)
        if isinstance(changes, str):
            raise StoreError(f"{self._path}: not written, {changes}", batch.entries[0].index)
        return changes

    def _check_order(self, entries: tuple[Entry, ...]) -> None:
        first = entries[0].index if entries else self.last_index() + 1
        if [entry.index for entry in entries] != list(range(first, first + len(entries))):
            raise StoreError(f"{self._path}: not written, entries from {first} on are not of consecutive indexes")
        if not self._first <= first <= self.last_index() + 1:
            raise StoreError(
                f"{self._path}: entry {first} not written, the log goes from {self._first} to {self.last_index()}"
            )

    def _new_entries(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        """The entries that are to be written: those above the final height, after a check of the others."""
        self._check_order(entries)
        if not entries:
            return ()
        first = entries[0].index
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
                found += records_of(entry, self.chain_id)
            except blocks.BlockError as error:
                raise StoreError(f"{self._path}: block {height} cannot become final: {error}", height) from error
        return found

    def _check_certificates(self, certificates: tuple[tuple[int, bytes], ...], final: int) -> None:
        for height, _ in certificates:
            if not 1 <= height <= final:
                raise StoreError(
                    f"{self._path}: certificate of height {height} not written, the final height is {final}", height
                )

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

    def _survey(self) -> None:
        """Look at every row; cut off a damaged end, and see what of the rest must be filled again."""
        standing = self._standing
        found = survey(self._reader, standing)
        good = min(
            (height for height in found.lost if height > standing.final_height), default=standing.last_height + 1
        )
        if good <= standing.last_height:
            self._cut(good - 1)
        self._mending = Mending.of(found, standing.final_height)
        if found.spoilt:
            with transaction(self._db):
                for table, height, checksum in found.spoilt:
                    self._db.execute(
                        f"DELETE FROM {table} WHERE {KEYS[table]} = ? AND checksum = ?", (height, checksum)
                    )
        if not self._mending.lost:
            low = max(self._first, self.last_index() - CACHED_AT_OPEN + 1)
            self._cache.replace_from([self.entry(index) for index in range(low, self.last_index() + 1)])

    def _cut(self, last: int) -> None:
        """The log ends at `last` from now on. If more was acknowledged, what is owed is written down first."""
        standing, file = self._standing, self._sign_file
        signed = standing.sign_state
        if last < signed.ack_height and file.newest is not None:
            owed = max(file.newest.owed, (signed.ack_term, signed.ack_height))
            log.error(
                "%s: the log has lost what was acknowledged above height %d; no vote before it reaches %d again",
                *(self._path, last, signed.ack_height),
            )
            file.write(reservation.changed(file.newest, file.newest.key_id, file.newest.boot, signed, owed=owed))
        standing = msgspec.structs.replace(standing, last_height=last)
        write(self._db, Changes(cut_above=last, standing=standing))
        self._standing = standing

    def _damaged(self, found: DamagedRow | str, height: int) -> Damage:
        return Damage(f"{self._path}: {found}; the disk has lost part of what this node acknowledged", height)
