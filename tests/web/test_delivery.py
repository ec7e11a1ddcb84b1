"""Points, sessions, redemptions and storages over HTTP."""

from __future__ import annotations

import msgspec
import pytest

from protocols.records import TICK_BEGIN, TICK_END, Tick, credential_of
from protocols.records.identity import meter_id_of
from tests.protocols.village import meter
from tests.web.client import request, write
from tests.web.hand_made import TOKEN
from tests.web.test_tokens import Village, street, village

__all__ = ["street", "village"]

TARIFF = {"price_u_kwh": 250_000, "fee_u_kwh": 30_000, "flat_u": 500_000}
ENDS = {"for_s": 3600}
POINT = meter_id_of(meter("bela").public).hex()


async def with_station(village: Village) -> None:
    """Anna has 7 EURO; Bela has a station."""
    await village.say("anna", "/api/assets", asset="EURO", kind="money", cap=10**9, amount=7_000_000)
    await village.say("bela", "/api/points/station", meter=POINT, asset="EURO", silence_s=300, **TARIFF)


async def tick(village: Village, delivery: str, sign: int, counter_wh: int, time_s: int) -> str:
    """The verdict on a tick of Bela's meter, signed elsewhere and handed in at Carla's node."""
    backend = village.backends["carla"]
    said = {"nonce": time_s, "valid_until_s": backend.clock.now_s() + 600, "sign": sign, "time_s": time_s}
    record = Tick(**said, delivery=bytes.fromhex(delivery), counter_wh=counter_wh)
    signed = backend.street.village.sign(record, meter("bela"))
    headers = {"content_type": "application/cbor", "authorization": f"Bearer {TOKEN}"}
    reply = await request(village.addresses["carla"], "POST", "/api/records", signed.envelope_bytes, **headers)
    assert reply.status == 202, reply.json
    outcome = await village.see("carla", f"/api/records/{signed.record_id.hex()}")
    return str(outcome["verdict"])


async def test_a_session_and_what_everybody_sees_of_it(village: Village) -> None:
    await with_station(village)
    (point,) = (await village.see("carla", "/api/points"))["points"]
    assert (point["owner"], point["kind"], point["busy"], point["price_u_kwh"]) == ("bela", "session", "", 250_000)
    reserved = await village.say("anna", "/api/deliveries/session", point=POINT, cap_wh=20_000, **TARIFF, **ENDS)
    assert await village.has("anna", "EURO") == (900_000, 6_100_000)
    assert await tick(village, reserved, TICK_BEGIN, 500, 1) == "ACCEPTED"
    open_ = await village.see("anna", f"/api/deliveries/{reserved}")
    assert (open_["phase"], open_["begin_wh"], open_["purchased_wh"], open_["returned"]) == ("running", 500, 20_000, 0)
    assert await tick(village, reserved, TICK_END, 13_837, 2) == "ACCEPTED"
    (done,) = (await village.see("anna", "/api/deliveries"))["deliveries"]
    wanted = ("phase", "delivered_wh", "paid", "fee", "returned")
    assert [done[name] for name in wanted] == ["ended", 13_337, 3_334_250, 900_110, 1_865_640]
    moved = (await village.see("anna", "/api/movements?account=anna"))["movements"]
    assert [row["what"] for row in moved] == ["station_fee", "charged", "issued"]


async def test_a_card_is_known_where_it_is_bound(village: Village) -> None:
    """Bela's node answers from its own ledger, and reserves for the card's owner."""
    await with_station(village)
    card = credential_of("04A2").hex()
    await village.say("anna", "/api/credentials", credential=card, asset="EURO", most_u=6_100_000, point=POINT)
    known = await village.see("bela", f"/api/points/{POINT}/known/{card}")
    assert known == {"member": "anna", "delivery": None}
    body = {"point": POINT, "cap_wh": 20_000, "credential": card, **TARIFF, **ENDS}
    reserved = await village.say("bela", "/api/deliveries/session", **body)
    assert (await village.see("bela", f"/api/points/{POINT}/known/{card}"))["delivery"] == reserved
    await village.say("anna", f"/api/deliveries/{reserved}/cancel")
    await village.say("anna", f"/api/credentials/{card}/remove")
    assert (await village.see("bela", f"/api/points/{POINT}/known/{card}"))["member"] == ""
    assert await village.has("anna", "EURO") == (7_000_000, 0)


async def test_coins_are_sent_to_a_point(village: Village) -> None:
    await village.say("anna", "/api/assets", asset="COIN", kind="energy", cap=100, amount=8)
    await village.say("bela", "/api/points/coins", meter=POINT, asset="COIN", unit_wh=250, silence_s=300, route="now")
    sent = await village.say("anna", "/api/deliveries/coins", point=POINT, coins=4, unit_wh=250, **ENDS)
    await tick(village, sent, TICK_BEGIN, 0, 1)
    await tick(village, sent, TICK_END, 620, 2)
    assert await village.has("anna", "COIN") == (6, 0)
    await village.say("bela", f"/api/points/{POINT}/close")
    _, verdict = await village.attempt("anna", "/api/deliveries/coins", point=POINT, coins=1, unit_wh=250, **ENDS)
    assert verdict == "UNKNOWN_POINT"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/api/points/xyz/close", "meter"),
        ("/api/deliveries/00/cancel", "delivery id"),
        ("/api/credentials/00/remove", "credential"),
    ],
)
async def test_a_mistake_is_named(village: Village, path: str, place: str) -> None:
    reply = await write(village.addresses["anna"], "POST", path, None)
    assert reply.status == 400 and reply.json["errors"][0]["place"] == place, msgspec.json.encode(reply.json)


async def test_stored_energy_says_its_rules(village: Village) -> None:
    await village.say("anna", "/api/assets", asset="EURO", kind="money", cap=10**9, amount=100)
    await village.say("anna", "/api/assets", asset="KEPT", kind="energy", cap=10**6, amount=0)
    rules = {"efficiency_ppm": 900_000, "most_cost_u": 300, "storage_u_kwh": 200, "access": "EURO"}
    fee = {"fee_asset": "EURO", "fee_u_kwh": 7, "fee_to": "carla"}
    await village.say("anna", "/api/storages", asset="KEPT", meter=POINT, **rules, **fee)
    (found,) = (await village.see("bela", "/api/storages"))["storages"]
    wanted = ("asset", "meter", "most_wh", "room_wh", "fee_u_kwh", "charged_wh", "arrears_u")
    assert [found[name] for name in wanted] == ["KEPT", POINT, 2_000, 2_000, 7, -1, 0]
