"""Late reading corrects: a reading that comes two quarters late changes the settled quarter to what it measured.

Carla used 600 Wh, then 1200 Wh, in turn. The reading between the two is signed in time
but arrives late, so the ledger first spreads the energy evenly. When it comes, both
quarters are settled again, each with what the meter saw, and every earlier posting
stays where it was: corrections are postings of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tests.scenarios.mesh import ANNA, BELA, CARLA, open_mesh

# Counted from the genesis; eighteen seconds later, so that all nodes have been together for some periods.
LATE, LATE_BY = 6, 2
ESTIMATED = 1


async def play(place: Path) -> dict[str, Any]:
    """One reading held back for two periods."""
    late = msgspec.structs.replace(
        CARLA, quarters=((600, 0), (1200, 0)), rehearsal={"late_periods": [LATE], "late_by": LATE_BY}
    )
    async with open_mesh(place, (ANNA, BELA, late), grace_minutes=2) as mesh:
        anna = mesh["anna"]
        start_s = mesh.period_s(LATE)
        await mesh.until_settled(start_s + LATE_BY * mesh.length_s)

        async def measured() -> bool:
            row, lines = await mesh.period(anna, start_s), await mesh.lines(anna, start_s)
            return row is not None and row["corrections"] > 0 and lines["carla"]["quality"] > ESTIMATED

        await mesh.until("the period settled again, as measured", measured)
        used = [(await mesh.lines(anna, at))["carla"]["consumption_wh"] for at in (start_s, start_s + mesh.length_s)]
        assert sorted(round(wh, -2) for wh in used) == [600, 1200], f"what the meter saw was lost: {used}"
        height = await mesh.check_one_history()
        postings = await mesh.postings(anna, start_s)
        kinds = {row["entry"] for row in postings}
        assert {"reversal", "replacement"} <= kinds, f"corrections are postings of their own: {kinds}"
        return {"late_period": start_s, "height": height}
