"""History: the power of this home and of the community over the last while, for the chart.

Kept in memory only: live power is not on the ledger. Times are the microgrid's, in steps
of which the newest value stands.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
import trio

from meshnode.web.backend import Backend, PowerNow

if TYPE_CHECKING:
    from trio_typing import TaskStatus

STEPS = 240
HOUR_S = 3600
# A demonstration clock makes an hour of seconds: the chart then shows as many hours as pass in this real time.
LEAST_REAL_S = 60
# Power not heard again for this long (real time) is not shown as power now.
STALE_MS = 60_000


class Power(msgspec.Struct, frozen=True):
    """Power at one instant. own_w: this home's connection, import positive, None if not heard.

    taken_w, given_w: what all homes together draw and feed, each 0 or more. heard: meters
    behind these sums.
    """

    own_w: int | None
    own_produced_w: int | None
    taken_w: int
    given_w: int
    heard: int


class Point(msgspec.Struct, frozen=True):
    """A step of the chart; time_s is its first second."""

    time_s: int
    own_w: int | None
    community_w: int


def power_now(live: Iterable[PowerNow], account: bytes, now_ms: int) -> Power:
    """The newest power, without meters that have fallen silent."""
    fresh = [now for now in live if now_ms - now.shown_ms <= STALE_MS]
    own = [now for now in fresh if now.account == account]
    produced = [now.produced_w for now in own if now.produced_w is not None]
    return Power(
        own_w=sum(now.power_w for now in own) if own else None,
        own_produced_w=sum(produced) if produced else None,
        taken_w=sum(max(0, now.power_w) for now in fresh),
        given_w=sum(max(0, -now.power_w) for now in fresh),
        heard=len(fresh),
    )


class History:
    """The last while of one backend's power; `run` keeps it up to date."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        hours = -(-max(HOUR_S, LEAST_REAL_S * backend.clock.speed) // HOUR_S)
        self.window_s = hours * HOUR_S
        self._step_s = self.window_s // STEPS
        self._points: deque[Point] = deque(maxlen=STEPS + 1)

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the live news until cancelled, or until the backend ends them."""
        with self._backend.subscribe() as news:
            self.note()
            task_status.started()
            async for update in news:
                if update.kind == "live":
                    self.note()

    def note(self) -> None:
        """Take down the power of this moment."""
        power = power_now(self._backend.live(), self._backend.account, now_ms())
        if not power.heard:
            return
        now_s = self._backend.clock.now_s()
        point = Point(now_s - now_s % self._step_s, power.own_w, power.taken_w - power.given_w)
        if self._points and self._points[-1].time_s == point.time_s:
            self._points.pop()
        self._points.append(point)

    def points(self) -> tuple[Point, ...]:
        """What is known of the last `window_s` seconds, oldest first."""
        first_s = self._backend.clock.now_s() - self.window_s
        return tuple(point for point in self._points if point.time_s >= first_s)


def now_ms() -> int:
    """Real UTC milliseconds: telegrams are stamped with them."""
    return time.time_ns() // 1_000_000
