"""Delivery rows: what the tables about points, deliveries and stored energy hold; as `rows`, for those alone."""

from __future__ import annotations

import msgspec

# What a point delivers for.
POINT_STATION = 0
POINT_COINS = 1


class Point(msgspec.Struct, frozen=True):
    """A point that delivers energy; the table's key is its meter. What it does not need is 0 or empty.

    price_u_kwh, fee_u_kwh, flat_u, energy_to: of a station. unit_wh, route: of one that takes coins.
    busy: what is reserved or under way; empty if nothing is. closed: 1: nothing new is reserved.
    """

    owner: bytes
    kind: int
    asset: str
    silence_s: int
    price_u_kwh: int = 0
    fee_u_kwh: int = 0
    flat_u: int = 0
    energy_to: bytes = b""
    unit_wh: int = 0
    route: int = 0
    busy: bytes = b""
    closed: int = 0


class Delivery(msgspec.Struct, frozen=True):
    """A session or a redemption; the table's key is the id of its reservation.

    payer: whose escrow it is. guest: credential of who comes instead; empty: the payer. amount: held
    for it. carried_wh: delivered to the payer before and not paid with a coin yet. kind to route: as
    the point offered it. phase to heard_s: as in `meshnode.market.delivery`. paid, fee: what became of
    the amount, once it is over; the rest went back.
    """

    point: bytes
    payer: bytes
    guest: bytes
    kind: int
    asset: str
    amount: int
    carried_wh: int
    price_u_kwh: int
    fee_u_kwh: int
    flat_u: int
    energy_to: bytes
    station: bytes
    unit_wh: int
    phase: int
    purchased_wh: int
    silence_s: int
    deadline_s: int
    begin_wh: int = 0
    counter_wh: int = 0
    ticked_s: int = 0
    heard_s: int = 0
    paid: int = 0
    fee: int = 0


class DeliveryEnd(msgspec.Struct, frozen=True):
    """When something becomes of a delivery by itself; the table's key is (second, delivery)."""

    point: bytes


class Storage(msgspec.Struct, frozen=True):
    """An asset that is stored energy; the table's key is its code. As `StorageSet`, where nothing else is said.

    most_wh: what a member may have. charged_wh, discharged_wh: the registers so far; -1: none known yet.
    minted: units so far. divided: parts of the fee by account, other than the owners'. education_ppm: the part of
    the fund that buys first access; grant_u: what it pays for one, 0 where it buys none.
    """

    meter: bytes
    efficiency_ppm: int
    most_wh: int
    access: str
    fee_asset: str
    fee_u_kwh: int
    owners_ppm: int
    owners: tuple[tuple[bytes, int], ...]
    divided: tuple[tuple[bytes, int], ...]
    charged_wh: int = -1
    discharged_wh: int = -1
    minted: int = 0
    education_ppm: int = 0
    grant_u: int = 0


class Grant(msgspec.Struct, frozen=True):
    """A member got its first access to a storage, or had it; the table's key is (asset, account).

    start_s: of the period that closed then. paid_u: from the fund; 0: the member had access without it.
    """

    start_s: int
    paid_u: int = 0


class Keep(msgspec.Struct, frozen=True):
    """What is open between an account and an asset; the table's key is (asset, account).

    unpaid_wh: delivered for coins, and less than one. redeemed_wh: burned as coins already, when the storage
    reports it as discharged. rest: millionths of a Wh that were charged and not minted. arrears_u: storage
    fees that could not be paid. charged_wh, burned_wh, short_wh: so far, what was charged, and of what was
    discharged what burned and what was grid energy. owed_wh: taken back by corrections and passed on before;
    due_wh: owed by others.
    """

    unpaid_wh: int = 0
    redeemed_wh: int = 0
    rest: int = 0
    arrears_u: int = 0
    charged_wh: int = 0
    burned_wh: int = 0
    short_wh: int = 0
    owed_wh: int = 0
    due_wh: int = 0


class Credential(msgspec.Struct, frozen=True):
    """By what an account is known at points; the table's key is the credential. number: of the last consent."""

    account: bytes
    asset: str
    most_u: int
    points: tuple[bytes, ...]
    public_key: bytes
    number: int = -1
