"""Pubsub: GossipSub 1.1 that a peer can neither stop, fill, nor flood.

The library keeps the mesh (who forwards to whom) and speaks the control
messages. This module reads what peers send - with limits, inline, so that a
peer that sends faster than we work waits in its own send window - verifies it,
delivers it and paces what we send. Anything that no honest peer sends raises
`Misbehaved`, which drops the peer.

Not used here: the library's validators, peer scores, message-rate limits that
drop silently, and signed sender records in every message (a second signature
to make and check for addresses that nobody reads).
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import nacl.exceptions
import nacl.signing
import trio

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from google.protobuf.message import DecodeError
from libp2p.abc import IHost, INetStream
from libp2p.custom_types import TProtocol
from libp2p.io.exceptions import IOException
from libp2p.network.connection.exceptions import RawConnError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import OutBoundQueueSize, RpcQueue
from libp2p.stream_muxer.exceptions import MuxedStreamError

from meshnode.network.bucket import Bucket
from meshnode.network.multistream import encode_varint
from meshnode.network.subscribers import Subscribers
from meshnode.network.swarm import Host
from meshnode.network.transport import (
    MAX_GOSSIP_BYTES,
    SEND_DEADLINE_S,
    GossipMessage,
    Misbehaved,
    PeerId,
    Stream,
    peer_id_from_bytes,
    public_key_of,
)

PROTOCOLS = (PROTOCOL_ID_V11, PROTOCOL_ID)

# One stream per peer and direction; the second is for the moment in which a
# peer replaces its first.
MAX_STREAMS_PER_PEER = 2

# What other implementations may send at most (go-libp2p's default).
MAX_RPC_BYTES = 1024 * 1024

# We know a handful of topics; a peer of another kind may have some dozens.
MAX_SUBSCRIPTIONS_PER_RPC = 256

# Control entries worth answering in one frame. The message cache holds about
# five seconds of traffic; what lies beyond is asked for by anti-entropy.
MAX_CONTROL_IDS = 512
MAX_CONTROL_ENTRIES = 64

# Per peer: bytes plus a price per entry, because every entry is work however
# small it is. 350 small messages a second, or thirty full batches, is several
# times the traffic of a hundred homes with live readings, should all of it come
# through one peer.
GOSSIP_UNITS_PER_S = 512 * 1024
GOSSIP_BURST_UNITS = 4 * 1024 * 1024
ENTRY_UNITS = 512

# Longer than this in one go, and yamux at the other end gives the write up: it waits 5 s for a window.
MAX_SLOWING_S = 4.0

# A queue this full makes the publisher wait, so that control messages still
# find room before the library's limit, at which it drops.
PACE_DEPTH = OutBoundQueueSize // 2
assert PACE_DEPTH >= 8

# A peer that does not make room by then is slow: nobody waits for it again
# before it does, and what does not fit its queue is dropped and counted.
PACE_DEADLINE_S = 0.25

# A message is offered again for five heartbeats, and is known again by its
# number for so long. At the rate above one peer can fill 5 MB with numbers.
SEEN_S = 60

# Several queued messages leave in one write.
MAX_COALESCED_BYTES = 32 * 1024

# A small mesh: with up to ten nodes three links reach everybody in two hops.
DEGREE, DEGREE_LOW, DEGREE_HIGH = 3, 2, 4

_SIGNING_PREFIX = b"libp2p-pubsub:"
_SEQNO_BYTES = 8
_BROKEN = (MuxedStreamError, IOException, RawConnError, trio.TooSlowError)

_log = logging.getLogger(__name__)


class MemberRouter(GossipSub):
    """The library's mesh, with our own way of sending."""

    def __init__(self, counters: "Counter[str]", heartbeat_s: int) -> None:
        super().__init__(
            protocols=[TProtocol(protocol) for protocol in PROTOCOLS],
            degree=DEGREE,
            degree_low=DEGREE_LOW,
            degree_high=DEGREE_HIGH,
            heartbeat_interval=heartbeat_s,
            do_px=False,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            # It counts peers by IP address; neighbours share one.
            eclipse_protection_enabled=False,
        )
        # Peers are members: who misbehaves is dropped, nobody is scored.
        self.scorer = None
        self._counters = counters

    def targets(self, topic: str, forwarder: ID, origin: ID) -> list[ID]:
        """Whom to send a message of topic to: the mesh, filled up while it is still forming."""
        assert self.pubsub is not None
        mesh = self.mesh.get(topic, set()) - {forwarder, origin}
        missing = DEGREE_LOW - len(mesh)
        if missing <= 0 or forwarder != self.pubsub.my_id:
            return list(mesh)
        others = [p for p in self.pubsub.peer_topics.get(topic, ()) if p not in mesh and p != origin]
        return [*mesh, *random.sample(others, min(missing, len(others)))]

    async def publish(self, msg_forwarder: ID, pubsub_msg: rpc_pb2.Message) -> None:
        self.mcache.put(pubsub_msg)
        for peer in self.targets(pubsub_msg.topicIDs[0], msg_forwarder, ID(pubsub_msg.from_id)):
            self._push(peer, rpc_pb2.RPC(publish=[pubsub_msg]))

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        for message_id in self.mcache.window(topic):
            message = self.mcache.get(message_id)
            if message is not None:
                self._push(peer_id, rpc_pb2.RPC(publish=[message]))

    async def emit_control_message(self, control_msg: rpc_pb2.ControlMessage, to_peer: ID) -> None:
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    async def _emit_control_msgs(
        self,
        peers_to_graft: dict[ID, list[str]],
        peers_to_prune: dict[ID, list[str]],
        peers_to_gossip: dict[ID, dict[str, list[bytes]]],
    ) -> None:
        # The library's sends each peer also what was meant for the peers before it.
        for peer in {**peers_to_graft, **peers_to_prune, **peers_to_gossip}:
            control = rpc_pb2.ControlMessage(
                graft=[rpc_pb2.ControlGraft(topicID=topic) for topic in peers_to_graft.get(peer, [])],
                prune=[
                    rpc_pb2.ControlPrune(topicID=topic, backoff=self.prune_back_off)
                    for topic in peers_to_prune.get(peer, [])
                ],
                ihave=[
                    rpc_pb2.ControlIHave(topicID=topic, messageIDs=ids[-MAX_CONTROL_IDS:])
                    for topic, ids in peers_to_gossip.get(peer, {}).items()
                ],
            )
            await self.emit_control_message(control, peer)

    def _push(self, peer: ID, rpc: rpc_pb2.RPC) -> None:
        assert self.pubsub is not None
        queue = self.pubsub.peer_queues.get(peer)
        if queue is None or not queue.push(rpc):
            self._counters["gossip dropped: peer too slow"] += 1


class MemberPubsub(Pubsub):
    """Reads, verifies, delivers and paces the messages of a fixed set of topics."""

    def __init__(
        self,
        host: Host,
        router: MemberRouter,
        topics: frozenset[str],
        counters: "Counter[str]",
        is_member: Callable[[PeerId], bool],
        disconnect: Callable[[PeerId], Awaitable[None]],
    ) -> None:
        super().__init__(cast(IHost, host), router, seen_ttl=SEEN_S, sweep_interval=SEEN_S // 4, allowed_topics=topics)
        self._mesh = router
        self._topics = topics
        self._counters = counters
        self._is_member = is_member
        self._disconnect = disconnect
        # Peers know our messages by this number; after a restart it must not
        # begin again where it began before.
        self.counter = time.time_ns()
        self._signing_key = nacl.signing.SigningKey(host.get_private_key().to_bytes()[:32])
        self._own_id = self.my_id.to_bytes()
        self._subscribers = {
            topic: Subscribers[GossipMessage](counters, "gossip dropped: subscriber too slow") for topic in topics
        }
        self._budgets: dict[PeerId, Bucket] = {}
        self._write_locks: dict[ID, trio.Lock] = {}
        # Set and replaced whenever a queue was written out.
        self._room = trio.Event()
        # Peers that nobody waits for until their queue has room again.
        self._slow: set[ID] = set()
        for protocol in PROTOCOLS:
            host.serve(str(protocol), self.serve_stream, MAX_STREAMS_PER_PEER)

    async def join(self) -> None:
        """Announce all topics. Every node relays every topic of its chains."""
        for topic in sorted(self._topics):
            await self.subscribe(topic)

    def channel(self, topic: str, capacity: int) -> "trio.MemoryReceiveChannel[GossipMessage]":
        """See `Transport.subscribe`."""
        self._check_topic(topic)
        return self._subscribers[topic].channel(capacity)

    async def send(self, topic: str, data: bytes) -> None:
        """See `Transport.publish`."""
        self._check_topic(topic)
        full: list[ID] = []
        with trio.move_on_after(PACE_DEADLINE_S) as pace:
            while full := self._full_queues(topic):
                await self._room.wait()
        if pace.cancelled_caught:
            self._slow.update(full)
        message = rpc_pb2.Message(data=data, topicIDs=[topic], from_id=self._own_id, seqno=self._next_seqno())
        message.signature = self._signing_key.sign(_SIGNING_PREFIX + message.SerializeToString()).signature
        self._mark_msg_seen(message)
        await self._mesh.publish(self.my_id, message)
        await trio.lowlevel.checkpoint()

    async def serve_stream(self, stream: Stream) -> None:
        """Process what a peer sends, until its stream ends."""
        budget = self._budgets.setdefault(
            stream.peer, Bucket(GOSSIP_UNITS_PER_S, GOSSIP_BURST_UNITS, trio.current_time)
        )
        buffer = bytearray()
        while True:
            frame = await _next_frame(stream, buffer)
            if frame is None:
                return
            rpc = _parse(frame)
            wait_s = budget.take(len(frame) + ENTRY_UNITS * _entries(rpc))
            if wait_s > 0:
                self._counters["gossip slowed"] += 1
                await trio.sleep(min(wait_s, MAX_SLOWING_S))
            await self._process(stream.peer, rpc)

    def forget(self, peer: PeerId) -> None:
        """A peer left for good; its budget begins anew when it comes back."""
        self._budgets.pop(peer, None)
        self._write_locks.pop(ID.from_base58(peer), None)

    async def _process(self, peer: PeerId, rpc: rpc_pb2.RPC) -> None:
        sender = ID.from_base58(peer)
        if len(rpc.subscriptions) > MAX_SUBSCRIPTIONS_PER_RPC:
            raise Misbehaved("gossip: too many subscriptions in one frame")
        for subscription in rpc.subscriptions:
            if subscription.topicid in self._topics:
                self.handle_subscription(sender, subscription)
            else:
                self._counters["gossip: foreign topic"] += 1
        for message in rpc.publish:
            await self._receive(peer, sender, message)
        if rpc.HasField("control"):
            control = _within_limits(rpc.control, self._topics)
            await self._mesh.handle_rpc(rpc_pb2.RPC(control=control), sender)

    async def _receive(self, peer: PeerId, sender: ID, message: rpc_pb2.Message) -> None:
        if len(message.topicIDs) != 1 or message.topicIDs[0] not in self._topics:
            self._counters["gossip: foreign topic"] += 1
            return
        if len(message.data) > MAX_GOSSIP_BYTES:
            raise Misbehaved("gossip: message too large")
        if len(message.seqno) != _SEQNO_BYTES:
            raise Misbehaved("gossip: malformed message")
        if self._is_msg_seen(message) or message.from_id == self._own_id:
            return
        origin = _origin(message)
        if not self._is_member(origin):
            # Not the fault of the sender: its view of the members may be older.
            self._counters["gossip: written by a non-member"] += 1
            return
        _verify(message, origin)
        self._mark_msg_seen(message)
        self._subscribers[message.topicIDs[0]].tell(GossipMessage(peer, message.data, origin))
        await self._mesh.publish(sender, message)

    def _check_topic(self, topic: str) -> None:
        if topic not in self._topics:
            raise ValueError(f"topic {topic!r} is not one of those the transport was opened with")

    def _full_queues(self, topic: str) -> list[ID]:
        peers = self._mesh.mesh.get(topic, set()) - self._slow
        return [peer for peer in peers if len(self.peer_queues.get(peer, ())) >= PACE_DEPTH]

    # What the library calls.

    def get_hello_packet(self) -> rpc_pb2.RPC:
        return rpc_pb2.RPC(
            subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic) for topic in self.topic_ids]
        )

    def _build_announce_rpc(self, topic_id: str, subscribe: bool) -> tuple[rpc_pb2.RPC, rpc_pb2.RPC.SubOpts]:
        announcement = rpc_pb2.RPC.SubOpts(subscribe=subscribe, topicid=topic_id)
        return rpc_pb2.RPC(subscriptions=[announcement]), announcement

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        return await self._write(stream, _frame(rpc_msg))

    async def handle_sending_messages(self, peer_id: ID, stream: INetStream, queue: RpcQueue) -> None:
        while (rpc := await queue.pop()) is not None:
            data = _frame(rpc)
            while len(queue) > 0 and len(data) < MAX_COALESCED_BYTES:
                more = await queue.pop()
                if more is not None:
                    data += _frame(more)
            if not await self._write(stream, data):
                break
            if len(queue) < PACE_DEPTH:
                self._slow.discard(peer_id)
            self._room.set()
            self._room = trio.Event()
        self._slow.discard(peer_id)

    async def _write(self, stream: INetStream, data: bytes) -> bool:
        assert isinstance(stream, NetStream)
        peer = stream.muxed_conn.peer_id
        lock = self._write_locks.setdefault(peer, trio.Lock())
        try:
            with trio.fail_after(SEND_DEADLINE_S):
                async with lock:
                    await stream.muxed_stream.write(data)
        except _BROKEN as error:
            # Half a frame may be out, and a peer that lost its stream to us
            # does not say again what it subscribes to: begin from scratch.
            self._counters["gossip stream broke"] += 1
            _log.debug("gossip stream to %s: %r", peer, error)
            await self._disconnect(peer.to_base58())
            return False
        return True


async def _next_frame(stream: Stream, buffer: bytearray) -> bytes | None:
    """Cut the next varint-prefixed frame out of the stream; None at its clean end."""
    while True:
        header = _frame_header(buffer)
        if header is not None:
            begin, length = header
            if length > MAX_RPC_BYTES:
                raise Misbehaved("gossip: frame too large")
            if len(buffer) >= begin + length:
                frame = bytes(buffer[begin : begin + length])
                del buffer[: begin + length]
                return frame
        data = await stream.receive_some(64 * 1024)
        if not data:
            if buffer:
                raise Misbehaved("gossip: stream ends inside a frame")
            return None
        buffer += data


def _frame_header(buffer: bytearray) -> tuple[int, int] | None:
    length = 0
    for position, byte in enumerate(buffer[:4]):
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            return position + 1, length
    if len(buffer) >= 4:
        raise Misbehaved("gossip: frame too large")  # four bytes hold 256 MiB
    return None


def _frame(rpc: rpc_pb2.RPC) -> bytes:
    body: bytes = rpc.SerializeToString()
    return encode_varint(len(body)) + body


def _parse(frame: bytes) -> rpc_pb2.RPC:
    try:
        return rpc_pb2.RPC.FromString(frame)
    except DecodeError:
        raise Misbehaved("gossip: malformed frame") from None


def _entries(rpc: rpc_pb2.RPC) -> int:
    control = rpc.control
    ids = sum(len(ihave.messageIDs) for ihave in control.ihave)
    ids += sum(len(iwant.messageIDs) for iwant in control.iwant)
    topics = len(rpc.subscriptions) + len(control.graft) + len(control.prune)
    # An id is a look into a table; a message or a topic is real work.
    return 1 + len(rpc.publish) + topics + ids // 8


def _within_limits(control: rpc_pb2.ControlMessage, topics: frozenset[str]) -> rpc_pb2.ControlMessage:
    """The part of a control message worth answering; the library keeps notes per topic it is told of."""

    def known(entries: Iterable[Any]) -> list[Any]:
        return [entry for entry in entries if entry.topicID in topics][:MAX_CONTROL_ENTRIES]

    wanted = {message_id for entry in control.iwant for message_id in entry.messageIDs}
    return rpc_pb2.ControlMessage(
        ihave=[
            rpc_pb2.ControlIHave(topicID=entry.topicID, messageIDs=entry.messageIDs[:MAX_CONTROL_IDS])
            for entry in known(control.ihave)
        ],
        iwant=[rpc_pb2.ControlIWant(messageIDs=sorted(wanted)[:MAX_CONTROL_IDS])] if wanted else [],
        graft=known(control.graft),
        # Without the peers that a PRUNE may recommend: addresses come from the
        # ledger and the invitation, not from hearsay.
        prune=[
            rpc_pb2.ControlPrune(topicID=entry.topicID, backoff=min(entry.backoff, 3600))
            for entry in known(control.prune)
        ],
    )


def _origin(message: rpc_pb2.Message) -> PeerId:
    try:
        return peer_id_from_bytes(message.from_id)
    except ValueError:
        raise Misbehaved("gossip: garbage key") from None


def _verify(message: rpc_pb2.Message, origin: PeerId) -> None:
    """The key is in the sender's id; a key sent beside it must be the same one."""
    public_key = public_key_of(origin)
    if message.key and message.key[-len(public_key) :] != public_key:
        raise Misbehaved("gossip: garbage key")
    signed = rpc_pb2.Message(data=message.data, topicIDs=message.topicIDs, from_id=message.from_id, seqno=message.seqno)
    try:
        nacl.signing.VerifyKey(public_key).verify(_SIGNING_PREFIX + signed.SerializeToString(), message.signature)
    except (nacl.exceptions.BadSignatureError, ValueError):
        raise Misbehaved("gossip: bad signature") from None
