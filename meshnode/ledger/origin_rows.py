"""Origin rows: what the tables about installations, lots and certificates hold; as `rows`."""

from __future__ import annotations

import msgspec


class Installation(msgspec.Struct, frozen=True):
    """A plant or a storage; the table's key is the id of the record that announced it.

    kind, carrier, source: codes of `meshnode.origin`. status: INSTALLATION_* of the record.
    from_s: it counts in periods that begin then or later, as long as it is confirmed; 0 until then.
    until_s: it does not count in periods that begin then or later; 0: no end.
    efficiency_ppm: of a storage; else 0. technology, location: "" where nothing is said.
    """

    account: bytes
    meter: bytes
    kind: int
    carrier: int
    source: int
    name: str
    capacity_w: int
    operational_s: int
    technology: str
    location: str
    carbon_g_kwh: int
    efficiency_ppm: int
    supported: int
    status: int
    from_s: int = 0
    until_s: int = 0


class LotRow(msgspec.Struct, frozen=True):
    """A `meshnode.origin.Lot` in a storage; the table's key is (storage, number), ascending as it was charged."""

    issuance: bytes
    device: bytes
    producer: bytes
    source: int
    carbon_g_kwh: int
    period_s: int
    first: int
    wh: int
    storage: bytes


class MoreRegisters(msgspec.Struct, frozen=True, gc=False):
    """Registers of a meter that counts more than electricity at the connection point; -1 if not metered."""

    charged_wh: int
    discharged_wh: int
    heat_import_wh: int
    heat_export_wh: int


class GridCarbon(msgspec.Struct, frozen=True):
    """g CO2 per kWh from outside; the table's key is (carrier, from when).

    until_s: a feed said so, and it does not hold for periods that begin then or later; 0: an administrator did.
    """

    carbon_g_kwh: int
    until_s: int = 0


class Certificate(msgspec.Struct, frozen=True):
    """A range of Wh that left the community; the table's key is (owner, period, issuance, first Wh)."""

    device: bytes
    producer: bytes
    carrier: int
    source: int
    carbon_g_kwh: int
    wh: int
    storage: bytes
