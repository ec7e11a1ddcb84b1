"""Clock: what one node believes the time to be, and how fast its ticks go.

A Raspberry Pi has no battery for its clock: it may be minutes off after a power cut,
run fast or slow, and jump when a time server is reached. Ticks come from the
monotonic clock, which drifts as well but never jumps.
"""

from __future__ import annotations

from tests.protocols.village import START_S

PPM = 1_000_000
TICK_MS = 100


class NodeClock:
    """One node's clock.

    Attributes:
        offset_ms: how far it is ahead of true time, but for its drift.
        drift_ppm: how much faster than true time it runs.
        highest_s: the latest time that it has ever shown.
    """

    def __init__(self) -> None:
        self.offset_ms = 0
        self.drift_ppm = 0
        self.highest_s = 0
        self._since_ms = 0

    def utc_s(self, now_ms: int) -> int:
        """UTC seconds, as this node believes at virtual time `now_ms`."""
        now_s = START_S + (now_ms + self._ahead_ms(now_ms)) // 1000
        self.highest_s = max(self.highest_s, now_s)
        return now_s

    def set(self, now_ms: int, offset_ms: int, drift_ppm: int) -> None:
        """From now on the clock is off by this much, and drifts from there."""
        self.offset_ms, self.drift_ppm, self._since_ms = offset_ms, drift_ppm, now_ms

    def tick_ms(self) -> int:
        """Length of one tick in true time."""
        return max(1, TICK_MS * PPM // (PPM + self.drift_ppm))

    def _ahead_ms(self, now_ms: int) -> int:
        return self.offset_ms + (now_ms - self._since_ms) * self.drift_ppm // PPM
