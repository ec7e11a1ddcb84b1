"""Origin: the records about installations and certificates, as the homes of a `Chain` say them."""

from __future__ import annotations

from typing import Any

from meshnode.ledger import certificates
from meshnode.ledger.certificates import CertificatesMoved
from meshnode.machine import Event
from meshnode.origin import Carrier, Kind, Source, Traced, Way
from meshnode.settlement.closing import PeriodFinal
from protocols.block import SignedRecord
from protocols.records import (
    INSTALLATION_CONFIRMED,
    CertificateRetire,
    Certificates,
    CertificateTransfer,
    GridCarbon,
    Installation,
    InstallationRegister,
    InstallationState,
    OpenCounters,
)
from tests.ledger.chain import Chain, account, meter_id, period_s

EFFICIENCY_PPM = 900_000


def announce(chain: Chain, home: str, **changes: Any) -> SignedRecord:
    """A roof of 5 kW behind a home's meter."""
    fields: dict[str, Any] = {
        "meter": meter_id(home),
        "installation": int(Kind.PRODUCTION),
        "carrier": int(Carrier.ELECTRICITY),
        "source": int(Source.SOLAR),
        "name": f"roof of {home}",
        "capacity_w": 5000,
        "operational_s": period_s(0) - 1000,
        "carbon_g_kwh": 20,
    }
    return chain.speak(home, Installation, step=InstallationRegister(**(fields | changes)))


def announce_battery(chain: Chain, home: str, **changes: Any) -> SignedRecord:
    """A battery that gives back nine tenths."""
    battery = {"installation": int(Kind.STORAGE), "source": int(Source.GRID), "carbon_g_kwh": 0}
    return announce(chain, home, **(battery | {"name": "battery", "efficiency_ppm": EFFICIENCY_PPM} | changes))


def state(chain: Chain, announced: SignedRecord, by: str = "anna", state: int = INSTALLATION_CONFIRMED) -> SignedRecord:
    return chain.speak(by, Installation, step=InstallationState(installation=announced.record_id, state=state))


def give(chain: Chain, home: str, to: str, wh: int, source: int | None = None) -> SignedRecord:
    return chain.speak(home, Certificates, step=CertificateTransfer(to=account(to), wh=wh, source=source))


def retire(chain: Chain, home: str, wh: int, source: int | None = None, purpose: str | None = None) -> SignedRecord:
    return chain.speak(home, Certificates, step=CertificateRetire(wh=wh, source=source, purpose=purpose))


def grid_carbon(chain: Chain, carbon_g_kwh: int, period: int = 1, by: str = "anna", carrier: int = 0) -> SignedRecord:
    facts = {"carrier": carrier, "from_s": period_s(period), "carbon_g_kwh": carbon_g_kwh}
    return chain.speak(by, GridCarbon, **facts)


def reading(
    chain: Chain, home: str, period: int, drawn: int, given: int = 0, *, version: int = 0, **more: Any
) -> SignedRecord:
    """Registers at the end of a period, with whatever else the meter counts."""
    values = OpenCounters(import_wh=drawn, export_wh=given, **more)
    return chain.reading(home, period, 0, values=values, version=version)


def certified(chain: Chain, home: str) -> list[tuple[int, int, int]]:
    """(period, first Wh, Wh) of each range of certificates that a home has."""
    return [
        ((at - period_s(0)) // 900, first, row.wh)
        for (_, at, _, first), row in certificates.of(chain.machine.state, account(home))
    ]


def final(chain: Chain, period: int) -> tuple[Traced, ...]:
    """The origin of a period that has become final, from the events of the block that made it so."""
    for events in chain.events.values():
        for event in events:
            if isinstance(event, PeriodFinal) and event.start_s == period_s(period) and event.origin is not None:
                return event.origin.traced
    raise AssertionError(f"period {period} is not final yet")


def used(traced: Traced, home: str) -> list[tuple[str, str, int]]:
    """(way, source, Wh) of what a home used."""
    return [
        (Way(share.way).name.lower(), Source(share.lot.source).name.lower(), share.lot.wh)
        for share in traced.shares
        if share.account == account(home)
    ]


def moved(events: tuple[Event, ...]) -> list[CertificatesMoved]:
    """What became of certificates in a block: by its records, and by periods that became final."""
    found = [event for event in events if isinstance(event, CertificatesMoved)]
    for event in events:
        if isinstance(event, PeriodFinal) and event.origin is not None:
            found += event.origin.moved
    return found
