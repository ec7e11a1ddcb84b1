"""Keys: Ed25519 keys of a node on disk, and checking signatures.

Three kinds: the device key is the node's identity on the network and signs blocks,
the member key signs what its owner decides, a meter key signs readings. Files hold
the 32-byte seed in hex and are readable by their owner only.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

import nacl.bindings
import nacl.exceptions

from protocols.cose import key_id_of
from protocols.records.identity import meter_id_of

SEED_BYTES = 32
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
# File names in a node's folder of keys; those of meters are named in its configuration.
DEVICE_KEY = "device.key"
MEMBER_KEY = "member.key"
METER_KEYS = "meter-*.key"
# One entry is a 16-byte digest; the records of a busy hour are checked once, not at
# gossip, block and execution each.
REMEMBERED_SIGNATURES = 65_536


class KeyFileError(Exception):
    """A key file that cannot be used: which one, why, and what to do."""


class SigningKey:
    """An Ed25519 key pair (RFC 8032).

    Attributes:
        public: 32 bytes.
        key_id: the first 8 bytes of its SHA-256.
    """

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.public, self._secret = nacl.bindings.crypto_sign_seed_keypair(seed)
        self.key_id = key_id_of(self.public)

    @staticmethod
    def generate() -> SigningKey:
        """A new key from the system's randomness."""
        return SigningKey(os.urandom(SEED_BYTES))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of a message."""
        return nacl.bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def __repr__(self) -> str:
        return f"<SigningKey {self.key_id.hex()}>"


class SignatureCheck:
    """Checks Ed25519 signatures and remembers the good ones, oldest forgotten first.

    Safe from several threads: libsodium lets go of the interpreter while it computes,
    so that batches are checked on all cores.
    """

    def __init__(self, remembered: int = REMEMBERED_SIGNATURES) -> None:
        self._good: dict[bytes, None] = {}
        self._remembered = remembered
        self._changing = threading.Lock()

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is `public_key`'s over `message`."""
        if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
            # The digest is that of a good signature only if the parts have their lengths.
            return False
        digest = hashlib.blake2b(public_key + signature + message, digest_size=16).digest()
        if digest in self._good:
            return True
        if not verify(public_key, message, signature):
            return False
        with self._changing:
            self._good[digest] = None
            if len(self._good) > self._remembered:
                del self._good[next(iter(self._good))]
        return True


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is `public_key`'s over `message`, by libsodium."""
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        # libsodium gets signature and message as one string: a byte must not change sides.
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + message, public_key)
    except (nacl.exceptions.BadSignatureError, nacl.exceptions.ValueError):
        return False
    return True


def save(path: Path, key: SigningKey) -> None:
    """Write a key file, mode 0600; an existing one is never overwritten.

    Raises:
        KeyFileError: it exists, or the disk refuses.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        if path.parent.is_dir():
            raise KeyFileError(
                f"{path}: there is a key already; move it away first if it should be replaced"
            ) from error
        raise KeyFileError(f"{path}: cannot be written: {path.parent} is a file; choose another place") from error
    except OSError as error:
        raise KeyFileError(
            f"{path}: cannot be written: {error.strerror}; choose another place, or make room there"
        ) from error
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(key.seed.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # Half a key would stand in the way of the next attempt.
        path.unlink()
        raise KeyFileError(
            f"{path}: cannot be written: {error.strerror}; choose another place, or make room there"
        ) from error


def load(path: Path) -> SigningKey:
    """Read a key file.

    Raises:
        KeyFileError: missing, readable by others, or not 32 bytes in hex.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        data = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: the key cannot be read: {error.strerror}; restore it from the backup") from error
    if mode & 0o077:
        raise KeyFileError(f"{path}: mode {mode:04o} lets others read the key; run: chmod 600 {path}")
    try:
        seed = bytes.fromhex(data.decode("ascii").strip())
    except ValueError as error:
        raise KeyFileError(f"{path}: is not a key file (expected 64 hex digits); restore it from the backup") from error
    if len(seed) != SEED_BYTES:
        raise KeyFileError(f"{path}: holds {len(seed)} bytes, a key has {SEED_BYTES}; restore it from the backup")
    return SigningKey(seed)


def of_meters(folder: Path) -> dict[bytes, SigningKey]:
    """The meters' keys in a node's folder of keys, by the meter's id. Raises KeyFileError."""
    found = (load(path) for path in sorted(folder.glob(METER_KEYS)))
    return {meter_id_of(key.public): key for key in found}
