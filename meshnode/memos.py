"""Memos: what a member writes to another beside a transfer, so that the two of them can read it and nobody else.

A memo is padded to one of three sizes and encrypted with a key of its own, which is sealed once for
the receiver and once for the sender (protocols/SPEC.md says how). It belongs to one transfer: copied
into another one it cannot be opened. Whoever replaces its member key can no longer read older memos.
"""

from __future__ import annotations

import os

import msgspec
import nacl.bindings as sodium
import nacl.exceptions

from meshnode.keys import PUBLIC_KEY_BYTES, SigningKey
from meshnode.ledger import rows
from meshnode.ledger.state import State
from protocols import cbor

_VERSION = b"\x01"
# The end of the text; everything after it is zero.
_END = b"\x01"
# A line, a few, a page of a text message. With the boxes the largest stays below what a record carries.
SIZES = (64, 128, 256)
MAX_MEMO_TEXT_BYTES = SIZES[-1] - len(_END)
_KEY_BYTES = sodium.crypto_aead_xchacha20poly1305_ietf_KEYBYTES
_BOX_BYTES = _KEY_BYTES + sodium.crypto_box_SEALBYTES
# Every memo has a key of its own, which encrypts once.
_NONCE = bytes(sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)


class MemoError(Exception):
    """A memo that cannot be written: why, and what to do."""


class Place(msgspec.Struct, frozen=True):
    """The transfer that a memo belongs to: who gives whom how much of what, and the record's nonce."""

    giver: bytes
    nonce: int
    taker: bytes
    asset: str
    amount: int


class Memos:
    """Writes and reads the memos of one member."""

    def __init__(self, chain_id: bytes, member: SigningKey) -> None:
        """Args: member: the key of whose memos are read."""
        self._chain_id = chain_id
        self._member = member
        self._secret = sodium.crypto_sign_ed25519_sk_to_curve25519(member.seed + member.public)
        self._public = sodium.crypto_sign_ed25519_pk_to_curve25519(member.public)

    def sealed(self, text: str, place: Place, state: State) -> bytes:
        """A memo for the receiver of a transfer, who is looked up in the ledger.

        Raises:
            MemoError: the text is empty or too long, or the receiver has no member key.
        """
        plain = text.encode()
        if not 1 <= len(plain) <= MAX_MEMO_TEXT_BYTES:
            raise MemoError(f"a memo of {len(plain)} bytes; write 1 to {MAX_MEMO_TEXT_BYTES}")
        taker = member_key(state, place.taker)
        if taker is None:
            raise MemoError("the receiver has no key that a memo could be sealed for; leave the memo out")
        key = os.urandom(_KEY_BYTES)
        boxes = [sodium.crypto_box_seal(key, public) for public in (_sealing_key(taker), self._public)]
        body = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(_padded(plain), self._about(place), _NONCE, key)
        return b"".join((_VERSION, *boxes, body))

    def read(self, memo: bytes, place: Place) -> str | None:
        """The text of a memo; None if it is not for this member, or belongs to another transfer."""
        start = len(_VERSION)
        body = memo[start + 2 * _BOX_BYTES :]
        if memo[:start] != _VERSION or not body:
            return None
        for box in (memo[start : start + _BOX_BYTES], memo[start + _BOX_BYTES : start + 2 * _BOX_BYTES]):
            try:
                key = sodium.crypto_box_seal_open(box, self._public, self._secret)
                padded = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(body, self._about(place), _NONCE, key)
                return padded.rstrip(b"\0").removesuffix(_END).decode()
            except (nacl.exceptions.CryptoError, nacl.exceptions.TypeError, nacl.exceptions.ValueError, UnicodeError):
                # Not this member's box: the other one may be.
                continue
        return None

    def _about(self, place: Place) -> bytes:
        return cbor.encode([self._chain_id, place.giver, place.nonce, place.taker, place.asset, place.amount])


def member_key(state: State, account: bytes) -> bytes | None:
    """The member key that an account signs with now; None without one."""
    for _, row in state.keys.items():
        if row.account == account and row.purpose == rows.PURPOSE_MEMBER and not row.until_height:
            return row.public_key
    return None


def _sealing_key(public: bytes) -> bytes:
    assert len(public) == PUBLIC_KEY_BYTES
    try:
        return sodium.crypto_sign_ed25519_pk_to_curve25519(public)
    except RuntimeError as error:
        raise MemoError("the receiver's key is none that a memo could be sealed for; leave the memo out") from error


def _padded(plain: bytes) -> bytes:
    size = next(size for size in SIZES if len(plain) < size)
    return (plain + _END).ljust(size, b"\0")
