"""Grid: the microgrid under chaos - its founding, its processes, and what is asked of all of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from meshnode import founding
from meshnode.client import ClientError
from meshnode.config import PROFILES
from meshnode.fate import ask
from meshnode.keys import SigningKey
from meshnode.loopback import Home, NodeProcess
from protocols.block import SignedRecord, sign_record
from protocols.records import Genesis, Record, Transfer, account_id_of, chain_id
from tests.chaos.node import OFFSET_FILE
from tests.chaos.volumes import Volumes
from tests.chaos.wires import Wires
from zencode.presets import preset

PROFILE = "lan"
TIMING = PROFILES[PROFILE]
ELECTION_TIMEOUT_S = TIMING.election_ticks * TIMING.tick_s
ASSET = "SUN"
# Enough for every transfer that a night of chaos can make.
EACH = 1_000_000
POLL_S = 0.1
# Everything healed on two busy cores: processes start, ledgers are replayed, connections are dialled again.
SETTLE_S = 90.0
STATUS_S = 3.0
_NODE = ("-m", "tests.chaos.node", "{directory}")


class NotSettled(AssertionError):
    """The grid did not come to what was waited for; says where every node stands."""


class ChaosNode(NodeProcess):
    """A node on its side of the wires.

    Attributes:
        number: on the wires, from 0 on.
        has_volume: whether its disk can be made full.
    """

    def __init__(self, home: Home, directory: Path, keys: founding.NodeKeys, number: int, wires: Wires) -> None:
        super().__init__(home, directory, keys, 0, 0, 0)
        self.number = number
        self.has_volume = False
        self._wires = wires
        self.listen = wires.listen(number)
        self.web, self.url = wires.page(number)

    def start(self, arguments: Sequence[str] = _NODE) -> None:
        with self._wires.inside(self.number):
            super().start(arguments)

    def set_clock(self, offset_s: float) -> None:
        """Set the node's clock wrong by so many seconds."""
        fresh = self.directory / f"{OFFSET_FILE}.new"
        fresh.write_text(f"{offset_s}")
        fresh.replace(self.directory / OFFSET_FILE)


class Grid:
    """All nodes; the first `voters` of them are validators, the others learners."""

    def __init__(self, directory: Path, voters: int, learners: int, wires: Wires, volumes: Volumes) -> None:
        """Found the microgrid. Two of the validators have a disk of their own."""
        self.wires = wires
        self.volumes = volumes
        self.nodes: list[ChaosNode] = []
        for number in range(voters + learners):
            name = f"home{number}"
            if number < 2:
                volumes.make(directory / name)
            keys = founding.make_keys(directory / name, ())
            roles = ("administrator", "prosumer") if number == 0 else ("prosumer",)
            home = Home(name=name, roles=roles, votes=number < voters)
            self.nodes.append(ChaosNode(home, directory / name, keys, number, wires))
            self.nodes[-1].has_volume = number < 2
        self.voters = self.nodes[:voters]
        self.genesis = self._found()
        self.chain_id = chain_id(self.genesis)
        self.accounts = [account_id_of(node.keys.member.public) for node in self.nodes]
        self._nonce = 0

    def _found(self) -> Genesis:
        genesis = founding.found(
            "Chaos",
            preset("neighbour_market"),
            [node.keys.entry(node.name, node.home.roles) for node in self.nodes],
            [node.keys.device.public for node in self.voters],
        )
        for node in self.nodes:
            peers = [
                f"{self.wires.route(node.number, other.number)}/p2p/{other.peer_id}"
                for other in self.nodes
                if other is not node
            ]
            founding.place_ledger(node.directory, genesis)
            founding.write_config(
                node.directory,
                node.name,
                listen=[node.listen],
                web=node.web,
                microgrids={chain_id(genesis).hex(): {"peers": peers}},
                profile=PROFILE,
                meters=(),
            )
        return genesis

    # --- records

    def now_s(self) -> int:
        """The microgrid's time where the clock is right."""
        return int(time.time())

    def sign(self, record: Record, key: SigningKey) -> SignedRecord:
        return sign_record(record, self.chain_id, key.public, key.sign)

    def transfer(self, sender: int, receiver: int, amount: int, valid_s: int, key: SigningKey | None = None) -> Any:
        """A signed transfer that no other is like."""
        self._nonce += 1
        record = Transfer(
            nonce=self._nonce,
            valid_until_s=self.now_s() + valid_s,
            to=self.accounts[receiver],
            asset=ASSET,
            amount=amount,
        )
        return self.sign(record, key or self.nodes[sender].keys.member)

    # --- all together

    async def start(self) -> None:
        """Start everybody and give everybody something to pass on."""
        for node in self.nodes:
            node.start()
        async with trio.open_nursery() as nursery:
            for node in self.nodes:
                nursery.start_soon(node.ready)
        await self.until("everybody follows one leader", self._is_meshed)
        issued = await self.nodes[0].client.post(
            "/api/assets",
            {"asset": ASSET, "kind": "utility", "cap": 2 * EACH * len(self.nodes), "amount": EACH * len(self.nodes)},
        )
        await self.until_accepted(issued["record_id"])
        for number in range(1, len(self.nodes)):
            given = self.transfer(0, number, EACH, 600)
            await self.nodes[0].client.post("/api/records", given.envelope_bytes)
            await self.until_accepted(given.record_id.hex())

    async def until_accepted(self, record_id: str) -> None:
        async def accepted() -> bool:
            return (await ask(self.nodes[0].client, record_id, wait_s=2)).accepted is True

        await self.until(f"record {record_id[:16]} accepted", accepted)

    async def until(self, what: str, condition: Callable[[], Awaitable[object]], deadline_s: float = SETTLE_S) -> None:
        """Wait for a condition; a node that does not answer is asked again. Raises NotSettled."""
        with trio.move_on_after(deadline_s):
            while True:
                try:
                    if await condition():
                        return
                except ClientError:
                    pass
                await trio.sleep(POLL_S)
        raise NotSettled(f"within {deadline_s:g} s: {what}\n{await self.picture()}")

    async def status(self, node: NodeProcess) -> dict[str, Any]:
        found: dict[str, Any] = await node.client.get("/api/status", deadline_s=STATUS_S)
        return found

    async def leader(self, among: Sequence[ChaosNode] | None = None) -> ChaosNode | None:
        """The node that leads the highest term, as far as these tell (default: all validators)."""
        found: list[tuple[int, ChaosNode]] = []

        async def look(node: ChaosNode) -> None:
            try:
                status = await self.status(node)
            except ClientError:
                return
            if status["role"] == "leader":
                found.append((status["term"], node))

        async with trio.open_nursery() as nursery:
            for node in self.voters if among is None else among:
                if node.is_running():
                    nursery.start_soon(look, node)
        return max(found, key=lambda one: one[0])[1] if found else None

    async def agreed(self) -> bool:
        """Whether all nodes stand at one height with one state, and know one leader."""
        statuses = [await self.status(node) for node in self.nodes]
        standing = {(status["height"], status["state_hash"]) for status in statuses}
        return len(standing) == 1 and await self._is_meshed()

    async def working(self) -> bool:
        """Whether all nodes run, none has halted, and the newest height of any is known to all a moment later."""
        newest = max([(await self.status(node))["height"] for node in self.nodes])
        statuses = [await self.status(node) for node in self.nodes]
        return await self._is_meshed() and all(one["height"] >= newest and not one["halted"] for one in statuses)

    async def _is_meshed(self) -> bool:
        statuses = [await self.status(node) for node in self.nodes]
        leaders = {status["leader"] for status in statuses if status["role"] != "learner"}
        full = len(self.nodes) - 1
        return len(leaders) == 1 and "" not in leaders and all(status["peers"] == full for status in statuses)

    async def picture(self) -> str:
        """Where every node stands, and the end of its log."""
        parts = []
        for node in self.nodes:
            try:
                standing = str(await self.status(node))
            except ClientError as error:
                standing = str(error) if node.is_running() else f"ended with {node.process and node.process.returncode}"
            parts.append(f"{node.name}: {standing}\n{node.tail()}")
        return "\n".join(parts)
