"""Binding adopted: five nodes vote, one of them is off and one is too old; it begins at the same height everywhere.

The village shares its sun without orders; Anna proposes a market. All five nodes have declared, by themselves,
what they can execute, so the vote is open at once. Then Dora's computer is off, and Emil's is set back to an
older version, which says so on the ledger; nobody can be made to say yes to what his node cannot read. Anna,
Bela and Carla are 60 % of five. Dora is back when the notice is over, and the market begins with a settlement
period, after the same block on every node - but Emil's: it stops before that block, keeps what it has, and says
what it lacks. Upgraded and started again it catches up by itself, and has one history with the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshnode.abilities import CATALOGUE_VARIABLE
from meshnode.client import ClientError
from meshnode.loopback import NodeProcess
from tests.scenarios.mesh import ANNA, BELA, CARLA, Household, Mesh, open_mesh, run_meshnode, with_changes
from tests.scenarios.tokens_by_command import Village
from zencode.commands import hash as hash_of
from zencode.presets import preset

DORA = Household(name="dora", quarters=((300, 0),))
EMIL = Household(name="emil", quarters=((400, 0),))
# An hour of the demonstration clock: time for Dora's computer to come back.
NOTICE = {"7 days notice": "60 minutes notice"}
WANTED = {"66 % of votes and 14 days notice": "60 % of votes and 60 minutes notice"}
# A sentence of the second version of the catalogue, and what a node says that has the first.
NEWER = "\nWhen a vote opens\nThen close the vote after 14 days\n"
OLDER = "1"
LACKS = "lacks catalogue version 2 (it has 1)"


async def play(place: Path) -> dict[str, Any]:
    """From the proposal to the first order under the new binding."""
    async with open_mesh(place, (ANNA, BELA, CARLA, DORA, EMIL), changes=NOTICE) as mesh:
        village = Village(mesh)
        text = with_changes(preset("neighbour_market"), WANTED) + NEWER
        code, file = hash_of(text), place / "wanted.zen"
        file.write_text(text)
        before = (await bindings(mesh["anna"]))["in_force"]
        assert await _no_market(mesh), "the village has no orders yet"

        await _declared(mesh)
        proposal = await village.say("anna", "binding", "propose", str(file))
        found = (await bindings(mesh["bela"]))["proposals"][0]
        assert (found["proposal"], found["binding"], found["status"]) == (proposal, code, "open"), found
        mesh["dora"].kill()
        await _set_back(mesh, mesh["emil"], code)

        refused = await run_meshnode("binding", "vote", code[:16], "yes", "--dir", str(mesh["emil"].directory))
        assert refused[0] == 1 and LACKS in refused[2], refused
        await village.say("emil", "binding", "vote", code[:16], "abstain")
        for name in ("anna", "bela"):
            await village.say(name, "binding", "vote", code[:16], "yes")
        told = (await run_meshnode("binding", "status", "--dir", str(mesh["bela"].directory)))[1]
        assert "2 of the 3 votes that adopt it" in told and "1 more needed; not voted yet: carla, dora" in told, told
        await village.say("carla", "binding", "vote", code[:16], "yes")
        (adopted,) = (await bindings(mesh["carla"]))["proposals"]
        assert (adopted["status"], adopted["unable"]) == ("adopted", ["emil"]), adopted
        assert adopted["from_s"] % mesh.length_s == 0 and adopted["from_s"] >= adopted["decided_s"] + 3600, adopted
        mesh["dora"].start()
        await mesh["dora"].ready()

        able = [mesh[name] for name in ("anna", "bela", "carla", "dora")]
        await mesh.until("the new binding in force on four nodes", lambda: _in_force(able, code))
        height = await _first_block_of(mesh, able[0], adopted["from_s"])
        for node in able:
            assert await _first_block_of(mesh, node, adopted["from_s"]) == height
            history = (await node.client.get("/api/bindings/history"))["in_force"]
            assert [(one["from_s"], one["binding"]) for one in history] == [(adopted["from_s"], code), (0, before)]
        hashes = {(await node.client.get(f"/api/state/{height}"))["state_hash"] for node in able}
        assert len(hashes) == 1, hashes

        stopped = await _stopped(mesh, mesh["emil"])
        assert stopped["height"] == height - 1, (stopped["height"], height)
        assert LACKS in stopped["halted"], stopped["halted"]
        assert "upgrade meshnode" in stopped["halted"], stopped["halted"]
        assert await _health(mesh["emil"]) == 503
        kept = (await bindings(mesh["emil"]))["in_force"]
        assert kept == before, "it stands where it stood"

        await mesh["emil"].stop()
        mesh["emil"].start()
        await mesh["emil"].ready()
        await mesh.until("Emil's node has caught up", lambda: _in_force([mesh["emil"]], code))
        order = await mesh.submit(
            *(mesh["emil"], "/api/orders"),
            side="buy",
            period_start_s=mesh.next_period_s(6.0),
            energy_wh=100,
            price_u_kwh=200_000,
        )
        assert (await mesh.outcome(mesh["emil"], order))["verdict"] == "ACCEPTED"
        await mesh.until_meshed()
        common = await mesh.check_one_history()
        assert common > height
        return {"begun_at_height": height, "height": common}


async def bindings(node: NodeProcess) -> dict[str, Any]:
    """What a node says of bindings."""
    found: dict[str, Any] = await node.client.get("/api/bindings")
    return found


async def _no_market(mesh: Mesh) -> bool:
    start_s = mesh.next_period_s(6.0)
    body = {"side": "buy", "period_start_s": start_s, "energy_wh": 100, "price_u_kwh": 200_000}
    order = await mesh.submit(mesh["bela"], "/api/orders", **body)
    return str((await mesh.outcome(mesh["bela"], order))["verdict"]) == "NO_MARKET"


async def _declared(mesh: Mesh) -> None:
    """All nodes have said what they can execute, with no word from anybody."""

    async def said() -> bool:
        found = [
            record["kind"]
            for block in await mesh.blocks(mesh["anna"])
            for record in block["records"]
            if record["kind"] == "Support"
        ]
        return len(found) >= len(mesh.nodes)

    await mesh.until("all nodes have declared what they can", said)


async def _set_back(mesh: Mesh, node: NodeProcess, code: str) -> None:
    """A node is started again as an older version; the others hear of it from the ledger."""
    await node.stop()
    node.start(variables={CATALOGUE_VARIABLE: OLDER})
    await node.ready()

    async def known() -> bool:
        (one,) = (await bindings(mesh["anna"]))["proposals"]
        assert (one["binding"], one["status"]) == (code, "open"), one
        return one["unable"] == ["emil"]

    await mesh.until("the others know that Emil's node is older", known)


async def _in_force(nodes: list[NodeProcess], code: str) -> bool:
    return all([(await bindings(node))["in_force"] == code for node in nodes])


async def _first_block_of(mesh: Mesh, node: NodeProcess, time_s: int) -> int:
    """The height of the first block whose time is not before `time_s`."""
    found = await mesh.blocks(node)
    return int(next(block["header"]["height"] for block in found if block["header"]["time_s"] >= time_s))


async def _stopped(mesh: Mesh, node: NodeProcess) -> dict[str, Any]:
    async def halted() -> dict[str, Any] | None:
        found = await mesh.status(node)
        return found if found["halted"] else None

    return await mesh.until(f"{node.name}'s node has stopped", halted)


async def _health(node: NodeProcess) -> int:
    try:
        await node.client.get("/healthz")
    except ClientError as error:
        return error.status
    return 200
