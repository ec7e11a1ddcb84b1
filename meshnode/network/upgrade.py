"""The upgrade: from a TCP connection to streams with a known peer.

Noise and yamux and nothing else: the library's defaults also offer plaintext,
and its own negotiation reads lines of any length from strangers.
"""

from collections import Counter

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.abc import IMuxedConn, IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.transport.exceptions import MuxerUpgradeFailure, SecurityUpgradeFailure
from libp2p.transport.upgrader import TransportUpgrader

from meshnode.network import multistream
from meshnode.network.gate import Gate
from meshnode.network.muxer import BoundedYamux
from meshnode.network.secure import MemberNoise


class MemberUpgrader(TransportUpgrader):
    """Upgrades connections with admitted peers; everything else fails the upgrade."""

    def __init__(self, key_pair: KeyPair, gate: Gate, counters: "Counter[str]", silence_limit_s: float) -> None:
        self._noise = MemberNoise(key_pair, gate, counters)
        super().__init__({NOISE: self._noise}, {})
        self._counters = counters
        self._silence_limit_s = silence_limit_s

    async def upgrade_security(
        self, raw_conn: IRawConnection, is_initiator: bool, peer_id: ID | None = None
    ) -> ISecureConn:
        try:
            if is_initiator:
                if peer_id is None:
                    raise SecurityUpgradeFailure("whom to expect must be known before dialling")
                await multistream.ask(raw_conn, [NOISE])
                return await self._noise.secure_outbound(raw_conn, peer_id)
            await multistream.answer(raw_conn, [NOISE])
            return await self._noise.secure_inbound(raw_conn)
        except (multistream.NegotiationFailed, HandshakeFailure) as error:
            raise SecurityUpgradeFailure(str(error)) from error

    async def upgrade_connection(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        try:
            if conn.is_initiator:
                await multistream.ask(conn, [YAMUX])
            else:
                await multistream.answer(conn, [YAMUX])
        except multistream.NegotiationFailed as error:
            raise MuxerUpgradeFailure(str(error)) from error
        return BoundedYamux(
            conn,
            peer_id,
            is_initiator=conn.is_initiator,
            counters=self._counters,
            silence_limit_s=self._silence_limit_s,
        )
