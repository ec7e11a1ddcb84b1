"""Lots: ranges of single Wh of one issuance, which are taken first-in first-out and never overlap.

An issuance is what one device made in one period: its Wh are numbered from 0. A lot is a range of them,
so that a Wh keeps its name wherever it goes: to a neighbour, into a storage, out of it again.
Energy from the grid is a lot without an issuance: it has a quantity and no names.

Source: EnergyTag Granular Certificate Scheme Standard v2 (issuance, face value in Wh, ranges of ids in a bundle).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final

import msgspec

from meshnode.amounts import PPM
from meshnode.origin.sources import Carrier, Source
from protocols import cbor

CARBON_UNKNOWN: Final = -1
"""Nobody said how much CO2 it took."""


class Lot(msgspec.Struct, frozen=True):
    """So many Wh of one issuance, in order.

    Fields:
        issuance: id of the issuance; empty for what came from the grid.
        device: the installation that made it; the member's account id where none is confirmed.
        producer: whose it is; empty for the grid.
        source: a `Source`.
        carbon_g_kwh: g CO2 per kWh, or CARBON_UNKNOWN.
        period_s: start of the period in which it was made, or drawn from the grid.
        first: number of its first Wh in the issuance; 0 for the grid.
        wh: how many; above 0.
        storage: the storage that it came out of last; empty if it was never stored.
    """

    issuance: bytes
    device: bytes
    producer: bytes
    source: int
    carbon_g_kwh: int
    period_s: int
    first: int
    wh: int
    storage: bytes = b""

    def part(self, start: int, wh: int) -> Lot:
        """`wh` Wh of it, from the `start`th on."""
        first = self.first + start if self.issuance else 0
        return msgspec.structs.replace(self, first=first, wh=wh)


def issuance_id(device: bytes, carrier: Carrier, period_s: int) -> bytes:
    """The one id of what a device made in a period."""
    return hashlib.sha256(b"meshnode issuance\0" + cbor.encode([device, int(carrier), period_s])).digest()


def size_wh(lots: Iterable[Lot]) -> int:
    """How much that is."""
    return sum(lot.wh for lot in lots)


def carbon_mg(lots: Iterable[Lot]) -> tuple[int, int]:
    """(milligrams of CO2 of what is known, Wh of which it is not known): g/kWh times Wh is mg, exactly."""
    mg = unknown_wh = 0
    for lot in lots:
        if lot.carbon_g_kwh == CARBON_UNKNOWN:
            unknown_wh += lot.wh
        else:
            mg += lot.carbon_g_kwh * lot.wh
    return mg, unknown_wh


class Queue:
    """Lots in a row: what came first is taken first."""

    def __init__(self, lots: Iterable[Lot] = ()) -> None:
        self._lots: list[Lot] = []
        self._next = 0
        # The sum of the lots from the next one on: everybody asks for it before taking.
        self._wh = 0
        self.add(lots)

    @property
    def wh(self) -> int:
        """How much is left."""
        return self._wh

    def add(self, lots: Iterable[Lot]) -> None:
        """Put lots behind the others."""
        for lot in lots:
            if lot.wh:
                self._lots.append(lot)
                self._wh += lot.wh

    def take(self, wh: int) -> tuple[Lot, ...]:
        """The first `wh` Wh; a lot is cut where they end.

        Raises:
            ValueError: there is less than that.
        """
        if not 0 <= wh <= self._wh:
            raise ValueError(f"{wh} Wh wanted of {self._wh} Wh")
        self._wh -= wh
        taken = []
        while wh:
            lot = self._lots[self._next]
            if lot.wh <= wh:
                taken.append(lot)
                self._next += 1
            else:
                taken.append(lot.part(0, wh))
                self._lots[self._next] = lot.part(wh, lot.wh - wh)
            wh -= taken[-1].wh
        return tuple(taken)

    def rest(self) -> tuple[Lot, ...]:
        """What is left, in order."""
        return tuple(self._lots[self._next :])


class Discharge(msgspec.Struct, frozen=True):
    """What came out of a storage.

    delivered: what is used outside it. cancelled: what was lost for it. missing_wh: delivered Wh that the
    storage has no lots for: what was in it before anybody counted.
    """

    delivered: tuple[Lot, ...]
    cancelled: tuple[Lot, ...]
    missing_wh: int


def discharge(stored: Queue, delivered_wh: int, efficiency_ppm: int, storage: bytes) -> Discharge:
    """Take what a storage delivers out of its lots, first-in first-out, with what was lost on the way.

    So many Wh are taken that their share `efficiency_ppm` is what was delivered. Of each lot the first
    part is delivered and the rest cancelled, cumulatively rounded down, so that the parts add up.

    Args:
        stored: the storage's lots; what is taken leaves it.
        efficiency_ppm: of what was charged this much comes out, 1 to a million.
        storage: its device id, which stands in the delivered lots.
    """
    wanted_wh = -(-delivered_wh * PPM // efficiency_ppm)
    taken_wh = min(wanted_wh, stored.wh)
    covered_wh = delivered_wh if taken_wh == wanted_wh else taken_wh * efficiency_ppm // PPM
    delivered, cancelled, past_wh, given_wh = [], [], 0, 0
    for lot in stored.take(taken_wh):
        past_wh += lot.wh
        part_wh = past_wh * covered_wh // taken_wh - given_wh
        given_wh += part_wh
        if part_wh:
            delivered.append(msgspec.structs.replace(lot.part(0, part_wh), storage=storage))
        if lot.wh > part_wh:
            cancelled.append(lot.part(part_wh, lot.wh - part_wh))
    return Discharge(tuple(delivered), tuple(cancelled), delivered_wh - covered_wh)


def from_grid(period_s: int, wh: int, carbon_g_kwh: int, storage: bytes = b"") -> tuple[Lot, ...]:
    """So much energy of which nobody here knows what it was made from; nothing for 0 Wh."""
    return (Lot(b"", b"", b"", int(Source.GRID), carbon_g_kwh, period_s, 0, wh, storage),) if wh else ()
