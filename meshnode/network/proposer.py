"""Proposer: the blocks of a leader - when one is due, what goes into it, and its signature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshnode.machine import Machine
from meshnode.network.ballots import Ballots
from meshnode.network.chain import Chain
from meshnode.network.electorate import Electorate
from meshnode.network.locking import Locking
from meshnode.network.work import FinalBlock, Proposals
from protocols import block as blocks
from protocols.block import Block, SignedRecord
from protocols.cose import Signer, key_id_of
from protocols.records import Header

# Blocks under way at once: enough to hide one fsync of the followers, few enough that
# the state heights in their headers stay recent.
MAX_BLOCKS_IN_FLIGHT = 4
# What a header, an election certificate of ten votes and a lock, and the framing need of a block.
HEADER_ROOM_BYTES = 4096


class Proposer:
    """Makes the blocks of one validator; see `prepare` and `seal`."""

    def __init__(
        self,
        machine: Machine,
        chain: Chain,
        electorate: Electorate,
        ballots: Ballots,
        locking: Locking,
        proposals: Proposals,
        device_key: bytes,
        signer: Signer,
        clock: Callable[[], int],
    ) -> None:
        self._machine = machine
        self._chain = chain
        self._electorate = electorate
        self._ballots = ballots
        self._locking = locking
        self._proposals = proposals
        self._key = device_key
        self._signer = signer
        self._clock = clock
        # Records and time of the block that is being made.
        self._offer: tuple[tuple[SignedRecord, ...], int] | None = None

    def prepare(self, last_height: int, executed: Sequence[FinalBlock]) -> bool:
        """Choose what goes into the block after `last_height`; whether there is reason to make one.

        Args:
            executed: blocks that became final of which the source of records has not heard yet.
        """
        machine, electorate = self._machine, self._electorate
        in_flight = range(machine.height + 1, last_height + 1)
        if len(in_flight) >= MAX_BLOCKS_IN_FLIGHT or not electorate.votes_at(last_height + 1):
            return False
        if in_flight and electorate.changes_at(last_height):
            # Those who vote until there certify it by itself: so whoever knows only them can check it.
            return False
        limits = machine.genesis.limits
        under_way = [*self._chain.kept(in_flight), *(done.block for done in executed)]
        excluded = frozenset(record.record_id for block in under_way for record in block.records)
        time_s = max(self._chain.head(last_height).time_s, self._clock())
        offered = self._proposals.select(
            time_s, limits.max_block_bytes - HEADER_ROOM_BYTES, limits.max_block_records, excluded
        )
        # The first block of a byzantine configuration comes at once: until one is prepared, validators are locked by
        # another configuration, if by any, and could not elect one another.
        due = electorate.change_due(last_height) or (
            not in_flight and (electorate.begins_byzantine(last_height) or machine.close_possible(time_s))
        )
        if not offered and not due:
            return False
        # The block must have the very time for which its records were selected.
        self._offer = (tuple(offered), time_s)
        return True

    def waits(self, last_height: int) -> bool:
        """Whether a leader with this log would have something to do, now or since long."""
        machine = self._machine
        electorate = self._electorate
        if (
            last_height > machine.height
            or electorate.change_due(last_height)
            or electorate.begins_byzantine(last_height)
        ):
            return True
        time_s = max(self._chain.head(last_height).time_s, self._clock())
        limits = machine.genesis.limits
        return machine.close_possible(time_s) or bool(
            self._proposals.select(time_s, limits.max_block_bytes - HEADER_ROOM_BYTES, 1, frozenset())
        )

    def forget(self) -> None:
        """The block is made, or will not be."""
        self._offer = None

    def seal(self, term: int, height: int, first_of_term: bool) -> Block:
        """Make and sign the block of a new entry; called by the core, through its owner, as leader."""
        parent, machine, key_id = self._chain.head(height - 1), self._machine, key_id_of(self._key)
        election = None
        if first_of_term:
            lock = self._locking.of_election(height)
            election = self._ballots.election(term, key_id, self._chain.tip(height - 1), lock)
        # The first block of a term is the core's own wish, and empty.
        records, time_s = self._offer or ((), max(parent.time_s, self._clock()))
        state_hash = machine.state_hash()
        assert state_hash is not None
        header = Header(
            height=height,
            term=term,
            parent=parent.block_hash,
            tx_root=blocks.tx_root([record.envelope_bytes for record in records]),
            tx_count=len(records),
            state_height=machine.height,
            state_hash=state_hash,
            validators=parent.next_validators,
            next_validators=self._electorate.decided().config_hash(),
            time_s=time_s,
            election=blocks.election_hash(election) if election is not None else b"",
        )
        block = blocks.make(header, records, election, machine.chain_id, self._key, self._signer)
        self._chain.keep(block)
        return block
