"""The log: stable entries in storage, unstable ones in memory, and how far they are committed and applied.

Indexes, always:   applied <= applying <= committed <= last_index
Storage is read here and never written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from protocols.raft.logger import Logger
from protocols.raft.messages import (
    Entry,
    HardState,
    Snapshot,
    entries_bytes,
    limit_size,
)
from protocols.raft.storage import Compacted, Storage, Unavailable
from protocols.raft.unstable import Unstable


class Log:
    """One node's log.

    max_applying_bytes: how much may be handed out for applying before some of it is acknowledged.
    """

    def __init__(self, storage: Storage, logger: Logger, max_applying_bytes: int) -> None:
        self._storage = storage
        self._logger = logger
        self._max_applying_bytes = max_applying_bytes
        self.unstable = Unstable(storage.last_index() + 1, logger)
        self.committed = storage.first_index() - 1
        self.applying = self.committed
        self.applied = self.committed
        self._applying_bytes = 0
        self._applying_paused = False

    # What is there.

    @property
    def first_index(self) -> int:
        """Index of the first entry after the snapshot."""
        snapshot = self.unstable.snapshot
        return snapshot.index + 1 if snapshot is not None else self._storage.first_index()

    @property
    def last_index(self) -> int:
        """Index of the last entry, stored or not."""
        unstable = self.unstable
        return unstable.offset + len(unstable.entries) - 1

    @property
    def last(self) -> tuple[int, int]:
        """(term, index) of the last entry: the tip that candidates compare."""
        last_index = self.last_index
        return self.term(last_index), last_index

    def term(self, index: int) -> int:
        """Term of an entry. Raises Compacted before first_index - 1, Unavailable after last_index."""
        term = self.unstable.term(index)
        if term is not None:
            return term
        if index + 1 < self.first_index:
            raise Compacted(f"term of entry {index}: the log starts at {self.first_index}")
        if index > self.last_index:
            raise Unavailable(f"term of entry {index}: the log ends at {self.last_index}")
        return self._storage.term(index)

    def term_or_zero(self, index: int) -> int:
        """Term of an entry, 0 where it is not known."""
        try:
            return self.term(index)
        except (Compacted, Unavailable):
            return 0

    def matches(self, term: int, index: int) -> bool:
        """Is exactly this entry in the log? The entry (0, 0) before all others always is."""
        try:
            return self.term(index) == term
        except (Compacted, Unavailable):
            return False

    def entries(self, low: int, max_bytes: int) -> Sequence[Entry]:
        """Entries from `low` on, at most max_bytes of them (but one). Raises Compacted."""
        if low > self.last_index:
            return ()
        return self._slice(low, self.last_index + 1, max_bytes)

    def snapshot(self) -> Snapshot:
        """A snapshot to send to a follower that the log no longer reaches back to."""
        return self.unstable.snapshot or self._storage.snapshot()

    def is_up_to_date(self, term: int, index: int) -> bool:
        """Would a candidate with this tip lead with at least everything that we hold (Raft paper, 5.4.1)?"""
        return (term, index) >= self.last

    def last_possible_match(self, index: int, term: int) -> tuple[int, int]:
        """The largest (index, term) at or below `index` that can agree with a log whose term there is `term`.

        Terms never fall along a log, so entries of a greater term cannot match: whole terms are skipped
        per round trip, and found by halving, as a peer chooses both numbers. Term 0 means unknown.
        """
        low, high = self.first_index - 1, index
        if not low <= high <= self.last_index:
            return index, 0
        if self.term(low) > term:
            return max(low - 1, 0), 0
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.term(middle) <= term else (low, middle - 1)
        return low, self.term(low)

    # How it grows.

    def append(self, entries: Sequence[Entry]) -> int:
        """Put entries at their indexes, replacing what is there; returns the last index."""
        if entries:
            assert entries[0].index > self.committed, "committed entries are never replaced"
            self.unstable.replace_from(entries)
        return self.last_index

    def append_after(self, term: int, index: int, entries: Sequence[Entry]) -> int | None:
        """A follower's append: entries that follow (term, index), or None if that entry is not here.

        Idempotent: what is there already stays; the log is cut only where an
        entry differs, so an old or repeated message cannot remove anything. One
        term has one leader, and its entries differ by index alone; unless it lied.
        Returns the index of the last entry that is now known to match.
        """
        if not self.matches(term, index):
            return None
        for position, entry in enumerate(entries):
            if not self._holds(entry):
                if entry.index <= self.last_index:
                    self._logger.info(
                        "found conflict at index %d [existing term: %d, conflicting term: %d]",
                        entry.index,
                        self.term_or_zero(entry.index),
                        entry.term,
                    )
                self.append(entries[position:])
                break
        return index + len(entries)

    def _holds(self, entry: Entry) -> bool:
        """Is this very entry in the log? What is committed is not compared byte by byte: it never changes."""
        if not self.matches(entry.term, entry.index):
            return False
        return entry.index <= self.committed or self._slice(entry.index, entry.index + 1, 0)[0].data == entry.data

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the whole log by a snapshot."""
        self._logger.info(
            "log [%s] starts to restore snapshot [index: %d, term: %d]", self, snapshot.index, snapshot.term
        )
        self.committed = snapshot.index
        self.unstable.restore(snapshot)

    # How far it counts.

    def load(self, state: HardState, applied: int) -> None:
        """Take over what was stored: the commit index, and how far the owner has applied.

        A commit index needs no sync, so after a crash it may be behind what was
        applied or behind the snapshot; both were committed.
        """
        committed = max(state.commit, applied, self.committed)
        if committed > self.last_index:
            raise ValueError(
                f"stored commit index {committed}, but the stored log ends at {self.last_index}: "
                "the log has lost its end; it must be refilled from peers"
            )
        self.committed = committed
        if applied:
            self.applied_to(max(applied, self.applied), 0)

    def commit_to(self, index: int) -> bool:
        """Raise the commit index; False if it was there already."""
        assert index <= self.last_index, f"commit {index} beyond the log's end {self.last_index}"
        if index <= self.committed:
            return False
        self.committed = index
        return True

    def next_committed(self, *, allow_unstable: bool) -> Sequence[Entry]:
        """Entries to apply next, none while too much is being applied or a snapshot is waiting."""
        if self._applying_paused or self.unstable.snapshot is not None:
            return ()
        low, high = self.applying + 1, self._appliable(allow_unstable) + 1
        if low >= high:
            return ()
        return self._slice(low, high, self._max_applying_bytes - self._applying_bytes)

    def has_next_committed(self, *, allow_unstable: bool) -> bool:
        """Is there anything to apply?"""
        if self._applying_paused or self.unstable.snapshot is not None:
            return False
        return self.applying < self._appliable(allow_unstable)

    def accept_applying(self, entries: Sequence[Entry], *, allow_unstable: bool) -> None:
        """These entries were handed out for applying.

        Applying pauses when the limit is reached, or when the batch was cut
        short because the next entry would have passed it.
        """
        self.applying = entries[-1].index
        self._applying_bytes += entries_bytes(entries)
        full = self._applying_bytes >= self._max_applying_bytes
        self._applying_paused = full or self.applying < self._appliable(allow_unstable)

    def applied_to(self, index: int, size: int) -> None:
        """Everything up to `index` is applied; `size` bytes of it had been handed out."""
        assert self.applied <= index <= self.committed, f"applied {index} outside [{self.applied}, {self.committed}]"
        self.applied = index
        self.applying = max(self.applying, index)
        self._applying_bytes = max(self._applying_bytes - size, 0)
        self._applying_paused = self._applying_bytes >= self._max_applying_bytes

    def unapplied(self) -> Iterator[Entry]:
        """Entries that are committed but not applied, read page by page."""
        low = self.applied + 1
        while low <= self.committed:
            page = self._slice(low, self.committed + 1, self._max_applying_bytes)
            yield from page
            low += len(page)

    def _appliable(self, allow_unstable: bool) -> int:
        return self.committed if allow_unstable else min(self.committed, self.unstable.offset - 1)

    def _slice(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]:
        if low < self.first_index:
            raise Compacted(f"entry {low}: the log starts at {self.first_index}")
        offset = self.unstable.offset
        if low >= offset:
            return limit_size(self.unstable.slice(low, high), max_bytes)
        cut = min(high, offset)
        stable = self._storage.entries(low, cut, max_bytes)
        if high <= offset or len(stable) < cut - low:
            return stable
        room = max_bytes - entries_bytes(stable)
        if room <= 0:
            return stable
        rest = limit_size(self.unstable.slice(offset, high), room)
        if len(rest) == 1 and entries_bytes(rest) > room:
            return stable
        return [*stable, *rest]

    def __str__(self) -> str:
        unstable = self.unstable
        return (
            f"committed={self.committed}, applied={self.applied}, applying={self.applying}, "
            f"unstable.offset={unstable.offset}, unstable.offsetInProgress={unstable.offset_in_progress}, "
            f"len(unstable.Entries)={len(unstable.entries)}"
        )
