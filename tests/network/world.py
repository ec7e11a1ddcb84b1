"""A world: a few transports that admit and know one another, of either kind."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import nacl.signing
import trio

from meshnode.network.libp2p import Libp2pTransport, Limits, open_libp2p
from meshnode.network.memory import MemoryNetwork, open_memory_network
from meshnode.network.transport import PeerId, Stream, Transport, peer_id_of

TOPIC = "readings"
LOOPBACK = ["/ip4/127.0.0.1/tcp/0"]

# Long enough for two busy cores, short enough that a hanging test is noticed.
PATIENCE_S = 15.0


def seed_of(name: str) -> bytes:
    """The device key seed of a node, from its name."""
    return hashlib.sha256(name.encode()).digest()


def public_key(name: str) -> bytes:
    return bytes(nacl.signing.SigningKey(seed_of(name)).verify_key)


def peer(name: str) -> PeerId:
    return peer_id_of(public_key(name))


class World:
    """Nodes by name; kind is "memory" or "libp2p"."""

    def __init__(self, kind: str, stack: AsyncExitStack, network: MemoryNetwork | None, limits: Limits) -> None:
        self.kind = kind
        self.network = network
        self._stack = stack
        self._limits = limits

    async def open(self, name: str) -> Transport:
        """A node that is running, admits nobody and knows nobody."""
        if self.network is not None:
            return await self._stack.enter_async_context(self.network.node(public_key(name), [TOPIC]))
        return await self._stack.enter_async_context(open_libp2p(seed_of(name), LOOPBACK, [TOPIC], limits=self._limits))

    async def community(self, *names: str) -> list[Transport]:
        """Nodes that admit one another and are all connected."""
        nodes = [await self.open(name) for name in names]
        introduce(*nodes)
        await meet(*nodes)
        return nodes


@asynccontextmanager
async def open_world(kind: str, limits: Limits | None = None) -> AsyncIterator[World]:
    limits = limits or Limits()
    async with AsyncExitStack() as stack:
        network = None
        if kind == "memory":
            network = await stack.enter_async_context(open_memory_network(drop_cooldown_s=limits.drop_cooldown_s))
        yield World(kind, stack, network, limits)


def introduce(*nodes: Transport) -> None:
    """Everybody admits everybody and knows their addresses."""
    everybody = frozenset(node.peer_id for node in nodes)
    for node in nodes:
        node.admit(everybody)
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.add_address(other.peer_id, other.addresses)


async def meet(*nodes: Transport) -> None:
    """Wait until all are connected with all."""
    everybody = {node.peer_id for node in nodes}
    await until(lambda: all(everybody - {node.peer_id} <= set(node.peers()) for node in nodes))


async def settle(*nodes: Transport) -> None:
    """Wait until everybody has somebody to pass gossip on to."""
    for node in nodes:
        if isinstance(node, Libp2pTransport):
            await until(lambda router=node.router: bool(router.mesh[TOPIC]))  # type: ignore[misc]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until condition holds; fails the test after `PATIENCE_S`."""
    with trio.fail_after(PATIENCE_S):
        while not condition():
            await trio.sleep(0.01)


async def read_to_end(stream: Stream) -> bytes:
    data = bytearray()
    while more := await stream.receive_some(65536):
        data += more
    return bytes(data)


async def read_exactly(stream: Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = await stream.receive_some(count - len(data))
        assert more, f"the stream ended after {len(data)} of {count} bytes"
        data += more
    return data


async def echo(stream: Stream) -> None:
    """Send everything back, then end."""
    while data := await stream.receive_some(65536):
        await stream.send_all(data)


async def assert_alive(*nodes: Transport) -> None:
    """Nodes that are connected still gossip and open streams with one another."""
    await meet(*nodes)
    one, other = nodes[0], nodes[-1]
    inbox = other.subscribe(TOPIC, 100)
    text = b"still here " + trio.lowlevel.current_task().name.encode()

    async def say() -> None:
        while True:
            await one.publish(TOPIC, text)
            await trio.sleep(0.3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        with trio.fail_after(PATIENCE_S):
            while (await inbox.receive()).data != text:
                pass
        nursery.cancel_scope.cancel()
    inbox.close()
