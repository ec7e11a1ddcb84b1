"""Hooks: what the owner of a node supplies and the core calls."""

from __future__ import annotations

from collections.abc import Callable

from protocols.raft.messages import Message

Sealer = Callable[[int, int, bytes, bool], bytes]
"""(term, index, payload, first_of_term) -> the data of the entry at (term, index). Called once per entry, by
the leader, in order of index: a sealer that signs must never be asked to sign two blocks for one place."""


Judge = Callable[[Message], bool]
"""Whether the sender of this VOTE or PRE_VOTE has enough to lead: in place of comparing the tips of logs."""


def unsealed(term: int, index: int, payload: bytes, first_of_term: bool) -> bytes:
    """The sealer that adds nothing: data is what was proposed, and empty for the first of a term."""
    return payload
