"""Zone: local time by the table of the genesis, so that every node shows the same clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

DAY_S = 86400


class Zone:
    """A microgrid's time zone."""

    def __init__(self, changes: Sequence[tuple[int, int]]) -> None:
        """Args: changes: (from which UTC second, offset in seconds), ascending, at least one."""
        self._starts = [start for start, _ in changes]
        self._offsets = [offset for _, offset in changes]

    def offset_s(self, utc_s: int) -> int:
        """How far local time is ahead of UTC."""
        return self._offsets[max(0, bisect_right(self._starts, utc_s) - 1)]

    def day(self, utc_s: int) -> tuple[int, int]:
        """The local day that holds a second: first second of it and of the next, UTC; 23 to 25 hours apart."""
        local = utc_s + self.offset_s(utc_s)
        midnight = local - local % DAY_S
        return self._utc(midnight), self._utc(midnight + DAY_S)

    def clock(self, utc_s: int, *, seconds: bool = False) -> str:
        """Local time as `14:05`, or `14:05:09`."""
        local = (utc_s + self.offset_s(utc_s)) % DAY_S
        minutes, second = divmod(local, 60)
        hour, minute = divmod(minutes, 60)
        return f"{hour:02d}:{minute:02d}:{second:02d}" if seconds else f"{hour:02d}:{minute:02d}"

    def date(self, utc_s: int) -> tuple[int, int, int]:
        """Local year, month and day."""
        local = datetime(1970, 1, 1) + timedelta(seconds=utc_s + self.offset_s(utc_s))
        return local.year, local.month, local.day

    def _utc(self, local_s: int) -> int:
        """The second at which local clocks show `local_s`."""
        # The offset is looked up near the right second first, then at it.
        guess = local_s - self.offset_s(local_s)
        return local_s - self.offset_s(guess)
