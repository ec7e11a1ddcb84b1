"""Identify and ping: what other libp2p implementations ask before they talk.

js-libp2p learns from identify which protocols a peer speaks and pings it now
and then. We answer both and ask neither.
"""

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.identity.identify.pb.identify_pb2 import Identify

from meshnode.network.multistream import encode_varint
from meshnode.network.swarm import Host
from meshnode.network.transport import Stream, StreamHandler

IDENTIFY_PROTOCOL = "/ipfs/id/1.0.0"
PING_PROTOCOL = "/ipfs/ping/1.0.0"

_PING_BYTES = 32


def identify_handler(host: Host) -> StreamHandler:
    """Answer with this node's key, addresses and protocols."""

    async def identify(stream: Stream) -> None:
        body: bytes = Identify(
            protocol_version="ipfs/0.1.0",
            agent_version="meshnode",
            public_key=host.get_public_key().serialize(),
            listen_addrs=[address.to_bytes() for address in host.get_addrs()],
            protocols=host.protocols,
        ).SerializeToString()
        await stream.send_all(encode_varint(len(body)) + body)

    return identify


async def answer_ping(stream: Stream) -> None:
    """Send back every 32 bytes that come, until the peer ends the stream."""
    buffer = b""
    while data := await stream.receive_some(_PING_BYTES - len(buffer)):
        buffer += data
        if len(buffer) == _PING_BYTES:
            await stream.send_all(buffer)
            buffer = b""
