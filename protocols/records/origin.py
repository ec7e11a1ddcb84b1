"""Origin: the records about installations, certificates, and what a kWh from the grid costs in CO2."""

from __future__ import annotations

from typing import Annotated

from protocols.records.genesis import MAX_NAME_BYTES
from protocols.records.schema import Field, Int, Name, OneOf, Second, Table, Uint, register
from protocols.records.statements import MAX_ORDER_WH, MAX_POWER_W, AccountId, MeterId, RecordId, Spoken

# As a type plate has it: monocrystalline on the roof, LiFePO4, heat pump.
MAX_TECHNOLOGY_BYTES = 48
# A postal address on one line, or coordinates.
MAX_LOCATION_BYTES = 96
# Lignite takes about 1100 g; the worst oil burners stay below twice that.
MAX_CARBON_G_KWH = 5000
# Codes of carriers, kinds and sources are a handful.
MAX_CODE = 255
# What a storage gives back of what it took, in parts per million.
MAX_EFFICIENCY_PPM = 1_000_000
# Why a certificate was used, in a line: district heating 2026, the report of a company.
MAX_PURPOSE_BYTES = 64
# A thousand orders of the largest size.
MAX_CERTIFICATE_WH = 1000 * MAX_ORDER_WH

INSTALLATION_ANNOUNCED = 0
INSTALLATION_CONFIRMED = 1
INSTALLATION_STOPPED = 2
INSTALLATION_REMOVED = 3

Carbon = Uint(MAX_CARBON_G_KWH)
CertificateWh = Int(1, MAX_CERTIFICATE_WH)


class InstallationRegister(Table, frozen=True, kw_only=True):
    """A member announces a plant or a storage behind one of its meters."""

    meter: Annotated[bytes, Field(1, MeterId, "the meter that counts it; its owner is the installation's")]
    installation: Annotated[int, Field(2, Uint(MAX_CODE), "0 production, 1 storage")]
    carrier: Annotated[int, Field(3, Uint(MAX_CODE), "0 electricity, 1 heat")]
    source: Annotated[int, Field(4, Uint(MAX_CODE), "what it makes energy from; 0 for a storage")]
    name: Annotated[str, Field(5, Name(MAX_NAME_BYTES), "as people call it")]
    capacity_w: Annotated[int, Field(6, Int(1, MAX_POWER_W), "the most that it gives")]
    operational_s: Annotated[int, Field(7, Second(), "UTC second since when it is in operation")]
    technology: Annotated[str | None, Field(8, Name(MAX_TECHNOLOGY_BYTES), "how it works")] = None
    location: Annotated[str | None, Field(9, Name(MAX_LOCATION_BYTES), "where it stands")] = None
    carbon_g_kwh: Annotated[int, Field(10, Carbon, "g CO2 per kWh that it makes")] = 0
    efficiency_ppm: Annotated[int | None, Field(11, Int(1, MAX_EFFICIENCY_PPM), "of a storage: out of in")] = None
    supported: Annotated[int, Field(12, Uint(1), "1 if public money supports it")] = 0


class InstallationState(Table, frozen=True, kw_only=True):
    """An installation is confirmed by an administrator, or stopped, taken up again or removed by its owner."""

    installation: Annotated[bytes, Field(1, RecordId, "record id with which it was announced")]
    state: Annotated[int, Field(2, Int(1, 3), "1 confirmed, 2 stopped, 3 removed")]


@register(28)
class Installation(Spoken, frozen=True, kw_only=True):
    """The register of installations; signed by the member key of whose step it is."""

    step: Annotated[
        InstallationRegister | InstallationState,
        Field(3, OneOf(register=(0, InstallationRegister), state=(1, InstallationState)), "what is done"),
    ]


class CertificateTransfer(Table, frozen=True, kw_only=True):
    """Certificates go to another member, the oldest first."""

    to: Annotated[bytes, Field(1, AccountId, "who gets them")]
    wh: Annotated[int, Field(2, CertificateWh, "for how much energy")]
    source: Annotated[int | None, Field(3, Uint(MAX_CODE), "only of this source")] = None


class CertificateRetire(Table, frozen=True, kw_only=True):
    """Certificates are used for a claim, and by nobody ever again, the oldest first."""

    wh: Annotated[int, Field(1, CertificateWh, "for how much energy")]
    source: Annotated[int | None, Field(2, Uint(MAX_CODE), "only of this source")] = None
    purpose: Annotated[str | None, Field(3, Name(MAX_PURPOSE_BYTES), "for what, or for whom")] = None


@register(29)
class Certificates(Spoken, frozen=True, kw_only=True):
    """Certificates of origin change hands or are retired; signed by the owner's member key."""

    step: Annotated[
        CertificateTransfer | CertificateRetire,
        Field(3, OneOf(transfer=(0, CertificateTransfer), retire=(1, CertificateRetire)), "what is done"),
    ]


@register(30)
class GridCarbon(Spoken, frozen=True, kw_only=True):
    """What a kWh from outside takes in CO2, from a period on; signed by an administrator."""

    carrier: Annotated[int, Field(3, Uint(MAX_CODE), "0 electricity, 1 heat")]
    from_s: Annotated[int, Field(4, Second(), "first period, which is not closed yet")]
    carbon_g_kwh: Annotated[int, Field(5, Carbon, "g CO2 per kWh")]
