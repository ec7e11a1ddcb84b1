"""Ranking: order ids by a key that can be taken from the top, and removed from anywhere.

A heap in which what was removed stays until it comes to the top or outnumbers the rest:
every operation costs O(log n), averaged over all of them.
"""

import heapq
from typing import Final

# rank (a price with the sign of its side, or a time), height, position, order id
Entry = tuple[int, int, int, bytes]

SPARE_MAX: Final = 64
"""Removed entries that a small heap may carry before it is swept; below this sweeping costs more than it saves."""


class Ranking:
    """Order ids, the smallest key first; equal ranks by sequence."""

    def __init__(self) -> None:
        # An order that left and came back has two equal entries, of which only the object in _live counts.
        self._heap: list[Entry] = []
        self._live: dict[bytes, Entry] = {}

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, order_id: bytes) -> bool:
        return order_id in self._live

    def add(self, rank: int, sequence: tuple[int, int], order_id: bytes) -> None:
        """Enter an order that is not in it."""
        entry = (rank, *sequence, order_id)
        self._live[order_id] = entry
        heapq.heappush(self._heap, entry)

    def discard(self, order_id: bytes) -> None:
        """Remove an order, if it is in it."""
        if self._live.pop(order_id, None) is not None and len(self._heap) > 2 * len(self._live) + SPARE_MAX:
            self._heap = list(self._live.values())
            heapq.heapify(self._heap)

    def first(self) -> Entry | None:
        """The entry at the top, or None."""
        heap, live = self._heap, self._live
        while heap:
            if live.get(heap[0][3]) is heap[0]:
                return heap[0]
            heapq.heappop(heap)
        return None

    def take(self) -> Entry | None:
        """The entry at the top, set aside so that the next one can be seen, until `put_back`; or None."""
        entry = self.first()
        if entry is not None:
            heapq.heappop(self._heap)
        return entry

    def put_back(self, taken: list[Entry]) -> None:
        """Bring back what was set aside and has not been removed since."""
        for entry in taken:
            if self._live.get(entry[3]) is entry:
                heapq.heappush(self._heap, entry)
