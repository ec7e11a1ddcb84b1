"""Order partly filled: two bids and one offer that is too small meet at one price, and the lower bid gets a part.

Anna offers 500 Wh of the coming quarter. Bela bids more and gets all of his 300 Wh;
Carla bids less, wants 600 Wh and gets the 200 Wh that are left. All pay the same
price. What she does not get comes from what Anna's roof has over, or from the grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh


async def play(place: Path) -> dict[str, Any]:
    """One auction, from three members' nodes to the settled period."""
    async with open_mesh(place, VILLAGE, binding="neighbour_market") as mesh:
        start_s = mesh.next_period_s(1.0)
        ids = {}
        for name, side, energy_wh, price_u_kwh in (
            ("anna", "sell", 500, 120_000),
            ("bela", "buy", 300, 240_000),
            ("carla", "buy", 600, 180_000),
        ):
            ids[name] = await mesh.submit(
                mesh[name],
                "/api/orders",
                side=side,
                period_start_s=start_s,
                energy_wh=energy_wh,
                price_u_kwh=price_u_kwh,
            )
        for name, record_id in ids.items():
            outcome = await mesh.outcome(mesh[name], record_id)
            assert outcome["verdict"] == "ACCEPTED", outcome
        await mesh.until_settled(start_s)
        for node in mesh.running:
            orders = {row["order_id"]: row for row in (await node.client.get("/api/orders", account="all"))["orders"]}
            filled = {name: orders[record_id]["filled_wh"] for name, record_id in ids.items()}
            assert filled == {"anna": 500, "bela": 300, "carla": 200}, f"at {node.name}: {filled}"
            trades = [t for t in (await node.client.get("/api/trades"))["trades"] if t["start_s"] == start_s]
            assert sorted((t["buyer_name"], t["seller_name"], t["energy_wh"]) for t in trades) == [
                ("bela", "anna", 300),
                ("carla", "anna", 200),
            ]
            # Carla's bid is the one that is filled in part: any other price would leave somebody dissatisfied.
            assert {t["price_u_kwh"] for t in trades} == {180_000}
        height = await mesh.check_one_history()
        return {"price_u_kwh": 180_000, "filled_of_600_wh": 200, "height": height}
