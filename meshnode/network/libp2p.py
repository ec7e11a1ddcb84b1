"""libp2p: the transport between real nodes, over TCP, noise, yamux and GossipSub.

`open_libp2p` puts the parts of this package together and takes them apart
again; `open_joining_listener` is a second, separate door that lets in anybody
for one protocol only. What py-libp2p does wrong or too generously is handled
in the module of each part.
"""

import logging
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.abc import INetConn, INetStream, INetwork, INotifee
from libp2p.identity_utils import create_identity_from_seed
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from libp2p.tools.anyio_service import TrioManager
from multiaddr import Multiaddr  # type: ignore[import-untyped]
from multiaddr.exceptions import Error as MultiaddrError  # type: ignore[import-untyped]

from meshnode.network.addresses import read_address
from meshnode.network.bucket import Bucket
from meshnode.network.dialler import Dialler
from meshnode.network.gate import Gate
from meshnode.network.identify import IDENTIFY_PROTOCOL, PING_PROTOCOL, answer_ping, identify_handler
from meshnode.network.muxer import SILENCE_LIMIT_S
from meshnode.network.pubsub import MemberPubsub, MemberRouter
from meshnode.network.subscribers import Subscribers
from meshnode.network.swarm import Host, MemberSwarm, is_alive, muxed_of
from meshnode.network.transport import (
    DIAL_DEADLINE_S,
    DROP_COOLDOWN_S,
    EVENT_CAPACITY,
    MAX_GOSSIP_BYTES,
    GossipMessage,
    PeerEvent,
    PeerId,
    Stream,
    StreamHandler,
    TooLarge,
)

# A service that does not stop by itself within this time is cancelled.
STOP_DEADLINE_S = 3.0

# The set of live peers is compared with the connections at every change, and
# so often besides: the library does not announce every lost connection.
RECONCILE_S = 1.0

# The joining door: one household at a time is normal, an assembly where eight
# join at once is the most; each exchange is two short messages and a person's
# confirmation on the administrator's side.
MAX_JOINING_CONNECTIONS = 8
JOINING_CONNECTIONS_PER_S = 0.5
JOINING_BURST = 10
JOINING_LIFETIME_S = 60.0

_log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True):
    """What tests and slow links set differently; everywhere else the defaults hold."""

    silence_limit_s: float = SILENCE_LIMIT_S
    drop_cooldown_s: float = DROP_COOLDOWN_S
    heartbeat_s: int = 1


class ListenError(Exception):
    """A listening address cannot be used; the text says which, why and what to do."""


@asynccontextmanager
async def open_libp2p(
    identity_seed: bytes,
    listen: Sequence[str],
    topics: Sequence[str] = (),
    *,
    limits: Limits = Limits(),  # noqa: B008  (immutable)
    rng: random.Random | None = None,
) -> "AsyncIterator[Libp2pTransport]":
    """Run a transport for as long as the block lasts.

    Args:
        identity_seed: the 32-byte seed of the device key.
        listen: multiaddrs such as /ip4/0.0.0.0/tcp/4001; port 0 picks a free one.
            An empty list dials only.
        topics: all gossip topics this node takes part in; none means no gossip.
        rng: for the jitter of dialling; seeded by tests.
    Raises:
        ListenError: before the block is entered. It, and what the block raises, may come in
            an exception group, as from a nursery.
    """
    key_pair = create_identity_from_seed(identity_seed)
    counters: Counter[str] = Counter()
    gate = Gate(trio.current_time)
    swarm = MemberSwarm(key_pair, gate, counters, silence_limit_s=limits.silence_limit_s)
    async with _running(swarm, gate, counters, listen, topics, limits, rng) as transport:
        yield transport


@asynccontextmanager
async def open_joining_listener(
    identity_seed: bytes,
    listen: Sequence[str],
    protocol: str,
    handler: StreamHandler,
    *,
    lifetime_s: float = JOINING_LIFETIME_S,
) -> "AsyncIterator[Libp2pTransport]":
    """Run a listener of its own that admits anybody, for one protocol.

    A connection is cut after lifetime_s, one stream per peer is served, and
    connections beyond `MAX_JOINING_CONNECTIONS` or faster than
    `JOINING_CONNECTIONS_PER_S` are refused. It has no gossip, dials nobody and
    shares nothing with the members' transport but the device key.
    """
    key_pair = create_identity_from_seed(identity_seed)
    counters: Counter[str] = Counter()
    gate = Gate(trio.current_time, anybody=True)
    budget = Bucket(JOINING_CONNECTIONS_PER_S, JOINING_BURST, trio.current_time)
    swarm = MemberSwarm(
        key_pair,
        gate,
        counters,
        silence_limit_s=SILENCE_LIMIT_S,
        max_connections=MAX_JOINING_CONNECTIONS,
        accept=lambda: budget.take_if_any(1),
        lifetime_s=lifetime_s,
    )
    async with _running(swarm, gate, counters, listen, (), Limits(), None) as transport:
        transport.handle(protocol, handler, max_streams_per_peer=1)
        yield transport


class Libp2pTransport:
    """The `Transport` over libp2p; made by `open_libp2p`."""

    def __init__(
        self,
        swarm: MemberSwarm,
        gate: Gate,
        counters: "Counter[str]",
        nursery: trio.Nursery,
        limits: Limits,
        topics: frozenset[str],
        rng: random.Random,
    ) -> None:
        self._swarm = swarm
        self._gate = gate
        self._counters = counters
        self._nursery = nursery
        self._limits = limits
        self._own_id = swarm.get_peer_id().to_base58()
        self._host = Host(swarm, gate, counters, nursery, self.drop)
        self._host.serve(IDENTIFY_PROTOCOL, identify_handler(self._host), 2)
        self._host.serve(PING_PROTOCOL, answer_ping, 2)
        self._dialler = Dialler(
            self._own_id,
            wanted=gate.admits,
            connected=self._is_connected,
            dial=self._dial,
            rng=rng,
        )
        self.router = MemberRouter(counters, limits.heartbeat_s)
        self.pubsub: MemberPubsub | None = None
        if topics:
            self.pubsub = MemberPubsub(self._host, self.router, topics, counters, gate.is_member, self._disconnect)
        # Peers that were announced as joined, and when.
        self._present: dict[PeerId, float] = {}
        self._watchers = Subscribers[PeerEvent](counters, "event dropped: consumer too slow")
        swarm.register_notifee(_Notifee(self._reconcile))

    @property
    def peer_id(self) -> PeerId:
        return self._own_id

    @property
    def addresses(self) -> list[str]:
        return [f"{read_address(str(addr)).dialable()}/p2p/{self._own_id}" for addr in self._host.get_addrs()]

    @property
    def counters(self) -> "Counter[str]":
        return self._counters

    def watch(self) -> "trio.MemoryReceiveChannel[PeerEvent]":
        present = [PeerEvent(peer, joined=True) for peer in sorted(self._present)]
        return self._watchers.channel(EVENT_CAPACITY, present)

    def handle(self, protocol: str, handler: StreamHandler, *, max_streams_per_peer: int) -> None:
        self._host.serve(protocol, handler, max_streams_per_peer)

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        return await self._host.open(peer, protocol)

    async def publish(self, topic: str, data: bytes) -> None:
        if len(data) > MAX_GOSSIP_BYTES:
            raise TooLarge(f"gossip message of {len(data)} bytes, the limit is {MAX_GOSSIP_BYTES}")
        await self._gossip().send(topic, data)

    def subscribe(self, topic: str, capacity: int) -> "trio.MemoryReceiveChannel[GossipMessage]":
        return self._gossip().channel(topic, capacity)

    def peers(self) -> list[PeerId]:
        return sorted(self._alive())

    def add_address(self, peer: PeerId, addrs: list[str]) -> None:
        for address in addrs:
            _parse_address(address, peer)
        self._dialler.add_address(peer, addrs)

    def admit(self, peers: frozenset[PeerId]) -> None:
        self._gate.admit(peers)
        self._enforce()
        self._dialler.wake()

    async def drop(self, peer: PeerId, reason: str) -> None:
        self._counters[f"dropped: {reason}"] += 1
        _log.info("peer %s dropped: %s", peer, reason)
        self._gate.refuse(peer, self._limits.drop_cooldown_s)
        await self._disconnect(peer)

    async def keep_watch(self) -> None:
        """Compare, once a second, what is connected with what should be."""
        while True:
            await trio.sleep(RECONCILE_S)
            self._enforce()
            self._reconcile()

    async def keep_dialling(self) -> None:
        await self._dialler.run()

    def _gossip(self) -> MemberPubsub:
        if self.pubsub is None:
            raise ValueError("this transport was opened without gossip topics")
        return self.pubsub

    def _alive(self) -> frozenset[PeerId]:
        alive = {muxed_of(conn).peer for conn in self._swarm.get_connections() if is_alive(conn)}
        return frozenset(peer for peer in alive if self._gate.admits(peer))

    def _is_connected(self, peer: PeerId) -> bool:
        return bool(self._swarm.live_connections(ID.from_base58(peer)))

    def _enforce(self) -> None:
        for conn in self._swarm.get_connections():
            muxed = muxed_of(conn)
            if muxed.alive and not self._gate.admits(muxed.peer):
                self._nursery.start_soon(self._swarm.cut, muxed.peer_id)
        self._reconcile()

    def _reconcile(self) -> None:
        alive, now = self._alive(), trio.current_time()
        for peer in sorted(self._present.keys() - alive):
            joined_at = self._present.pop(peer)
            self._watchers.tell(PeerEvent(peer, joined=False))
            self._dialler.lost(peer, lasted_s=now - joined_at)
            if self.pubsub is not None and not self._gate.is_member(peer):
                self.pubsub.forget(peer)
        for peer in sorted(alive - self._present.keys()):
            self._present[peer] = now
            self._watchers.tell(PeerEvent(peer, joined=True))

    async def _disconnect(self, peer: PeerId) -> None:
        await self._swarm.cut(ID.from_base58(peer))
        self._reconcile()

    async def _dial(self, peer: PeerId, address: str) -> bool:
        try:
            with trio.fail_after(DIAL_DEADLINE_S):
                await self._swarm.dial_addr(Multiaddr(address), ID.from_base58(peer))
        except (SwarmException, trio.TooSlowError) as error:
            self._counters["dial failed"] += 1
            _log.debug("dialling %s at %s: %r", peer, address, error)
            return False
        return True


class _Notifee(INotifee):
    """Tells the transport that connections came or went."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    async def connected(self, network: INetwork, conn: INetConn) -> None:
        self._changed()

    async def disconnected(self, network: INetwork, conn: INetConn) -> None:
        self._changed()

    async def opened_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def closed_stream(self, network: INetwork, stream: INetStream) -> None: ...

    async def listen(self, network: INetwork, multiaddr: Multiaddr) -> None: ...

    async def listen_close(self, network: INetwork, multiaddr: Multiaddr) -> None: ...


@asynccontextmanager
async def _running(
    swarm: MemberSwarm,
    gate: Gate,
    counters: "Counter[str]",
    listen: Sequence[str],
    topics: Sequence[str],
    limits: Limits,
    rng: random.Random | None,
) -> AsyncIterator[Libp2pTransport]:
    for address in listen:
        _check_port_is_free(address)
    async with trio.open_nursery() as nursery:
        transport = Libp2pTransport(swarm, gate, counters, nursery, limits, frozenset(topics), rng or random.Random())
        services = [_Service(swarm)]
        if transport.pubsub is not None:
            services += [_Service(transport.router), _Service(transport.pubsub)]
        for service in services:
            nursery.start_soon(service.run)
            await service.wait_started()
        try:
            for address in listen:
                if not await swarm.listen(Multiaddr(address)):
                    raise ListenError(f"cannot listen on {address}; is it an address of this computer?")
            if transport.pubsub is not None:
                await transport.pubsub.wait_until_ready()
                await transport.pubsub.join()
            nursery.start_soon(transport.keep_watch)
            nursery.start_soon(transport.keep_dialling)
            yield transport
        finally:
            with trio.CancelScope(shield=True):
                # Connections first: a service that stops while messages still
                # arrive trips over its own closed channels.
                gate.close()
                with trio.move_on_after(STOP_DEADLINE_S):
                    await swarm.shut()
                for service in reversed(services):
                    await service.stop()
                if transport.pubsub is not None:
                    await trio.to_thread.run_sync(transport.pubsub.seen_messages.stop)
            nursery.cancel_scope.cancel()


class _Service:
    """One of the library's services under its task manager."""

    def __init__(self, service: object) -> None:
        self._manager = TrioManager(service)  # type: ignore[arg-type]
        self._stopping = False

    async def wait_started(self) -> None:
        await self._manager.wait_started()

    async def run(self) -> None:
        try:
            await self._manager.run()
        except Exception:
            # While running this is a bug that must end the node; while stopping
            # it is a task that lost the race against its own channel.
            if not self._stopping:
                raise
            _log.warning("a libp2p service failed while it was stopped", exc_info=True)

    async def stop(self) -> None:
        self._stopping = True
        self._manager.cancel()
        with trio.move_on_after(STOP_DEADLINE_S):
            await self._manager.wait_finished()


def _parse_address(address: str, peer: PeerId) -> None:
    try:
        named = Multiaddr(address).get_peer_id()
    except (MultiaddrError, ValueError) as error:
        raise ValueError(f"address {address!r}: {error}; expected one like /ip4/192.0.2.7/tcp/4001") from error
    if named not in (None, peer):
        raise ValueError(f"address {address!r} names {named}, not {peer}")


def _check_port_is_free(address: str) -> None:
    """The library binds with SO_REUSEPORT: two nodes on one port would share its connections."""
    try:
        maddr = Multiaddr(address)
        protocols = [protocol.name for protocol in maddr.protocols()]
        if protocols not in (["ip4", "tcp"], ["ip6", "tcp"]):
            raise ValueError("neither /ip4/.../tcp/... nor /ip6/.../tcp/...")
        host, port = maddr.value_for_protocol(protocols[0]), int(maddr.value_for_protocol("tcp") or 0)
    except (MultiaddrError, ValueError) as error:
        raise ListenError(f"listening address {address!r}: {error}; try /ip4/0.0.0.0/tcp/4001") from error
    family = socket.AF_INET if protocols[0] == "ip4" else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ListenError(
                f"cannot listen on {address}: {error.strerror}; stop the other program or choose another port"
            ) from error
