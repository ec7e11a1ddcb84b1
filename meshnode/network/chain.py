"""Chain: a validator's log seen as blocks - their heads, their bodies, and what of them is final.

Raft deals in entries; this module keeps the block of every entry that is not
executed yet, the head of the newest thousand, and reads the rest from the disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from meshnode.store import Entry, HardState, SignState
from protocols import block as blocks
from protocols import raft
from protocols.block import Block, Parent
from protocols.raft.messages import MembershipState
from protocols.records import Genesis, Tip

# Heads of blocks kept in memory for checking what follows them.
HEADS_KEPT = 1024


class StoredLog(Protocol):
    """What a validator reads from the disk; see `meshnode.store.Store`."""

    def hard_state(self) -> HardState: ...
    def sign_state(self) -> SignState: ...
    def first_index(self) -> int: ...
    def last_index(self) -> int: ...
    def term(self, index: int) -> int: ...
    def entry(self, index: int) -> Entry: ...
    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]: ...
    def final_height(self) -> int: ...
    def certificate_below(self, height: int) -> tuple[int, bytes] | None: ...
    def lock(self) -> bytes: ...
    def elections_after(self, term: int, limit: int) -> list[bytes]: ...


class Chain:
    """The blocks of one log.

    Invariants: `head(h)` and the block kept for `h` are those of the entry that Raft's
    log has at `h`: whoever changes the log keeps its blocks at once, in order.
    kept_bytes: encoded size of the blocks that are kept.
    """

    def __init__(self, log: StoredLog, genesis: Genesis, chain_id: bytes) -> None:
        self._log = log
        self._chain_id = chain_id
        self.kept_bytes = 0
        self._blocks: dict[int, Block] = {}
        self._heads: dict[int, Parent] = {0: Parent.of_genesis(genesis, chain_id)}

    def read(self, entry: raft.Entry) -> Block:
        """The block of an entry, whether or not it is in the log. Raises BlockError."""
        known = self._blocks.get(entry.index)
        if known is not None and known.encoded == entry.data:
            return known
        return blocks.read(entry.data, self._chain_id)

    def keep(self, block: Block) -> None:
        """The log has this block at its height now. If it is another than before, what followed that one is gone."""
        height = block.header.height
        known = self._blocks.get(height) or self._heads.get(height)
        if known is None or known.block_hash != block.block_hash:
            for stale in [place for place in self._heads if place > height]:
                del self._heads[stale]
            for stale in [place for place in self._blocks if place >= height]:
                self._forget(stale)
        if height not in self._blocks:
            self._blocks[height] = block
            self.kept_bytes += len(block.encoded)
        self._remember(Parent.of(block))

    def kept(self, heights: range) -> list[Block]:
        """The blocks of these heights that are not executed yet."""
        return [self._blocks[height] for height in heights if height in self._blocks]

    def take(self, height: int) -> Block:
        """The block of a height that is to be executed; it is not kept any longer."""
        return self._forget(height) or self.load(height)

    def block(self, height: int) -> Block:
        """The block of a height, kept or from the disk."""
        return self._blocks.get(height) or self.load(height)

    def load(self, height: int) -> Block:
        """The block of a height, from the disk."""
        return blocks.read(self._log.entry(height).data, self._chain_id)

    def head(self, height: int) -> Parent:
        """The head of the block at a height of the log."""
        known = self._heads.get(height)
        if known is None:
            # While one batch is being written more than a thousand small blocks may come in: not on the disk yet.
            known = Parent.of(self.block(height))
            self._remember(known)
        return known

    def tip(self, height: int) -> Tip:
        """The head at a height as votes name it."""
        head = self.head(height)
        return Tip(term=head.term, height=head.height, block=head.block_hash)

    def _remember(self, head: Parent) -> None:
        self._heads[head.height] = head
        if len(self._heads) > HEADS_KEPT:
            # The oldest half goes, but for height 0, which no disk holds.
            for stale in sorted(self._heads)[1 : HEADS_KEPT // 2]:
                del self._heads[stale]

    def _forget(self, height: int) -> Block | None:
        block = self._blocks.pop(height, None)
        if block is not None:
            self.kept_bytes -= len(block.encoded)
        return block


class CoreStorage:
    """The core's view of the log: entries and hard state, and who votes after its last entry."""

    def __init__(self, log: StoredLog, voters: Iterable[int]) -> None:
        self._log = log
        self._voters = tuple(sorted(voters))

    def initial_state(self) -> tuple[raft.HardState, MembershipState]:
        hard = self._log.hard_state()
        return raft.HardState(hard.term, hard.vote, hard.commit), MembershipState(voters=self._voters)

    def entries(self, low: int, high: int, max_bytes: int) -> list[raft.Entry]:
        return [
            raft.Entry(entry.term, entry.index, raft.EntryType(entry.kind), entry.data)
            for entry in self._log.entries(low, high, max_bytes)
        ]

    def term(self, index: int) -> int:
        if index > self._log.last_index():
            raise raft.Unavailable(f"term of entry {index}: the log ends at {self._log.last_index()}")
        return self._log.term(index)

    def first_index(self) -> int:
        return self._log.first_index()

    def last_index(self) -> int:
        return self._log.last_index()

    def snapshot(self) -> raft.Snapshot:
        raise raft.SnapshotTemporarilyUnavailable("the log is whole; nobody needs a snapshot")
