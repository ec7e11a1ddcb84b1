"""Reads: linearizable read requests waiting for a quorum to confirm that their leader still leads.

Source: Raft dissertation (Ongaro, 2014), section 6.4. The leader notes its commit index,
sends the request's context round with heartbeats, and answers once a quorum has echoed it.
"""

from __future__ import annotations

import msgspec

from protocols.raft.messages import Message

MAX_PENDING_READS = 1024
"""Reads waiting at a leader. One is answered within a heartbeat's round trip; more than this is a backlog."""


class PendingRead(msgspec.Struct):
    """A request, the commit index when it came, and who has confirmed since."""

    request: Message
    index: int
    confirmed: dict[int, bool]


class ReadQueue:
    """Requests in order of arrival, by context. Confirming one confirms all before it."""

    def __init__(self) -> None:
        self._pending: dict[bytes, PendingRead] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, request: Message, index: int) -> None:
        """Queue a request; one with the same context is already on its way and is not queued again."""
        self._pending.setdefault(read_context(request), PendingRead(request, index, {}))

    def confirm(self, node: int, context: bytes) -> dict[int, bool]:
        """`node` has echoed `context`; returns who has, empty for an unknown context."""
        pending = self._pending.get(context)
        if pending is None:
            return {}
        pending.confirmed[node] = True
        return pending.confirmed

    def take_up_to(self, context: bytes) -> list[PendingRead]:
        """Remove and return the request with this context and all before it."""
        if context not in self._pending:
            return []
        taken = []
        for key in list(self._pending):
            taken.append(self._pending.pop(key))
            if key == context:
                break
        return taken

    @property
    def last_context(self) -> bytes:
        """Context of the newest request, empty without any: the one to send with heartbeats."""
        return next(reversed(self._pending), b"")


def read_context(request: Message) -> bytes:
    """The context of a READ_INDEX message."""
    return request.entries[0].data
