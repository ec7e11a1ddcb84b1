"""Tokens: an administrator issues an asset, members pass it on, and nobody spends what he does not have.

Anna issues 1000 SUN and gives Bela 300. Bela gives Carla 200 of them. When Bela then
tries to give 150 more, of 100 that are left, the ledger says no: the record stands
there with its verdict, and moves nothing. Carla, who is no administrator, cannot
issue an asset.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh


async def play(place: Path) -> dict[str, Any]:
    """Issue, pass on, overspend."""
    async with open_mesh(place, VILLAGE) as mesh:
        issued = await _issue(mesh, "anna", asset="SUN", kind="utility", cap=5000, amount=1000)
        assert issued == "ACCEPTED"
        assert await _give(mesh, "anna", "bela", 300) == "ACCEPTED"
        assert await _give(mesh, "bela", "carla", 200) == "ACCEPTED"
        assert await _give(mesh, "bela", "carla", 150) == "NOT_ENOUGH"
        assert await _give(mesh, "bela", "carla", 100) == "ACCEPTED"
        assert await _issue(mesh, "carla", asset="MOON", kind="utility", cap=5000, amount=1) == "NOT_ADMINISTRATOR"
        assert await _issue(mesh, "anna", asset="SUN", kind="utility", cap=5000, amount=4001) == "OVER_CAP"
        height = await mesh.check_one_history()
        return {"records": 7, "height": height}


async def _issue(mesh: Mesh, who: str, **body: Any) -> str:
    return await _verdict(mesh, who, await mesh.submit(mesh[who], "/api/assets", **body))


async def _give(mesh: Mesh, giver: str, taker: str, amount: int) -> str:
    given = await mesh.submit(mesh[giver], "/api/transfers", to=mesh.account(taker), asset="SUN", amount=amount)
    return await _verdict(mesh, giver, given)


async def _verdict(mesh: Mesh, who: str, record_id: str) -> str:
    """What the ledger said, which must be the same at every node."""
    height = (await mesh.outcome(mesh[who], record_id))["height"]
    await mesh.until_height(height)
    verdicts = {str((await mesh.outcome(node, record_id))["verdict"]) for node in mesh.running}
    assert len(verdicts) == 1, f"the nodes disagree: {verdicts}"
    return verdicts.pop()
