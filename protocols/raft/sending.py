"""Sending: what a leader says to its followers, and when it must wait with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.raft.messages import Message, MessageKind, payload_bytes
from protocols.raft.progress import Progress, ProgressState
from protocols.raft.storage import Compacted, SnapshotTemporarilyUnavailable

if TYPE_CHECKING:
    from protocols.raft.replica import Replica


def broadcast_append(replica: Replica) -> None:
    """Send everybody what they lack, or at least the commit index."""
    for node, progress in replica.tracker.others(replica.id):
        send_append(replica, node, progress)


def send_append(replica: Replica, node: int, progress: Progress, *, if_empty: bool = True) -> bool:
    """Send one APP with what follows `next`, or a snapshot if the log no longer reaches back there.

    False if nothing was sent.
    """
    if progress.paused:
        return False
    try:
        previous_term = replica.log.term(progress.next - 1)
        # A full pipeline gets empty messages only: enough to find out what was lost.
        full = progress.state is ProgressState.REPLICATE and progress.inflights.full
        entries = () if full else tuple(replica.log.entries(progress.next, replica.config.max_size_per_msg))
    except Compacted:
        return _send_snapshot(replica, node, progress)
    if not entries and not if_empty:
        return False
    replica.send(
        Message(
            kind=MessageKind.APP,
            to=node,
            index=progress.next - 1,
            log_term=previous_term,
            entries=entries,
            commit=replica.log.committed,
            epoch=progress.epoch,
        )
    )
    progress.sent_entries(len(entries), payload_bytes(entries))
    progress.sent_commit = replica.log.committed
    return True


def _send_snapshot(replica: Replica, node: int, progress: Progress) -> bool:
    logger = replica.logger
    if not progress.recent_active:
        logger.debug("ignore sending snapshot to %x since it is not recently active", node)
        return False
    try:
        snapshot = replica.log.snapshot()
    except SnapshotTemporarilyUnavailable:
        logger.debug("%x failed to send snapshot to %x because snapshot is temporarily unavailable", replica.id, node)
        return False
    assert snapshot.index > 0, "storage has compacted its log without a snapshot"
    logger.debug(
        "%x [firstindex: %d, commit: %d] sent snapshot[index: %d, term: %d] to %x [%s]",
        replica.id,
        replica.log.first_index,
        replica.log.committed,
        snapshot.index,
        snapshot.term,
        node,
        progress,
    )
    progress.become_snapshot(snapshot.index)
    logger.debug("%x paused sending replication messages to %x [%s]", replica.id, node, progress)
    replica.send(Message(kind=MessageKind.SNAP, to=node, snapshot=snapshot, epoch=progress.epoch))
    return True


def broadcast_heartbeat(replica: Replica, context: bytes) -> None:
    """Tell everybody that we lead, with the commit index, and the context of a read to be confirmed."""
    for node, progress in replica.tracker.others(replica.id):
        # Not beyond `match`: the follower might hold other entries there.
        commit = min(progress.match, replica.log.committed)
        replica.send(Message(kind=MessageKind.HEARTBEAT, to=node, commit=commit, context=context, epoch=progress.epoch))
        progress.sent_commit = commit
