"""What a running transport loads: the list of packages that the lock file has to hold."""

import subprocess
import sys
from pathlib import Path

# Top-level packages outside the standard library. Whoever adds one explains
# its megabytes; whoever drops one takes it out of the requirements too.
LOADED = """
    OpenSSL Crypto aioquic anyio async_generator attr attrs base58 baseconv blake3 certifi cffi cid
    coincurve cryptography dns google h11 idna libp2p meshnode mmh3 morphys msgspec multiaddr multibase
    multicodec multihash nacl netaddr noise outcome prometheus_client psutil pycparser pylsqpack
    service_identity sniffio sortedcontainers trio trio_typing trio_websocket typing_extensions varint
    wsproto
"""

# Named by the library's metadata, some of them without wheels for a Pi.
NOT_LOADED = (
    "fastecdsa",
    "grpc",
    "rpcudp",
    "mypy_protobuf",
    "lru",
    "zeroconf",
    "requests",
    "httpx",
    "miniupnpc",
)

SCRIPT = """
import sys
# What the interpreter loads by itself (Debian's has a sitecustomize) is not our doing.
before = set(sys.modules)
import trio
from meshnode.network.libp2p import open_libp2p
from meshnode.network.transport import peer_id_of

async def main():
    async with open_libp2p(bytes(32), ["/ip4/127.0.0.1/tcp/0"], ["readings"]) as node:
        other = peer_id_of(bytes(31) + b"1")
        node.admit(frozenset({other}))
        node.add_address(other, ["/ip4/127.0.0.1/tcp/1"])
        await node.publish("readings", b"hello")
        await trio.sleep(0.2)

trio.run(main)
standard = sys.stdlib_module_names
print(" ".join(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - standard)))
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmRSS")))
"""


def test_only_the_listed_packages_are_loaded() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names, resident_kib = result.stdout.splitlines()
    # Names with an underscore in front are extension modules of the listed packages.
    loaded = {name for name in names.split() if not name.startswith("_")} - {"cython_runtime"}
    assert loaded <= set(LOADED.split())
    assert not loaded & set(NOT_LOADED)
    print(f"one idle transport: {int(resident_kib) / 1024:.1f} MiB resident")
    # The whole node may have 120 MB; measured here: 71.
    assert int(resident_kib) < 90 * 1024
