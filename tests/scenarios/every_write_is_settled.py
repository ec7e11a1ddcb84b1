"""Every write is settled: whatever happens to nodes meanwhile, asking again by the record's id tells what became of it.

Dora's node does not vote; she signs transfers herself and hands them to it. One goes to two
nodes at once and counts once. Her node dies right after it has taken one, comes back, and the
transfer is made. The leader dies right after another. While two of three validators are off,
nothing is known of a transfer, and no fresh answer is given; when they are back, the one that
is still valid is made, and of the other every node says that it never will be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshnode import fate
from meshnode.client import ClientError
from meshnode.fate import Fate
from meshnode.loopback import NodeProcess
from protocols.block import SignedRecord
from protocols.records import Transfer, account_id_of
from tests.scenarios.mesh import ANNA, BELA, CARLA, Household, Mesh, open_mesh

DORA = Household(name="dora", metered=False, votes=False)
# Of the microgrid's clock: a record that is valid for two minutes, and how long they last.
SHORT_S = 120


async def play(place: Path) -> dict[str, Any]:
    """Six transfers of one token each."""
    async with open_mesh(place, (ANNA, BELA, CARLA, DORA)) as mesh:
        dora, anna = mesh["dora"], mesh["anna"]
        issued = await mesh.submit(anna, "/api/assets", asset="SUN", kind="utility", cap=100, amount=100)
        assert (await mesh.outcome(anna, issued))["verdict"] == "ACCEPTED"
        given = await mesh.submit(anna, "/api/transfers", to=mesh.account("dora"), asset="SUN", amount=50)
        assert (await mesh.outcome(dora, given))["verdict"] == "ACCEPTED"

        twice = transfer(mesh, 1)
        for node in (dora, await mesh.leader()):
            told = await hand_in(node, twice)
            assert told.accepted, f"handed in at {node.name}: {told}"

        dies = transfer(mesh, 2)
        await dora.client.post("/api/records", dies.envelope_bytes)
        dora.kill()
        dora.start()
        await dora.ready()
        assert (await settled(mesh, dora, dies)).accepted

        orphan = transfer(mesh, 3)
        leader = await mesh.leader()
        await dora.client.post("/api/records", orphan.envelope_bytes)
        leader.kill()
        assert (await settled(mesh, dora, orphan)).accepted

        # One of three validators is off already; with a second one nothing becomes final.
        other = next(node for node in (mesh["anna"], mesh["bela"], mesh["carla"]) if node is not leader)
        other.kill()
        last = next(node for node in mesh.running if node.home.votes)
        # A leader might put them into a block at once, which becomes final much later.
        await mesh.until("nobody leads", lambda: leads_not(mesh, last))
        late, early = transfer(mesh, 4, valid_s=SHORT_S), transfer(mesh, 5)
        assert [(await hand_in(dora, one)).status for one in (late, early)] == [fate.UNKNOWN] * 2
        await no_fresh_answer(dora)
        await mesh.until_clock(late.record.valid_until_s + 1)
        assert (await ask(dora, late)).status == fate.UNKNOWN, "a clock decides nothing"
        for node in (leader, other):
            node.start()
            await node.ready()
        assert (await settled(mesh, dora, early)).accepted
        answers = {node.name: (await settled(mesh, node, late)).status for node in mesh.running}
        assert set(answers.values()) == {fate.NEVER}, answers

        fresh = [await ask(node, early, fresh_s=10) for node in mesh.running]
        assert all(told.accepted for told in fresh)
        records = [row["id"] for block in await mesh.blocks(dora) for row in block["records"]]
        for signed, times in ((twice, 1), (dies, 1), (orphan, 1), (early, 1), (late, 0)):
            assert records.count(signed.record_id.hex()) == times
        return {"transfers": 5, "height": await mesh.check_one_history()}


async def leads_not(mesh: Mesh, node: NodeProcess) -> bool:
    """Whether a validator has noticed that it hears no majority."""
    return (await mesh.status(node))["role"] != "leader"


def transfer(mesh: Mesh, number: int, valid_s: int | None = None) -> SignedRecord:
    """One SUN from Dora to Bela."""
    spoken = mesh.spoken(number)
    if valid_s is not None:
        spoken["valid_until_s"] = mesh.clock.now_s() + valid_s
    to = account_id_of(mesh["bela"].keys.member.public)
    return mesh.sign(Transfer(**spoken, to=to, asset="SUN", amount=1), mesh["dora"].keys.member)


async def hand_in(node: NodeProcess, signed: SignedRecord) -> Fate:
    """Dora hands in a record and waits a little."""
    return await fate.hand_in(node.client, signed.envelope_bytes, signed.record_id.hex(), wait_s=2)


async def ask(node: NodeProcess, signed: SignedRecord, fresh_s: int | None = None) -> Fate:
    """Anybody asks what became of it, and knows until when it is valid."""
    assert isinstance(signed.record, Transfer)
    return await fate.ask(
        node.client, signed.record_id.hex(), wait_s=1, fresh_s=fresh_s, valid_until_s=signed.record.valid_until_s
    )


async def settled(mesh: Mesh, node: NodeProcess, signed: SignedRecord) -> Fate:
    """What became of it, asked again until that is known."""

    async def known() -> Fate | None:
        told = await ask(node, signed)
        return None if told.status == fate.UNKNOWN else told

    return await mesh.until(f"record {signed.record_id.hex()[:16]} settled at {node.name}", known)


async def no_fresh_answer(node: NodeProcess) -> None:
    """Without a majority nobody can know what is newest."""
    try:
        await node.client.get("/api/status", fresh=1)
    except ClientError as error:
        assert error.status == 504, error
        return
    raise AssertionError(f"{node.name} gave a fresh answer without a majority")
