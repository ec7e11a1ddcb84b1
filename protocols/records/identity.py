"""Identity: how accounts and meters get ids that outlive their keys."""

from __future__ import annotations

import hashlib

ACCOUNT_ID_BYTES = 16
METER_ID_BYTES = 8


def account_id_of(member_key: bytes) -> bytes:
    """The id given at joining, from the first member key; it stays when the key is rotated."""
    return hashlib.sha256(b"meshnode account\x00" + member_key).digest()[:ACCOUNT_ID_BYTES]


def meter_id_of(meter_key: bytes) -> bytes:
    """The id given at registration, from the first meter key; it stays when the key is rotated."""
    return hashlib.sha256(b"meshnode meter\x00" + meter_key).digest()[:METER_ID_BYTES]
