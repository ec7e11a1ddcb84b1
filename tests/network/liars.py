"""Liars: what a node with valid keys can make that no honest node would send."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protocols import block as blocks
from protocols.block import Block, Parent
from protocols.evidence import judge
from protocols.histories import History, extract
from protocols.raft import Entry, EntryType, MessageKind
from protocols.roll import Roll
from tests.network.cluster import ELECTION_TICKS, Cluster
from tests.network.disks import Disk
from tests.network.test_validator import accepted, order
from tests.protocols.keys import verify
from tests.protocols.village import Village, device


def history(cluster: Cluster, home: str) -> History:
    """What a node has on its disk, and what it remembers of what others signed."""
    disk = cluster.disks[home]
    return History(
        owner=device(home).key_id,
        blocks=tuple(disk.log[height].data for height in sorted(disk.log)),
        certificates=tuple(disk.certificates.values()),
        elections=tuple(disk.elections),
        statements=cluster.validators[home].watcher.statements(),
    )


def culprits(cluster: Cluster, homes: Iterable[str] = ()) -> dict[str, set[str]]:
    """Whom the disks of these nodes (else all) together convict: home -> kinds."""
    village = cluster.village
    roll = Roll.of_genesis(village.genesis, village.chain_id)
    found = extract([history(cluster, home) for home in homes or village.homes], roll, verify)
    assert not found.unreadable and (homes or not found.open)
    names = {device(home).key_id: home for home in village.homes}
    named: dict[str, set[str]] = {}
    for evidence in found.evidence:
        case = judge(evidence, roll, verify)
        named.setdefault(names[case.accused], set()).add(case.kind.name)
    return named


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


def append(
    cluster: Cluster, liar: str, receiver: str, parent: Parent, *batch: Block, term: int = 0, **extra: Any
) -> str | None:
    """The liar's append of these blocks behind `parent`, with what else its parcel carries."""
    return cluster.lie(
        liar,
        receiver,
        MessageKind.APP,
        term=term or cluster.validators[liar].term,
        index=parent.height,
        log_term=parent.term,
        entries=tuple(entry(block) for block in batch),
        epoch=1,
        **extra,
    )


def block_at(cluster: Cluster, home: str, height: int) -> Block:
    return blocks.read(cluster.disks[home].log[height].data, cluster.village.chain_id)
