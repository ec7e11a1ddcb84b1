"""Delivering: the records about points, sessions, redemptions and storages, as the homes of a `Chain` say them."""

from __future__ import annotations

from typing import Any

from meshnode.ledger import delivery_rows
from meshnode.ledger.verdicts import Verdict
from protocols.block import SignedRecord
from protocols.records import (
    TICK_BEGIN,
    TICK_END,
    TICK_RUN,
    CoinOffer,
    CoinRedeem,
    CredentialBind,
    CredentialRemove,
    DeliveryCancel,
    Point,
    PointClose,
    Purchase,
    SessionReserve,
    StationOffer,
    StorageSet,
    Stored,
    Tick,
)
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, meter_id, meter_key

HOUR_S = 3600
SILENCE_S = 300
TARIFF = {"price_u_kwh": 250_000, "fee_u_kwh": 30_000, "flat_u": 500_000}
SIGNS = {"begin": TICK_BEGIN, "run": TICK_RUN, "end": TICK_END}


def station(chain: Chain, home: str, **changes: Any) -> SignedRecord:
    """A home's meter is a charging station; its energy is carla's."""
    fields = {"meter": meter_id(home), "asset": "EURO", "silence_s": SILENCE_S, "energy_to": account("carla"), **TARIFF}
    return chain.speak(home, Point, step=StationOffer(**(fields | changes)))


def coin_point(chain: Chain, home: str, asset: str = "COIN", unit_wh: int = 250, **changes: Any) -> SignedRecord:
    """A home's meter delivers energy for coins."""
    fields = {"meter": meter_id(home), "asset": asset, "unit_wh": unit_wh, "silence_s": SILENCE_S}
    return chain.speak(home, Point, step=CoinOffer(**(fields | changes)))


def close(chain: Chain, home: str, of: str | None = None) -> SignedRecord:
    return chain.speak(home, Point, step=PointClose(meter=meter_id(of or home)))


def storage(chain: Chain, home: str = "anna", meter: str = "anna", **changes: Any) -> SignedRecord:
    """Anna's asset is energy in a common battery: 90 % comes out, 2000 Wh a member, nobody needs an access token."""
    fields = {
        "asset": "KEPT",
        "meter": meter_id(meter),
        "efficiency_ppm": 900_000,
        "most_cost_u": 300_000_000,
        "storage_u_kwh": 200_000_000,
    }
    return chain.speak(home, Point, step=StorageSet(**(fields | changes)))


def bind(chain: Chain, home: str, credential: bytes, *points: str, **changes: Any) -> SignedRecord:
    fields = {"credential": credential, "asset": "EURO", "most_u": 10_000_000}
    fields["points"] = tuple(sorted(meter_id(point) for point in points))
    return chain.speak(home, Point, step=CredentialBind(**(fields | changes)))


def remove(chain: Chain, home: str, credential: bytes) -> SignedRecord:
    return chain.speak(home, Point, step=CredentialRemove(credential=credential))


def reserve(chain: Chain, home: str, at: str, cap_wh: int = 20_000, **changes: Any) -> SignedRecord:
    """A session at a home's station, to begin within an hour."""
    fields = {"point": meter_id(at), "cap_wh": cap_wh, "until_s": chain.now_s + HOUR_S, **TARIFF}
    return chain.speak(home, Purchase, step=SessionReserve(**(fields | changes)))


def redeem(chain: Chain, home: str, at: str, coins: int, unit_wh: int = 250, **changes: Any) -> SignedRecord:
    fields = {"point": meter_id(at), "coins": coins, "unit_wh": unit_wh, "until_s": chain.now_s + HOUR_S}
    return chain.speak(home, Purchase, step=CoinRedeem(**(fields | changes)))


def cancel(chain: Chain, home: str, reserved: SignedRecord) -> SignedRecord:
    return chain.speak(home, Purchase, step=DeliveryCancel(delivery=reserved.record_id))


def tick(chain: Chain, at: str, reserved: SignedRecord, sign: str, counter_wh: int, **changes: Any) -> SignedRecord:
    """A home's meter says what it has counted, now."""
    fields = {
        "delivery": reserved.record_id,
        "sign": SIGNS[sign],
        "counter_wh": counter_wh,
        "time_s": chain.now_s + 1,
    }
    return chain.sign(Tick(**(chain.spoken() | fields | changes)), meter_key(at))


def stored(
    chain: Chain,
    charged_wh: int,
    discharged_wh: int,
    *parts: tuple[str, int, int],
    asset: str = "KEPT",
    meter: str = "anna",
) -> SignedRecord:
    """The storage's registers, and whose energy (charged, discharged) it was."""
    shares = tuple(sorted((account(home), into, out) for home, into, out in parts))
    record = Stored(**chain.spoken(), asset=asset, charged_wh=charged_wh, discharged_wh=discharged_wh, parts=shares)
    return chain.sign(record, meter_key(meter))


def restored(
    chain: Chain,
    start_s: int,
    *corrections: tuple[str, int, int],
    asset: str = "KEPT",
    meter: str = "anna",
    **more: Any,
) -> SignedRecord:
    """After a period was corrected: by how much it was more, or less, of whose energy (charged, discharged)."""
    row = chain.machine.state.storages[asset]
    fields = {"asset": asset, "charged_wh": max(0, row.charged_wh), "discharged_wh": max(0, row.discharged_wh)}
    sides = {
        name: tuple(
            sorted(
                (account(home), max(0, sign * into), max(0, sign * out))
                for home, into, out in corrections
                if sign * into > 0 or sign * out > 0
            )
        )
        for name, sign in (("less", -1), ("more", 1))
    }
    record = Stored(**(chain.spoken() | fields | {"parts": (), "of_s": start_s} | sides | more))
    return chain.sign(record, meter_key(meter))


def found(chain: Chain, reserved: SignedRecord) -> delivery_rows.Delivery:
    """What the ledger knows of a session or a redemption."""
    return chain.machine.state.deliveries[reserved.record_id]


def with_storage(**changes: object) -> Chain:
    """Anna's battery is everybody's; its registers stand at 10,000 and 4,000 Wh."""
    chain = Chain()
    chain.block(
        tokens.money(chain),
        chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1),
        chain.issue("anna", "ACCESS", 10**9, 10**9, policy=2),
    )
    chain.block(storage(chain, **changes), chain.transfer("anna", "bela", 1, "ACCESS"))
    assert chain.say(stored(chain, 10_000, 4_000)) == Verdict.ACCEPTED
    return chain
