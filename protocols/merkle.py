"""Merkle tree: one hash for an ordered list of leaves, and proofs that a leaf is in it.

The tree of RFC 9162, section 2.1: leaf hash = SHA-256(0x00 || leaf), node hash =
SHA-256(0x01 || left || right), the left part is the largest power of two smaller
than the whole; the hash of no leaves is SHA-256 of nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

# A tree of 2^32 leaves is deeper than any block; a longer path is forged.
MAX_PATH = 32


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """The tree hash over leaf hashes, in their order."""
    if not leaf_hashes:
        return hashlib.sha256(b"").digest()
    # Completed subtrees, largest first: (number of leaves, hash). Two of one size
    # merge at once, so what is left at the end are the powers of two in the count,
    # which join from the right as RFC 9162 splits them from the left.
    stack: list[tuple[int, bytes]] = []
    for leaf in leaf_hashes:
        size, value = 1, leaf
        while stack and stack[-1][0] == size:
            value = node_hash(stack.pop()[1], value)
            size *= 2
        stack.append((size, value))
    _, value = stack.pop()
    while stack:
        value = node_hash(stack.pop()[1], value)
    return value


def path(leaf_hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """The inclusion proof of leaf `index`: sibling hashes from the leaf up (RFC 9162, 2.1.3.1).

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaf_hashes):
        raise IndexError(f"leaf {index} of {len(leaf_hashes)}")
    if len(leaf_hashes) == 1:
        return ()
    split = 1 << ((len(leaf_hashes) - 1).bit_length() - 1)
    if index < split:
        return (*path(leaf_hashes[:split], index), root(leaf_hashes[split:]))
    return (*path(leaf_hashes[split:], index - split), root(leaf_hashes[:split]))


def verify_path(leaf: bytes, index: int, count: int, siblings: Sequence[bytes], expected_root: bytes) -> bool:
    """Whether `siblings` prove that the leaf hash `leaf` is number `index` of `count` (RFC 9162, 2.1.3.2).

    The root alone does not tell how many leaves there are, and a path that holds for
    one (index, count) can hold for another: `count` must come from what is signed,
    as `Header.tx_count` does. With the true count a path holds for one index only.
    """
    if not 0 <= index < count or len(siblings) > MAX_PATH:
        return False
    number, last, value = index, count - 1, leaf
    for sibling in siblings:
        if last == 0:
            return False
        if number & 1 or number == last:
            value = node_hash(sibling, value)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            value = node_hash(value, sibling)
        number >>= 1
        last >>= 1
    return last == 0 and value == expected_root
