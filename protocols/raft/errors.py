"""Refusals: what the core will not do, and who is at fault.

A peer's message is refused with a value, never with an exception, because a
peer must not be able to stop us; a caller's wish is refused with an exception.
"""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """Why a message was refused. `blame` is true where no correct node would have sent it."""

    MALFORMED = "malformed"
    LOCAL = "only for a node's own storage"
    MISDIRECTED = "addressed to another node"
    SECOND_LEADER = "second leader in one term"
    BEYOND_LOG = "speaks of entries that do not exist"
    NOT_FROM_LEADER = "only the leader may say that"
    # A correct node can send these: news travels at different speeds.
    UNKNOWN_SENDER = "answer from a node that is no member"
    STALE_SESSION = "answer of an earlier session"
    DROPPED = "proposal dropped"
    BUSY = "too many reads are waiting"

    @property
    def blame(self) -> bool:
        """Is the sender at fault?"""
        return self not in _HONEST


_HONEST = frozenset({Fault.UNKNOWN_SENDER, Fault.STALE_SESSION, Fault.DROPPED, Fault.BUSY})


class BadMessage(Exception):
    """A refused message, returned by `RawNode.step` for the caller to count; str() says what was wrong."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(f"{fault.value}: {text}")
        self.fault = fault


class ProposalDropped(Exception):
    """A proposal that will not be logged here and now; str() says why. The caller may try again."""


class CommitRefused(ValueError):
    """`RawNode.commit_to` was asked for an entry that this log does not hold."""
