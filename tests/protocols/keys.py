"""Keys: real Ed25519 key pairs from fixed seeds, and the verifier that the node uses."""

from __future__ import annotations

import hashlib

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from protocols.cose import Signer, key_id_of


class KeyPair(msgspec.Struct, frozen=True):
    """A key pair of a test person or device."""

    public: bytes
    sign: Signer

    @property
    def key_id(self) -> bytes:
        return key_id_of(self.public)


def key_pair(name: str) -> KeyPair:
    """The key pair of `name`: the same in every run."""
    key = SigningKey(seed_of(name))
    return KeyPair(key.verify_key.encode(), lambda message: key.sign(message).signature)


def seed_of(name: str) -> bytes:
    """The Ed25519 seed of `name`, for libraries that make their own key from it."""
    return hashlib.sha256(b"protocols test key " + name.encode()).digest()


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """The `Verifier` of the tests: PyNaCl's."""
    try:
        VerifyKey(public_key).verify(message, signature)
    except BadSignatureError:
        return False
    return True
