"""Tree: its shape follows from what is in it, and every digest in it can be proved."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.ledger.tree import BUCKET_SIZE, NOTHING, Tree


def name(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def tree_of(numbers: list[int]) -> Tree:
    tree = Tree()
    for number in numbers:
        tree.put(name(number), name(-number))
    return tree


@given(st.sets(st.integers(0, 400)), st.sets(st.integers(0, 400)))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_the_hash_follows_from_what_is_in_it(kept: set[int], passing: set[int]) -> None:
    """In any order, with others that came and went, asked on the way or not."""
    tree = tree_of(sorted(kept | passing, reverse=True))
    tree.hash()
    for number in passing - kept:
        tree.remove(name(number))
    assert tree.hash() == tree_of(sorted(kept)).hash()
    assert len(tree) == len(kept)
    assert all((name(number) in tree) == (number in kept) for number in kept | passing)


def test_a_bucket_becomes_a_branch_and_a_bucket_again() -> None:
    """At the limit and beyond it, by hand."""
    full = list(range(BUCKET_SIZE))
    tree = tree_of(full)
    bucket = sha256(b"\x02" + b"".join(name(-number) for number in sorted(full, key=name)))
    assert tree.hash() == bucket
    tree.put(name(BUCKET_SIZE), name(-BUCKET_SIZE))
    parts = []
    for digit in range(16):
        within = sorted((number for number in [*full, BUCKET_SIZE] if name(number)[0] >> 4 == digit), key=name)
        parts.append(sha256(b"\x02" + b"".join(name(-number) for number in within)) if within else NOTHING)
    assert tree.hash() == sha256(b"\x03" + b"".join(parts))
    tree.remove(name(BUCKET_SIZE))
    assert tree.hash() == bucket


def test_names_that_agree_in_their_first_bytes_are_told_apart_further_down() -> None:
    """Ground to collide, they make the tree deep in their place and nowhere else."""
    tree = tree_of([])
    alike = [b"\xab" * 20 + name(number)[20:] for number in range(BUCKET_SIZE + 1)]
    for one in alike:
        tree.put(one, one)
    before = tree.hash()
    tree.put(name(1), name(2))
    assert tree.hash() != before
    tree.remove(name(1))
    assert tree.hash() == before
    for one in alike:
        tree.remove(one)
    assert (tree.hash(), len(tree)) == (NOTHING, 0)


def test_what_is_not_there_cannot_be_removed() -> None:
    tree = tree_of(list(range(200)))
    before = tree.hash()
    with pytest.raises(KeyError):
        tree.remove(name(500))
    assert (tree.hash(), len(tree)) == (before, 200)


def test_another_digest_under_a_name_is_another_hash() -> None:
    tree = tree_of(list(range(100)))
    before = tree.hash()
    tree.put(name(5), name(6))
    assert tree.hash() != before
    tree.put(name(5), name(-5))
    assert tree.hash() == before


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
