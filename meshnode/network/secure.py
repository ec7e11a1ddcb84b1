"""The secure channel: noise, and the gate right behind the handshake.

The handshake proves which device key is at the other end, so this is the first
place where a connection can be judged, and nothing of a stranger reaches the
muxer. Both directions are checked: an address may meanwhile belong to another.
"""

from collections import Counter

from meshnode.network import lean as _lean  # noqa: F401  (before the first libp2p import)

# isort: split
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.security.secure_session import SecureSession

from meshnode.network.gate import Gate
from meshnode.network.wire import GuardedSocket


class NotAdmitted(HandshakeFailure):
    """The handshake proved a key that the gate does not admit."""


class MemberNoise(NoiseTransport):
    """Noise XX that hands on admitted peers only."""

    def __init__(self, key_pair: KeyPair, gate: Gate, counters: "Counter[str]") -> None:
        super().__init__(key_pair, noise_privkey=create_noise_key_pair().private_key)
        self._gate = gate
        self._counters = counters

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        return self._check(await super().secure_inbound(conn), "inbound")

    async def secure_outbound(self, conn: IRawConnection, peer_id: ID) -> ISecureConn:
        return self._check(await super().secure_outbound(conn, peer_id), "outbound")

    def _check(self, session: ISecureConn, direction: str) -> ISecureConn:
        peer = session.get_remote_peer().to_base58()
        if not self._gate.admits(peer):
            self._counters[f"refused {direction}: not admitted"] += 1
            raise NotAdmitted(f"{direction} connection of {peer}: not admitted")
        assert isinstance(session, SecureSession)
        return session


def guard_of(session: ISecureConn) -> GuardedSocket:
    """The guarded socket under a secure session of ours."""
    assert isinstance(session, SecureSession)
    raw = session.conn.read_writer.read_write_closer  # type: ignore[attr-defined]
    assert isinstance(raw, RawConnection) and isinstance(raw.stream, GuardedSocket)
    return raw.stream
