"""Merkle tree: against the definition of RFC 9162, section 2.1, written out recursively."""

from __future__ import annotations

import hashlib

import pytest

from protocols import merkle

LEAVES = [merkle.leaf_hash(bytes([number])) for number in range(70)]


def reference_root(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + reference_root(leaves[:split]) + reference_root(leaves[split:])).digest()


@pytest.mark.parametrize("count", range(len(LEAVES) + 1))
def test_root_and_all_paths_of_trees_up_to_70_leaves(count: int) -> None:
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    assert root == reference_root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        assert len(path) <= max(count - 1, 0).bit_length()
        assert merkle.verify_path(leaf, index, count, path, root)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_with_the_true_count_a_path_proves_one_leaf_at_one_place(count: int) -> None:
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    for index in range(count):
        path = merkle.path(leaves, index)
        for claimed in range(-1, count + 2):
            for leaf in leaves:
                holds = merkle.verify_path(leaf, claimed, count, path, root)
                assert holds == (claimed == index and leaf == leaves[index])


def test_without_the_true_count_a_path_can_name_a_false_place() -> None:
    # The last leaf of three passes for the last of two: why headers carry tx_count.
    leaves = LEAVES[:3]
    path = merkle.path(leaves, 2)
    assert merkle.verify_path(leaves[2], 1, 2, path, merkle.root(leaves))


@pytest.mark.parametrize("count", [2, 3, 7, 8])
def test_a_changed_path_proves_nothing(count: int) -> None:
    leaves = LEAVES[:count]
    root = merkle.root(leaves)
    for index in range(count):
        path = merkle.path(leaves, index)
        for place, sibling in enumerate(path):
            flipped = bytes([sibling[0] ^ 1]) + sibling[1:]
            assert not merkle.verify_path(
                leaves[index], index, count, (*path[:place], flipped, *path[place + 1 :]), root
            )
        assert not merkle.verify_path(leaves[index], index, count, path[:-1], root)
        assert not merkle.verify_path(leaves[index], index, count, (*path, LEAVES[60]), root)
        assert not merkle.verify_path(leaves[index], index, count, path, LEAVES[60])


def test_a_path_is_bounded() -> None:
    root = LEAVES[0]
    for height in range(1, merkle.MAX_PATH + 2):
        root = merkle.node_hash(root, LEAVES[1])
        holds = merkle.verify_path(LEAVES[0], 0, 2**height, [LEAVES[1]] * height, root)
        assert holds == (height <= merkle.MAX_PATH)


def test_a_path_does_not_go_above_the_root() -> None:
    assert not merkle.verify_path(LEAVES[0], 0, 1, [LEAVES[1]], merkle.node_hash(LEAVES[1], LEAVES[0]))


def test_leaves_and_nodes_cannot_be_taken_for_one_another() -> None:
    # Without the two prefixes a node's two children would be a leaf with the same hash.
    inner = merkle.root(LEAVES[:2])
    assert merkle.leaf_hash(LEAVES[0] + LEAVES[1]) != inner
    assert merkle.root([inner]) == inner and merkle.leaf_hash(b"") != merkle.root([])


def test_order_and_repetition_change_the_root() -> None:
    one, two = LEAVES[:2]
    assert merkle.root([one, two]) != merkle.root([two, one])
    assert merkle.root([one, two, two]) != merkle.root([one, two])


@pytest.mark.parametrize(("index", "count"), [(0, 0), (3, 3), (-1, 3)])
def test_there_is_no_path_for_a_leaf_that_is_not_there(index: int, count: int) -> None:
    with pytest.raises(IndexError, match=f"leaf {index} of {count}"):
        merkle.path(LEAVES[:count], index)
