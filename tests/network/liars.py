"""Liars: what a node with valid keys can make that no honest node would send."""

from __future__ import annotations

from typing import Any

from protocols import block as blocks
from protocols.block import Block, Parent
from protocols.raft import Entry, EntryType, MessageKind
from tests.network.cluster import ELECTION_TICKS, Cluster, Disk
from tests.network.test_validator import accepted, order
from tests.protocols.village import Village


def settled(cluster: Cluster, nonce: int = 1) -> None:
    """The honest nodes still put an order on the ledger."""
    record = order(cluster, nonce)
    cluster.add(record)
    cluster.until(lambda: accepted(cluster, record), 60 * ELECTION_TICKS)
    halted = {home for home, validator in cluster.validators.items() if validator.halted}
    assert halted <= cluster.may_halt


def forged(cluster: Cluster, liar: str, parent: Parent, term: int, **head: Any) -> Block:
    """A block that passes the gate of form, signed by the liar."""
    validator = cluster.validators[liar]
    state = {"state_height": validator.final_height, "state_hash": validator.machine.state_hash()}
    return cluster.village.block(parent, liar, term, head=state | head)


def head(disk: Disk, height: int, village: Village) -> Parent:
    return Parent.of(blocks.read(disk.log[height].data, village.chain_id))


def entry(block: Block) -> Entry:
    return Entry(block.header.term, block.header.height, EntryType.NORMAL, block.encoded)


def append(cluster: Cluster, liar: str, receiver: str, parent: Parent, *batch: Block, term: int = 0) -> str | None:
    """The liar's append of these blocks behind `parent`."""
    return cluster.lie(
        liar,
        receiver,
        MessageKind.APP,
        term=term or cluster.validators[liar].term,
        index=parent.height,
        log_term=parent.term,
        entries=tuple(entry(block) for block in batch),
        epoch=1,
    )


def block_at(cluster: Cluster, home: str, height: int) -> Block:
    return blocks.read(cluster.disks[home].log[height].data, cluster.village.chain_id)
