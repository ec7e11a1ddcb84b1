"""Missing reading estimated, then corrected: a silent meter stops nobody, and its next reading puts things right.

Carla uses more in every quarter than in the one before. At the end of one her meter
says nothing. The quarter waits for its grace and is then settled with an estimate that
is marked as one. The next reading, whose register has gone on counting, shows what
both quarters used together: the first is settled again with half of that, and nothing
of the energy is lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.scenarios.mesh import ANNA, BELA, CARLA, RECORDED_S, open_mesh

# Counted from the genesis; eighteen seconds later, so that all nodes have been together for some periods.
SILENT = 6
ESTIMATED = 1
# No mean of quarters gone by is what Carla uses now, so that the estimate must be wrong.
RISING = tuple((100 + 20 * number, 0) for number in range(96))
# Telegrams are a minute of the fast clock apart. Where the use changes between two of them, the
# register at the boundary is known to so many Wh: a quarter of that minute's energy at 900 Wh, and a little more.
BETWEEN_TELEGRAMS_WH = 40


async def play(place: Path) -> dict[str, Any]:
    """One silent quarter: settled with an estimate, then settled again."""
    silent = msgspec.structs.replace(CARLA, quarters=RISING, rehearsal={"silent_periods": [SILENT]})
    async with open_mesh(place, (ANNA, BELA, silent), grace_minutes=2) as mesh:
        anna = mesh["anna"]
        start_s = mesh.period_s(SILENT)
        await mesh.until_settled(start_s)

        async def corrected() -> bool:
            row = await mesh.period(anna, start_s)
            return row is not None and row["corrections"] > 0

        await mesh.until("the period settled again", corrected)
        await mesh.until_settled(start_s + mesh.length_s)
        both = (start_s, start_s + mesh.length_s)
        used = [(await mesh.lines(anna, at))["carla"]["consumption_wh"] for at in both]
        expected = sum(RISING[(at - RECORDED_S) // mesh.length_s % len(RISING)][0] for at in both)
        assert abs(sum(used) - expected) <= BETWEEN_TELEGRAMS_WH, f"used {expected} Wh, settled {used}"
        for node in mesh.running:
            line = (await mesh.lines(node, start_s))["carla"]
            assert line["quality"] == ESTIMATED, "an interpolated quarter is still no measured one"
            assert line["own_wh"] + line["neighbours_wh"] + line["grid_wh"] == line["consumption_wh"]
        return {"estimated_period": start_s, "height": await mesh.check_one_history()}
