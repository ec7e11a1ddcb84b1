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


# What a binding introduces without anybody's record; the first part of the table's key.
PLANT = 0
BATTERY = 1
STORED = 2
POINT = 3


class Introduced(msgspec.Struct, frozen=True):
    """A device that is there because the binding says so; the table's key is (what, its name).

    subject: the key of its row: an installation's id, an asset's code, a point's meter. digest: of what the binding
    says of it. overridden: 1 once somebody's record has set it otherwise.
    """

    subject: bytes
    digest: bytes
    overridden: int = 0


class Cover(msgspec.Struct, frozen=True):
    """How much of what an owner of a charging point used in a period was its own or its neighbours' energy, in ppm.

    The table's key is the owner.
    """

    period_start_s: int
    cover_ppm: int
