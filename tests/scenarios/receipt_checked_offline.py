"""Receipt checked offline: a member's receipt proves an order to somebody who has only the genesis.

Bela's order is final, and his node gives him a receipt. All nodes are switched off.
A program that knows nothing but the receipt and the genesis of the microgrid finds
that the record stands in a block that a majority signed for. One flipped bit anywhere
in the receipt, and it does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from meshnode.loopback import stop_all
from meshnode.store.place import microgrid_directory
from tests.scenarios.mesh import VILLAGE, open_mesh, run_meshnode

# So many places of the receipt are damaged, one at a time, each in a program of its own.
PLACES = 4


async def play(place: Path) -> dict[str, Any]:
    """A receipt, checked when nobody is left to ask."""
    async with open_mesh(place, VILLAGE, binding="neighbour_market") as mesh:
        bela = mesh["bela"]
        start_s = mesh.next_period_s(1.0)
        order = await mesh.submit(
            bela, "/api/orders", side="buy", period_start_s=start_s, energy_wh=250, price_u_kwh=200_000
        )
        receipt = bytes.fromhex((await mesh.outcome(bela, order))["receipt"])
        await stop_all(mesh.running)
        assert not mesh.running
        genesis = microgrid_directory(bela.directory, mesh.chain_id) / "genesis.cbor"
        file = place / "order.receipt"
        file.write_bytes(receipt)
        code, told, complaint = await run_meshnode("receipt", "check", str(file), "--genesis", str(genesis), "--json")
        assert code == 0, complaint
        assert order in json.dumps(json.loads(told)), f"it does not say which record it proves: {told}"
        for number in range(PLACES):
            damaged = bytearray(receipt)
            damaged[len(receipt) * (2 * number + 1) // (2 * PLACES)] ^= 1
            file.write_bytes(damaged)
            code, _, complaint = await run_meshnode("receipt", "check", str(file), "--genesis", str(genesis))
            assert code == 1, f"byte {number} of {PLACES} flipped, and it still passes: {complaint}"
        return {"receipt_bytes": len(receipt), "damaged_and_refused": PLACES}
