"""COSE_Sign1: how one party signs one statement (RFC 9052, section 4.2).

    COSE_Sign1 = 18([protected, {}, payload, signature])
    protected  = bstr of {1: -8 (EdDSA), 4: key id}
    external_aad = bstr of [FORMAT_VERSION, kind, chain id]

The kind and the chain id are signed but not sent twice: a signature made for
one kind of statement or one microgrid is worthless in any other. Any COSE
library can check an envelope once it is told the external_aad.

The identity of a statement is the hash of what was signed (`record id`), never
of the signature, so that a second valid signature does not make a second
statement. The private key stays outside: `sign` takes a function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

import msgspec

from protocols import cbor

FORMAT_VERSION = 1
ALG_EDDSA = -8
HEADER_ALG = 1
HEADER_KID = 4
TAG_COSE_SIGN1 = b"\xd2"  # major type 6, value 18

SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
# Key ids name a key inside one microgrid; joining refuses a key whose id is
# taken, so eight bytes need no resistance against chosen collisions.
KEY_ID_BYTES = 8
CHAIN_ID_BYTES = 32
HASH_BYTES = 32

# A record is a few hundred bytes; the largest is a binding proposal with a text of
# 32 KiB, a tree of 64 KiB and its other fields, for which a last KiB is more than enough.
MAX_PAYLOAD_BYTES = 97 * 1024
MAX_ENVELOPE_BYTES = MAX_PAYLOAD_BYTES + 256

# What every signature needs is computed once for each key, and for each kind of statement: a
# thousand members with their device and their meters, at some hundred bytes each.
REMEMBERED = 4096

Signer = Callable[[bytes], bytes]
Verifier = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> is it a valid Ed25519 signature (RFC 8032)?"""


class EnvelopeError(ValueError):
    """Bytes that are not an envelope of this format, or a signature that does not hold."""


class Envelope(msgspec.Struct, frozen=True):
    """One signed statement.

    Attributes:
        key_id: which key signed (`key_id_of`), from the protected header.
        payload: deterministic CBOR of the statement.
        signature: Ed25519, 64 bytes.
    """

    key_id: bytes
    payload: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The bytes that are stored and sent: a tagged COSE_Sign1."""
        return _envelope_head(self.key_id) + cbor.encode(self.payload) + cbor.encode(self.signature)

    def to_be_signed(self, kind: int, chain_id: bytes) -> bytes:
        """The Sig_structure that the signature covers."""
        return sig_structure(kind, chain_id, self.key_id, self.payload)

    def verify(self, kind: int, chain_id: bytes, public_key: bytes, verifier: Verifier) -> bool:
        """Whether `public_key` signed this payload as a `kind` of this chain."""
        if key_id_of(public_key) != self.key_id:
            return False
        return verifier(public_key, self.to_be_signed(kind, chain_id), self.signature)


@lru_cache(REMEMBERED)
def key_id_of(public_key: bytes) -> bytes:
    """The key id of an Ed25519 public key: the first 8 bytes of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:KEY_ID_BYTES]


@lru_cache(REMEMBERED)
def external_aad(kind: int, chain_id: bytes) -> bytes:
    """What binds a signature to format version, kind and microgrid.

    The chain id is empty only for statements made before a chain is known.
    """
    return cbor.encode([FORMAT_VERSION, kind, chain_id])


def sig_structure(kind: int, chain_id: bytes, key_id: bytes, payload: bytes) -> bytes:
    """The bytes to sign (RFC 9052, section 4.4, context "Signature1")."""
    return _signed_head(kind, chain_id, key_id) + cbor.encode(payload)


def record_id(signed_bytes: bytes) -> bytes:
    """The identity of a statement: SHA-256 of its Sig_structure."""
    return hashlib.sha256(signed_bytes).digest()


def sign(kind: int, chain_id: bytes, payload: bytes, public_key: bytes, signer: Signer) -> Envelope:
    """Sign `payload` as a statement of `kind` on `chain_id`.

    Args:
        signer: maps the bytes to sign to a 64-byte Ed25519 signature.
    Raises:
        EnvelopeError: the payload is over `MAX_PAYLOAD_BYTES`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise EnvelopeError(f"payload of {len(payload)} bytes, the limit is {MAX_PAYLOAD_BYTES}")
    key_id = key_id_of(public_key)
    return Envelope(key_id, payload, signer(sig_structure(kind, chain_id, key_id, payload)))


def decode(data: bytes) -> Envelope:
    """Read an envelope; the signature is not checked here.

    Raises:
        EnvelopeError: not a COSE_Sign1 of exactly this form: tag 18, EdDSA, an
            8-byte key id, an empty unprotected header, a 64-byte signature.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise EnvelopeError(f"envelope of {len(data)} bytes, the limit is {MAX_ENVELOPE_BYTES}")
    if data[:1] != TAG_COSE_SIGN1:
        raise EnvelopeError("envelope does not begin with CBOR tag 18 (COSE_Sign1)")
    try:
        parts = cbor.decode(data[1:])
        if type(parts) is not list or len(parts) != 4:
            raise EnvelopeError("envelope is not an array of four")
        protected, unprotected, payload, signature = parts
        if type(protected) is not bytes or type(payload) is not bytes or type(signature) is not bytes:
            raise EnvelopeError("protected header, payload and signature must be byte strings")
        header = cbor.decode(protected)
    except cbor.CborError as error:
        raise EnvelopeError(f"envelope: {error}") from error
    if unprotected != {} or type(unprotected) is not dict:
        raise EnvelopeError("unprotected header must be empty")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise EnvelopeError(f"payload of {len(payload)} bytes, the limit is {MAX_PAYLOAD_BYTES}")
    if type(header) is not dict or header.keys() != {HEADER_ALG, HEADER_KID} or header[HEADER_ALG] != ALG_EDDSA:
        raise EnvelopeError("protected header must be {1: -8 (EdDSA), 4: key id}")
    key_id = header[HEADER_KID]
    if type(key_id) is not bytes or len(key_id) != KEY_ID_BYTES:
        raise EnvelopeError(f"key id must be {KEY_ID_BYTES} bytes")
    if len(signature) != SIGNATURE_BYTES:
        raise EnvelopeError(f"signature of {len(signature)} bytes, Ed25519 has {SIGNATURE_BYTES}")
    return Envelope(key_id, payload, signature)


@lru_cache(REMEMBERED)
def _protected(key_id: bytes) -> bytes:
    return cbor.encode({HEADER_ALG: ALG_EDDSA, HEADER_KID: key_id})


# The encoding of an array is its head and its items, one after the other (RFC 8949, 3.1): what comes before
# the payload is the same for all statements of one kind by one key, and the place of an item that is
# left empty here takes one byte.
@lru_cache(REMEMBERED)
def _signed_head(kind: int, chain_id: bytes, key_id: bytes) -> bytes:
    return cbor.encode(["Signature1", _protected(key_id), external_aad(kind, chain_id), b""])[:-1]


@lru_cache(REMEMBERED)
def _envelope_head(key_id: bytes) -> bytes:
    return TAG_COSE_SIGN1 + cbor.encode([_protected(key_id), {}, b"", b""])[:-2]
