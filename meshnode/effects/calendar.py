"""Calendar: the time bands of a binding, in local time."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshnode.local_time import DAY_S, Zone, offset_s
from zencode.binding import Binding
from zencode.catalogue.ids import BAND, BAND_ON

# 1970-01-01 was a Thursday; Monday is 0.
_EPOCH_WEEKDAY: Final = 3
EVERY_DAY: Final = frozenset(range(7))
DAYS: Final = {
    "Monday to Friday": frozenset(range(5)),
    "Saturday": frozenset({5}),
    "Sunday": frozenset({6}),
    "Saturday and Sunday": frozenset({5, 6}),
}
"""Weekdays by the words that a tree holds for them."""


class Stretch(msgspec.Struct, frozen=True):
    """A part of some days: from one second after midnight to another; one that ends before it begins runs over
    midnight and belongs to the day on which it began."""

    from_s: int
    to_s: int
    days: frozenset[int] = EVERY_DAY

    def has(self, weekday: int, second: int) -> bool:
        """Whether it holds this second of a day."""
        if self.from_s < self.to_s:
            return weekday in self.days and self.from_s <= second < self.to_s
        return (weekday in self.days and second >= self.from_s) or (
            (weekday - 1) % 7 in self.days and second < self.to_s
        )


class Calendar:
    """When a binding's time bands run. A band is all of its stretches together."""

    def __init__(self, binding: Binding, zone: Zone) -> None:
        """Args: zone: offsets from UTC, as the genesis has them."""
        self._zone = zone
        self._bands: dict[str, list[Stretch]] = {}
        for given in binding.givens:
            slots: Any = given.slots
            if given.id == BAND:
                self._add(slots[0], Stretch(slots[1], slots[2]))
            elif given.id == BAND_ON:
                self._add(slots[0], Stretch(slots[1], slots[2], DAYS[slots[3]]))

    def _add(self, band: str, stretch: Stretch) -> None:
        self._bands.setdefault(band, []).append(stretch)

    def in_band(self, band: str, utc_s: int) -> bool:
        """Whether a UTC second lies in a band; no second lies in one that the binding does not name."""
        day, second = divmod(utc_s + offset_s(self._zone, utc_s), DAY_S)
        weekday = (day + _EPOCH_WEEKDAY) % 7
        return any(stretch.has(weekday, second) for stretch in self._bands.get(band, ()))
