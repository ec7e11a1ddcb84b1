"""Tree: one hash over a set of digests, each under a name; cheap to keep while the set changes.

A name is a SHA-256. The digests of at most 64 names are one bucket, `SHA-256(0x02 || digests in the order of
their names)`; more than 64 are a branch, `SHA-256(0x03 || hashes of 16 subtrees)`: subtree n has the names whose
next half byte is n, beginning with the highest of the first byte, and zeros stand for none. So the shape
depends on the set alone, never on how it came about, and a change costs one bucket and a branch
for each factor 16 of the size. A digest is proved with its bucket's digests and fifteen hashes for each branch.
"""

from __future__ import annotations

import hashlib

# To hash a bucket costs about as much as to find the change in it; larger ones would have longer proofs.
BUCKET_SIZE = 64
FANOUT = 16

NOTHING = bytes(32)
"""The hash of an empty tree."""

_BUCKET = b"\x02"
_BRANCH = b"\x03"


class _Node:
    """A bucket (`children` is None) or a branch (`digests` is empty). digest: None until somebody asks."""

    __slots__ = ("children", "count", "digest", "digests")

    def __init__(self, digests: dict[bytes, bytes]) -> None:
        self.digests = digests
        self.children: list[_Node | None] | None = None
        self.count = len(digests)
        self.digest: bytes | None = None


class Tree:
    """The set. Its size in memory is that of its names and digests."""

    def __init__(self) -> None:
        self._root = _Node({})

    def __len__(self) -> int:
        return self._root.count

    def put(self, name: bytes, digest: bytes) -> None:
        """Enter a digest, or another one under a name that is there."""
        path, leaf = self._way(name)
        if name not in leaf.digests:
            for node in path:
                node.count += 1
            leaf.count += 1
        leaf.digests[name] = digest
        leaf.digest = None
        if leaf.count > BUCKET_SIZE:
            _split(leaf, len(path))

    def remove(self, name: bytes) -> None:
        """Take a name out.

        Raises:
            KeyError: it is not there.
        """
        path, leaf = self._way(name)
        del leaf.digests[name]
        leaf.count -= 1
        leaf.digest = None
        for node in path:
            node.count -= 1
        # The highest branch that is too small for one becomes a bucket, with all that is below it.
        for node in path:
            if node.count <= BUCKET_SIZE:
                node.digests, node.children = _all(node), None
                break

    def __contains__(self, name: bytes) -> bool:
        node: _Node | None = self._root
        depth = 0
        while node is not None and node.children is not None:
            node = node.children[_digit(name, depth)]
            depth += 1
        return node is not None and name in node.digests

    def hash(self) -> bytes:
        """The one hash; only what changed since the last time is computed again."""
        return _hash(self._root) if self._root.count else NOTHING

    def _way(self, name: bytes) -> tuple[list[_Node], _Node]:
        """The branches down to the bucket of a name, and the bucket; the hashes of all are void."""
        path = []
        node = self._root
        while node.children is not None:
            node.digest = None
            path.append(node)
            digit = _digit(name, len(path) - 1)
            child = node.children[digit]
            if child is None:
                child = node.children[digit] = _Node({})
            node = child
        return path, node


def _digit(name: bytes, depth: int) -> int:
    byte = name[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def _split(node: _Node, depth: int) -> None:
    parts: list[dict[bytes, bytes]] = [{} for _ in range(FANOUT)]
    for name, digest in node.digests.items():
        parts[_digit(name, depth)][name] = digest
    node.digests = {}
    node.children = [_Node(part) if part else None for part in parts]
    for child in node.children:
        if child is not None and child.count > BUCKET_SIZE:
            _split(child, depth + 1)


def _all(node: _Node) -> dict[bytes, bytes]:
    if node.children is None:
        return node.digests
    found: dict[bytes, bytes] = {}
    for child in node.children:
        if child is not None:
            found |= _all(child)
    return found


def _hash(node: _Node) -> bytes:
    if node.digest is None:
        if node.children is None:
            digests = node.digests
            content = _BUCKET + b"".join([digests[name] for name in sorted(digests)])
        else:
            parts = [_hash(child) if child is not None and child.count else NOTHING for child in node.children]
            content = _BRANCH + b"".join(parts)
        node.digest = hashlib.sha256(content).digest()
    return node.digest
