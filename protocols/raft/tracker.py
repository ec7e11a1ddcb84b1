"""Trackers: the members as a node counts them - progress, votes and session epochs.

Only the leader's figures mean anything; a follower keeps the same table so that
it can become leader at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from protocols.raft.membership import Membership
from protocols.raft.progress import Inflights, Progress
from protocols.raft.quorum import VoteResult


class Tracker:
    """Membership, one Progress per member, and the votes of the current campaign.

    Always true: set(progress) == membership.ids, and progress[i].learner == (i in membership.learners).
    """

    def __init__(self, *, max_inflight: int, max_inflight_bytes: int) -> None:
        self.membership = Membership()
        self.progress: dict[int, Progress] = {}
        self.votes: dict[int, bool] = {}
        self._max_inflight = max_inflight
        self._max_inflight_bytes = max_inflight_bytes
        self._last_epoch = 0

    def switch(self, membership: Membership, last_index: int) -> None:
        """Take over a membership: new members start a session at the end of our log, others keep theirs."""
        self.membership = membership
        self.progress = {node: self.progress.get(node) or self._newcomer(last_index) for node in sorted(membership.ids)}
        for node, progress in self.progress.items():
            progress.learner = node in membership.learners

    def restart(self, last_index: int) -> None:
        """Begin a new term: nothing is known about anybody."""
        self.votes = {}
        self.progress = {
            node: self._progress(next_index=last_index + 1, learner=progress.learner)
            for node, progress in self.progress.items()
        }

    def forget_everybody(self) -> None:
        """A snapshot has replaced the log; what was known about the members went with it."""
        self.progress = {}
        self.votes = {}

    def others(self, own_id: int) -> Iterator[tuple[int, Progress]]:
        """Every member but ourselves, in order of id: transcripts must not depend on history."""
        for node in sorted(self.progress):
            if node != own_id and node in self.progress:
                yield node, self.progress[node]

    def record_vote(self, node: int, granted: bool) -> None:
        """Count a vote; a node that answers twice is held to its first answer."""
        self.votes.setdefault(node, granted)

    def tally(self) -> tuple[int, int, VoteResult]:
        """(granted, refused, result) among the members that vote."""
        counted = [
            vote for node, vote in self.votes.items() if node in self.progress and not self.progress[node].learner
        ]
        return counted.count(True), counted.count(False), self.membership.quorum.vote(self.votes)

    def committed(self) -> int:
        """The largest index that a quorum has stored."""
        return self.membership.quorum.committed({node: progress.match for node, progress in self.progress.items()})

    def quorum_active(self) -> bool:
        """Has a quorum been heard from since the last check?"""
        active = {node: progress.recent_active for node, progress in self.progress.items() if not progress.learner}
        return self.membership.quorum.vote(active) is VoteResult.WON

    def _newcomer(self, last_index: int) -> Progress:
        progress = self._progress(next_index=max(last_index, 1), learner=False)
        # It had no chance to be heard yet, and must not make the leader step down for that.
        progress.recent_active = True
        return progress

    def _progress(self, *, next_index: int, learner: bool) -> Progress:
        self._last_epoch += 1
        inflights = Inflights(self._max_inflight, self._max_inflight_bytes)
        return Progress(match=0, next_index=next_index, inflights=inflights, epoch=self._last_epoch, learner=learner)
