"""Disk: one node's ledger in memory, which loses, tears and rots what a real card does.

Stands where `meshnode.store.Store` stands and keeps its rules, with its own rows and
checksums: a write that breaks a rule is refused and changes nothing; a row whose
checksum does not fit is found when it is read from the card, not while it is in the cache;
at start the newest rows are checked, a damaged end that was never promised is cut off, and
a node that has lost what it promised does not start.

A write is one transaction in a write-ahead log. Its bytes reach the card in order and count
only when all of them are there and `sync` has returned: before that a power cut leaves any
number of bytes, and may take back whole transactions.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right, insort
from random import Random
from typing import Any

import msgspec

from meshnode.store import Batch, Entry, HardState, SignState, Standing, StoreError, rows
from meshnode.store.cache import TailCache
from meshnode.store.rows import DamagedRow
from meshnode.store.store import CACHED_AT_OPEN
from protocols.histories import History
from protocols.records import Election, read_as
from tests.simulator.slots import Slots

CHECKSUM_BYTES = 8


class Transaction(msgspec.Struct, frozen=True):
    """What one write changes: log rows from `cut_from` on, certificates, and the standing."""

    cut_from: int | None
    entries: tuple[Entry, ...]
    certificates: tuple[tuple[int, bytes], ...]
    elections: tuple[bytes, ...]
    standing: Standing

    def encode(self) -> bytes:
        """As the card gets it: length, rows, checksum."""
        payload = msgspec.msgpack.encode(
            (
                self.cut_from,
                [rows.log_row(entry) for entry in self.entries],
                [rows.certificate_row(height, data) for height, data in self.certificates],
                [rows.election_row(_term_of(data), data) for data in self.elections],
                rows.standing_row(self.standing),
            )
        )
        digest = hashlib.blake2b(payload, digest_size=CHECKSUM_BYTES).digest()
        return len(payload).to_bytes(4, "big") + payload + digest

    @staticmethod
    def decode(data: bytes) -> Transaction | None:
        """What recovery finds in the write-ahead log; None if it is torn."""
        size = int.from_bytes(data[:4], "big")
        payload, digest = data[4 : 4 + size], data[4 + size :]
        if len(data) < 4 or hashlib.blake2b(payload, digest_size=CHECKSUM_BYTES).digest() != digest:
            return None
        cut_from, log, certificates, elections, standing = msgspec.msgpack.decode(payload)
        return Transaction(
            cut_from,
            tuple(rows.read_log_row(tuple(row)) for row in log),
            tuple(rows.read_certificate_row(tuple(row)) for row in certificates),
            tuple(rows.read_election_row(tuple(row)) for row in elections),
            rows.read_standing_row(tuple(standing)),
        )


class Image(msgspec.Struct):
    """What lies on the card: healthy rows as values, damaged ones as raw rows."""

    log: dict[int, Entry | tuple[Any, ...]]
    certificates: dict[int, bytes | tuple[Any, ...]]
    certified: list[int]
    elections: dict[bytes, int]
    standing: Standing | tuple[Any, ...]

    def copy(self) -> Image:
        """An image of the whole card."""
        return Image(dict(self.log), dict(self.certificates), list(self.certified), dict(self.elections), self.standing)


class _Undo(msgspec.Struct, frozen=True):
    """What a write has changed: rows replaced, what was added, and the standing before."""

    replaced: dict[int, Entry | tuple[Any, ...]]
    added: list[int]
    certified: list[int]
    elections: list[bytes]
    standing: Standing | tuple[Any, ...]


class Disk:
    """See the module text. `begin`, then `finish`: in between, a power cut tears the write.

    Attributes:
        full: nothing more can be written. failing: the next fsync returns an error.
        replaced: log entries that the last `finish` overwrote or cut off.
        slots: the sign file, which is written before the database.
    """

    def __init__(self, chain_id: bytes, key_id: bytes) -> None:
        self.slots = Slots(key_id)
        self.full = self.failing = False
        self.replaced: tuple[Entry, ...] = ()
        self._image = Image({}, {}, [], {}, rows.first_standing(chain_id))
        # What each write since the last `sync` has changed, so that a power cut can take it back.
        self._unsynced: list[_Undo] = []
        self._pending: Transaction | None = None
        self.open()

    # --- what the validator reads; as `Store` does

    def hard_state(self) -> HardState:
        return self._standing.hard_state

    def sign_state(self) -> SignState:
        return self._standing.sign_state

    def lock(self) -> bytes:
        return self._standing.lock

    def final_height(self) -> int:
        return self._standing.final_height

    def first_index(self) -> int:
        return 1

    def last_index(self) -> int:
        return self._standing.last_height

    def term(self, index: int) -> int:
        return 0 if index == 0 else self.entry(index).term

    def entry(self, index: int) -> Entry:
        known = self._cache.get(index)
        if known is not None:
            return known
        if not 1 <= index <= self.last_index():
            raise LookupError(f"entry {index}: the log goes from 1 to {self.last_index()}")
        try:
            return _entry(self._image.log[index])
        except DamagedRow as damage:
            raise StoreError(f"simulated disk: {damage}", index) from damage

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        size = 0
        for index in range(low, high):
            entry = self.entry(index)
            size += len(entry.data)
            if found and size > max_bytes:
                break
            found.append(entry)
        return found

    def certificate_below(self, height: int) -> tuple[int, bytes] | None:
        place = bisect_right(self._image.certified, height)
        return self._certificate(self._image.certified[place - 1]) if place else None

    def certificate_from(self, height: int) -> tuple[int, bytes] | None:
        place = bisect_left(self._image.certified, height)
        return self._certificate(self._image.certified[place]) if place < len(self._image.certified) else None

    def elections_after(self, term: int, limit: int) -> list[bytes]:
        found = sorted((held, data) for data, held in self._image.elections.items() if held > term)
        return [data for _, data in found[:limit]]

    def _certificate(self, height: int) -> tuple[int, bytes]:
        stored = self._image.certificates[height]
        try:
            return (height, stored) if isinstance(stored, bytes) else rows.read_certificate_row(stored)
        except DamagedRow as damage:
            raise StoreError(f"simulated disk: {damage}", height) from damage

    # --- writing

    def begin(self, batch: Batch) -> None:
        """Take a batch; it is on the card when `finish` has returned.

        Raises:
            StoreError: the card is full, or the batch would change what is final, leave a gap,
                or certify what is not final.
        """
        if self.full:
            raise StoreError("simulated disk: the disk is full")
        now = self._standing
        entries = self._new_entries(batch.entries)
        last = entries[-1].index if entries else now.last_height
        final = now.final_height if batch.final_height is None else batch.final_height
        if not now.final_height <= final <= last:
            raise StoreError(f"final height {final} not written, expected {now.final_height} to {last}")
        for height, _ in batch.certificates:
            if not 1 <= height <= final:
                raise StoreError(f"certificate of height {height} not written, the final height is {final}")
        standing = msgspec.structs.replace(
            now,
            hard_state=batch.hard_state or now.hard_state,
            sign_state=batch.sign_state or now.sign_state,
            final_height=final,
            last_height=last,
            lock=now.lock if batch.lock is None else batch.lock,
        )
        cut_from = entries[0].index if entries else None
        self._pending = Transaction(cut_from, entries, batch.certificates, batch.elections, standing)
        if batch.sign_state is not None:
            self.slots.begin(batch.sign_state, now.sign_state.sequence)

    def finish(self) -> None:
        """The batch is written and synced."""
        pending, self._pending = self._pending, None
        assert pending is not None, "finish() without begin()"
        self.slots.finish()
        self._write(pending)
        self._cache.replace_from(pending.entries)
        self._standing = pending.standing
        self.sync()

    def sync(self) -> None:
        """What was written stays written."""
        self._unsynced.clear()

    def _write(self, transaction: Transaction) -> None:
        image = self._image
        undo = _Undo({}, [entry.index for entry in transaction.entries], [], [], image.standing)
        if transaction.cut_from is not None:
            for height in range(transaction.cut_from, self._standing.last_height + 1):
                undo.replaced[height] = image.log.pop(height)
            for entry in transaction.entries:
                image.log[entry.index] = entry
        for height, data in transaction.certificates:
            if height not in image.certificates:
                insort(image.certified, height)
                undo.certified.append(height)
            image.certificates[height] = data
        for data in transaction.elections:
            if data not in image.elections:
                image.elections[data] = _term_of(data)
                undo.elections.append(data)
        image.standing = transaction.standing
        self.replaced = tuple(stored for stored in undo.replaced.values() if isinstance(stored, Entry))
        self._unsynced.append(undo)

    def _take_back(self, undo: _Undo) -> None:
        image = self._image
        for height in undo.added:
            del image.log[height]
        image.log.update(undo.replaced)
        for height in undo.certified:
            image.certified.remove(height)
            del image.certificates[height]
        for data in undo.elections:
            del image.elections[data]
        image.standing = undo.standing

    def _new_entries(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        if not entries:
            return ()
        first, final = entries[0].index, self._standing.final_height
        if [entry.index for entry in entries] != list(range(first, first + len(entries))):
            raise StoreError(f"entries from {first} on are not of consecutive indexes")
        if not 1 <= first <= self.last_index() + 1:
            raise StoreError(f"entry {first} not written, the log goes from 1 to {self.last_index()}")
        for entry in entries[: max(0, final + 1 - first)]:
            if entry != self.entry(entry.index):
                raise StoreError(f"entry {entry.index} would replace a final one", entry.index)
        return entries[max(0, final + 1 - first) :]

    # --- faults

    def power_off(self, chance: Random) -> str:
        """The power fails; what became of the write that was under way."""
        pending, self._pending = self._pending, None
        for _ in range(chance.randrange(len(self._unsynced) + 1)):
            self._take_back(self._unsynced.pop())
        self.sync()
        if not self.slots.power_off(chance):
            return "a slot of the sign file torn"
        if pending is None:
            return "nothing was being written"
        data = pending.encode()
        torn_at = chance.choice([chance.randrange(len(data)), len(data)])
        found = Transaction.decode(data[:torn_at])
        if found is None:
            return f"a write torn at byte {torn_at} of {len(data)}"
        self._write(found)
        self.sync()
        return "a write that was complete, but nobody was told"

    def rot(self, chance: Random) -> str:
        """One bit of a stored row turns over; where."""
        image = self._image
        if image.log and chance.randrange(4):
            height = chance.choice(sorted(image.log)[-chance.choice([4, 64, 10_000]) :])
            stored = image.log[height]
            if isinstance(stored, Entry):
                image.log[height] = _flip(rows.log_row(stored), chance)
            return f"log row {height}"
        if image.certified and chance.randrange(3):
            height = chance.choice(image.certified)
            stored_certificate = image.certificates[height]
            if isinstance(stored_certificate, bytes):
                image.certificates[height] = _flip(rows.certificate_row(height, stored_certificate), chance)
            return f"certificate row {height}"
        if isinstance(image.standing, Standing):
            image.standing = _flip(rows.standing_row(image.standing), chance)
        return "the standing row"

    def history(self, owner: bytes) -> History:
        """What can be read from the card, for whoever compares histories."""
        image = self._image
        return History(
            owner=owner,
            blocks=tuple(stored.data for stored in image.log.values() if isinstance(stored, Entry)),
            certificates=tuple(stored for stored in image.certificates.values() if isinstance(stored, bytes)),
            elections=tuple(image.elections),
        )

    def image(self) -> Image:
        """A copy of the card, as somebody might keep in a drawer."""
        return self._image.copy()

    def restore(self, image: Image) -> None:
        """An old copy is written back; the node must be off."""
        self._image = image.copy()

    def open(self) -> None:
        """What a node does at start: check the newest rows, cut off a damaged end that nothing was promised about.

        Raises:
            StoreError: what this node promised is damaged.
        """
        self._cache = TailCache()
        stored = self._image.standing
        try:
            standing = stored if isinstance(stored, Standing) else rows.read_standing_row(stored)
        except DamagedRow as damage:
            raise StoreError(f"simulated disk: {damage}; what this node signed last is lost") from damage
        self._standing = standing
        promised = max(standing.sign_state.ack_height, standing.final_height, standing.hard_state.commit)
        good = max(0, min(standing.last_height, standing.final_height) - CACHED_AT_OPEN)
        for height in range(good + 1, standing.last_height + 1):
            try:
                self._cache.replace_from((_entry(self._image.log[height]),))
            except DamagedRow as damage:
                if good < promised:
                    raise StoreError(
                        f"simulated disk: {damage}; part of what was acknowledged is lost", height
                    ) from damage
                break
            good = height
        if good < standing.last_height:
            for height in range(good + 1, standing.last_height + 1):
                del self._image.log[height]
            self._standing = msgspec.structs.replace(standing, last_height=good)
            self._image.standing = self._standing


def _term_of(election: bytes) -> int:
    return read_as(Election, election).term


def _entry(stored: Entry | tuple[Any, ...]) -> Entry:
    return stored if isinstance(stored, Entry) else rows.read_log_row(stored)


def _flip(row: tuple[Any, ...], chance: Random) -> tuple[Any, ...]:
    """The row with one bit of its largest cell turned over."""
    place = max(range(len(row)), key=lambda number: len(row[number]) if isinstance(row[number], bytes) else 0)
    cell = bytearray(row[place])
    bit = chance.randrange(8 * len(cell))
    cell[bit // 8] ^= 1 << bit % 8
    return (*row[:place], bytes(cell), *row[place + 1 :])
