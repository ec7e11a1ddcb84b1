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

from tests.scenarios.mesh import ANNA, BELA, CARLA, PATIENCE_S, open_mesh

LATE = 4


async def play(place: Path) -> dict[str, Any]:
    """One reading held back for two periods."""
    late = msgspec.structs.replace(
        CARLA, quarters=((600, 0), (1200, 0)), rehearsal={"late_periods": [LATE], "late_by": 2}
    )
    async with open_mesh(place, (ANNA, BELA, late), grace_minutes=2) as mesh:
        anna = mesh["anna"]
        wait_s = (LATE + 5) * mesh.length_s / mesh.clock.speed + PATIENCE_S

        async def measured_again() -> int | None:
            for row in (await anna.client.get("/api/periods"))["periods"]:
                line = (await mesh.lines(anna, row["start_s"]))["carla"]
                # Estimated at its first settlement, corrected at least twice: by the next
                # reading, which enclosed it, and by its own.
                if row["start_s"] >= mesh.begin_s and row["corrections"] >= 2 and line["quality"] > 1:
                    return int(row["start_s"])
            return None

        start_s = await mesh.until("a late reading's period settled as measured", measured_again, wait_s)
        await mesh.until_settled(start_s + mesh.length_s)
        used = [(await mesh.lines(anna, at))["carla"]["consumption_wh"] for at in (start_s, start_s + mesh.length_s)]
        assert sorted(round(wh, -2) for wh in used) == [600, 1200], f"what the meter saw was lost: {used}"
        height = await mesh.check_one_history()
        postings = await mesh.postings(anna, start_s)
        kinds = {row["entry"] for row in postings}
        assert {"reversal", "replacement"} <= kinds, f"corrections are postings of their own: {kinds}"
        return {"late_period": start_s, "height": height}
