"""Storage: the core's view of the disk, read-only.

The core reads the stable part of the log through `Storage` and never writes:
what must be written comes out in a `Ready`, and its owner writes it.
`MemoryStorage` keeps everything in lists, for tests, scripts and the simulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protocols.raft.messages import Entry, HardState, MembershipState, Snapshot, limit_size


class Compacted(Exception):
    """The index asked for is older than the log reaches back: a snapshot has replaced it."""


class Unavailable(Exception):
    """The index asked for lies beyond the end of the log."""


class SnapshotOutOfDate(Exception):
    """The snapshot offered is older than the one stored."""


class SnapshotTemporarilyUnavailable(Exception):
    """No snapshot is ready just now; the core asks again with the next heartbeat answer."""


class Storage(Protocol):
    """What the core reads. Errors other than the ones named are the disk's and end the process."""

    def initial_state(self) -> tuple[HardState, MembershipState]:
        """The hard state written last, and the membership as of the entries that are applied."""

    def entries(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]:
        """Entries low <= index < high, as many as fit into max_bytes but at least one.

        Raises Compacted when low is before first_index, Unavailable when high is beyond last_index + 1.
        """

    def term(self, index: int) -> int:
        """Term of an entry, first_index - 1 <= index <= last_index. Raises Compacted, Unavailable."""

    def first_index(self) -> int:
        """Index of the first entry that is there, or would be; everything before it is in the snapshot."""

    def last_index(self) -> int:
        """Index of the last entry, first_index - 1 if there is none."""

    def snapshot(self) -> Snapshot:
        """A snapshot at or after first_index - 1. Raises SnapshotTemporarilyUnavailable."""


class MemoryStorage:
    """A Storage in memory, with the writes that its owner needs."""

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._snapshot = Snapshot()
        # The first place holds only index and term of the last compacted entry,
        # so that the entry after it can still be checked against a leader's.
        self._entries: list[Entry] = [Entry()]

    def initial_state(self) -> tuple[HardState, MembershipState]:
        return self._hard_state, self._snapshot.membership

    def entries(self, low: int, high: int, max_bytes: int) -> Sequence[Entry]:
        offset = self._entries[0].index
        if low <= offset:
            raise Compacted(f"entry {low}: the log starts at {offset + 1}")
        if high > self.last_index() + 1:
            raise Unavailable(f"entries up to {high - 1}: the log ends at {self.last_index()}")
        return limit_size(self._entries[low - offset : high - offset], max_bytes)

    def term(self, index: int) -> int:
        offset = self._entries[0].index
        if index < offset:
            raise Compacted(f"term of entry {index}: the log starts at {offset + 1}")
        if index - offset >= len(self._entries):
            raise Unavailable(f"term of entry {index}: the log ends at {self.last_index()}")
        return self._entries[index - offset].term

    def first_index(self) -> int:
        return self._entries[0].index + 1

    def last_index(self) -> int:
        return self._entries[0].index + len(self._entries) - 1

    def snapshot(self) -> Snapshot:
        return self._snapshot

    def set_hard_state(self, state: HardState) -> None:
        """Remember term, vote and commit index."""
        self._hard_state = state

    def append(self, entries: Sequence[Entry]) -> None:
        """Write entries at their indexes; whatever was at or after the first of them goes.

        Entries that a snapshot has replaced are passed over. Raises ValueError on a gap.
        """
        fresh = [entry for entry in entries if entry.index >= self.first_index()]
        if not fresh:
            return
        keep = fresh[0].index - self._entries[0].index
        if keep > len(self._entries):
            raise ValueError(f"entry {fresh[0].index} after {self.last_index()}: entries between them are missing")
        self._entries[keep:] = fresh

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the whole log by a snapshot received from a leader."""
        if snapshot.index <= self._snapshot.index:
            raise SnapshotOutOfDate(f"snapshot {snapshot.index} offered, {self._snapshot.index} stored")
        self._snapshot = snapshot
        self._entries = [Entry(snapshot.term, snapshot.index)]

    def create_snapshot(self, index: int, membership: MembershipState, data: bytes) -> Snapshot:
        """Store the state after entry `index` as the snapshot to send; the log stays as it is."""
        if index <= self._snapshot.index:
            raise SnapshotOutOfDate(f"snapshot {index} offered, {self._snapshot.index} stored")
        self._snapshot = Snapshot(index, self.term(index), membership, data)
        return self._snapshot

    def compact(self, index: int) -> None:
        """Forget the entries up to and including `index`. Raises Compacted, Unavailable."""
        term = self.term(index)
        if index < self.first_index():
            raise Compacted(f"entry {index} is compacted already, the log starts at {self.first_index()}")
        self._entries = [Entry(term, index), *self._entries[index - self._entries[0].index + 1 :]]
