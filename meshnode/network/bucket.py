"""The bucket: a budget that fills at a steady rate and is spent in bursts.

No I/O and no sleeping: `take` says how long the caller should wait. The clock
is passed in.
"""

from collections.abc import Callable


class Bucket:
    """A token bucket that may be overdrawn; the debt is the time to wait."""

    def __init__(self, rate_per_s: float, burst: float, now: Callable[[], float]) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._now = now
        self._level = burst
        self._filled_at = now()

    def take(self, cost: float) -> float:
        """Spend cost; return the seconds to wait until the budget is positive again (0 if it is)."""
        self._fill()
        self._level -= cost
        return max(0.0, -self._level / self._rate_per_s)

    def take_if_any(self, cost: float) -> bool:
        """Spend cost if the budget covers it; say whether it did."""
        self._fill()
        if self._level < cost:
            return False
        self._level -= cost
        return True

    def _fill(self) -> None:
        now = self._now()
        self._level = min(self._burst, self._level + (now - self._filled_at) * self._rate_per_s)
        self._filled_at = now
