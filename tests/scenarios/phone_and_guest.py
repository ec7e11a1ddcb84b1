"""Phone and guest: known at a station that reaches nobody, by what stands on its own ledger; and taken off it again.

Anna binds her phone and a card at Bela's charging station. Then the two other nodes die: no block is made any more, and
Bela's node still says whom phone and card belong to. When they are back it reserves with what the phone signed,
and Anna pays; what was signed once is good once. She takes both off the ledger, and nobody is known by them
any more. A foreign guest has paid Carla in cash: she reserves for the card that he shows, the station finds
the session that waits for it, its node dies while it charges, and what he did not charge comes back to her.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh, run_meshnode
from tests.scenarios.tokens_by_command import Village

SPEED = 20
POWER = ("--power", "120000")
PRICE, FEE = 250_000, 30_000
PAID_IN = 50_000_000
CARD, GUEST = "04A2B3C4D5E680", "04FFEEDDCCBBAA"


async def play(place: Path) -> dict[str, Any]:
    """A station on an evening when the network fails."""
    async with open_mesh(place, VILLAGE, speed=SPEED) as mesh:
        village = Village(mesh)
        await village.say(
            "anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "10" + "0" * 8, "--cashier", "carla"
        )
        for name in ("anna", "carla"):
            paid = ("--asset", "EURO", "--amount", str(PAID_IN), "--reference", f"bank {name}")
            await village.say("carla", "cash", "in", name, *paid)
        terms = ("--price", str(PRICE), "--fee", str(FEE), "--silence", "3600")
        await village.say("bela", "point", "station", "--asset", "EURO", *terms)
        phone_wh = await _phone(village, place / "phone.key")
        guest_wh = await _guest(village)
        height = await mesh.check_one_history()
        return {"phone_wh": phone_wh, "guest_wh": guest_wh, "height": height}


async def _phone(village: Village, key: Path) -> int:
    mesh = village.mesh
    _, told, _ = await run_meshnode("phone", "new", str(key), "--json")
    public = json.loads(told)["public_key"]
    pays = ("--at", "bela", "--asset", "EURO", "--most", "6000000")
    await village.say("anna", "phone", "bind", public, *pays)
    await village.say("anna", "point", "bind", CARD, *pays)
    await mesh.until_height((await mesh.status(mesh["anna"]))["height"])

    for name in ("anna", "carla"):
        mesh[name].kill()
    assert await _known(village, "--phone", public) == await _known(village, "--card", CARD) == ("anna", None)
    consent = await village.see("bela", "phone", "consent", str(key), "--at", "bela", "--energy", "2 kWh")
    for name in ("anna", "carla"):
        await village.comes_back(name)

    proof = ("--phone", public, "--number", str(consent["number"]), "--proof", consent["proof"])
    words = ("session", "reserve", "--at", "bela", *proof, "--energy")
    assert (await village.refused("bela", *words, "3 kWh"))["verdict"] == "UNKNOWN_CREDENTIAL"
    reserved = await village.say("bela", *words, "2 kWh")
    assert await _known(village, "--phone", public) == ("anna", reserved)
    code, done = await village.run("bela", "session", "start", reserved, *POWER)
    assert code == 0 and (done["phase"], done["payer"], done["delivered_wh"]) == ("ended", "anna", 2_000), done
    await mesh.until_height((await mesh.status(mesh["bela"]))["height"])
    cost = 2 * (PRICE + FEE)
    assert (await village.has("anna"))["EURO"] == (PAID_IN - cost, 0)
    assert (await village.refused("bela", *words, "2 kWh"))["verdict"] == "UNKNOWN_CREDENTIAL"

    assert {one["kind"] for one in (await village.see("anna", "phone", "list"))["credentials"]} == {"phone", "card"}
    await village.say("anna", "phone", "unbind", public)
    await village.say("anna", "point", "unbind", CARD)
    assert (await village.see("anna", "phone", "list"))["credentials"] == []
    for shown in (("--phone", public), ("--card", CARD)):
        assert await _known(village, *shown) == ("", None)
    return int(done["delivered_wh"])


async def _guest(village: Village) -> int:
    """He is no member: what he paid in cash is held for him, by who took it."""
    mesh = village.mesh
    terms = ("session", "reserve", "--at", "bela", "--guest", GUEST)
    reserved = await village.say("carla", *terms, "--energy", "20 kWh")
    escrow = 20 * (PRICE + FEE)
    assert (await village.has("carla"))["EURO"] == (PAID_IN - escrow, escrow)
    assert await _known(village, "--card", CARD) == ("", None)
    assert await _known(village, "--card", GUEST) == ("", reserved)
    code, told = await village.run("bela", "session", "start", reserved, *POWER, "--detach")
    assert code == 0, told

    async def charged() -> bool:
        return bool((await mesh["anna"].client.get(f"/api/deliveries/{reserved}"))["delivered_wh"] >= 2_000)

    await mesh.until("2 kWh charged", charged, 90)
    mesh["bela"].kill()
    await village.comes_back("bela")
    code, done = await village.run("bela", "session", "stop", reserved)
    assert code == 0 and done["phase"] == "ended", done
    await mesh.until_height((await mesh.status(mesh["bela"]))["height"])
    wh = int(done["delivered_wh"])
    cost = PRICE * wh // 1000 + FEE * wh // 1000
    assert 2_000 <= wh < 20_000 and done["returned"] == escrow - cost, done
    assert (await village.has("carla"))["EURO"] == (PAID_IN - cost, 0)
    return wh


async def _known(village: Village, *shown: str) -> tuple[str, str | None]:
    """Who is known by it at Bela's station, and which session waits; as his node alone answers."""
    _, found = await village.run("bela", "point", "known", "--at", "bela", *shown)
    return found["member"], found["delivery"]
