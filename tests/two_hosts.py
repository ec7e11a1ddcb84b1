"""Two hosts: a program that connects libp2p as the node does, then says what it imported.

Run as `python -m tests.two_hosts`. It opens two hosts on loopback with noise and
yamux, sends bytes over a stream and a message over gossipsub, imports the other
libraries a node uses and every module of the product, and prints one JSON object:
what arrived, and the top-level names of all that was imported.
"""

import importlib
import json
import sys
from collections.abc import Callable

import trio
from libp2p import create_yamux_muxer_option, new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.x25519 import create_new_key_pair as new_noise_key
from libp2p.custom_types import TProtocol
from libp2p.identity_utils import create_identity_from_seed
from libp2p.peer.peerinfo import PeerInfo
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from deploy.import_all import PACKAGES, import_all

ECHO = TProtocol("/meshnode-test/echo/1")
TOPIC = "readings"

# The parts of the other libraries that a node uses; the ones imported lazily are named.
LIBRARIES = (
    *("nacl.signing", "cbor2", "msgspec", "aiomqtt", "bleak", "bleak.backends.bluezdbus.scanner"),
    *("starlette.applications", "starlette.routing", "starlette.responses", "hypercorn.trio"),
    *(
        "rich.live",
        "rich.table",
        "rich.progress",
        "rich.markdown",
        "rich.traceback",
    ),
)

# All of it takes a second; a connection that hangs must not hang the tests.
TIME_LIMIT_S = 60


def main() -> None:
    echoed, heard = trio.run(converse)
    for library in LIBRARIES:
        importlib.import_module(library)
    for package in PACKAGES:
        import_all(package)
    imported = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"echoed": echoed, "heard": heard, "imported": imported}))


async def converse() -> tuple[str, str]:
    """Echo a word over a stream and publish another; returns both as they arrived."""
    first, second = host(1), host(2)
    anywhere = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
    with trio.fail_after(TIME_LIMIT_S):
        async with first.run(listen_addrs=anywhere), second.run(listen_addrs=anywhere):
            second.set_stream_handler(ECHO, echo)
            ours, theirs = pubsub(first), pubsub(second)
            async with (
                background_trio_service(ours.router),
                background_trio_service(theirs.router),
                background_trio_service(ours),
                background_trio_service(theirs),
            ):
                await first.connect(PeerInfo(second.get_id(), second.get_addrs()))
                stream = await first.new_stream(second.get_id(), [ECHO])
                await stream.write(b"hello")
                echoed = await stream.read(5)
                heard = await publish(ours, theirs)
                # Connections first: a message that arrives at a service that has stopped is an error.
                await first.disconnect(second.get_id())
                await until(lambda: not ours.peers and not theirs.peers)
    return echoed.decode(), heard.decode()


async def publish(ours: Pubsub, theirs: Pubsub) -> bytes:
    """Publish one message and return it as the other side heard it."""
    subscription = await theirs.subscribe(TOPIC)
    await ours.subscribe(TOPIC)
    # The mesh forms at a heartbeat, and says nothing when it has.
    await until(lambda: theirs.my_id in ours.router.mesh.get(TOPIC, ()))
    await ours.publish(TOPIC, b"500 Wh")
    message = await subscription.get()
    return message.data


async def until(reached: Callable[[], bool]) -> None:
    """Wait for another task's progress; the caller's time limit ends a wait in vain."""
    while not reached():
        await trio.sleep(0.01)


async def echo(stream: INetStream) -> None:
    await stream.write(await stream.read(5))
    await stream.close()


def host(number: int) -> IHost:
    key_pair = create_identity_from_seed(bytes([number]) * 32)
    noise = NoiseTransport(key_pair, noise_privkey=new_noise_key().private_key)
    return new_host(key_pair=key_pair, muxer_opt=create_yamux_muxer_option(), sec_opt={NOISE: noise})


def pubsub(owner: IHost) -> Pubsub:
    router = GossipSub(
        protocols=[TProtocol("/meshsub/1.1.0")], degree=3, degree_low=2, degree_high=4, heartbeat_interval=1
    )
    return Pubsub(owner, router)


if __name__ == "__main__":
    main()
