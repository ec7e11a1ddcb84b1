"""Three of four must agree: a byzantine microgrid goes on without one node, and stands still without two.

Founded so that one of four may lie, every block becomes final in two phases, with three signatures in
each. The node that leads is killed: the three others elect one of themselves and go on. A second one
is killed: two are no quorum, nothing becomes final. When it is back, what was said meanwhile is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio

from meshnode.store import LedgerReader, microgrid_directory
from protocols.records import PHASE_COMMIT, QUORUM_BYZANTINE, Certificate, read_as
from tests.scenarios.mesh import ANNA, BELA, CARLA, Household, Mesh, open_mesh

DORA = Household(name="dora", quarters=((300, 400),))
# Longer than the nodes need to elect somebody and to finish a block, if two could.
STANDSTILL_S = 6.0


async def play(place: Path) -> dict[str, Any]:
    """One node down, then two, then one again."""
    homes = (ANNA, BELA, CARLA, DORA)
    async with open_mesh(place, homes, binding="neighbour_market", quorum_mode=QUORUM_BYZANTINE) as mesh:
        shown = await mesh["anna"].client.get("/api/validators")
        assert (shown["mode"], shown["quorum"], shown["tolerates"]) == ("byzantine", 3, 1)
        first = await mesh.leader()
        first.kill()
        leader = await mesh.leader()
        assert await _ordered(mesh, leader) == "ACCEPTED"

        second = next(node for node in mesh.running if node is not leader)
        height = (await mesh.status(leader))["height"]
        second.kill()
        order = await _order(mesh, leader)
        await trio.sleep(STANDSTILL_S)
        heights = [(await mesh.status(node))["height"] for node in mesh.running]
        assert max(heights) <= height + 1, "two of four have made blocks final"
        second.start()
        await second.ready()
        assert (await mesh.outcome(second, order))["verdict"] == "ACCEPTED"

        first.start()
        await first.ready()
        await mesh.until_height((await mesh.status(second))["height"])
        common = await mesh.check_one_history()
    signed = [_signatures(mesh, home.name) for home in homes]
    assert all(least >= 3 for least, _ in signed), signed
    return {"height": common, "certificates": min(count for _, count in signed)}


async def _order(mesh: Mesh, node: Any) -> str:
    start_s = mesh.next_period_s(20.0)
    return await mesh.submit(
        node, "/api/orders", side="buy", period_start_s=start_s, energy_wh=100, price_u_kwh=200_000
    )


async def _ordered(mesh: Mesh, node: Any) -> str:
    return str((await mesh.outcome(node, await _order(mesh, node)))["verdict"])


def _signatures(mesh: Mesh, name: str) -> tuple[int, int]:
    """The fewest signatures under a certificate on a node's disk, and how many certificates there are."""
    with LedgerReader(microgrid_directory(mesh[name].directory, mesh.chain_id)) as reader:
        found = []
        height = 0
        while (row := reader.certificate_from(height + 1)) is not None:
            height, certificate = row[0], read_as(Certificate, row[1])
            assert certificate.phase == PHASE_COMMIT, "only what was committed is kept"
            found.append(len(certificate.signatures))
    return min(found), len(found)
