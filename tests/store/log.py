"""Log: a row of small real blocks to put into a store."""

from __future__ import annotations

from meshnode.store import Batch, Entry, HardState, SignState
from protocols.block import Block, Parent
from protocols.records import OpenCounters, to_payload
from tests.protocols.village import START_S, Village

VILLAGE = Village()
GENESIS = to_payload(VILLAGE.genesis)
CHAIN = VILLAGE.chain_id


def make_blocks(count: int, term: int = 1, after: list[Block] | None = None) -> list[Block]:
    """Blocks that follow `after` (else the genesis), one reading in each."""
    made = list(after or ())
    for _ in range(count):
        parent = Parent.of(made[-1]) if made else VILLAGE.root
        reading = VILLAGE.reading(
            period_start_s=START_S + 900 * parent.height, values=OpenCounters(import_wh=parent.height, export_wh=term)
        )
        made.append(VILLAGE.block(parent, term=term, records=[reading]))
    return made[len(after or ()) :]


def entry(block: Block) -> Entry:
    """A block as an entry of the log."""
    return Entry(block.header.height, block.header.term, 0, block.encoded, block.block_hash)


def entries(blocks: list[Block]) -> tuple[Entry, ...]:
    """Blocks as entries of the log."""
    return tuple(entry(block) for block in blocks)


def acked(block: Block, sequence: int = 1) -> SignState:
    """This node acknowledged a block."""
    return SignState(block.header.term, b"candidat", block.header.term, block.header.height, block.block_hash, sequence)


def final(block: Block) -> Batch:
    """The block of that height is final, with its certificate."""
    height = block.header.height
    certificate = to_payload(VILLAGE.certificate(block))
    return Batch(
        hard_state=HardState(block.header.term, 2, height), certificates=((height, certificate),), final_height=height
    )
