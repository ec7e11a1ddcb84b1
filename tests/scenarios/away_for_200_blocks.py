"""Away for 200 blocks: a node that was switched off catches up and ends with the same state.

Carla's node is switched off. The two others go on: their members pass tokens to and fro,
one small record after the other, until 200 blocks have been made without her. Switched
on again, her node fetches them, checks every certificate, executes every record, and
arrives at the very state that the others have.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from meshnode.loopback import NodeProcess
from tests.scenarios.mesh import VILLAGE, Mesh, open_mesh

BLOCKS = 200
# At the fastest a leader makes five blocks a second; a busy computer takes several times longer.
DEADLINE_S = 240.0
CATCH_UP_S = 60.0


async def play(place: Path) -> dict[str, Any]:
    """200 blocks without one node, and its return."""
    async with open_mesh(place, VILLAGE) as mesh:
        anna, carla = mesh["anna"], mesh["carla"]
        issue = await mesh.submit(anna, "/api/assets", asset="SUN", kind="utility", cap=10_000, amount=10_000)
        assert (await mesh.outcome(anna, issue))["verdict"] == "ACCEPTED"
        assert await carla.stop() == 0, f"the node did not end in order\n{carla.tail()}"
        left_at = (await mesh.status(anna))["height"]

        began = time.monotonic()
        async with _tokens_to_and_fro(mesh):
            await mesh.until(f"{BLOCKS} blocks made", lambda: _made(mesh, left_at + BLOCKS), DEADLINE_S)
        made_s = time.monotonic() - began

        target = (await mesh.status(anna))["height"]
        carla.start()
        await carla.ready()
        began = time.monotonic()
        await mesh.until("the node has caught up", lambda: _made(mesh, target), CATCH_UP_S)
        caught_up_s = time.monotonic() - began
        height = await mesh.check_one_history()
        status = await mesh.status(carla)
        assert not status["halted"]
        assert status["certificates_verified"] > 0
        return {
            "blocks": target - left_at,
            "made_in_s": round(made_s, 1),
            "caught_up_in_s": round(caught_up_s, 1),
            "height": height,
        }


async def _made(mesh: Mesh, height: int) -> bool:
    return all(status["height"] >= height for status in await mesh.statuses())


@asynccontextmanager
async def _tokens_to_and_fro(mesh: Mesh) -> AsyncIterator[None]:
    """As long as the block lasts, two members pass a token to and fro."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pass_on, mesh, mesh["anna"], "bela")
        nursery.start_soon(_pass_on, mesh, mesh["bela"], "anna")
        yield
        nursery.cancel_scope.cancel()


async def _pass_on(mesh: Mesh, giver: NodeProcess, taker: str) -> None:
    while True:
        given = await mesh.submit(giver, "/api/transfers", to=mesh.account(taker), asset="SUN", amount=1)
        await mesh.outcome(giver, given)
