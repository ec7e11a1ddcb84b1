"""Probe: whether neighbours let a device key in, tried with a connection of its own."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from meshnode.network.addresses import read_address
from meshnode.network.framed import Framed
from meshnode.network.libp2p import open_libp2p
from meshnode.network.sync import protocol
from meshnode.network.transport import DIAL_DEADLINE_S, DialError, Misbehaved, PeerId, StreamClosed, StreamReset
from protocols import sync
from protocols.records import RecordError
from protocols.sync import BlocksRequest


async def is_let_in(identity_seed: bytes, addresses: Sequence[str], chain_id: bytes) -> bool:
    """Whether one of these nodes answers a member's question when it is asked with this key.

    A connection alone says nothing: the one who dials has it before the other side looks at the key.

    Args:
        identity_seed: of the device key.
        addresses: multiaddresses, each with its peer id.
    """
    by_peer: dict[PeerId, list[str]] = {}
    for address in addresses:
        by_peer.setdefault(read_address(address).peer, []).append(address)
    async with open_libp2p(identity_seed, []) as transport:
        transport.admit(frozenset(by_peer))
        for peer, known in by_peer.items():
            transport.add_address(peer, known)
        with trio.move_on_after(2 * DIAL_DEADLINE_S), transport.watch() as events:
            async for event in events:
                if not event.joined:
                    continue
                try:
                    stream = await transport.open_stream(event.peer, protocol(chain_id))
                    link = Framed(stream, sync.MAX_MESSAGE_BYTES)
                    await link.send(BlocksRequest(from_height=1))
                    payload = await link.receive()
                    await stream.reset()
                    if payload is not None and isinstance(sync.read_answer(payload), sync.RangeStart):
                        return True
                except (DialError, StreamReset, StreamClosed, Misbehaved, RecordError):
                    # Not let in, or no node of this microgrid: another may be.
                    continue
    return False
