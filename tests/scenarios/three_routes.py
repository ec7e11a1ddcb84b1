"""Three routes: energy from the common battery, from one's own, and injected now, all by command; nothing counts twice.

Anna's battery is everybody's who has an access token: of 1000 Wh that Bela charges 900 are his. Carla, who has no
token, stores nothing. Bela redeems 300 Wh of it at Carla's controller, and they burn once, although
the battery reports them as discharged, too; what he consumes beyond the rest is grid energy, never a debt. His own
battery then serves him alone, and what is injected now serves everybody who has coins. The battery's node is
killed before it reports, and what it reported before counts once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh
from tests.scenarios.tokens_by_command import Village

# Slow enough that a silence of an hour outlives the restart of a node on a busy computer.
SPEED = 20
POWER_W = "60000"


async def play(place: Path) -> dict[str, Any]:
    """A day at three batteries."""
    async with open_mesh(place, VILLAGE, speed=SPEED) as mesh:
        village = Village(mesh)
        await _common(village)
        own = await _redeemed(village, "bela", "bela", 2, route="own")
        assert (await village.refused("anna", "redeem", "send", "--at", "bela", "--coins", "1"))["verdict"] == (
            "NOT_OWN_BATTERY"
        )
        now = await _redeemed(village, "anna", "carla", 3, route="now")
        assert (await village.see("anna", "asset", "show", "COIN"))["supply"] == 20 - 5
        height = await mesh.check_one_history()
        return {"own_wh": own, "now_wh": now, "height": height}


async def _common(village: Village) -> None:
    mesh = village.mesh
    await village.say("anna", "asset", "issue", "ACCESS", "--cap", "1000", "--amount", "1000", "--once")
    await village.say("anna", "asset", "issue", "KEPT", "--kind", "energy", "--cap", "100000")
    await village.say("anna", "asset", "issue", "COIN", "--kind", "energy", "--cap", "20", "--amount", "20")
    await village.say("anna", "transfer", "--to", "bela", "--asset", "ACCESS", "--amount", "1")
    await village.say("anna", "transfer", "--to", "bela", "--asset", "COIN", "--amount", "4")
    # A cost of 300 at 200 for a kWh: 2000 Wh a member.
    bound = ("--efficiency", "900000", "--cost", "300", "--price", "200", "--access", "ACCESS")
    await village.say("anna", "storage", "set", "KEPT", *bound)
    await _report(village, 10_000, 4_000)
    await _report(village, 11_000, 4_000, "bela:1000:0")
    assert (await village.has("bela"))["KEPT"] == (900, 0)
    refused = await village.refused("anna", *_words(11_001, 4_000, "carla:1:0"))
    assert refused["verdict"] == "NO_ACCESS"
    await village.say("carla", "point", "coins", "--asset", "KEPT", "--unit", "1", "--route", "common")
    sent = await village.say("bela", "redeem", "send", "--at", "carla", "--coins", "300")
    assert (await village.refused("anna", "redeem", "send", "--at", "carla", "--coins", "1"))["verdict"] == "POINT_BUSY"
    await _delivered(village, "carla", sent, 300)
    assert (await village.has("bela"))["KEPT"] == (600, 0)
    mesh["anna"].kill()
    mesh["anna"].start()
    await mesh["anna"].ready()
    await mesh.until_meshed()
    await _report(village, 11_000, 4_300, "bela:0:300")
    assert (await village.has("bela"))["KEPT"] == (600, 0)
    again = await village.refused("anna", *_words(11_000, 4_300, "bela:0:300"))
    assert again["verdict"] == "NOT_WHAT_COUNTED"
    await _report(village, 11_000, 5_000, "bela:0:700")
    assert "KEPT" not in await village.has("bela") or (await village.has("bela"))["KEPT"] == (0, 0)
    (kept,) = (await village.see("bela", "storage", "list"))["storages"]
    assert (kept["most_wh"], kept["room_wh"], kept["discharged_wh"]) == (2_000, 2_000, 5_000), kept


async def _redeemed(village: Village, payer: str, at: str, coins: int, route: str) -> int:
    """Coins of 100 Wh are sent, and all their energy is delivered."""
    await village.say(at, "point", "coins", "--asset", "COIN", "--unit", "100", "--route", route)
    sent = await village.say(payer, "redeem", "send", "--at", at, "--coins", str(coins))
    await _delivered(village, at, sent, 100 * coins)
    return 100 * coins


async def _delivered(village: Village, at: str, sent: str, wanted_wh: int) -> None:
    code, done = await village.run(at, "redeem", "start", sent, "--power", POWER_W)
    assert code == 0 and (done["phase"], done["delivered_wh"], done["returned"]) == ("ended", wanted_wh, 0), done
    await village.mesh.until_height((await village.mesh.status(village.mesh[at]))["height"])


def _words(charged_wh: int, discharged_wh: int, parts: str = "") -> tuple[str, ...]:
    registers = ("--charged", str(charged_wh), "--discharged", str(discharged_wh))
    return ("storage", "report", "--asset", "KEPT", *registers, *(("--parts", parts) if parts else ()))


async def _report(village: Village, charged_wh: int, discharged_wh: int, parts: str = "") -> None:
    await village.say("anna", *_words(charged_wh, discharged_wh, parts))
