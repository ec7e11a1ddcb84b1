"""A lying leader is named: a node that signs two blocks for one place is found out, and everybody can prove it.

Three nodes agree. Then the leader's validator begins to lie: for every block it signs a
second one and sends it to one of the others. That one keeps the first, drops the liar,
writes the proof beside its ledger and tells the community; a block carries the evidence.
The neighbours turn the liar off. Then every ledger and every page names it, the file
convicts it to anybody who has the genesis, and nobody else is accused. Nothing that was
agreed is lost: it is one history still.

The liar is a real node process that runs the product's code, with a validator that lies
(`tests.scenarios.lying_node`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from meshnode.store.place import GENESIS_FILE, microgrid_directory
from meshnode.store.proofs import DIRECTORY, EXTENSION
from tests.scenarios.lying_node import FLAG
from tests.scenarios.mesh import VILLAGE, open_mesh, run_meshnode

NODE = ("-m", "tests.scenarios.lying_node", "run", "{directory}", "--json", "--until-stdin-ends")


async def play(place: Path) -> dict[str, Any]:
    """One leader that lies until it is named everywhere."""
    async with open_mesh(place, VILLAGE, binding="neighbour_market", node=NODE) as mesh:
        liar = await mesh.leader()
        honest = [node for node in mesh.running if node is not liar]
        assert not any(status["found_out"] for status in await mesh.statuses())
        (liar.directory / FLAG).touch()

        async def named() -> bool:
            # Its next block is the first lie: an order sees to it that there is one.
            start_s = mesh.next_period_s(2.0)
            await mesh.submit(
                honest[0], "/api/orders", side="buy", period_start_s=start_s, energy_wh=100, price_u_kwh=200_000
            )
            statuses = await mesh.statuses(honest)
            found = [[lie["on_ledger"] for lie in status["found_out"]] for status in statuses]
            return all(found) and any(map(any, found))

        await mesh.until("the liar named by both, and on a ledger", named)
        liar.kill()

        async def everywhere() -> bool:
            statuses = await mesh.statuses(honest)
            return all(any(lie["on_ledger"] for lie in status["found_out"]) for status in statuses)

        await mesh.until("the liar named on every ledger", everywhere)
        statuses = await mesh.statuses(honest)
        for status in statuses:
            assert {(lie["name"], lie["kind"], lie["status"]) for lie in status["found_out"]} == {
                (liar.name, "HEADERS", "proved")
            }, status["found_out"]
            assert not status["halted"]
        checked = 0
        for node in honest:
            ledger = microgrid_directory(node.directory, mesh.chain_id)
            for file in sorted((ledger / DIRECTORY).glob(f"*{EXTENSION}")):
                code, said, complaint = await run_meshnode(
                    "evidence", "check", str(file), "--genesis", str(ledger / GENESIS_FILE), "--json"
                )
                found = json.loads(said)
                assert (code, found["name"], found["kind"]) == (0, liar.name, "HEADERS"), complaint
                checked += 1
        assert checked, "whoever found it out has kept the proof"
        code, said, _ = await run_meshnode("status", "--dir", str(honest[0].directory))
        assert code == 0 and f"the node of {liar.name} made two different blocks for one place" in said, said
        code, said, _ = await run_meshnode("evidence", "show", str(honest[0].directory))
        assert code == 1 and f"found out: the node of {liar.name}" in said, said
        await mesh.until_settled(mesh.next_period_s())
        return {"files": checked, "height": await mesh.check_one_history()}
