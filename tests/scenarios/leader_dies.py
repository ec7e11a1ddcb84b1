"""Leader dies: the plug of the leading node is pulled, the mesh goes on, and the old leader follows again.

Whoever leads is killed in the middle of a quarter. The two others elect one of
themselves, take orders and settle the quarter without it. When it comes back it reads
its own disk, hears what it missed, and has the same state as the others.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh


async def play(place: Path) -> dict[str, Any]:
    """One leader killed, and back again."""
    async with open_mesh(place, VILLAGE, binding="neighbour_market") as mesh:
        old = await mesh.leader()
        term = (await mesh.status(old))["term"]
        began = time.monotonic()
        old.kill()
        new = await mesh.leader()
        without_leader_s = time.monotonic() - began
        assert new is not old
        assert (await mesh.status(new))["term"] > term

        start_s = mesh.next_period_s(1.0)
        order = await mesh.submit(
            new, "/api/orders", side="buy", period_start_s=start_s, energy_wh=100, price_u_kwh=200_000
        )
        assert (await mesh.outcome(new, order))["verdict"] == "ACCEPTED"
        await mesh.until_settled(start_s - mesh.length_s)
        missed = (await mesh.status(new))["height"]

        old.start()
        await old.ready()
        await mesh.until_height(missed)
        assert (await mesh.outcome(old, order))["verdict"] == "ACCEPTED"
        await mesh.until_settled(start_s)
        height = await mesh.check_one_history()
        return {"seconds_without_leader": round(without_leader_s, 1), "height": height}
