"""Compensation by command: what an hour's surplus takes off, what is lost of it, and what shared energy earns.

The binding bills every hour. Anna's roof makes more than everybody uses in one quarter of an hour, and nothing in the
next: her surplus takes off what she bought in the same hour, and no more. She, Bela and Carla are put on their
substations, and what Anna gives while Bela takes within the hour earns an incentive, for both and for a fund. Carla's
node is killed while the hour ends, and has the same bills as the others when it is back. All is said and asked by
`meshnode` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import BELA, CARLA, Household, Mesh, open_mesh
from tests.scenarios.tokens_by_command import Village

SUNNY, DARK = (200, 3_000), (200, 0)
ANNA = Household(name="anna", quarters=(SUNNY, DARK), roles=("administrator", "prosumer"))
SPEED = 150
HOUR_S = 3_600
# Real seconds for six commands.
AHEAD_S = 20
PAID_U_KWH = 110_000


async def play(place: Path) -> dict[str, Any]:
    """Two hours, of which the second has national rules."""
    async with open_mesh(place, (ANNA, BELA, CARLA), speed=SPEED, billing_minutes=60) as mesh:
        village = Village(mesh)
        hour_s = (mesh.next_period_s(AHEAD_S) // HOUR_S + 1) * HOUR_S
        await _set_rules(village, hour_s)
        nothing = await village.see("bela", "compensation", "show", "all")
        assert nothing["billing_periods"] == [], nothing

        last_s = hour_s + HOUR_S - mesh.length_s
        await mesh.until_clock(last_s + mesh.length_s // 2)
        running = (await village.see("bela", "compensation", "show", "all"))["billing_periods"]
        assert running and {one["status"] for one in running} == {"running"}, running
        mesh["carla"].kill()
        await mesh.until_settled(last_s, [mesh["anna"], mesh["bela"]])
        await village.comes_back("carla")
        await mesh.until_settled(last_s)
        bills = await _bills(village, hour_s)
        lost_u = await _check_compensation(mesh, bills, last_s)
        earned_u = await _check_incentive(village, bills, hour_s)
        height = await mesh.check_one_history()
        return {"lost_u": lost_u, "earned_u": earned_u, "height": height}


async def _set_rules(village: Village, hour_s: int) -> None:
    since = ("--from", str(hour_s))
    refused = await village.refused("bela", "parameter", "compensation", "yes", *since)
    assert refused["verdict"] == "NOT_ADMINISTRATOR", refused
    await village.say("anna", "parameter", "compensation", "yes", *since)
    parts = ("--producers", "45", "--consumers", "45", "--fund", "fuel poverty")
    await village.say("anna", "parameter", "incentive", "0.11 EUR/kWh", *parts, *since)
    for name, substation in (("anna", "AC1"), ("bela", "AC1"), ("carla", "AC2")):
        await village.say("anna", "parameter", "location", name, substation, *since)
    assert village.mesh.clock.now_s() < hour_s, "the commands took too long"


async def _bills(village: Village, hour_s: int) -> dict[str, dict[str, Any]]:
    """The bills of the hour, the same at every node, by name; the fund's without one."""

    async def same() -> dict[str, dict[str, Any]] | None:
        told = [
            (await village.see(name, "compensation", "show", "all"))["billing_periods"]
            for name in ("anna", "bela", "carla")
        ]
        ended = [{one["account"]: one for one in bills if one["first_s"] == hour_s} for bills in told]
        assert len({one["billing_id"] for bills in ended for one in bills.values()}) == 1, ended
        if any(bills != ended[0] for bills in ended):
            return None
        return {one["name"]: one for one in ended[0].values()}

    return await village.mesh.until("the same bills at every node", same)


async def _check_compensation(mesh: Mesh, bills: dict[str, dict[str, Any]], last_s: int) -> int:
    """Each by its own rule; what is lost stands in a posting to the grid."""
    for one in bills.values():
        assert one["compensated_u"] == min(one["surplus_u"], one["bought_u"]), one
        assert one["lost_u"] == one["surplus_u"] - one["compensated_u"], one
        assert one["due_u"] == one["bought_u"] - one["compensated_u"] >= 0, one
    assert bills["anna"]["lost_u"] > 0 and bills["anna"]["bought_u"] > 0, bills
    assert bills["bela"]["surplus_wh"] == 0 < bills["bela"]["bought_wh"], bills
    for node in mesh.running:
        found = {one["debit_name"]: one for one in await mesh.postings(node, last_s) if one["reason"] == "lost"}
        assert {name: one["amount_u"] for name, one in found.items()} == {"anna": bills["anna"]["lost_u"]}, found
    return int(bills["anna"]["lost_u"])


async def _check_incentive(village: Village, bills: dict[str, dict[str, Any]], hour_s: int) -> int:
    """Carla hangs elsewhere and is alone there; of the rest nine tenths go to Anna and Bela in equal parts."""
    hours = (await village.see("carla", "compensation", "hours", "--from", str(hour_s)))["hours"]
    found = {one["substation"]: one for one in hours if one["hour_s"] == hour_s}
    shared = found["AC1"]
    assert shared["shared_wh"] == min(shared["injected_wh"], shared["withdrawn_wh"]) > 0, shared
    assert shared["incentive_u"] == shared["shared_wh"] * PAID_U_KWH // 1_000 == sum(shared["parts"].values()), shared
    assert found.get("AC2", {"shared_wh": 0})["shared_wh"] == 0, found
    received = {name: one["incentive_u"] for name, one in bills.items() if one["incentive_u"]}
    assert sum(received.values()) == shared["incentive_u"] and "carla" not in received, (received, shared)
    assert shared["parts"]["bela"] == received["bela"], (received, shared)
    return int(shared["incentive_u"])
