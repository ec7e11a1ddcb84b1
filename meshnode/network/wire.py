"""The wire: one TCP connection, guarded while nobody knows who is at the other end.

py-libp2p negotiates ciphers with length prefixes of any size and allocates
what a stranger announces. Here one read never asks for more than
`MAX_READ_BYTES`, and all reads before the peer is known share one budget.
"""

import trio

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.abc import IRawConnection
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr  # type: ignore[import-untyped]

# One noise message is at most 65,535 bytes.
MAX_READ_BYTES = 64 * 1024

# Negotiation, three handshake messages and the choice of the muxer are under
# 1 KiB in every implementation; 16 KiB allow for extensions and chatter.
MAX_HANDSHAKE_BYTES = 16 * 1024


class GuardedSocket(ReadWriteCloser):
    """A TCP stream with a read budget until `trust`, and a way to cut it at once."""

    def __init__(self, tcp: TrioTCPStream) -> None:
        self._tcp = tcp
        self._budget: int | None = MAX_HANDSHAKE_BYTES
        self.heard_s = trio.current_time()

    def trust(self) -> None:
        """Lift the budget: the peer is known and a muxer with windows of its own takes over."""
        self._budget = None

    async def read(self, n: int | None = None) -> bytes:
        limit = MAX_READ_BYTES if n is None else min(n, MAX_READ_BYTES)
        data = await self._tcp.read(limit)
        if data:
            self.heard_s = trio.current_time()
        if self._budget is not None:
            self._budget -= len(data)
            if self._budget < 0:
                await self.abort()
                raise ConnectionClosedError(
                    f"more than {MAX_HANDSHAKE_BYTES} bytes before the handshake was done", transport="tcp"
                )
        return data

    async def write(self, data: bytes) -> None:
        await self._tcp.write(data)

    async def close(self) -> None:
        await self._tcp.close()

    async def abort(self) -> None:
        """Cut the connection without a goodbye: whoever reads or writes it now finds it closed."""
        await trio.aclose_forcefully(self._tcp.stream)

    def get_remote_address(self) -> tuple[str, int] | None:
        return self._tcp.get_remote_address()


class GuardedTCP(TCP):
    """The library's TCP transport, with guarded sockets for the connections it dials."""

    async def dial(self, maddr: Multiaddr) -> IRawConnection:
        dialled = await super().dial(maddr)
        assert isinstance(dialled, RawConnection) and isinstance(dialled.stream, TrioTCPStream)
        return RawConnection(GuardedSocket(dialled.stream), True)
