"""Settles periods: own roof, neighbours and grid add up to what everybody used, and the money to zero.

Anna's roof makes more than she uses; Bela and Carla have no roof. Every quarter of an
hour their meters are read, three nodes agree on the readings, and the quarter is
settled: what Anna has left over goes to the two others, the rest comes from the grid.
No node knows more than the others: at every height all three have the same state.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import ANNA, BELA, CARLA, VILLAGE, open_mesh

PERIODS = 3
# The preset's prices: what the grid takes and gives, in micro-units per Wh.
GRID_U_WH, FEED_IN_U_WH = 300, 80
# A boundary between two telegrams is interpolated and cut to whole Wh.
ROUNDING_WH = 2


async def play(place: Path) -> dict[str, Any]:
    """Three periods, looked at from all three nodes."""
    async with open_mesh(place, VILLAGE) as mesh:
        starts = [mesh.begin_s + n * mesh.length_s for n in range(PERIODS)]
        await mesh.until_settled(starts[-1])
        for start_s in starts:
            views = [await mesh.lines(node, start_s) for node in mesh.running]
            lines = views[0]
            assert all(view == lines for view in views), f"the nodes tell different stories of {start_s}: {views}"
            assert lines.keys() == {"anna", "bela", "carla"}
            for home in (ANNA, BELA, CARLA):
                line = lines[home.name]
                assert line["own_wh"] + line["neighbours_wh"] + line["grid_wh"] == line["consumption_wh"]
                assert line["sold_wh"] + line["fed_in_wh"] == line["export_wh"]
                assert abs(line["consumption_wh"] - home.quarters[0][0]) <= ROUNDING_WH, line
            total = {key: sum(line[key] for line in lines.values()) for key in ("neighbours_wh", "sold_wh", "grid_wh")}
            assert total["neighbours_wh"] == total["sold_wh"] > 0
            assert total["grid_wh"] > 0, "800 Wh of sun cannot cover 1100 Wh of need"
            fed_in = sum(line["fed_in_wh"] for line in lines.values())
            paid = sum(line["out_u"] - line["in_u"] for line in lines.values())
            # What members do not pay one another goes to the grid, at its two prices and to the last micro-unit.
            assert paid == total["grid_wh"] * GRID_U_WH - fed_in * FEED_IN_U_WH, (paid, lines)
        height = await mesh.check_one_history()
        statuses = await mesh.statuses()
        return {
            "periods": PERIODS,
            "height": height,
            "rss_mb": max(status["rss_mb"] for status in statuses),
            "commit_ms_p95": max(status["commit_ms"]["p95"] for status in statuses),
        }
