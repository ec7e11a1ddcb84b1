"""Memory: the transport between nodes of one process, for tests.

Keeps the promises of `transport.py` without sockets, ciphers or threads, so
that services run against it under a virtual clock, from a seed. It is a
simulation: links are cut by `partition`, peers fall silent by `freeze`, gossip
is lost by `loss_ppm`; everything else arrives, in order, at once.
"""

import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from meshnode.network.endpoint import Endpoint, serve
from meshnode.network.gate import Gate
from meshnode.network.subscribers import Subscribers
from meshnode.network.transport import (
    DROP_COOLDOWN_S,
    EVENT_CAPACITY,
    MAX_GOSSIP_BYTES,
    STREAM_WINDOW_BYTES,
    DialError,
    GossipMessage,
    PeerEvent,
    PeerId,
    Stream,
    StreamHandler,
    StreamReset,
    TooLarge,
    peer_id_of,
)

# How long a silent peer stays connected, like the real transport's liveness.
SILENCE_LIMIT_S = 4.0

# Gossip that was seen is forgotten after so many newer messages.
MAX_SEEN = 10_000


@asynccontextmanager
async def open_memory_network(
    seed: int = 0, *, drop_cooldown_s: float = DROP_COOLDOWN_S
) -> "AsyncIterator[MemoryNetwork]":
    """A network for as long as the block lasts; its nodes stop with it."""
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, random.Random(seed), drop_cooldown_s)
        yield network
        nursery.cancel_scope.cancel()


class MemoryNetwork:
    """All nodes of the process, and what is wrong between them."""

    def __init__(self, nursery: trio.Nursery, rng: random.Random, drop_cooldown_s: float) -> None:
        self.nursery = nursery
        self.drop_cooldown_s = drop_cooldown_s
        self.rng = rng
        # Of a million gossip messages on one link, so many are lost.
        self.loss_ppm = 0
        self.nodes: dict[PeerId, MemoryTransport] = {}
        self._side_of: dict[PeerId, int] = {}
        self._frozen: set[PeerId] = set()
        self.changed = trio.Event()

    @asynccontextmanager
    async def node(self, public_key: bytes, topics: Iterable[str] = ()) -> "AsyncIterator[MemoryTransport]":
        """Run a node with this device key; the same key again is the same node restarted."""
        transport = MemoryTransport(self, peer_id_of(public_key), frozenset(topics))
        if transport.peer_id in self.nodes:
            raise ValueError(f"a node with the key of {transport.peer_id} runs already")
        self.nodes[transport.peer_id] = transport
        try:
            async with trio.open_nursery() as nursery:
                transport.nursery = nursery
                yield transport
                nursery.cancel_scope.cancel()
        finally:
            del self.nodes[transport.peer_id]
            transport.gate.close()
            for peer in list(transport.links):
                self.unlink(transport.peer_id, peer)

    def partition(self, *sides: Iterable[PeerId]) -> None:
        """Only peers of one side reach one another; a peer that is not named reaches nobody."""
        self._side_of = {peer: number for number, side in enumerate(sides, 1) for peer in side}
        for number, peer in enumerate(self.nodes):
            self._side_of.setdefault(peer, -number)
        self._rearrange()

    def freeze(self, peer: PeerId) -> None:
        """The peer stops answering without saying so, as a stopped process does."""
        self._frozen.add(peer)
        self._rearrange()

    def heal(self) -> None:
        """Every peer reaches every other again."""
        self._side_of = {}
        self._frozen = set()
        self._rearrange()

    def reaches(self, one: PeerId, other: PeerId) -> bool:
        """Whether bytes pass between two nodes now."""
        if self._frozen & {one, other}:
            return False
        return self._side_of.get(one, 0) == self._side_of.get(other, 0)

    def link_all(self) -> None:
        """Connect every pair that wants to be, as the dialler of the real transport does."""
        nodes = list(self.nodes.values())
        for position, one in enumerate(nodes):
            for other in nodes[position + 1 :]:
                know = other.peer_id in one.known or one.peer_id in other.known
                agree = one.gate.admits(other.peer_id) and other.gate.admits(one.peer_id)
                if know and agree and other.peer_id not in one.links and self._reaches(one, other):
                    one.link_up(other.peer_id)
                    other.link_up(one.peer_id)

    async def link_later(self) -> None:
        """Connect who wants to be, once a dropped peer is let in again."""
        await trio.sleep(self.drop_cooldown_s)
        self.link_all()

    def unlink(self, one: PeerId, other: PeerId) -> None:
        """End the connection of two nodes; its streams are reset."""
        for peer, far in ((one, other), (other, one)):
            node = self.nodes.get(peer)
            if node is not None:
                node.link_down(far)

    def _reaches(self, one: "MemoryTransport", other: "MemoryTransport") -> bool:
        return self.reaches(one.peer_id, other.peer_id)

    def _rearrange(self) -> None:
        before, self.changed = self.changed, trio.Event()
        before.set()
        self.link_all()
        self.nursery.start_soon(self._notice_silence)

    async def _notice_silence(self) -> None:
        arrangement = self.changed
        with trio.move_on_after(SILENCE_LIMIT_S):
            await arrangement.wait()
            return
        for node in list(self.nodes.values()):
            for peer in list(node.links):
                if not self.reaches(node.peer_id, peer):
                    self.unlink(node.peer_id, peer)


class MemoryTransport:
    """The `Transport` of one node of a `MemoryNetwork`."""

    nursery: trio.Nursery

    def __init__(self, network: MemoryNetwork, peer_id: PeerId, topics: frozenset[str]) -> None:
        self._network = network
        self._peer_id = peer_id
        self._topics = topics
        self.gate = Gate(trio.current_time)
        self.known: set[PeerId] = set()
        self.links: dict[PeerId, set[MemoryStream]] = {}
        self._handlers: dict[str, tuple[StreamHandler, int]] = {}
        self._serving: Counter[tuple[PeerId, str]] = Counter()
        self._seen: deque[int] = deque(maxlen=MAX_SEEN)
        self._counters: Counter[str] = Counter()
        self._subscribers = {
            topic: Subscribers[GossipMessage](self._counters, "gossip dropped: subscriber too slow") for topic in topics
        }
        self._watchers = Subscribers[PeerEvent](self._counters, "event dropped: consumer too slow")

    @property
    def peer_id(self) -> PeerId:
        return self._peer_id

    @property
    def addresses(self) -> list[str]:
        return [f"/memory/{self._peer_id}/p2p/{self._peer_id}"]

    @property
    def counters(self) -> "Counter[str]":
        return self._counters

    def watch(self) -> "trio.MemoryReceiveChannel[PeerEvent]":
        return self._watchers.channel(EVENT_CAPACITY, [PeerEvent(peer, joined=True) for peer in self.peers()])

    def handle(self, protocol: str, handler: StreamHandler, *, max_streams_per_peer: int) -> None:
        if protocol in self._handlers:
            raise ValueError(f"protocol {protocol} has a handler already")
        self._handlers[protocol] = (handler, max_streams_per_peer)

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        await trio.lowlevel.checkpoint()
        far = self._network.nodes.get(peer)
        if far is None or peer not in self.links or not self._network.reaches(self._peer_id, peer):
            raise DialError(f"{protocol} with {peer}: not connected")
        if protocol not in far._handlers:
            raise DialError(f"{protocol} with {peer}: the peer supports none of {protocol}")
        there, back = _Pipe(self._network, self._peer_id, peer), _Pipe(self._network, peer, self._peer_id)
        near_end = MemoryStream(self, peer, protocol, back, there)
        far_end = MemoryStream(far, self._peer_id, protocol, there, back)
        self.links[peer].add(near_end)
        far.links[self._peer_id].add(far_end)
        far.nursery.start_soon(far._serve, far_end)
        return near_end

    async def publish(self, topic: str, data: bytes) -> None:
        if len(data) > MAX_GOSSIP_BYTES:
            raise TooLarge(f"gossip message of {len(data)} bytes, the limit is {MAX_GOSSIP_BYTES}")
        self._check_topic(topic)
        await trio.lowlevel.checkpoint()
        message_id = self._network.rng.getrandbits(64)
        self._seen.append(message_id)
        self._relay(topic, data, message_id, self._peer_id, came_from=self._peer_id)

    def subscribe(self, topic: str, capacity: int) -> "trio.MemoryReceiveChannel[GossipMessage]":
        self._check_topic(topic)
        return self._subscribers[topic].channel(capacity)

    def peers(self) -> list[PeerId]:
        return sorted(self.links)

    def add_address(self, peer: PeerId, addrs: list[str]) -> None:
        if peer != self._peer_id and addrs:
            self.known.add(peer)
            self._network.link_all()

    def admit(self, peers: frozenset[PeerId]) -> None:
        self.gate.admit(peers)
        for peer in [peer for peer in self.links if not self.gate.admits(peer)]:
            self._network.unlink(self._peer_id, peer)
        self._network.link_all()

    async def drop(self, peer: PeerId, reason: str) -> None:
        self._counters[f"dropped: {reason}"] += 1
        self.gate.refuse(peer, self._network.drop_cooldown_s)
        self._network.unlink(self._peer_id, peer)
        self._network.nursery.start_soon(self._network.link_later)
        await trio.lowlevel.checkpoint()

    def link_up(self, peer: PeerId) -> None:
        self.links[peer] = set()
        self._watchers.tell(PeerEvent(peer, joined=True))

    def link_down(self, peer: PeerId) -> None:
        if peer in self.links:
            for stream in self.links.pop(peer):
                stream.cut()
            self._watchers.tell(PeerEvent(peer, joined=False))

    async def _serve(self, stream: "MemoryStream") -> None:
        handler, max_streams = self._handlers[stream.protocol]
        key = (stream.peer, stream.protocol)
        if self._serving[key] >= max_streams:
            self._counters["stream refused: too many"] += 1
            await stream.reset()
            return
        self._serving[key] += 1
        try:
            await serve(stream, handler, self._counters, self.drop)
        finally:
            self._serving[key] -= 1

    def _relay(self, topic: str, data: bytes, message_id: int, author: PeerId, came_from: PeerId) -> None:
        for peer in self.peers():
            far = self._network.nodes.get(peer)
            if far is None or peer == came_from or not self._network.reaches(self._peer_id, peer):
                continue
            if self._network.rng.randrange(1_000_000) < self._network.loss_ppm:
                continue
            far._receive(topic, data, message_id, author, self._peer_id)

    def _receive(self, topic: str, data: bytes, message_id: int, author: PeerId, came_from: PeerId) -> None:
        if topic not in self._topics or message_id in self._seen:
            return
        self._seen.append(message_id)
        self._subscribers[topic].tell(GossipMessage(came_from, data, author))
        self._relay(topic, data, message_id, author, came_from)

    def _check_topic(self, topic: str) -> None:
        if topic not in self._topics:
            raise ValueError(f"topic {topic!r} is not one of those the transport was opened with")


class _Pipe:
    """One direction of a stream: a window of bytes, its clean end, or its break."""

    def __init__(self, network: MemoryNetwork, source: PeerId, target: PeerId) -> None:
        self._network = network
        self._source = source
        self._target = target
        self._bytes = bytearray()
        self._ended = False
        self.broken = False
        self._moved = trio.Event()

    async def put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self.broken:
                raise StreamReset("reset or connection lost")
            room = STREAM_WINDOW_BYTES - len(self._bytes)
            if room > 0:
                self._bytes += view[:room]
                view = view[room:]
                self._move()
            else:
                await self._wait()
        await trio.lowlevel.checkpoint()

    async def take(self, max_bytes: int) -> bytes:
        while True:
            if self.broken:
                raise StreamReset("reset or connection lost")
            if self._network.reaches(self._source, self._target):
                if self._bytes:
                    data = bytes(self._bytes[:max_bytes])
                    del self._bytes[:max_bytes]
                    self._move()
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    return data
                if self._ended:
                    await trio.lowlevel.checkpoint()
                    return b""
            await self._wait()

    def end(self) -> None:
        self._ended = True
        self._move()

    def cut(self) -> None:
        self.broken = True
        self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    async def _wait(self) -> None:
        """Until the pipe moved, or the network was rearranged under it."""
        async with trio.open_nursery() as nursery:
            for event in (self._moved, self._network.changed):
                nursery.start_soon(_then_cancel, event, nursery.cancel_scope)


async def _then_cancel(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


class MemoryStream(Endpoint):
    """One end of a stream between two nodes."""

    def __init__(self, node: MemoryTransport, peer: PeerId, protocol: str, inward: _Pipe, outward: _Pipe) -> None:
        super().__init__(peer, protocol)
        self._node = node
        self._inward = inward
        self._outward = outward

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._outward.end()
            self._forget()

    def cut(self) -> None:
        """Break both directions, as a reset or a lost connection does."""
        self._inward.cut()
        self._outward.cut()
        self._forget()

    async def _write(self, data: bytes) -> None:
        await self._outward.put(data)

    async def _receive(self, max_bytes: int) -> bytes:
        return await self._inward.take(max_bytes)

    async def _break(self) -> None:
        self.cut()

    def _forget(self) -> None:
        self._node.links.get(self._peer, set()).discard(self)
