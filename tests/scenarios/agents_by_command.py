"""Agents by command: an agent buys up to its target while its member's node dies again and again, and nothing twice.

Bela's store is to hold 50 SUN: with 10 or fewer his agent buys up to that, at 20 EURO at most. He sets it while his
node is killed; the leader is killed while Carla sells in three parts. However often somebody dies, one order rests, it
wants what is missing, and in the end Bela has 50 for which he has paid, with nothing held.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh
from tests.scenarios.orders_by_command import everybody_has, through_a_death
from tests.scenarios.tokens_by_command import Village

PAIR = ("--asset", "SUN", "--pay-with", "EURO")
TARGETS = ("--buy", "20", "--sell", "30", "--low", "10", "--target", "50", "--high", "100")
PARTS = (20, 20, 10)
DEATH_S = 2.0


async def play(place: Path) -> dict[str, Any]:
    """One agent, through four deaths."""
    async with open_mesh(place, VILLAGE) as mesh:
        village = Village(mesh)
        await village.say("anna", "asset", "issue", "SUN", "--cap", "1000", "--amount", "100")
        await village.say("anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "100000", "--cashier", "carla")
        await village.say("anna", "transfer", "--to", "carla", "--asset", "SUN", "--amount", "60")
        paid = ("cash", "in", "bela", "--asset", "EURO", "--amount", "1500", "--reference", "bank 1")
        await village.say("carla", *paid)
        before = await everybody_has(village)
        set_up = ("agent", "set", "SUN", "--pay-with", "EURO", *TARGETS)
        expected = before | {("bela", "EURO"): (500, 1000)}
        heard = await through_a_death(village, "bela", set_up, before, expected, DEATH_S)
        missing = 50
        for number, part in enumerate(PARTS):
            (row,) = (await village.see("bela", "agent", "show"))["agents"]
            standing = (await mesh["anna"].client.get("/api/standing", account="all"))["standing"]
            assert [(one["id"], one["open"]) for one in standing] == [(row["order"], missing)], standing
            victim = (await mesh.leader()).name if number % 2 else "bela"
            mesh[victim].kill()
            await village.comes_back(victim)
            await village.say("carla", "order", "sell", *PAIR, "--amount", str(part), "--price", "18")
            missing -= part
            found = await everybody_has(village)
            assert found["bela", "SUN"] == (50 - missing, 0), found
            assert found["bela", "EURO"] == (500, 20 * missing), found
        (row,) = (await village.see("bela", "agent", "show", "--fresh"))["agents"]
        assert (row["order"], row["wants"]) == (None, None), row
        trades = (await village.see("bela", "order", "trades", "--fresh"))["executions"]
        assert sorted(one["units"] for one in trades) == sorted(PARTS), trades
        height = await mesh.check_one_history()
        return {"carried_out_before_death": heard, "deaths": 1 + len(PARTS), "height": height}
