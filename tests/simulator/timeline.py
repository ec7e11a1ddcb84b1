"""Timeline: what happens when, in whole milliseconds of virtual time.

Events of one millisecond happen in the order in which they were entered, so that a
run depends on its seed alone. Nothing happens between two events: idle time costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Action = Callable[..., None]


class Timeline:
    """A queue of events.

    Attributes:
        now_ms: virtual time since the start.
        events: how many events have happened.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self.events = 0
        self._entered = 0
        self._queue: list[tuple[int, int, Action, tuple[Any, ...]]] = []

    def at(self, time_ms: int, action: Action, *arguments: Any) -> None:
        """`action` happens at a time, or now if that is past."""
        self._entered += 1
        heappush(self._queue, (max(time_ms, self.now_ms), self._entered, action, arguments))

    def after(self, delay_ms: int, action: Action, *arguments: Any) -> None:
        """`action` happens after a delay."""
        self._entered += 1
        heappush(self._queue, (self.now_ms + max(delay_ms, 0), self._entered, action, arguments))

    def run(self, until_ms: int) -> None:
        """Let everything happen up to and including a time; then it is that time."""
        queue = self._queue
        while queue and queue[0][0] <= until_ms:
            self.now_ms, _, action, arguments = heappop(queue)
            self.events += 1
            action(*arguments)
        self.now_ms = until_ms
