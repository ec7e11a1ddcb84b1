"""The unstable tail: entries and a snapshot that are not known to be on disk yet.

Part of it may be on its way there (`offset_in_progress`). It leaves memory only
when the disk has confirmed exactly these entries, by term and index, after they were
handed out: a write that was overtaken by a newer leader's entries confirms nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocols.raft.logger import Logger
from protocols.raft.messages import Entry, Snapshot


class Unstable:
    """Entries from index `offset` on, of which those before `offset_in_progress` are being written.

    Always:   entries[i].index == offset + i,   offset <= offset_in_progress <= offset + len(entries),
    and what comes before `offset` is on disk or in the snapshot: the log ends at offset + len(entries) - 1.
    """

    def __init__(self, offset: int, logger: Logger) -> None:
        self.snapshot: Snapshot | None = None
        self.snapshot_in_progress = False
        self.entries: list[Entry] = []
        self.offset = offset
        self.offset_in_progress = offset
        self._logger = logger

    def term(self, index: int) -> int | None:
        """Term of an entry held here or of the snapshot, else None."""
        if index < self.offset:
            snapshot = self.snapshot
            return snapshot.term if snapshot is not None and snapshot.index == index else None
        position = index - self.offset
        return self.entries[position].term if position < len(self.entries) else None

    def slice(self, low: int, high: int) -> Sequence[Entry]:
        """Entries low <= index < high, all of them held here."""
        assert self.offset <= low <= high <= self.offset + len(self.entries)
        return self.entries[low - self.offset : high - self.offset]

    def next_entries(self) -> Sequence[Entry]:
        """Entries that nobody has been asked to write yet."""
        return self.entries[self.offset_in_progress - self.offset :]

    def next_snapshot(self) -> Snapshot | None:
        """The snapshot, if nobody has been asked to write it yet."""
        return None if self.snapshot_in_progress else self.snapshot

    def accept_in_progress(self) -> None:
        """Everything held here is now being written."""
        self.offset_in_progress = self.offset + len(self.entries)
        self.snapshot_in_progress = self.snapshot is not None

    def stable_to(self, term: int, index: int) -> None:
        """The disk holds everything up to (term, index); nothing changes unless that is what is held here."""
        held = self.term(index)
        if held is None:
            self._logger.info("entry at index %d missing from unstable log; ignoring", index)
        elif index < self.offset:
            self._logger.info("entry at index %d matched unstable snapshot; ignoring", index)
        elif held != term or index >= self.offset_in_progress:
            # Overtaken: what was written is not what is held here now.
            self._logger.info(
                "entry at (index,term)=(%d,%d) mismatched with entry at (%d,%d) in unstable log; ignoring",
                index,
                term,
                index,
                held,
            )
        else:
            self.entries = self.entries[index + 1 - self.offset :]
            self.offset = index + 1
            self.offset_in_progress = max(self.offset_in_progress, self.offset)

    def stable_snapshot_to(self, index: int) -> None:
        """The disk holds the snapshot at `index`."""
        if self.snapshot is not None and self.snapshot.index == index:
            self.snapshot = None
            self.snapshot_in_progress = False

    def restore(self, snapshot: Snapshot) -> None:
        """Drop all entries in favour of a snapshot."""
        self.offset = snapshot.index + 1
        self.offset_in_progress = self.offset
        self.entries = []
        self.snapshot = snapshot
        self.snapshot_in_progress = False

    def replace_from(self, entries: Sequence[Entry]) -> None:
        """Put entries at their indexes and cut off whatever followed the first of them."""
        start = entries[0].index
        end = self.offset + len(self.entries)
        assert start <= end, f"entry {start} after {end - 1}: entries between them are missing"
        if start == end:
            self.entries.extend(entries)
        elif start <= self.offset:
            self._logger.info("replace the unstable entries from index %d", start)
            self.entries = list(entries)
            self.offset = start
            self.offset_in_progress = start
        else:
            self._logger.info("truncate the unstable entries before index %d", start)
            self.entries[start - self.offset :] = entries
            self.offset_in_progress = min(self.offset_in_progress, start)
