"""Ready: a bundle of work that the core hands to its owner."""

from __future__ import annotations

import msgspec

from protocols.raft.messages import Entry, HardState, Message, ReadState, Snapshot, SoftState


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Work for the owner, in the order in which it must be done.

    messages: send at once; they wait for nothing.
    hard_state, entries, snapshot: write them (None and empty: nothing to write).
    must_sync: the write holds a term, a vote or entries, so it must reach the
        disk itself before anything below happens. A snapshot always must.
    messages_after_persist: send after that write.
    committed_entries: apply in order, after that write.
    read_states: reads to be served once `index` is applied.
    soft_state: leader and role, if they changed; news, nothing to store.
    With asynchronous storage writes the write and apply orders are among
    `messages`, and messages_after_persist stays empty.
    """

    soft_state: SoftState | None = None
    hard_state: HardState | None = None
    must_sync: bool = False
    entries: tuple[Entry, ...] = ()
    snapshot: Snapshot | None = None
    messages: tuple[Message, ...] = ()
    messages_after_persist: tuple[Message, ...] = ()
    committed_entries: tuple[Entry, ...] = ()
    read_states: tuple[ReadState, ...] = ()
