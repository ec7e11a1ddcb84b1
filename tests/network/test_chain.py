"""Chain: the blocks of a log, those that are still on their way to the disk among them."""

from __future__ import annotations

from meshnode.network.chain import HEADS_KEPT, Chain
from protocols.block import Parent
from protocols.raft import Entry, EntryType
from tests.network.disks import Disk
from tests.protocols.village import Village


def test_more_blocks_than_heads_are_kept_wait_for_the_disk() -> None:
    # A node that was away gets thousands of small blocks while its card is busy with the first of them.
    village = Village(1)
    chain = Chain(Disk(), village.genesis, village.chain_id)
    parent = Parent.of_genesis(village.genesis, village.chain_id)
    blocks = []
    for _ in range(HEADS_KEPT + 10):
        blocks.append(village.block(parent, village.homes[0], 1))
        chain.keep(blocks[-1])
        parent = Parent.of(blocks[-1])
    assert chain.head(3) == Parent.of(blocks[2])
    chain.keep(blocks[2])
    last = blocks[-1]
    assert chain.head(last.header.height) == parent
    assert chain.read(Entry(1, last.header.height, EntryType.NORMAL, last.encoded)) is last, "nothing is read anew"
