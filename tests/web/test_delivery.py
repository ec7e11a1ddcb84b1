"""Points, sessions, redemptions and storages over HTTP."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from meshnode.keys import SigningKey
from meshnode.web.backend import Attended, NotHere, Own, Refused, StoreKept
from protocols.records import TICK_BEGIN, TICK_END, Tick, consent_bytes, credential_of
from protocols.records.identity import meter_id_of
from tests.protocols.keys import seed_of
from tests.protocols.village import meter
from tests.web.client import get, request, write
from tests.web.hand_made import TOKEN, serving
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


async def test_a_phone_signs_for_each_session_and_may_be_unbound(village: Village) -> None:
    """Its proof is good once, for the energy it names, and for nothing after it was taken off the ledger."""
    await with_station(village)
    phone = SigningKey(seed_of("anna phone"))
    public, known_by = phone.public, hashlib.sha256(phone.public).hexdigest()
    limits = {"asset": "EURO", "most_u": 6_100_000, "point": POINT}
    await village.say("anna", "/api/credentials", credential=known_by, public_key=public.hex(), **limits)
    (found,) = (await village.see("anna", "/api/credentials"))["credentials"]
    assert (found["kind"], found["public_key"], found["points"], found["number"]) == (
        "phone",
        public.hex(),
        [POINT],
        -1,
    )
    assert (await village.see("carla", "/api/credentials"))["credentials"] == []
    assert (await village.see("bela", f"/api/points/{POINT}/known/{known_by}"))["member"] == "anna"

    chain_id = village.backends["bela"].chain_id
    proof = phone.sign(consent_bytes(chain_id, public, bytes.fromhex(POINT), 2_000, 7)).hex()
    body = {"point": POINT, "credential": known_by, "proof": proof, **TARIFF, **ENDS}
    for forged in ({"cap_wh": 2_001, "number": 7}, {"cap_wh": 2_000, "number": 8}):
        _, verdict = await village.attempt("bela", "/api/deliveries/session", **body, **forged)
        assert verdict == "UNKNOWN_CREDENTIAL", forged
    reserved = await village.say("bela", "/api/deliveries/session", **body, cap_wh=2_000, number=7)
    assert (await village.see("anna", f"/api/deliveries/{reserved}"))["payer"] == "anna"
    await village.say("bela", f"/api/deliveries/{reserved}/cancel")
    _, verdict = await village.attempt("bela", "/api/deliveries/session", **body, cap_wh=2_000, number=7)
    assert verdict == "UNKNOWN_CREDENTIAL", "a proof was good twice"
    await village.say("anna", f"/api/credentials/{known_by}/remove")
    assert (await village.see("anna", "/api/credentials"))["credentials"] == []


class NotedDown:
    """An attendant that does nothing but note down what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    async def start(self, _delivery_id: bytes, power_w: int) -> None:
        if self.told and self.told[-1][0] == "full":
            raise Refused("the disk is full", lasting=False)
        self.told.append(("start", power_w))

    async def stop(self, delivery_id: bytes) -> None:
        raise NotHere(f"none of this node's: {delivery_id.hex()[:4]}")

    def attended(self, _delivery_id: bytes) -> Attended | None:
        return Attended("running", "simulated charger", ("it begins",), 1) if self.told else None


class KeepsNothing:
    """A storekeeper that has nothing to keep."""

    async def start(self, code: str, _capacity_wh: int, _power_w: int) -> None:
        raise NotHere(f"{code} is in no storage of this node")

    async def stop(self, code: str) -> None:
        raise NotHere(f"{code} is in no storage of this node")

    def kept(self, _code: str) -> StoreKept | None:
        return None


async def test_a_nodes_own_point_is_attended(village: Village) -> None:
    """Who may write tells the node to deliver, and everybody sees what it does; elsewhere it is refused by name."""
    attendant = NotedDown()
    await with_station(village)
    reserved = await village.say("anna", "/api/deliveries/session", point=POINT, cap_wh=2_000, **TARIFF, **ENDS)
    async with serving(village.backends["bela"], own=Own(attendant, KeepsNothing())) as address:
        path = f"/api/deliveries/{reserved}"
        assert (await get(address, path)).json["attended"] is None
        reply = await write(address, "POST", f"{path}/start", {"power_w": 3_680})
        assert (reply.status, attendant.told) == (200, [("start", 3_680)])
        assert reply.json["attended"]["actuator"] == "simulated charger"
        assert (await write(address, "POST", f"{path}/start", {"power_w": 0})).status == 400
        refused = await write(address, "POST", f"{path}/stop", None)
        assert refused.status == 409 and "none of this node's" in refused.json["errors"][0]["found"]
        attendant.told.append(("full", 0))
        assert (await write(address, "POST", f"{path}/start", {})).status == 503


async def test_a_node_without_points_delivers_nothing(village: Village) -> None:
    await with_station(village)
    reserved = await village.say("anna", "/api/deliveries/session", point=POINT, cap_wh=2_000, **TARIFF, **ENDS)
    for step, body in (("start", {}), ("stop", None)):
        reply = await write(village.addresses["anna"], "POST", f"/api/deliveries/{reserved}/{step}", body)
        assert reply.status == 409 and "delivers nothing" in reply.json["errors"][0]["found"]


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


async def test_a_storage_has_owners_and_is_kept_where_it_stands(village: Village) -> None:
    """Owners and others by name; a mistake in them is named; and only the node of its meter keeps it."""
    await village.say("anna", "/api/assets", asset="EURO", kind="money", cap=10**9, amount=100)
    await village.say("anna", "/api/assets", asset="KEPT", kind="energy", cap=10**6, amount=0)
    rules = {"efficiency_ppm": 900_000, "most_cost_u": 300, "storage_u_kwh": 200, "fee_asset": "EURO", "fee_u_kwh": 7}
    body = {"asset": "KEPT", "meter": POINT, "owners_ppm": 800_000, **rules}
    shares = {"owners": {"anna": 7_000, "bela": 2_000}, "others": {"carla": 200_000}}
    for wrong in (
        {"owners": {"anna": 0}},
        {"owners": []},
        {"owners": {}},
        {"owners": {"nobody": 1}},
        {"others": {"": 1}},
    ):
        reply = await write(village.addresses["anna"], "POST", "/api/storages", body | shares | wrong)
        assert reply.status == 400 and reply.json["errors"][0]["place"] in wrong, reply.json
    await village.say("anna", "/api/storages", **body, **shares)
    (found,) = (await village.see("bela", "/api/storages"))["storages"]
    assert {name: found[name] for name in shares} == shares and found["owners_ppm"] == 800_000
    assert found["kept"] is None
    # What is not the owners' goes to who is named alone.
    await village.say("anna", "/api/storages", **body, owners=shares["owners"], fee_to="bela")
    (found,) = (await village.see("bela", "/api/storages"))["storages"]
    assert found["others"] == {"bela": 200_000}
    reply = await write(village.addresses["anna"], "POST", "/api/storages/KEPT/stop", None)
    assert reply.status == 409 and "keeps no storages" in reply.json["errors"][0]["found"]


async def test_this_nodes_storage_is_kept(village: Village) -> None:
    async with serving(village.backends["bela"], own=Own(NotedDown(), KeepsNothing())) as address:
        battery = {"capacity_wh": 10_000, "power_w": 5_000}
        reply = await write(address, "POST", "/api/storages/KEPT/start", battery)
        assert reply.status == 409 and "KEPT is in no storage" in reply.json["errors"][0]["found"]
        assert (await write(address, "POST", "/api/storages/KEPT/start", battery | {"power_w": 0})).status == 400
