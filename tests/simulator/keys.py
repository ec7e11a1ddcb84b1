"""Keys: signatures of a simulation - keyed hashes, or real Ed25519.

A keyed hash (BLAKE2b) has the interface of Ed25519 and takes a microsecond. Its
secret lies in the signer and in the verifier, and nodes get only their own signer:
none of them, liars included, can sign for another.
"""

from __future__ import annotations

import hashlib

from meshnode.keys import SignatureCheck
from protocols.cose import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, Verifier
from tests.protocols.keys import KeyPair, key_pair


class Keyring:
    """Hands out key pairs by name, and the verifier for all of them.

    Attributes:
        real: Ed25519 by libsodium instead of keyed hashes.
        verifier: for every node; good signatures of the real kind are remembered.
    """

    def __init__(self, *, real: bool) -> None:
        self.real = real
        self.verifier: Verifier = SignatureCheck() if real else self._verify
        self._secrets: dict[bytes, bytes] = {}
        self._pairs: dict[str, KeyPair] = {}

    def pair(self, name: str) -> KeyPair:
        """The key pair of `name`; the same whenever it is asked for."""
        known = self._pairs.get(name)
        if known is None:
            known = self._pairs[name] = key_pair(name) if self.real else self._make(name)
        return known

    def _make(self, name: str) -> KeyPair:
        secret = hashlib.sha256(b"simulated secret " + name.encode()).digest()
        public = hashlib.sha256(b"simulated public key " + name.encode()).digest()
        assert len(public) == PUBLIC_KEY_BYTES
        self._secrets[public] = secret
        return KeyPair(public, lambda message: _keyed_hash(secret, message))

    def _verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        secret = self._secrets.get(public_key)
        return secret is not None and _keyed_hash(secret, message) == signature


def _keyed_hash(secret: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, key=secret, digest_size=SIGNATURE_BYTES).digest()
