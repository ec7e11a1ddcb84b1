"""Validator replaced: one dies for good, a learner takes its place, and the next death is survived as well.

Anna, Bela and Carla agree on the ledger; Dora and Emil follow it. Carla's computer is
gone for good. Of three validators none more may fail now, so Anna, the administrator,
makes Dora's node a validator and Carla's none, with two commands. Nobody restarts
anything: Dora's node begins to vote while it runs. Then Bela's computer dies too - Bela
may even have been the leader - and Anna and Dora go on settling.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from meshnode.loopback import NodeProcess
from tests.scenarios.mesh import ANNA, BELA, CARLA, Household, Mesh, open_mesh, run_meshnode

DORA = Household(name="dora", quarters=((300, 0),), votes=False)
EMIL = Household(name="emil", quarters=((400, 0),), votes=False)


async def play(place: Path) -> dict[str, Any]:
    """Two deaths, and one replacement between them."""
    async with open_mesh(place, (ANNA, BELA, CARLA, DORA, EMIL), binding="neighbour_market") as mesh:
        anna, dora = mesh["anna"], mesh["dora"]
        assert (await mesh.status(dora))["role"] == "learner"
        mesh["carla"].kill()
        await goes_on(mesh, anna)

        async def missed() -> bool:
            return seat(await validators(anna), "carla")["absent_s"] > 0

        await mesh.until("Carla's absence seen", missed)
        code, told, complaint = await run_meshnode("validators", "add", "nobody", "--dir", str(anna.directory))
        assert code == 2 and "expected a member with a node (anna" in complaint, told + complaint
        await decide(mesh, "add", "dora", ["anna", "bela", "carla", "dora"])

        async def votes() -> bool:
            return (await mesh.status(dora))["role"] in ("follower", "leader")

        await mesh.until("Dora's node votes without having been started again", votes)
        await decide(mesh, "remove", "carla", ["anna", "bela", "dora"])
        assert seat(await validators(dora), "carla")["role"] == "learner"
        await goes_on(mesh, anna)

        mesh["bela"].kill()
        await goes_on(mesh, anna)
        start_s = mesh.next_period_s(1.0)
        await mesh.until_settled(start_s)
        assert (await mesh.status(mesh["emil"]))["role"] == "learner"
        code, told, complaint = await run_meshnode("validators", "--dir", str(anna.directory))
        assert code == 0 and "majority: 2 of 3 must agree, 1 may fail" in told, told + complaint
        height = await mesh.check_one_history()
        return {"height": height}


async def goes_on(mesh: Mesh, node: NodeProcess) -> None:
    """The mesh has a leader and puts an order of this home on the ledger."""
    await mesh.leader()
    start_s = mesh.next_period_s(2.0)
    order = await mesh.submit(
        node, "/api/orders", side="buy", period_start_s=start_s, energy_wh=100, price_u_kwh=200_000
    )
    assert (await mesh.outcome(node, order))["verdict"] == "ACCEPTED"


async def decide(mesh: Mesh, action: str, who: str, voting: list[str]) -> None:
    """Anna types a command, and in a moment these validate as all nodes know it."""
    anna = mesh["anna"]
    code, told, complaint = await run_meshnode("validators", action, who, "--dir", str(anna.directory), "--json")
    assert code == 0, told + complaint
    assert json.loads(told)["accepted"]

    async def in_force() -> bool:
        for node in mesh.running:
            seats = (await validators(node))["seats"]
            roles = {one["member"]: one["role"] for one in seats if one["role"] != "learner"}
            if roles != dict.fromkeys(voting, "validator"):
                return False
        return True

    await mesh.until(f"{action} {who} in force everywhere", in_force)


async def validators(node: NodeProcess) -> dict[str, Any]:
    """Who validates, as a node knows it."""
    found: dict[str, Any] = await node.client.get("/api/validators")
    return found


def seat(found: dict[str, Any], member: str) -> dict[str, Any]:
    """One member's row."""
    return next(one for one in found["seats"] if one["member"] == member)
