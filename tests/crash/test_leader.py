"""The leader's plug is pulled at five points of a block's life; what was acknowledged stays, exactly once.

Acknowledged means: a client holds a receipt that the microgrid's genesis alone proves.
Clients play the meters and the members of three homes. They sign a record once and
hand the same bytes to one node after the other until some node gives the receipt, as a
careful client does that does not know what became of its first attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from meshnode import ledger_tools
from meshnode.client import ClientError
from meshnode.loopback import NodeProcess
from meshnode.store import LedgerReader
from meshnode.store.place import microgrid_directory
from protocols import block as blocks
from protocols.block import SignedRecord
from protocols.records import SIDE_BUY, SIDE_SELL, OpenCounters, Order, Reading, meter_id_of, to_payload
from tests.crash.node import POINTS, TRIGGER_FILE
from tests.scenarios.mesh import Household, Mesh, open_mesh, run_meshnode

HOMES = (
    Household(name="anna", roles=("administrator", "prosumer")),
    Household(name="bela"),
    Household(name="carla"),
)
CRASHING = ("-m", "tests.crash.node", "{directory}")
# A leader that dies is replaced within two seconds; a busy computer takes several times longer.
CRASH_DEADLINE_S = 30.0
# How long a client waits for one node's answer before it goes to the next.
ANSWER_S = 3.0
USED_WH = {"anna": 100, "bela": 400, "carla": 700}


class Clients:
    """Members and meters of all homes, and what they hold receipts for."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.acknowledged: dict[bytes, SignedRecord] = {}
        self.signed = 0
        self.first_start_s = mesh.next_period_s(1.0)

    async def run(self) -> None:
        """Readings at every boundary and orders all the time, until cancelled."""
        async with trio.open_nursery() as nursery:
            for name in USED_WH:
                nursery.start_soon(self._trade, name)
                nursery.start_soon(self._measure, name)

    async def _trade(self, name: str) -> None:
        mesh = self.mesh
        while True:
            self.signed += 1
            order = Order(
                **mesh.spoken(self.signed),
                side=SIDE_SELL if name == "anna" else SIDE_BUY,
                period_start_s=mesh.next_period_s(1.0) + mesh.length_s,
                energy_wh=10,
                price_u_kwh=150_000,
            )
            await self._say(name, mesh.sign(order, mesh[name].keys.member))
            # An account may have so many open orders in a period; what a test needs is far below that.
            await trio.sleep(0.3)

    async def _measure(self, name: str) -> None:
        mesh = self.mesh
        key = mesh[name].keys.meters[f"{name}-home"]
        count = 0
        while True:
            start_s = self.first_start_s + count * mesh.length_s
            # A moment into the next period, so that no clock is behind.
            await mesh.until_clock(start_s + mesh.length_s + mesh.length_s // 10)
            reading = Reading(
                meter=meter_id_of(key.public),
                period_start_s=start_s,
                values=OpenCounters(import_wh=count * USED_WH[name], export_wh=0),
            )
            await self._say(name, mesh.sign(reading, key))
            count += 1

    async def _say(self, name: str, signed: SignedRecord) -> None:
        """Hand a record to the own node, then to the others, until one of them gives the receipt."""
        nodes = [self.mesh[name], *(node for node in self.mesh.nodes.values() if node.name != name)]
        while True:
            for node in nodes:
                if await self._try(node, signed):
                    self.acknowledged[signed.record_id] = signed
                    return
            await trio.sleep(0.1)

    async def _try(self, node: NodeProcess, signed: SignedRecord) -> bool:
        place = f"/api/records/{signed.record_id.hex()}"
        try:
            await node.client.post("/api/records", signed.envelope_bytes, deadline_s=ANSWER_S)
        except ClientError as error:
            # Refused may mean that it stands on the ledger already; the outcome says.
            if error.status == 0:
                return False
        try:
            outcome = await node.client.get(place, wait=2, deadline_s=ANSWER_S)
        except ClientError:
            return False
        if outcome["status"] != "final":
            return False
        receipt = bytes.fromhex(outcome["receipt"])
        assert ledger_tools.check_receipt(receipt, to_payload(self.mesh.genesis)).record_id == signed.record_id
        return True


@pytest.mark.parametrize("point", POINTS)
async def test_what_was_acknowledged_is_on_every_ledger_exactly_once(point: str, tmp_path: Path) -> None:
    async with open_mesh(tmp_path, HOMES, binding="neighbour_market", node=CRASHING) as mesh:
        clients = Clients(mesh)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clients.run)
            await mesh.until("records acknowledged before the crash", _at_least(clients, 6))
            leader = await _crash(mesh, point)
            period_s = int(mesh.clock.now()) // mesh.length_s * mesh.length_s
            before = len(clients.acknowledged)
            await mesh.until("records acknowledged without the old leader", _at_least(clients, before + 6))

            leader.start(CRASHING)
            await leader.ready()
            await mesh.until_settled(max(period_s, clients.first_start_s + mesh.length_s))
            before = len(clients.acknowledged)
            await mesh.until("records acknowledged by all again", _at_least(clients, before + 6))
            nursery.cancel_scope.cancel()

        target = max(status["height"] for status in await mesh.statuses())
        await mesh.until_height(target)
        await mesh.check_one_history()
        assert not any(status["halted"] for status in await mesh.statuses())
        assert {type(signed.record) for signed in clients.acknowledged.values()} == {Order, Reading}
        for node in mesh.running:
            assert await node.stop() == 0, node.tail()
        for node in mesh.nodes.values():
            counted = _records_on_disk(node, mesh.chain_id)
            assert {record: counted[record] for record in clients.acknowledged} == dict.fromkeys(
                clients.acknowledged, 1
            ), f"{node.name}: an acknowledged record is missing, or counts twice"
            code, told, complaint = await run_meshnode("ledger", "verify", str(node.directory))
            assert code == 0, f"{node.name}: {told}{complaint}"


def _at_least(clients: Clients, number: int) -> Callable[[], Awaitable[bool]]:
    async def acknowledged() -> bool:
        return len(clients.acknowledged) >= number

    return acknowledged


async def _crash(mesh: Mesh, point: str) -> NodeProcess:
    """Let the leader come to its point; gives the node that died there."""
    leader = await mesh.leader()
    (leader.directory / TRIGGER_FILE).write_text(point)

    async def died() -> NodeProcess | None:
        nonlocal leader
        now = await mesh.leader()
        for node in mesh.nodes.values():
            if not node.is_running():
                return node
        if now is not leader:
            # Leadership moved by itself; the point is the leader's.
            (leader.directory / TRIGGER_FILE).unlink(missing_ok=True)
            leader = now
            (leader.directory / TRIGGER_FILE).write_text(point)
        return None

    dead = await mesh.until(f"the leader's end at {point}", died, CRASH_DEADLINE_S)
    assert dead.process is not None
    assert dead.process.returncode == -9
    assert (dead.directory / f"crashed-{point}").is_file()
    return dead


def _records_on_disk(node: NodeProcess, chain_id: bytes) -> Counter[bytes]:
    """How often each record stands in the final blocks of a node's ledger, read from its disk."""
    counted: Counter[bytes] = Counter()
    with LedgerReader(microgrid_directory(node.directory, chain_id)) as reader:
        for height in range(1, reader.standing().final_height + 1):
            entry = reader.entry(height)
            assert entry is not None
            counted.update(signed.record_id for signed in blocks.read(entry.data, chain_id).records)
    return counted
