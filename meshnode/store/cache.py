"""Cache: the newest entries of the log in memory, because Raft reads the tail again and again."""

from __future__ import annotations

from collections.abc import Sequence

from meshnode.store.rows import Entry

# A leader's window of unacknowledged blocks, several times over.
MAX_ENTRIES = 1024
# Part of the 120 MB that a household node may use; eight blocks of the largest size.
MAX_BYTES = 4 * 1024 * 1024


class TailCache:
    """Entries without a gap up to the end of the log; the oldest go first."""

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._entries: dict[int, Entry] = {}
        self._bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def get(self, index: int) -> Entry | None:
        """The entry, if it is here."""
        return self._entries.get(index)

    def replace_from(self, entries: Sequence[Entry]) -> None:
        """The log now ends with these; whatever stood at or above the first of them is gone."""
        if entries:
            self._cut(entries[0].index)
        for entry in entries:
            self._entries[entry.index] = entry
            self._bytes += len(entry.data)
        while self._entries and (len(self._entries) > self._max_entries or self._bytes > self._max_bytes):
            oldest = next(iter(self._entries))
            self._bytes -= len(self._entries.pop(oldest).data)

    def _cut(self, index: int) -> None:
        for stale in [known for known in self._entries if known >= index]:
            self._bytes -= len(self._entries.pop(stale).data)
