"""Price by feed: the grid's price of a period is what enough feeders agreed on before it began; else what is fixed.

Anna, Bela and Carla report the price of the grid. Two agree on 0.12 for a quarter of an hour to come, Carla says
something else and is ignored; her node is killed meanwhile, and computes the same when it is back. From that period on
everybody pays 0.12, by the postings at every node, until the value is stale an hour later; then the price of the
binding holds again, and a value for a period that has begun already changes nothing of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh
from tests.scenarios.tokens_by_command import Village

SPOT = 120_000
LIE = 900_000
STALE_MINUTES = 60
# The last period that begins while the value is fresh.
FRESH_PERIODS = STALE_MINUTES // 15
# Real seconds for two commands and a death.
AHEAD_S = 15


async def play(place: Path) -> dict[str, Any]:
    """Two hours, in which the price of the grid is known for one."""
    async with open_mesh(place, VILLAGE) as mesh:
        village = Village(mesh)
        fixed = mesh.rules.tariff.grid_price_u_kwh
        assert fixed not in (SPOT, LIE)
        bounds = ("--low", "-500000", "--high", "4000000", "--stale", str(STALE_MINUTES))
        words = ("feed", "define", "spot", "--unit", "u/kWh", "--feeders", "anna,bela,carla", "--needed", "2", *bounds)
        await village.say("anna", *words, "--drives", "grid-price")
        again = ("feed", "define", "other", "--unit", "u/kWh", "--feeders", "anna", *bounds, "--drives", "grid-price")
        assert (await village.refused("anna", *again))["verdict"] == "DRIVEN_ALREADY"

        first_s = mesh.next_period_s(AHEAD_S)
        at = ("--at", str(first_s))
        await village.say("anna", "feed", "send", "spot", str(SPOT), *at)
        await village.say("carla", "feed", "send", "spot", str(LIE), *at)
        mesh["carla"].kill()
        code, told = await village.run("bela", "feed", "send", "spot", str(SPOT), *at, "--wait", "30")
        assert code == 0 and mesh.clock.now_s() < first_s, told
        await village.comes_back("carla")

        last_s = first_s + FRESH_PERIODS * mesh.length_s
        await mesh.until_clock(first_s + mesh.length_s // 3)

        async def in_force() -> bool:
            (row,) = (await village.see("carla", "feed", "show"))["feeds"]
            return bool(row["period_price_u_kwh"] == SPOT)

        await mesh.until("the price in force", in_force)
        await mesh.until_clock(last_s + mesh.length_s + 1)
        late = ("--at", str(last_s + mesh.length_s))
        for name in ("anna", "bela"):
            await village.say(name, "feed", "send", "spot", str(LIE), *late)
        await mesh.until_settled(last_s + mesh.length_s)
        before_s, after_s = first_s - mesh.length_s, last_s + mesh.length_s
        found = {start_s: await _prices(mesh, start_s) for start_s in range(before_s, after_s + 1, mesh.length_s)}
        fresh = {start_s: {SPOT} for start_s in range(first_s, last_s + 1, mesh.length_s)}
        assert found == {before_s: {fixed}, **fresh, after_s: {fixed}}, found
        height = await mesh.check_one_history()
        return {"periods_by_feed": len(fresh), "height": height}


async def _prices(mesh: Mesh, start_s: int) -> set[int]:
    """What a kWh of the grid cost in a period, by the postings of all nodes."""
    found = [one for node in mesh.running for one in await mesh.postings(node, start_s)]
    return {one["price_u_kwh"] for one in found if one["reason"] == "grid"}
