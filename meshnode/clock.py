"""Clock: what time it is in a microgrid.

The one place that reads the system's clock for the ledger's purposes. A demonstration
clock runs `speed` times faster from its origin on, and says so in the genesis.
"""

from __future__ import annotations

import time

from protocols.records import CLOCK_DEMONSTRATION, Clock


class GridClock:
    """The microgrid's time at this node.

    Attributes:
        speed: microgrid seconds in a real one; 1 but for a demonstration.
        is_demonstration: whether the genesis says that this clock is made up.
    """

    def __init__(self, settings: Clock) -> None:
        self.speed = settings.speed if settings.kind == CLOCK_DEMONSTRATION else 1
        self._origin_s = settings.origin_s
        self._shows_s = settings.shows_s
        self.is_demonstration = settings.kind == CLOCK_DEMONSTRATION

    def now_s(self) -> int:
        """UTC seconds of the microgrid."""
        return int(self.now())

    def now(self) -> float:
        """The same with fractions, for schedules and screens; never for the ledger."""
        real = time.time()
        return self._shows_s + (real - self._origin_s) * self.speed if self.is_demonstration else real

    def real_delay(self, until_s: float) -> float:
        """Real seconds until the microgrid's clock shows `until_s`; 0 if it has passed."""
        return max(0.0, (until_s - self.now()) / self.speed)
