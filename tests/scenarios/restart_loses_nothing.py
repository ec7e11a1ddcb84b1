"""Restart loses nothing: the plug is pulled between a reading and its block; it is on the ledger exactly once.

Anna and Carla are switched off, so that nothing can become final. Bela's meter is read
at the end of the quarter and his node keeps the reading on its disk. Then its plug is
pulled. When all three are back, the reading that nobody else had ever seen is on the
ledger, once, and its quarter is settled with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshnode.loopback import NodeProcess, stop_all
from protocols.records import meter_id_of
from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh

# Real seconds before a quarter's end: the reading before it has long been taken, the next one not yet.
SHORTLY_S = 0.3


async def play(place: Path) -> dict[str, Any]:
    """One reading that only one disk has."""
    async with open_mesh(place, VILLAGE) as mesh:
        bela = mesh["bela"]
        others = [node for node in mesh.running if node is not bela]
        await mesh.until_settled(mesh.begin_s)
        await stop_all(others)
        end_s = mesh.next_period_s()
        await mesh.until_clock(end_s - SHORTLY_S * mesh.clock.speed)
        before = await mesh.status(bela)
        assert before["clock_s"] < end_s and before["peers"] == 0, before

        async def kept() -> bool:
            status = await mesh.status(bela)
            return status["clock_s"] > end_s and status["mempool"] > before["mempool"]

        await mesh.until("a reading that waits at Bela's node alone", kept)
        bela.kill()
        for node in mesh.nodes.values():
            node.start()
        for node in mesh.nodes.values():
            await node.ready()
        start_s = end_s - mesh.length_s
        await mesh.until_settled(start_s)
        meter = meter_id_of(bela.keys.meters["bela-home"].public).hex()

        async def counted() -> list[int] | None:
            """Heights of the blocks with the reading; None as long as one node has it in none."""
            found = {node.name: await _heights(mesh, node, meter, start_s) for node in mesh.running}
            assert all(len(heights) <= 1 for heights in found.values()), f"the reading counts twice: {found}"
            heights = list(found.values())
            return heights[0] if heights[0] and all(heights[0] == one for one in heights) else None

        heights = await mesh.until("the reading on every node's ledger", counted)
        line = (await mesh.lines(mesh["anna"], start_s))["bela"]
        assert line["own_wh"] + line["neighbours_wh"] + line["grid_wh"] == line["consumption_wh"]
        assert abs(line["consumption_wh"] - 500) <= 2, line
        return {"reading_at_height": heights[0], "height": await mesh.check_one_history()}


async def _heights(mesh: Mesh, node: NodeProcess, meter: str, start_s: int) -> list[int]:
    """Heights at which the ledger of a node has the meter's reading for a period."""
    return [
        block["height"]
        for block in await mesh.blocks(node)
        for record in block["records"]
        if record["kind"] == "Reading"
        and (record["fields"]["meter"], record["fields"]["period_start_s"]) == (meter, start_s)
    ]
