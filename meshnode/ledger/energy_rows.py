"""Energy rows: what the tables about a binding's word on energy hold; as `rows`, for those alone."""

from __future__ import annotations

import msgspec


class MemberFacts(msgspec.Struct, frozen=True, gc=False):
    """What a member had when a period was closed; the table's key is (its start, account).

    balance_u: owed to it less owed by it, with what it had of the asset that debts are paid with.
    units: (asset, units).
    """

    balance_u: int
    units: tuple[tuple[str, int], ...]


class PeriodFacts(msgspec.Struct, frozen=True):
    """What was so when a period was closed; the table's key is its start.

    lost: 1 while the grid was not there as it began. charge: (battery, ppm) of those that had said.
    """

    lost: int
    charge: tuple[tuple[str, int], ...]


class Charge(msgspec.Struct, frozen=True, gc=False):
    """A storage's state of charge at the end of a period; the table's key is its meter."""

    period_start_s: int
    charge_ppm: int


class StoredEnergy(msgspec.Struct, frozen=True, gc=False):
    """What a member took out of its storages in a period, as it is settled; the table's key is (its start, account)."""

    discharged_wh: int
