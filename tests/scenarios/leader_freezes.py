"""Leader freezes: a leading node that hangs is replaced, and follows when it comes to, without a second history.

The leader's process is frozen, as a computer that swaps or a card that stalls: its
connections stay open, and it says nothing. The others elect a new leader and take an
order. When the old one comes to, it still believes that it leads; the first word of a
newer term corrects that, and it ends with the same state as the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh


async def play(place: Path) -> dict[str, Any]:
    """One leader frozen, and thawed."""
    async with open_mesh(place, VILLAGE, binding="neighbour_market") as mesh:
        old = await mesh.leader()
        others = [node for node in mesh.running if node is not old]
        term = (await mesh.status(old))["term"]
        old.freeze()

        async def replaced() -> bool:
            statuses = await mesh.statuses(others)
            return all(status["term"] > term and status["leader"] not in ("", old.name) for status in statuses)

        await mesh.until("a new leader among the others", replaced)
        start_s = mesh.next_period_s(2.0)
        order = await mesh.submit(
            others[0], "/api/orders", side="buy", period_start_s=start_s, energy_wh=100, price_u_kwh=200_000
        )
        height = (await mesh.outcome(others[0], order))["height"]
        old.thaw()
        await mesh.until_height(height)
        status = await mesh.status(old)
        assert (status["role"], status["halted"]) == ("follower", ""), status
        await mesh.until_settled(start_s)
        return {"terms": status["term"] - term, "height": await mesh.check_one_history()}
