"""Charging: a session from reserve to refund, and a redemption, while nodes and controllers die at every step.

Carla is the cashier; Anna's car has 50 EURO. Bela's meter is a charging station with a simulated charger, and Carla
is paid for the energy. Anna reserves 20 kWh; Bela's node and the station's controller are killed before it
begins, while it charges and before it ends, and go on by the ledger and the meter. What was paid is what
the meter shows, to the unit, and the rest comes back. Then Anna redeems coins at Bela's meter: its controller
dies for good in the middle, and the coins whose energy was not delivered come back by themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trio

from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh
from tests.scenarios.tokens_by_command import Village

# Slow enough that a silence of three minutes outlives the restart of a node on a busy computer.
SPEED = 20
SILENCE_S = 3600
SHORT_SILENCE_S = 600
PRICE, FEE, FLAT = 250_000, 30_000, 500_000
CAP_WH = 20_000
ESCROW = 6_100_000
# 20 kWh would take half a minute of real time.
POWER_W = 120_000


async def play(place: Path) -> dict[str, Any]:
    """An afternoon at a station."""
    async with open_mesh(place, VILLAGE, speed=SPEED) as mesh:
        village = Village(mesh)
        await village.say(
            "anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "100000000", "--cashier", "carla"
        )
        await village.say("anna", "asset", "issue", "COIN", "--kind", "energy", "--cap", "100", "--amount", "8")
        paid = ("--asset", "EURO", "--amount", "50000000", "--reference", "bank 1")
        await village.say("carla", "cash", "in", "anna", *paid)
        session = await _session(village)
        coins = await _redemption(village)
        height = await mesh.check_one_history()
        return {"charged_wh": session["delivered_wh"], "burned": coins["paid"], "height": height}


async def _session(village: Village) -> dict[str, Any]:
    terms = ("--price", str(PRICE), "--fee", str(FEE), "--flat", str(FLAT), "--silence", str(SILENCE_S))
    await village.say("bela", "point", "station", "--asset", "EURO", "--energy-to", "carla", *terms)
    reserved = await village.say("anna", "session", "reserve", "--at", "bela", "--energy", "20 kWh")
    assert (await village.has("anna"))["EURO"] == (50_000_000 - ESCROW, ESCROW)
    await _die(village, reserved, "session", "reserved")
    # Killed before its first tick was heard of, while it charges, and again when it has charged for a while.
    for wanted_wh in (0, 1_000, 4_000):
        await _charge(village, reserved, "session", wanted_wh)
        await _die(village, reserved, "session", "running")
        assert (await village.has("anna"))["EURO"] == (50_000_000 - ESCROW, ESCROW)
    code, done = await village.run("bela", "session", "stop", reserved)
    assert code == 0 and done["phase"] == "ended", done
    wh = done["delivered_wh"]
    assert 4_000 <= wh <= CAP_WH and wh == done["counter_wh"] - done["begin_wh"], done
    energy, fee = PRICE * wh // 1000, FEE * wh // 1000 + FLAT
    assert (done["paid"], done["fee"], done["returned"]) == (energy, fee, ESCROW - energy - fee), done
    await village.mesh.until_height((await village.mesh.status(village.mesh["bela"]))["height"])
    assert (await village.has("anna"))["EURO"] == (50_000_000 - energy - fee, 0)
    assert (await village.has("bela"))["EURO"] == (fee, 0)
    assert (await village.has("carla"))["EURO"] == (energy, 0)
    return dict(done)


async def _redemption(village: Village) -> dict[str, Any]:
    await village.say("bela", "point", "coins", "--asset", "COIN", "--unit", "2500", "--silence", str(SHORT_SILENCE_S))
    sent = await village.say("anna", "redeem", "send", "--at", "bela", "--coins", "6")
    assert (await village.has("anna"))["COIN"] == (2, 6)
    await _charge(village, sent, "redeem", 4_000)

    async def over() -> dict[str, Any] | None:
        # Nobody starts the controller again: the silence ends it.
        found = (await village.see("anna", "redeem", "list"))["deliveries"]
        return next((dict(one) for one in found if one["id"] == sent and one["phase"] == "ended"), None)

    done = await village.mesh.until("the redemption lapsed", over, SHORT_SILENCE_S / SPEED + 60)
    burned = done["delivered_wh"] // 2500
    assert (done["paid"], done["returned"]) == (burned, 6 - burned) and 1 <= burned < 6, done
    assert (await village.has("anna"))["COIN"] == (8 - burned, 0)
    assert (await village.see("anna", "asset", "show", "COIN"))["supply"] == 8 - burned
    return done


async def _die(village: Village, delivery: str, group: str, phase: str) -> None:
    """The station's node is killed; what it comes back with is what it was."""
    mesh = village.mesh
    mesh["bela"].kill()
    mesh["bela"].start()
    await mesh["bela"].ready()
    await mesh.until_meshed()
    found = (await village.see("bela", group, "list", "--fresh"))["deliveries"]
    assert [one["phase"] for one in found if one["id"] == delivery] == [phase], found


async def _charge(village: Village, delivery: str, group: str, wanted_wh: int) -> None:
    """The controller runs until the ledger has heard of so much, and is killed without a word."""
    mesh: Mesh = village.mesh
    words = [group, "start", delivery, "--power", str(POWER_W), "--dir", str(mesh["bela"].directory), "--json"]
    process = await trio.lowlevel.open_process([sys.executable, "-m", "meshnode", *words])
    try:

        async def heard() -> bool:
            found = await mesh["anna"].client.get(f"/api/deliveries/{delivery}")
            return bool(found["phase"] == "running" and found["delivered_wh"] >= wanted_wh)

        await mesh.until(f"{wanted_wh} Wh of {delivery[:16]} on the ledger", heard, 90)
    finally:
        process.kill()
        await process.wait()
