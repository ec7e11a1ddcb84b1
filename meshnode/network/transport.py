"""Transport: how a node reaches its peers, whatever carries the bytes.

Services (gossip, consensus, catch-up) know this module only. `libp2p.py`
implements it over TCP, `memory.py` inside one process for tests. A peer is
named by the libp2p peer id of its Ed25519 device key, so that the key that
signs records is also the key that a connection is checked against.

What every implementation promises:

- only admitted peers are connected; a change of the admitted set holds at once;
- every operation has a deadline; no call waits for a peer for ever;
- a stream ends clean (`b""`) only when the other side closed it after its last
  byte; everything else is `StreamReset`;
- what a peer sends can get that peer dropped, never stop the node;
- nothing is lost silently: what is refused or dropped is counted by reason.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import msgspec
import trio

# Batches are 4-16 KiB; 128 KiB leaves room for a block announcement and stays
# far below the 1 MiB above which py-libp2p loses a message without a word.
MAX_GOSSIP_BYTES = 128 * 1024

# The receive window of one stream: what a peer can make us hold per stream
# before it has to wait for our reader. A LAN round trip of 5 ms still gives 50 MB/s.
STREAM_WINDOW_BYTES = 256 * 1024

# A dial over a local network takes milliseconds; 5 s cover a slow Pi under load.
DIAL_DEADLINE_S = 5.0

# Opening a stream is one round trip on a live connection.
OPEN_DEADLINE_S = 5.0

# A reader that takes nothing for so long is not coming back.
SEND_DEADLINE_S = 10.0

# A dropped peer may be an honest one with a bug: back after ten minutes.
DROP_COOLDOWN_S = 600.0

# One event per connection change; a consumer that is this far behind has
# stopped reading and compares with `peers()` when it comes back.
EVENT_CAPACITY = 1024

# The reason counted for an error nobody foresaw: our bug, or a peer that found one.
HANDLER_RAISED = "handler raised"

PeerId: TypeAlias = str


class TransportError(Exception):
    """Something the network did; never a mistake of the caller."""


class StreamClosed(TransportError):
    """The stream was closed on this side and is used again."""


class StreamReset(TransportError):
    """The stream broke: reset, connection lost, deadline passed, peer no longer admitted."""


class DialError(TransportError):
    """No stream to this peer could be opened."""


class TooLarge(TransportError):
    """A gossip message is above `MAX_GOSSIP_BYTES`; it was not sent."""


class Misbehaved(Exception):
    """Raised by a stream handler to have its peer dropped.

    The text is the counted reason: a fixed one, without anything the peer sent.
    """


def reason_to_drop(error: Exception) -> str | None:
    """What an error that ended a stream handler says about the peer.

    Returns None if only the stream broke: a reset, a lost connection or a
    passed deadline, alone or in the exception group of a nursery.
    """
    if isinstance(error, ExceptionGroup):
        reasons = [reason for inner in error.exceptions if (reason := reason_to_drop(inner)) is not None]
        return min(reasons, key=lambda reason: reason == HANDLER_RAISED, default=None)
    if isinstance(error, Misbehaved):
        return str(error)
    if isinstance(error, StreamReset | StreamClosed | trio.TooSlowError):
        return None
    return HANDLER_RAISED


class GossipMessage(msgspec.Struct, frozen=True):
    """One message of a topic.

    Attributes:
        peer: who delivered it to us. Messages are passed on before services look into
            them, so what they say is not this peer's fault.
        author: who wrote and signed it, a member; answers for what it says.
    """

    peer: PeerId
    data: bytes
    author: PeerId


class PeerEvent(msgspec.Struct, frozen=True):
    """A peer joined (connected and alive) or left."""

    peer: PeerId
    joined: bool


class Stream(Protocol):
    """An ordered, reliable byte stream with one peer. One reader and one writer at a time."""

    @property
    def peer(self) -> PeerId: ...

    @property
    def protocol(self) -> str: ...

    async def send_all(self, data: bytes) -> None:
        """Send all of data, waiting while the peer's window is full.

        Raises StreamReset if the stream broke or `SEND_DEADLINE_S` passed,
        StreamClosed after `aclose`. Cancellation resets the stream: part of
        the data may have been sent.
        """

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return 1 to max_bytes bytes, or b"" at the clean end.

        Has no deadline of its own: long-lived streams are idle for hours, and
        a dead peer ends them within seconds. A request has one around it.
        Raises StreamReset, StreamClosed.
        """

    async def aclose(self) -> None:
        """Say that no more bytes come, and stop using the stream. Never raises."""

    async def reset(self) -> None:
        """Give the stream up at once, both ways; the peer sees StreamReset. Never raises."""


StreamHandler: TypeAlias = Callable[[Stream], Awaitable[None]]


class Transport(Protocol):
    """One node's connections to its peers."""

    @property
    def peer_id(self) -> PeerId: ...

    @property
    def addresses(self) -> list[str]:
        """Multiaddrs that others can dial, each ending in /p2p/<peer id>."""

    @property
    def counters(self) -> "Counter[str]":
        """What was refused, dropped, slowed or broken, by reason. Only ever grows."""

    def watch(self) -> "trio.MemoryReceiveChannel[PeerEvent]":
        """Peers joining and leaving, for one consumer, who closes it; those present now come first as joined."""

    def handle(self, protocol: str, handler: StreamHandler, *, max_streams_per_peer: int) -> None:
        """Serve protocol with handler, one task per inbound stream.

        Streams above max_streams_per_peer are reset and counted. When the
        handler returns, the stream is closed; when it raises, the stream is
        reset, and unless only the stream broke (see `reason_to_drop`) the peer
        is dropped, the error logged, and the node goes on.
        """

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """Open a stream to a connected peer; DialError if that fails within `OPEN_DEADLINE_S`."""

    async def publish(self, topic: str, data: bytes) -> None:
        """Send data to the subscribers of topic; waits (bounded) while the peers' queues are full.

        Gossip is best effort: a lost message comes back by anti-entropy. Own
        messages are not delivered to own subscriptions. Raises TooLarge, and
        ValueError for a topic the transport was not opened with.
        """

    def subscribe(self, topic: str, capacity: int) -> "trio.MemoryReceiveChannel[GossipMessage]":
        """Messages of topic. At capacity the newest are dropped and counted."""

    def peers(self) -> list[PeerId]:
        """Peers that are connected, admitted and alive, sorted."""

    def add_address(self, peer: PeerId, addrs: list[str]) -> None:
        """Addresses to dial peer at; a connection to it is kept from now on, while it is admitted."""

    def admit(self, peers: frozenset[PeerId]) -> None:
        """Replace the set of admitted peers; a peer no longer in it is disconnected at once."""

    async def drop(self, peer: PeerId, reason: str) -> None:
        """Disconnect a misbehaving peer, refuse it for `DROP_COOLDOWN_S`, count the reason."""


# A peer id is base58 of an identity multihash (code 0, length 36) of the
# protobuf PublicKey {type: Ed25519 (1), data: 32 bytes}; libp2p peer-ids spec.
_PEER_ID_PREFIX = bytes.fromhex("0024 0801 1220")
_PEER_ID_BYTES = len(_PEER_ID_PREFIX) + 32
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUE = {letter: value for value, letter in enumerate(_BASE58)}
# 52 letters hold the 38 bytes; a longer text is refused before it is computed with.
_PEER_ID_LETTERS = 52


def peer_id_of(public_key: bytes) -> PeerId:
    """The peer id of an Ed25519 public key of 32 bytes."""
    if len(public_key) != 32:
        raise ValueError(f"public key of {len(public_key)} bytes; an Ed25519 key has 32")
    return peer_id_from_bytes(_PEER_ID_PREFIX + public_key)


def public_key_of(peer_id: PeerId) -> bytes:
    """The Ed25519 public key (32 bytes) inside a peer id; ValueError if there is none."""
    return peer_id_to_bytes(peer_id)[len(_PEER_ID_PREFIX) :]


def peer_id_from_bytes(raw: bytes) -> PeerId:
    """The text form of a binary peer id; ValueError unless it is an Ed25519 one."""
    _check_peer_id(raw, raw.hex()[: 2 * _PEER_ID_BYTES])
    number = int.from_bytes(raw, "big")
    letters = []
    while number:
        number, value = divmod(number, 58)
        letters.append(_BASE58[value])
    # Every leading zero byte is a leading "1"; the multihash code 0 is one.
    zeros = len(raw) - len(raw.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(letters))


def peer_id_to_bytes(peer_id: PeerId) -> bytes:
    """The binary form of a peer id; ValueError unless it is a canonical Ed25519 one."""
    if len(peer_id) > _PEER_ID_LETTERS:
        raise ValueError(f"peer id of {len(peer_id)} letters; an Ed25519 one has {_PEER_ID_LETTERS}")
    number = 0
    for letter in peer_id:
        if letter not in _BASE58_VALUE:
            raise ValueError(f"peer id {peer_id!r}: {letter!r} is not a base58 letter")
        number = number * 58 + _BASE58_VALUE[letter]
    try:
        raw = number.to_bytes(_PEER_ID_BYTES, "big")
    except OverflowError:
        raise ValueError(f"peer id {peer_id!r} is longer than that of an Ed25519 key") from None
    _check_peer_id(raw, peer_id)
    if len(peer_id) != _PEER_ID_LETTERS:
        raise ValueError(f"peer id {peer_id!r} is not written canonically")
    return raw


def _check_peer_id(raw: bytes, shown: str) -> None:
    if len(raw) != _PEER_ID_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise ValueError(f"peer id {shown!r} does not hold an Ed25519 public key")
