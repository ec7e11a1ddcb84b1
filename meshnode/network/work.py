"""Work: what a validator hands to its owner and what it needs from it."""

from __future__ import annotations

from typing import Protocol

import msgspec

from meshnode.machine import Event
from meshnode.store import Batch
from protocols import raft
from protocols.block import Block, SignedRecord
from protocols.parcel import Parcel

# To one follower: what hides its round trip and one fsync; it parks no more than that (see `intake`).
MAX_APPENDS_IN_FLIGHT = 16


class Proposals(Protocol):
    """Where a leader finds the records of its next block; see `meshnode.mempool.Mempool`."""

    def select(self, time_s: int, max_bytes: int, max_records: int, exclude: frozenset[bytes]) -> list[SignedRecord]:
        """Records that the state machine would take now, oldest first."""


class Outgoing(msgspec.Struct, frozen=True):
    """A parcel and the number of the validator it goes to."""

    to: int
    parcel: Parcel


class Work(msgspec.Struct, frozen=True):
    """What to send now and what to write; see the contract."""

    now: tuple[Outgoing, ...]
    batch: Batch | None


class FinalBlock(msgspec.Struct, frozen=True):
    """A block that became final here, with what executing it did."""

    block: Block
    events: tuple[Event, ...]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Timing of a validator, in ticks, and the size of its appends.

    Attributes:
        max_append_bytes: of the entries in one message; with what frames them it fits
            one frame (`protocols.frames.MAX_FRAME_BYTES`).
        priority: of this node among those that would lead; see `protocols.raft.Config`.
    """

    election_ticks: int = 20
    heartbeat_ticks: int = 5
    max_append_bytes: int = 192 * 1024
    priority: int = 0

    def core(self, number: int, applied: int) -> raft.Config:
        """The settings of the Raft core of node `number`, executed up to `applied`."""
        return raft.Config(
            id=number,
            election_tick=self.election_ticks,
            heartbeat_tick=self.heartbeat_ticks,
            applied=applied,
            max_size_per_msg=self.max_append_bytes,
            max_inflight_msgs=MAX_APPENDS_IN_FLIGHT,
            disable_proposal_forwarding=True,
            external_commit=True,
            priority=self.priority,
        )
