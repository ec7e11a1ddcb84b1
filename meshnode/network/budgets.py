"""Budgets: one token bucket per peer, for a bounded number of peers."""

from collections.abc import Callable

from meshnode.network.bucket import Bucket
from meshnode.network.transport import PeerId

# As many as a genesis may have founders, ten times the largest community in sight.
# A peer whose bucket was forgotten begins with a full one.
MAX_PEERS = 1024


class Budgets:
    """What each peer may still cost us."""

    def __init__(self, rate_per_s: float, burst: float, now: Callable[[], float]) -> None:
        """Args:
        rate_per_s, burst: of every peer's bucket.
        now: monotonic seconds.
        """
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._now = now
        self._buckets: dict[PeerId, Bucket] = {}

    def take(self, peer: PeerId, cost: float) -> bool:
        """Spend cost if the peer's budget covers it; say whether it did."""
        # Taken out and put back at the end: the one that was used longest ago makes room.
        bucket = self._buckets.pop(peer, None) or Bucket(self._rate_per_s, self._burst, self._now)
        self._buckets[peer] = bucket
        if len(self._buckets) > MAX_PEERS:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take_if_any(cost)
