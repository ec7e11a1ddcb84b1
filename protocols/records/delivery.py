"""Delivery: the records about points that deliver energy - charging stations, controllers for coins, storages.

A meter at the point signs what flowed. Its ticks are records like any other: every few seconds one goes
to whoever is charging, and of those a block carries few - the first, one a minute at most, and the last.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from protocols import cbor
from protocols.cose import HASH_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, key_id_of, sig_structure
from protocols.records.genesis import Key
from protocols.records.schema import Bytes, Field, Int, ListOf, OneOf, Row, Second, Table, Uint, register
from protocols.records.statements import (
    MAX_AMOUNT,
    MAX_COUNTER_WH,
    MAX_ORDER_WH,
    MAX_PRICE_U_KWH,
    AccountId,
    MeterId,
    RecordId,
    Spoken,
    Wh,
)
from protocols.records.tokens import Amount, Code

# Who charges does so at home, at work and at a few places on the way.
MAX_CREDENTIAL_POINTS = 16
# A storage has a handful of owners and of others whom its fee goes to; its users are many more.
MAX_STORAGE_SHARES = 32
# A quarter of an hour of a common battery's users fits into one record of 4 KiB.
MAX_STORED_PARTS = 64
MAX_SILENCE_S = 3_600
MIN_SILENCE_S = 180

ROUTE_NOW = 0
ROUTE_COMMON = 1
ROUTE_OWN = 2

TICK_BEGIN = 0
TICK_RUN = 1
TICK_END = 2

Price = Int(0, MAX_PRICE_U_KWH)
Digest = Bytes(HASH_BYTES)
Silence = Int(MIN_SILENCE_S, MAX_SILENCE_S)
StoredPart = Row(account=AccountId, charged_wh=Uint(MAX_COUNTER_WH), discharged_wh=Uint(MAX_COUNTER_WH))
Share = Row(account=AccountId, weight=Int(1, MAX_AMOUNT))


class StationOffer(Table, frozen=True, kw_only=True):
    """A meter of one's own is a charging station; what it asks for holds for sessions that are reserved from now on."""

    meter: Annotated[bytes, Field(1, MeterId, "the station's meter: its import register counts what is charged")]
    asset: Annotated[str, Field(2, Code, "code of the asset that pays")]
    price_u_kwh: Annotated[int, Field(3, Price, "for the energy")]
    fee_u_kwh: Annotated[int, Field(4, Price, "of the station")]
    flat_u: Annotated[int, Field(5, Uint(MAX_AMOUNT), "of the station, for a session in which energy flowed")]
    silence_s: Annotated[int, Field(6, Silence, "without a tick for so long a session is settled")]
    energy_to: Annotated[bytes | None, Field(7, AccountId, "who is paid for the energy; the station, if nobody")] = None


class CoinOffer(Table, frozen=True, kw_only=True):
    """A meter of one's own delivers energy for coins."""

    meter: Annotated[bytes, Field(1, MeterId, "the controller's meter: its import register counts what is delivered")]
    asset: Annotated[str, Field(2, Code, "code of the coins, which burn when their energy was delivered")]
    unit_wh: Annotated[int, Field(3, Int(1, MAX_ORDER_WH), "energy for one coin")]
    silence_s: Annotated[int, Field(4, Silence, "without a tick for so long a redemption is settled")]
    route: Annotated[int, Field(5, Uint(2), "0 injected now, 1 from the common battery, 2 from the owner's own")] = (
        ROUTE_NOW
    )


class StorageSet(Table, frozen=True, kw_only=True):
    """An asset of one's own is stored energy, a unit for a Wh; a meter alone mints it from now on."""

    asset: Annotated[str, Field(1, Code, "its code; of kind energy, and with nothing issued yet")]
    meter: Annotated[bytes, Field(2, MeterId, "the storage's meter; it never changes")]
    efficiency_ppm: Annotated[int, Field(3, Int(1, 1_000_000), "of what is charged so much is minted")]
    most_cost_u: Annotated[int, Field(4, Uint(MAX_AMOUNT), "what storing may cost a member; bounds what it has")]
    storage_u_kwh: Annotated[int, Field(5, Int(1, MAX_PRICE_U_KWH), "price of one kWh of storage")]
    access: Annotated[str | None, Field(6, Code, "who stores must have this asset; nobody need, if none")] = None
    fee_asset: Annotated[str | None, Field(7, Code, "what the storage fee is paid with")] = None
    fee_u_kwh: Annotated[int, Field(8, Price, "for a kWh stored at the end of a settlement period")] = 0
    owners_ppm: Annotated[int, Field(9, Uint(1_000_000), "what of the fee goes to the owners")] = 0
    owners: Annotated[
        tuple[tuple[bytes, int], ...],
        Field(10, ListOf(Share, MAX_STORAGE_SHARES, ascending=True), "the owners, with what each contributed"),
    ] = ()
    others: Annotated[
        tuple[tuple[bytes, int], ...],
        Field(11, ListOf(Share, MAX_STORAGE_SHARES, ascending=True), "the others, with their parts of a million"),
    ] = ()
    education_ppm: Annotated[int, Field(12, Uint(1_000_000), "of the fee to the fund that buys first access")] = 0
    grant_u: Annotated[int, Field(13, Uint(MAX_AMOUNT), "what it pays the issuer of the access asset for one")] = 0


class PointClose(Table, frozen=True, kw_only=True):
    """Nothing new is reserved at a point; what is reserved already goes on."""

    meter: Annotated[bytes, Field(1, MeterId, "the point's meter")]


class CredentialBind(Table, frozen=True, kw_only=True):
    """One is known by a token or a key at some points, and pays for who shows it there."""

    credential: Annotated[bytes, Field(1, Digest, "SHA-256 of the token's id (`credential_of`), or of the key")]
    asset: Annotated[str, Field(2, Code, "what is paid with")]
    most_u: Annotated[int, Field(3, Amount, "no session may cost more")]
    points: Annotated[
        tuple[bytes, ...],
        Field(4, ListOf(MeterId, MAX_CREDENTIAL_POINTS, 1, ascending=True), "meters of the points; none elsewhere"),
    ]
    public_key: Annotated[bytes | None, Field(5, Key, "of a phone, which signs for each session")] = None


class CredentialRemove(Table, frozen=True, kw_only=True):
    """It is good for nothing from now on."""

    credential: Annotated[bytes, Field(1, Digest, "as it was bound")]


@register(23)
class Point(Spoken, frozen=True, kw_only=True):
    """Who delivers energy, on which terms, and who is known there; signed by the member key."""

    step: Annotated[
        StationOffer | CoinOffer | StorageSet | PointClose | CredentialBind | CredentialRemove,
        Field(
            3,
            OneOf(
                station=(0, StationOffer),
                coins=(1, CoinOffer),
                storage=(2, StorageSet),
                close=(3, PointClose),
                bind=(4, CredentialBind),
                remove=(5, CredentialRemove),
            ),
            "what is done",
        ),
    ]


@register(24)
class Tick(Spoken, frozen=True, kw_only=True):
    """What a point's meter has counted; signed by the meter key. Few of them stand on the ledger."""

    delivery: Annotated[bytes, Field(3, RecordId, "record id of the reservation")]
    sign: Annotated[int, Field(4, Uint(2), "0 begins, 1 goes on, 2 ends")]
    counter_wh: Annotated[int, Field(5, Wh, "the register that counts what is delivered")]
    time_s: Annotated[int, Field(6, Second(), "UTC second of the meter's clock; rises with every tick")]


class SessionReserve(Table, frozen=True, kw_only=True):
    """A charging session is paid for before it begins; what is not charged comes back."""

    point: Annotated[bytes, Field(1, MeterId, "the station's meter")]
    cap_wh: Annotated[int, Field(2, Int(1, MAX_ORDER_WH), "the most that is charged")]
    price_u_kwh: Annotated[int, Field(3, Price, "as the station offers it")]
    fee_u_kwh: Annotated[int, Field(4, Price, "as the station offers it")]
    flat_u: Annotated[int, Field(5, Uint(MAX_AMOUNT), "as the station offers it")]
    until_s: Annotated[int, Field(6, Second(), "UTC second until which it has begun")]
    guest: Annotated[bytes | None, Field(7, Digest, "credential of somebody else for whom the signer pays")] = None
    credential: Annotated[
        bytes | None, Field(8, Digest, "where the station signs: what its owner pays for, bound at this station")
    ] = None
    proof: Annotated[bytes, Field(9, Bytes(SIGNATURE_BYTES), "the phone's key over `consent_bytes`")] = b""
    number: Annotated[int, Field(10, Uint(), "of the phone's consent; rises with each")] = 0


class CoinRedeem(Table, frozen=True, kw_only=True):
    """Coins are sent to a point for their energy; those whose energy is not delivered come back."""

    point: Annotated[bytes, Field(1, MeterId, "the controller's meter")]
    coins: Annotated[int, Field(2, Amount, "how many, held from now on")]
    unit_wh: Annotated[int, Field(3, Int(1, MAX_ORDER_WH), "energy for one, as the point offers it")]
    until_s: Annotated[int, Field(4, Second(), "UTC second until which it has begun")]


class DeliveryCancel(Table, frozen=True, kw_only=True):
    """What has not begun is called off, by who pays or by the point."""

    delivery: Annotated[bytes, Field(1, RecordId, "record id of the reservation")]


@register(25)
class Purchase(Spoken, frozen=True, kw_only=True):
    """Energy is bought at a point; signed by the member key of who pays, or of the point for whom it knows."""

    step: Annotated[
        SessionReserve | CoinRedeem | DeliveryCancel,
        Field(
            3,
            OneOf(reserve=(0, SessionReserve), redeem=(1, CoinRedeem), cancel=(2, DeliveryCancel)),
            "what is done",
        ),
    ]


@register(26)
class Stored(Spoken, frozen=True, kw_only=True):
    """What went into a storage and out of it, and whose it is; signed by the storage's meter key.

    The parts add up to what the registers have counted since the record before; the first one only
    says where they stand. Or, with the registers as they were and without parts: what a corrected
    reading changes of whose energy it was.
    """

    asset: Annotated[str, Field(3, Code, "the stored energy")]
    charged_wh: Annotated[int, Field(4, Wh, "into the storage, ever")]
    discharged_wh: Annotated[int, Field(5, Wh, "out of the storage, ever")]
    parts: Annotated[
        tuple[tuple[bytes, int, int], ...],
        Field(
            6,
            ListOf(StoredPart, MAX_STORED_PARTS, ascending=True),
            "whose energy it is",
        ),
    ]
    of_s: Annotated[int | None, Field(7, Second(), "the period whose readings were corrected")] = None
    less: Annotated[
        tuple[tuple[bytes, int, int], ...],
        Field(8, ListOf(StoredPart, MAX_STORED_PARTS, ascending=True), "so much of it was not theirs"),
    ] = ()
    more: Annotated[
        tuple[tuple[bytes, int, int], ...],
        Field(9, ListOf(StoredPart, MAX_STORED_PARTS, ascending=True), "but theirs; as much as `less` together"),
    ] = ()


# A phone's consent has a kind of its own, so that no other signature passes for it.
CONSENT_KIND = 74
_TOKEN_MARK = b"meshnode token\0"


def credential_of(token: str) -> bytes:
    """The credential of a token's id (an OCPP idToken), which the ledger knows it by.

    Cards show their id to every reader; the hash only keeps it off the ledger.
    """
    return hashlib.sha256(_TOKEN_MARK + token.encode()).digest()


def consent_bytes(chain_id: bytes, public_key: bytes, point: bytes, cap_wh: int, number: int) -> bytes:
    """What a phone's key signs for a session: a Sig_structure over [point, cap_wh, number]."""
    assert len(public_key) == PUBLIC_KEY_BYTES
    return sig_structure(CONSENT_KIND, chain_id, key_id_of(public_key), cbor.encode([point, cap_wh, number]))
