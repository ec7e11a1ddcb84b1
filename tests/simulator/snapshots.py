"""Snapshots: states of the ledger that a node can be started from, instead of executing all blocks again."""

from __future__ import annotations

from typing import Any

import msgspec

from meshnode.ledger.state import State
from meshnode.machine import Machine
from tests.simulator.disk import Disk

# A snapshot costs about as much as executing a few blocks.
EVERY = 32
KEPT = 16


class Snapshot(msgspec.Struct, frozen=True):
    """The ledger after a block, and the state hashes that its machine remembers."""

    height: int
    block_hash: bytes
    state_hash: bytes
    rows: list[list[Any]]
    hashes: dict[int, bytes]

    def restore(self) -> State:
        """The state, as a node builds it from a snapshot that it was given."""
        return State.restore(self.rows)


class Snapshots:
    """The newest snapshots of all nodes together."""

    def __init__(self) -> None:
        self._kept: dict[bytes, Snapshot] = {}
        self._newest = 0

    def take(self, machine: Machine, block_hash: bytes) -> None:
        """Keep the state of a node that has just executed this block, if it is time."""
        height, state_hash = machine.height, machine.state_hash()
        if height < self._newest + EVERY or state_hash is None:
            return
        self._newest = height
        self._kept[block_hash] = Snapshot(height, block_hash, state_hash, machine.state.dump(), dict(machine._hashes))
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]

    def newest(self, disk: Disk) -> Snapshot | None:
        """The newest one of a block that is final on this disk."""
        final = disk.final_height()
        fitting = [
            known
            for known in self._kept.values()
            if known.height <= final and disk.entry(known.height).block_hash == known.block_hash
        ]
        return fitting[-1] if fitting else None
