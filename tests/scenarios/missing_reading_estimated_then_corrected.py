"""Missing reading estimated, then corrected: a silent meter stops nobody, and its next reading puts things right.

Carla's meter says nothing at the end of one quarter. The quarter waits for its grace,
is then settled with an estimate that is marked as one, and the next reading, whose
register has gone on counting, shows what both quarters used together: the first is
settled again with half of that, and nothing of the energy is lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.scenarios.mesh import ANNA, BELA, CARLA, PATIENCE_S, open_mesh

# Counted from the first reading of Carla's meter; by then the nodes have been together for some periods.
SILENT = 4
ESTIMATED = 1
# Telegrams are a minute of the fast clock apart. Where the use changes between two of them, the
# register at the boundary is known to so many Wh: a quarter of that minute's energy at 900 Wh, and a little more.
BETWEEN_TELEGRAMS_WH = 40


async def play(place: Path) -> dict[str, Any]:
    """One silent quarter: settled with an estimate, then settled again."""
    silent = msgspec.structs.replace(CARLA, quarters=((300, 0), (900, 0)), rehearsal={"silent_periods": [SILENT]})
    async with open_mesh(place, (ANNA, BELA, silent), grace_minutes=2) as mesh:
        anna = mesh["anna"]
        wait_s = (SILENT + 3) * mesh.length_s / mesh.clock.speed + PATIENCE_S

        async def estimated() -> int | None:
            for row in (await anna.client.get("/api/periods"))["periods"]:
                lines = await mesh.lines(anna, row["start_s"])
                if row["start_s"] >= mesh.begin_s and lines["carla"]["quality"] == ESTIMATED:
                    return int(row["start_s"])
            return None

        start_s = await mesh.until("a period settled with an estimate for Carla", estimated, wait_s)

        async def corrected() -> bool:
            row = await mesh.period(anna, start_s)
            return row is not None and row["corrections"] > 0

        await mesh.until("the period settled again", corrected, wait_s)
        await mesh.until_settled(start_s + mesh.length_s)
        used = [(await mesh.lines(anna, at))["carla"]["consumption_wh"] for at in (start_s, start_s + mesh.length_s)]
        assert abs(sum(used) - 1200) <= BETWEEN_TELEGRAMS_WH, f"quarters of 300 Wh and 900 Wh are not {used}"
        for node in mesh.running:
            line = (await mesh.lines(node, start_s))["carla"]
            assert line["quality"] == ESTIMATED, "an interpolated quarter is still no measured one"
            assert line["own_wh"] + line["neighbours_wh"] + line["grid_wh"] == line["consumption_wh"]
        return {"estimated_period": start_s, "height": await mesh.check_one_history()}
