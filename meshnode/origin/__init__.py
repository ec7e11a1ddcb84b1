"""Origin: where every Wh came from, and where it went. Pure; knows neither ledger nor settlement.

`Lot` is a range of Wh of one issuance, `trace` follows the lots of one period from plants, storages and
the grid to consumption, storages and the grid. Accounting of origin, not a legal guarantee of origin.
"""

from meshnode.origin.lots import (
    CARBON_UNKNOWN,
    Discharge,
    Lot,
    Queue,
    carbon_mg,
    discharge,
    issuance_id,
    size_wh,
)
from meshnode.origin.sources import CARRIERS, GREEN, KINDS, SOURCES, Carrier, Kind, Source
from meshnode.origin.trace import Battery, Home, Move, OriginError, Plant, Share, Stored, Traced, Way, trace

__all__ = [
    "CARBON_UNKNOWN",
    "CARRIERS",
    "GREEN",
    "KINDS",
    "SOURCES",
    "Battery",
    "Carrier",
    "Discharge",
    "Home",
    "Kind",
    "Lot",
    "Move",
    "OriginError",
    "Plant",
    "Queue",
    "Share",
    "Source",
    "Stored",
    "Traced",
    "Way",
    "carbon_mg",
    "discharge",
    "issuance_id",
    "size_wh",
    "trace",
]
