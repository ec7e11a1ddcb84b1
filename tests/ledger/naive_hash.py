"""Naive hash: the state hash as its definition says it, from the rows of a snapshot alone and all at once.

Written from the first lines of `state`, `tables` and `tree` of `meshnode.ledger`, with none of their code:
what keeps the hash up to date row by row must come to the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from meshnode.ledger.state import State
from protocols import cbor

# table number -> which part of its keys is the period
PERIOD_IN_KEY = {11: 1, 12: 0, 13: 0, 29: 0, 32: 1}


def naive_hash(state: State) -> bytes:
    """The hash of what a snapshot of this state would hold."""
    tables: dict[int, list[tuple[Any, bytes]]] = {}
    for number, key, values in state.dump():
        leaf = _sha256(b"\x00" + cbor.encode([number, key, values]))
        tables.setdefault(number, []).append((key, leaf))
    hashes: list[cbor.Value] = [
        [number, _tree(_entries(number, leaves), 0)] for number, leaves in sorted(tables.items())
    ]
    return _sha256(b"\x05" + cbor.encode(hashes))


def _entries(number: int, leaves: Sequence[tuple[Any, bytes]]) -> list[tuple[bytes, bytes]]:
    """(name, digest) of each row, or of each period, in order of the names."""
    place = PERIOD_IN_KEY.get(number)
    if place is None:
        return sorted((_sha256(cbor.encode(key)), leaf) for key, leaf in leaves)
    periods: dict[int, bytes] = {}
    for key, leaf in sorted(leaves):
        periods[key[place]] = periods.get(key[place], b"") + leaf
    return sorted((_sha256(cbor.encode(start_s)), _sha256(b"\x04" + joined)) for start_s, joined in periods.items())


def _tree(entries: list[tuple[bytes, bytes]], depth: int) -> bytes:
    if len(entries) <= 64:
        return _sha256(b"\x02" + b"".join(digest for _, digest in entries))
    parts: list[list[tuple[bytes, bytes]]] = [[] for _ in range(16)]
    for name, digest in entries:
        parts[int(name.hex()[depth], 16)].append((name, digest))
    return _sha256(b"\x03" + b"".join(_tree(part, depth + 1) if part else bytes(32) for part in parts))


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
