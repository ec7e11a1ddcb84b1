"""Progress: what a leader knows about one follower's log, and how fast it may send.

Three states: PROBE (one message at a time until a match is found), REPLICATE
(a pipeline of messages, limited in count and bytes), SNAPSHOT (nothing until
the snapshot has arrived).
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import msgspec


class ProgressState(Enum):
    """How a leader sends to a follower."""

    PROBE = "StateProbe"
    REPLICATE = "StateReplicate"
    SNAPSHOT = "StateSnapshot"


class Inflights:
    """The messages on their way to one follower: (last index, bytes of data) of each, oldest first.

    max_count, max_bytes: the pipeline is full when either is reached; 0 bytes means no limit.
    """

    def __init__(self, max_count: int, max_bytes: int = 0) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._flying: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def full(self) -> bool:
        """No further message may be sent until an answer frees a place."""
        return len(self._flying) >= self._max_count or bool(self._max_bytes and self._bytes >= self._max_bytes)

    def add(self, last_index: int, size: int) -> None:
        """A message whose last entry is `last_index` has left."""
        assert not self.full, "the pipeline was full, nothing may be added"
        self._flying.append((last_index, size))
        self._bytes += size

    def free_up_to(self, index: int) -> None:
        """Everything up to `index` has arrived; an old answer frees nothing."""
        while self._flying and self._flying[0][0] <= index:
            self._bytes -= self._flying.popleft()[1]

    def clear(self) -> None:
        """Forget what is on its way."""
        self._flying.clear()
        self._bytes = 0


class ProgressView(msgspec.Struct, frozen=True, kw_only=True):
    """A copy of one follower's progress, for status pages and tests; fields as in `Progress`."""

    state: ProgressState
    match: int
    next: int
    learner: bool
    paused: bool
    pending_snapshot: int
    recent_active: bool
    inflight: int
    inflight_full: bool
    epoch: int

    def __str__(self) -> str:
        flags = [
            (self.learner, "learner"),
            (self.paused, "paused"),
            (self.pending_snapshot > 0, f"pendingSnap={self.pending_snapshot}"),
            (not self.recent_active, "inactive"),
            (self.inflight > 0, f"inflight={self.inflight}{'[full]' if self.inflight_full else ''}"),
        ]
        return " ".join(
            [f"{self.state.value} match={self.match} next={self.next}"] + [text for on, text in flags if on]
        )


class Progress:
    """One follower as its leader sees it.

    match: largest index known to be stored there.          match < next
    next:  index of the next entry to send; in REPLICATE it runs ahead of match.
    epoch: number of this session (see Message.epoch).
    paused_flow: in PROBE a probe is out, in REPLICATE the pipeline is full.
    recent_active: heard from since the last quorum check.
    """

    def __init__(self, *, match: int, next_index: int, inflights: Inflights, epoch: int, learner: bool) -> None:
        self.match = match
        self.next = next_index
        self.state = ProgressState.PROBE
        self.pending_snapshot = 0
        self.recent_active = False
        self.paused_flow = False
        self.inflights = inflights
        self.learner = learner
        self.epoch = epoch
        # Largest commit index sent so far: it is not worth sending one that
        # could not move the follower any further.
        self.sent_commit = 0

    @property
    def paused(self) -> bool:
        """Entries must wait: for the answer to a probe, for room in the pipeline, or for a snapshot."""
        return self.state is ProgressState.SNAPSHOT or self.paused_flow

    def become_probe(self) -> None:
        """Look for the last matching entry; after a snapshot, start right behind it."""
        after_snapshot = self.pending_snapshot + 1 if self.state is ProgressState.SNAPSHOT else 0
        self._enter(ProgressState.PROBE)
        self.next = max(self.match + 1, after_snapshot)
        self.sent_commit = min(self.sent_commit, self.next - 1)

    def become_replicate(self) -> None:
        """A match is found: send entries as they come."""
        self._enter(ProgressState.REPLICATE)
        self.next = self.match + 1

    def become_snapshot(self, index: int) -> None:
        """A snapshot at `index` has been sent: wait for it to arrive."""
        self._enter(ProgressState.SNAPSHOT)
        self.pending_snapshot = index
        self.next = index + 1
        self.sent_commit = index

    def sent_entries(self, count: int, size: int) -> None:
        """Account for an APP with `count` entries of `size` bytes of data."""
        if self.state is ProgressState.REPLICATE:
            if count:
                self.next += count
                self.inflights.add(self.next - 1, size)
            # The message that fills the pipeline, or is sent while it is full, is a probe.
            self.paused_flow = self.inflights.full
        else:
            assert self.state is ProgressState.PROBE, "entries sent while a snapshot is on its way"
            self.paused_flow = self.paused_flow or count > 0

    def can_bump_commit(self, index: int) -> bool:
        """Would sending commit `index` teach the follower anything it was not told?"""
        return index > self.sent_commit and self.sent_commit < self.next - 1

    def accept(self, index: int) -> bool:
        """The follower has stored everything up to `index`. False for an answer that says nothing new."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        self.paused_flow = False
        return True

    def refuse(self, rejected: int, hint: int) -> bool:
        """The follower has no match at `rejected`, perhaps one at `hint`. False for an answer out of date."""
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match:
                return False
            self.next = self.match + 1
        else:
            # One probe is out at a time, so any other index is an old answer. And what
            # was acknowledged cannot be refused: an old answer again, or a disk that
            # was swapped, which must not keep us sending as fast as it refuses.
            if self.next - 1 != rejected or rejected <= self.match:
                return False
            self.next = max(min(rejected, hint + 1), self.match + 1)
            self.paused_flow = False
        self.sent_commit = min(self.sent_commit, self.next - 1)
        return True

    def _enter(self, state: ProgressState) -> None:
        self.paused_flow = False
        self.pending_snapshot = 0
        self.state = state
        self.inflights.clear()

    def view(self) -> ProgressView:
        """The figures as they are now."""
        return ProgressView(
            state=self.state,
            match=self.match,
            next=self.next,
            learner=self.learner,
            paused=self.paused,
            pending_snapshot=self.pending_snapshot,
            recent_active=self.recent_active,
            inflight=len(self.inflights),
            inflight_full=self.inflights.full,
            epoch=self.epoch,
        )

    def __str__(self) -> str:
        return str(self.view())
