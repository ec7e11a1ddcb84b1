"""A node in a process of its own: prints its address, then gossips until it is ended.

Usage: python -m tests.network.child NAME PEER_NAME PEER_ADDRESS
"""

import sys

import trio

from meshnode.network.libp2p import open_libp2p
from tests.network.world import LOOPBACK, TOPIC, peer, seed_of


async def main(name: str, other: str, address: str) -> None:
    async with open_libp2p(seed_of(name), LOOPBACK, [TOPIC]) as node:
        node.admit(frozenset({peer(other)}))
        node.add_address(peer(other), [address])
        while True:
            await node.publish(TOPIC, f"{name} is here".encode())
            await trio.sleep(0.2)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:4])
