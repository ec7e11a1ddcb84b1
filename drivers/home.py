"""Home: consumption and production over time, and the meter registers they make.

A `HomeSeries` is a pure function from time to `Registers`. It is made from the
energy of quarter hours; in every quarter, and at every second,

    import - export = consumption - production

holds exactly, because within one quarter a home is taken to do only one of
the two: the difference is imported, or exported. (A real meter in a quarter
with clouds counts some of both.) Integers only, no clock.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import msgspec

QUARTER_S: Final = 900
HOUR_S: Final = 3600


class Registers(msgspec.Struct, frozen=True, kw_only=True):
    """The meters of a home at one instant.

    Fields:
        import_wh, export_wh: registers of the grid meter.
        produced_wh: register of the generation meter.
        consumed_wh: what the home has used; no real meter counts it.
        power_w: mean grid power of the running quarter, import positive.
        time_s: the instant, UTC seconds; None if it has no calendar time.
    """

    import_wh: int
    export_wh: int
    produced_wh: int
    consumed_wh: int
    power_w: int
    time_s: int | None = None


class HomeSeries(Protocol):
    """A home as a pure function of time."""

    def registers(self, time_s: int) -> Registers:
        """The registers at `time_s` (UTC seconds); they never fall as time rises."""
        ...


class Quarter(msgspec.Struct, frozen=True):
    """Energy of one quarter hour, both at least 0 Wh."""

    consumed_wh: int
    produced_wh: int


class RecordedHome:
    """A HomeSeries over a list of quarters that begins again after its last one.

    Args:
        quarters: at least one.
        start_s: UTC seconds at which the first quarter begins, a multiple of
            900 s. Before it, all registers are 0.
    """

    def __init__(self, quarters: Iterable[Quarter], start_s: int) -> None:
        self._start_s = start_s
        self._consumed = array("q", [0])
        self._produced = array("q", [0])
        self._import = array("q", [0])
        for quarter in quarters:
            self._consumed.append(self._consumed[-1] + quarter.consumed_wh)
            self._produced.append(self._produced[-1] + quarter.produced_wh)
            net = quarter.consumed_wh - quarter.produced_wh
            self._import.append(self._import[-1] + max(0, net))
        if len(self._consumed) < 2 or start_s % QUARTER_S:
            raise ValueError("a home needs quarters, and a start on a quarter of an hour")

    def registers(self, time_s: int) -> Registers:
        """The registers at `time_s`; see HomeSeries."""
        count = len(self._consumed) - 1
        index, second = divmod(max(0, time_s - self._start_s), QUARTER_S)
        rounds, index = divmod(index, count)
        base = Quarter(
            rounds * self._consumed[-1] + self._consumed[index],
            rounds * self._produced[-1] + self._produced[index],
        )
        running = Quarter(
            self._consumed[index + 1] - self._consumed[index],
            self._produced[index + 1] - self._produced[index],
        )
        imported = rounds * self._import[-1] + self._import[index]
        if time_s < self._start_s:
            running = Quarter(0, 0)
        return within_quarter(base, imported, running, second, time_s)


def within_quarter(base: Quarter, import_wh: int, running: Quarter, second: int, time_s: int) -> Registers:
    """The registers `second` seconds into a quarter.

    Two of the four counters are interpolated and cut to whole Wh, the one that
    is the sum of two others is added up from them: so all rise, the equation
    of this module holds at every second, and at the end of the quarter all are exact.

    Args:
        base: consumption and production before the quarter.
        import_wh: imported before the quarter.
        running: energy of the quarter.
        second: 0..900.
    """
    net = running.consumed_wh - running.produced_wh
    imported = max(0, net) * second // QUARTER_S
    exported = max(0, -net) * second // QUARTER_S
    self_used = min(running.consumed_wh, running.produced_wh) * second // QUARTER_S
    return Registers(
        import_wh=import_wh + imported,
        export_wh=import_wh - base.consumed_wh + base.produced_wh + exported,
        produced_wh=base.produced_wh + self_used + exported,
        consumed_wh=base.consumed_wh + self_used + imported,
        power_w=net * (HOUR_S // QUARTER_S),
        time_s=time_s,
    )


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Integer parts of `total` in proportion to `weights`, which add up to it exactly.

    Each part is the difference of two running shares cut to integers, so none
    is off by 1 or more. Without any weight, the parts are as even as can be.

    Args:
        total, weights: at least 0.
    """
    if not any(weights):
        weights = [1] * len(weights)
    whole, running, given, parts = sum(weights), 0, 0, []
    for weight in weights:
        running += weight
        parts.append(total * running // whole - given)
        given += parts[-1]
    return parts
