"""The swarm: this node's connections, and the streams that arrive on them.

`MemberSwarm` replaces those parts of the library's swarm that a small closed
network does not want: dialling whoever is known, pruning by watermarks, and an
inbound slot that stays taken for ever once a connection has used it. `Host` is
what the library's pubsub needs of a host; it is also where every inbound
stream is judged and every error of a handler ends.
"""

import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.abc import INetConn, INetStream
from libp2p.crypto.keys import KeyPair, PrivateKey, PublicKey
from libp2p.custom_types import TProtocol
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.io.trio import TrioTCPStream
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError
from multiaddr import Multiaddr  # type: ignore[import-untyped]

from meshnode.network import endpoint, multistream
from meshnode.network.gate import Gate
from meshnode.network.muxer import BoundedYamux
from meshnode.network.streams import Libp2pStream
from meshnode.network.transport import (
    DIAL_DEADLINE_S,
    OPEN_DEADLINE_S,
    DialError,
    PeerId,
    StreamHandler,
)
from meshnode.network.upgrade import MemberUpgrader
from meshnode.network.wire import GuardedSocket, GuardedTCP

# Handshakes in progress with strangers. A power cut brings a whole community
# back at once, and each needs 10-50 ms of a Pi; who finds no slot dials again.
MAX_HANDSHAKES = 64

# Each member has one connection, two while both sides dial; a few more than
# the largest community (100 homes) so that the bound is never met in peace.
MAX_CONNECTIONS = 256
MAX_CONNECTIONS_PER_PEER = 2

# All protocols of one peer together use about ten streams.
MAX_INBOUND_STREAMS_PER_PEER = 64

# A stream whose protocol is not agreed by then is a half-open one.
NEGOTIATE_DEADLINE_S = 5.0

_STREAM_ENDED = (MuxedStreamEOF, MuxedStreamError, IOException, RawConnError)

_log = logging.getLogger(__name__)


class MemberSwarm(Swarm):
    """Connections over TCP, noise and yamux, with admitted peers only."""

    def __init__(
        self,
        key_pair: KeyPair,
        gate: Gate,
        counters: "Counter[str]",
        *,
        silence_limit_s: float,
        max_connections: int = MAX_CONNECTIONS,
        accept: Callable[[], bool] = lambda: True,
        lifetime_s: float = math.inf,
    ) -> None:
        peerstore = PeerStore()
        own_id = ID.from_pubkey(key_pair.public_key)
        peerstore.add_key_pair(own_id, key_pair)
        super().__init__(
            own_id,
            peerstore,
            MemberUpgrader(key_pair, gate, counters, silence_limit_s),
            transports=[GuardedTCP()],
            # The dialler decides when to try again, not the swarm.
            retry_config=RetryConfig(max_retries=0),
            connection_config=ConnectionConfig(
                max_connections=max_connections,
                min_connections=0,
                low_watermark=0,
                high_watermark=max_connections,
                # Counted here instead: the library lets a peer exceed it for 20 s.
                max_connections_per_peer=max_connections,
                inbound_upgrade_timeout=DIAL_DEADLINE_S,
                outbound_upgrade_timeout=DIAL_DEADLINE_S,
            ),
        )
        self._counters = counters
        self._max_connections = max_connections
        self._accept = accept
        self._lifetime_s = lifetime_s
        self._handshakes = 0

    async def run(self) -> None:
        # In place of the library's: no pruner and no auto-connector, which
        # would dial whatever the peer store holds.
        async with trio.open_nursery() as nursery:
            self.background_nursery = nursery
            self.event_background_nursery_created.set()
            await self.manager.wait_finished()

    def _schedule_auto_connect(self) -> None:
        """The dialler alone decides whom to dial."""

    async def _handle_inbound_connection(self, read_write_closer: ReadWriteCloser, maddr: Multiaddr) -> None:
        assert isinstance(read_write_closer, TrioTCPStream)
        guard = GuardedSocket(read_write_closer)
        # Who shakes hands takes a place already: else the bound is only met once it is passed.
        places = self._handshakes + self.get_total_connections()
        full = self._handshakes >= MAX_HANDSHAKES or places >= self._max_connections
        if full or not self._accept():
            self._counters["refused inbound: " + ("no room" if full else "too many in a short time")] += 1
            await guard.abort()
            return
        self._handshakes += 1
        try:
            muxed = await self.upgrade_inbound_raw_conn(RawConnection(guard, False), maddr)
        except Exception as error:
            # Anything a stranger can provoke: a broken handshake, a refused key,
            # a deadline. The reason of a refusal is counted where it is found.
            self._counters["handshake failed"] += 1
            _log.debug("inbound connection from %s: %r", guard.get_remote_address(), error)
            await guard.abort()
            return
        finally:
            self._handshakes -= 1
        assert isinstance(muxed, BoundedYamux)
        await self._cut_surplus(muxed.peer_id)
        # The socket lives as long as this task.
        with trio.move_on_after(self._lifetime_s) as lifetime:
            await muxed.event_closed.wait()
        if lifetime.cancelled_caught:
            self._counters["connection cut: took too long"] += 1
            await guard.abort()

    async def _cut_surplus(self, peer: ID) -> None:
        for conn in self.live_connections(peer)[:-MAX_CONNECTIONS_PER_PEER]:
            self._counters["connection cut: one too many"] += 1
            await muxed_of(conn).guard.abort()

    def live_connections(self, peer: ID) -> list[SwarmConn]:
        """Connections to peer that can carry a stream now, the oldest first."""
        return [conn for conn in self.connections.get(peer, []) if is_alive(conn)]  # type: ignore[misc]

    async def cut(self, peer: ID) -> None:
        """End all connections to peer at once; the bookkeeping follows by itself."""
        for conn in list(self.connections.get(peer, [])):
            await muxed_of(conn).guard.abort()

    async def shut(self) -> None:
        """Stop listening and end every connection, so that nothing arrives while services stop."""
        for listener in list(self.listeners.values()):
            await listener.close()
        self.listeners.clear()
        ending = [muxed_of(conn) for conn in self.get_connections()]
        for peer in list(self.connections):
            await self.cut(peer)
        for muxed in ending:
            # By then all who wait for a byte of it have been told.
            await muxed.event_closed.wait()


def muxed_of(conn: INetConn) -> BoundedYamux:
    """The muxer of a connection; `MemberUpgrader` makes no other kind."""
    assert isinstance(conn.muxed_conn, BoundedYamux)
    return conn.muxed_conn


def is_alive(conn: INetConn) -> bool:
    """Whether the connection can carry a stream now."""
    return muxed_of(conn).alive and not conn.is_closed


class Host:
    """One node on the network: opens streams, answers streams, drops those who break the rules.

    The methods from `get_id` on are what the library's pubsub calls.
    """

    def __init__(
        self,
        swarm: MemberSwarm,
        gate: Gate,
        counters: "Counter[str]",
        nursery: trio.Nursery,
        on_misbehaviour: Callable[[PeerId, str], Awaitable[None]],
    ) -> None:
        self._swarm = swarm
        self._gate = gate
        self._counters = counters
        self._nursery = nursery
        self._on_misbehaviour = on_misbehaviour
        self._handlers: dict[str, tuple[StreamHandler, int]] = {}
        self._inbound: Counter[PeerId] = Counter()
        self._inbound_of: Counter[tuple[PeerId, str]] = Counter()
        swarm.set_stream_handler(self._on_stream)

    @property
    def protocols(self) -> list[str]:
        return list(self._handlers)

    def serve(self, protocol: str, handler: StreamHandler, max_streams_per_peer: int) -> None:
        """Answer protocol with handler; see `Transport.handle`."""
        if protocol in self._handlers:
            raise ValueError(f"protocol {protocol} has a handler already")
        self._handlers[protocol] = (handler, max_streams_per_peer)

    async def open(self, peer: PeerId, protocol: str) -> Libp2pStream:
        """Open a stream on a live connection; see `Transport.open_stream`."""
        if not self._gate.admits(peer):
            raise DialError(f"{protocol} with {peer}: the peer is not admitted")
        try:
            net = await self._open([protocol], ID.from_base58(peer))
        except (SwarmException, multistream.NegotiationFailed) as error:
            raise DialError(f"{protocol} with {peer}: {error}") from error
        return Libp2pStream(net, peer, protocol, self._gate, self._linger)

    async def _open(self, protocols: list[str], peer: ID) -> NetStream:
        connections = self._swarm.live_connections(peer)
        if not connections:
            raise SwarmException("not connected")
        net: NetStream | None = None
        agreed = False
        try:
            with trio.fail_after(OPEN_DEADLINE_S):
                # The newest: of two, the older may be one whose end is not noticed yet.
                net = await connections[-1].new_stream()
                protocol = await multistream.ask(net.muxed_stream, protocols)
                net.set_protocol(TProtocol(protocol))
                agreed = True
                return net
        except trio.TooSlowError as error:
            raise SwarmException(f"no stream within {OPEN_DEADLINE_S} s") from error
        except _STREAM_ENDED as error:
            raise SwarmException(f"the stream broke: {error}") from error
        finally:
            if net is not None and not agreed:
                with trio.CancelScope(shield=True):
                    await net.reset()

    def _linger(self, stream: Libp2pStream) -> None:
        self._nursery.start_soon(stream.finish)

    async def _on_stream(self, net: INetStream) -> None:
        assert isinstance(net, NetStream)
        assert isinstance(net.muxed_conn, BoundedYamux)
        peer = net.muxed_conn.peer
        if self._inbound[peer] >= MAX_INBOUND_STREAMS_PER_PEER:
            self._counters["stream refused: too many"] += 1
            await net.reset()
            return
        self._inbound[peer] += 1
        try:
            await self._negotiate_and_serve(net, peer)
        except Exception:
            # Nothing a stream does may reach the library's task manager, which
            # would stop the node.
            self._counters["stream failed"] += 1
            _log.exception("stream of %s failed", peer)
            await net.reset()
        finally:
            _count_down(self._inbound, peer)

    async def _negotiate_and_serve(self, net: NetStream, peer: PeerId) -> None:
        try:
            with trio.fail_after(NEGOTIATE_DEADLINE_S):
                protocol = await multistream.answer(net.muxed_stream, self._handlers)
        except (trio.TooSlowError, multistream.NegotiationFailed, *_STREAM_ENDED) as error:
            self._counters["stream refused: no common protocol"] += 1
            _log.debug("stream of %s: %r", peer, error)
            await net.reset()
            return
        handler, max_streams = self._handlers[protocol]
        if self._inbound_of[peer, protocol] >= max_streams:
            self._counters["stream refused: too many"] += 1
            await net.reset()
            return
        net.set_protocol(TProtocol(protocol))
        self._inbound_of[peer, protocol] += 1
        try:
            await self._serve(Libp2pStream(net, peer, protocol, self._gate, lambda stream: None), handler)
        finally:
            _count_down(self._inbound_of, (peer, protocol))

    async def _serve(self, stream: Libp2pStream, handler: StreamHandler) -> None:
        if await endpoint.serve(stream, handler, self._counters, self._on_misbehaviour):
            # The slot stays taken until the peer ended its side too.
            await stream.finish()

    # What the library's pubsub calls.

    def get_id(self) -> ID:
        return self._swarm.get_peer_id()

    def get_network(self) -> MemberSwarm:
        return self._swarm

    def get_peerstore(self) -> Any:
        return self._swarm.peerstore

    def get_private_key(self) -> PrivateKey:
        return self._swarm.peerstore.privkey(self.get_id())

    def get_public_key(self) -> PublicKey:
        return self._swarm.peerstore.pubkey(self.get_id())

    def get_addrs(self) -> list[Multiaddr]:
        return [addr for listener in self._swarm.listeners.values() for addr in listener.get_addrs()]

    def set_stream_handler(self, protocol_id: TProtocol, stream_handler: object) -> None:
        """Pubsub registers itself here when it is made; `serve` does it with a limit afterwards."""

    async def new_stream(self, peer_id: ID, protocol_ids: tuple[TProtocol, ...]) -> INetStream:
        return await self._open([str(protocol) for protocol in protocol_ids], peer_id)


def _count_down(counts: "Counter[Any]", key: Any) -> None:
    counts[key] -= 1
    if counts[key] <= 0:
        del counts[key]
