"""Hooks: what the owner of a node supplies and the core calls."""

from __future__ import annotations

from collections.abc import Callable

from protocols.raft.messages import Message

Sealer = Callable[[int, int, bytes, bool], bytes]
"""(term, index, payload, first_of_term) -> the data of the entry at (term, index). Called once per entry, by
the leader, in order of index: a sealer that signs must never be asked to sign two blocks for one place."""


Judge = Callable[[Message, bool], bool]
"""(VOTE or PRE_VOTE, whether its sender's log says that it reaches as far as ours) -> whether it has enough to lead."""


def unsealed(term: int, index: int, payload: bytes, first_of_term: bool) -> bytes:
    """The sealer that adds nothing: data is what was proposed, and empty for the first of a term."""
    return payload
