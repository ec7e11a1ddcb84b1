"""Charging: a session from reserve to refund, and a redemption, while the station's node dies at every step.

Carla is the cashier; Anna's car has 50 EURO. Bela's meter is a charging station with a simulated charger, and Carla
is paid for the energy. Anna reserves 20 kWh; Bela says once that it may begin, and from then on his
node delivers. It is killed when it was told so, before anybody heard a tick, twice while it charges and in the
middle of the end, and goes on by itself, by the ledger and the meter. What was paid is what the meter
shows, to the unit, and the rest comes back. Then Anna redeems coins at Bela's meter: his node dies for good
in the middle, and the coins whose energy was not delivered come back without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh
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
# When the station's node is killed, after it is told to stop.
STOP_DEATH_S = 0.8


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
    await _die(village)
    await _is(village, reserved, "session", ("reserved",))
    # Told to begin, and killed before anybody heard of it; from then on nobody tells it again.
    await _begin(village, reserved, "session")
    await _die(village)
    for wanted_wh in (1_000, 4_000):
        await _until_heard(village, reserved, wanted_wh)
        await _die(village)
        await _is(village, reserved, "session", ("running",))
        assert (await village.has("anna"))["EURO"] == (50_000_000 - ESCROW, ESCROW)
    await _until_heard(village, reserved, 6_000)
    # Killed while it ends: what it was told it does when it comes back, and whoever asks again looks on.
    await village.dies_while("bela", ("session", "stop", reserved), STOP_DEATH_S)
    await _is(village, reserved, "session", ("running", "ended"))
    code, done = await village.run("bela", "session", "stop", reserved)
    assert code == 0 and done["phase"] == "ended", done
    await village.mesh.until_height((await village.mesh.status(village.mesh["bela"]))["height"])
    assert await _look(village, reserved) == done | {"attended": None}
    wh = done["delivered_wh"]
    assert 6_000 <= wh <= CAP_WH and wh == done["counter_wh"] - done["begin_wh"], done
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
    await _begin(village, sent, "redeem")
    await _until_heard(village, sent, 4_000)
    village.mesh["bela"].kill()
    # Nobody starts it again before the others have settled by its silence.
    done = await _until_over(village, sent, SHORT_SILENCE_S / SPEED + 60)
    await village.comes_back("bela")
    await village.mesh.until_height((await village.mesh.status(village.mesh["anna"]))["height"])
    code, again = await village.run("bela", "redeem", "start", sent)
    assert code == 0 and again == done, again
    burned = done["delivered_wh"] // 2500
    assert (done["paid"], done["returned"]) == (burned, 6 - burned) and 1 <= burned < 6, done
    assert (await village.has("anna"))["COIN"] == (8 - burned, 0)
    assert (await village.see("anna", "asset", "show", "COIN"))["supply"] == 8 - burned
    return done


async def _begin(village: Village, delivery: str, group: str) -> None:
    """The station's node is told to deliver, and not looked at."""
    code, told = await village.run("bela", group, "start", delivery, "--power", str(POWER_W), "--detach")
    assert code == 0 and told["attended"]["state"] == "running", told


async def _die(village: Village) -> None:
    village.mesh["bela"].kill()
    await village.comes_back("bela")


async def _is(village: Village, delivery: str, group: str, phases: tuple[str, ...]) -> None:
    """What the station's node came back with is what it was."""
    found = (await village.see("bela", group, "list", "--fresh"))["deliveries"]
    assert [one["phase"] in phases for one in found if one["id"] == delivery] == [True], found


async def _look(village: Village, delivery: str) -> dict[str, Any]:
    return dict(await village.mesh["anna"].client.get(f"/api/deliveries/{delivery}"))


async def _until_heard(village: Village, delivery: str, wanted_wh: int) -> None:
    """The ledger has heard of so much; nobody but the station's node sees to it."""

    async def heard() -> bool:
        found = await _look(village, delivery)
        return bool(found["phase"] == "running" and found["delivered_wh"] >= wanted_wh)

    await village.mesh.until(f"{wanted_wh} Wh of {delivery[:16]} on the ledger", heard, 90)


async def _until_over(village: Village, delivery: str, deadline_s: float = 60) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        found = await _look(village, delivery)
        return found if found["phase"] == "ended" else None

    return await village.mesh.until(f"{delivery[:16]} is over", over, deadline_s)
