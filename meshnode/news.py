"""News: what changes from second to second, told to every open page."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable

import trio

from meshnode.network.subscribers import Subscribers
from meshnode.web.backend import PowerNow, Update
from protocols.records import LivePower

# A page that does not keep up with this many updates is told the newest state when it asks again.
UPDATES_PER_PAGE = 256
# Times of telegrams to the screen that the figures are made of.
TIMES_KEPT = 1024


class News:
    """The live state of one microgrid at one node.

    Attributes:
        screen_ms: from a telegram at another home to a page here, the newest ones.
        counters: updates that pages missed.
    """

    def __init__(self) -> None:
        self.screen_ms: deque[int] = deque(maxlen=TIMES_KEPT)
        self._live: dict[bytes, PowerNow] = {}
        self.counters: Counter[str] = Counter()
        self._pages = Subscribers[Update](self.counters, "page behind: update missed")

    def live(self) -> tuple[PowerNow, ...]:
        """The newest power of every meter that was heard of, by account."""
        return tuple(sorted(self._live.values(), key=lambda now: (now.account, now.meter)))

    def heard(self, account: bytes, live: LivePower, received_ms: int) -> None:
        """A meter says its power; older than what is known is passed over."""
        known = self._live.get(live.meter)
        if known is not None and known.arrived_ms > live.measured_ms:
            return
        self._live[live.meter] = PowerNow(
            account, live.meter, live.power_w, live.produced_w, live.measured_ms, received_ms
        )
        told = {"account": account.hex(), "meter": live.meter.hex(), "power_w": live.power_w}
        self.tell(Update("live", {**told, "produced_w": live.produced_w, "arrived_ms": live.measured_ms}))

    def tell(self, update: Update) -> None:
        """Every open page gets an update; a page that is behind misses it, which is counted."""
        self._pages.tell(update)

    def subscribe(self) -> trio.MemoryReceiveChannel[Update]:
        """News for one open page, from now on. Close it when the page goes."""
        return self._pages.channel(UPDATES_PER_PAGE)

    def shown(self, update: Update, own_account: bytes) -> None:
        """A page got this update just now."""
        arrived = update.data.get("arrived_ms")
        if update.kind == "live" and isinstance(arrived, int) and update.data["account"] != own_account.hex():
            self.screen_ms.append(max(0, time.time_ns() // 1_000_000 - arrived))


def percentiles(values: Iterable[int]) -> dict[str, int]:
    """The median and the 95th percentile (nearest rank) with their count; empty without values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    return {
        "p50": ordered[(len(ordered) - 1) // 2],
        "p95": ordered[-(-len(ordered) * 95 // 100) - 1],
        "count": len(ordered),
    }
