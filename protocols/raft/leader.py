"""The leader: appends what is proposed, counts answers, commits, and keeps track of everybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from protocols.raft.errors import BadMessage, Fault
from protocols.raft.membership import MembershipChange, MembershipError, carries_change, decode_change
from protocols.raft.messages import (
    NO_NODE,
    Entry,
    EntryType,
    Message,
    MessageKind,
    ReadState,
    Role,
    payload_bytes,
)
from protocols.raft.progress import Progress, ProgressState
from protocols.raft.quorum import VoteResult
from protocols.raft.reads import MAX_PENDING_READS, read_context
from protocols.raft.sending import broadcast_append, broadcast_heartbeat, send_append

if TYPE_CHECKING:
    from protocols.raft.replica import Replica


def step(replica: Replica, message: Message) -> BadMessage | None:
    """Take in a message of our term, as leader."""
    handler = _HANDLERS.get(message.kind)
    return handler(replica, message) if handler is not None else None


# Time.


def tick(replica: Replica) -> None:
    """One tick has passed: check for a quorum every election_tick, speak every heartbeat_tick."""
    replica.heartbeat_elapsed += 1
    replica.election_elapsed += 1
    if replica.election_elapsed >= replica.config.election_tick:
        replica.election_elapsed = 0
        if replica.config.check_quorum:
            _check_quorum(replica)
        # A successor that has not taken over by now will not: lead again.
        replica.transferee = NO_NODE
    if replica.role is Role.LEADER and replica.heartbeat_elapsed >= replica.config.heartbeat_tick:
        replica.heartbeat_elapsed = 0
        broadcast_heartbeat(replica, replica.reads.last_context)


def _check_quorum(replica: Replica) -> None:
    if not replica.tracker.quorum_active():
        replica.logger.warning("%x stepped down to follower since quorum is not active", replica.id)
        replica.become_follower(replica.term, NO_NODE)
    for _, progress in replica.tracker.others(replica.id):
        progress.recent_active = False


# Proposing.


def propose(replica: Replica, message: Message) -> BadMessage | None:
    """Append proposed entries and send them out; a refusal says why not."""
    if replica.id not in replica.tracker.progress:
        return BadMessage(Fault.DROPPED, f"node {replica.id} leads but is no longer a member")
    if replica.transferee != NO_NODE:
        replica.logger.debug(
            "%x [term %d] transfer leadership to %x is in progress; dropping proposal",
            replica.id,
            replica.term,
            replica.transferee,
        )
        return BadMessage(Fault.DROPPED, f"leadership is being handed to {replica.transferee}")
    entries = list(message.entries)
    for position, entry in enumerate(entries):
        if not carries_change(entry):
            continue
        try:
            change = decode_change(entry.type, entry.data)
        except MembershipError as error:
            return BadMessage(Fault.MALFORMED, str(error))
        refused = _change_refused(replica, change)
        if refused is not None and not replica.config.disable_conf_change_validation:
            replica.logger.info(
                "%x ignoring conf change %s at config %s: %s",
                replica.id,
                change,
                replica.tracker.membership,
                refused,
            )
            if not replica.config.replace_refused_changes:
                return BadMessage(Fault.DROPPED, refused)
            entries[position] = Entry()
        else:
            replica.pending_change_index = replica.log.last_index + position + 1
    if not append(replica, entries):
        return BadMessage(Fault.DROPPED, "too much is proposed and not committed yet")
    broadcast_append(replica)
    return None


def _change_refused(replica: Replica, change: MembershipChange) -> str | None:
    applied = replica.log.applied
    if replica.pending_change_index > applied:
        index = replica.pending_change_index
        return f"possible unapplied conf change at index {index} (applied to {applied})"
    joint, leaves = replica.tracker.membership.joint, not change.changes
    if joint and not leaves:
        return "must transition out of joint config first"
    if not joint and leaves:
        return "not in joint state; refusing empty conf change"
    if replica.config.own_term_first and not _committed_in_own_term(replica):
        # Two leaders that each change one voter of the same old membership can
        # end up with majorities that do not meet (raft-dev, July 2015).
        return f"no entry of term {replica.term} is committed yet"
    return None


def append(replica: Replica, entries: Sequence[Entry], *, first_of_term: bool = False) -> bool:
    """Seal entries and put them at the end of the log; False if too much is uncommitted."""
    size = payload_bytes(entries)
    used = replica.uncommitted_bytes
    if used > 0 and size > 0 and used + size > replica.config.max_uncommitted_entries_size:
        replica.logger.warning(
            "%x appending new entries to log would exceed uncommitted entry size limit; dropping proposal",
            replica.id,
        )
        return False
    for payload in entries:
        index = replica.log.last_index + 1
        data = replica.sealer(replica.term, index, payload.data, first_of_term)
        replica.log.append([Entry(replica.term, index, payload.type, data)])
        replica.uncommitted_bytes += len(data)
    # Our own copy counts like a follower's: when it is on disk, not before.
    epoch = replica.tracker.progress[replica.id].epoch
    replica.send(Message(kind=MessageKind.APP_RESP, to=replica.id, index=replica.log.last_index, epoch=epoch))
    return True


def leave_joint_if_due(replica: Replica) -> None:
    """Propose the end of a joint membership that is to be left automatically, once it is applied."""
    membership = replica.tracker.membership
    due = membership.auto_leave and replica.log.applied >= replica.pending_change_index
    if replica.role is not Role.LEADER or not due:
        return
    leave = Entry(type=EntryType.CHANGE, data=MembershipChange().encode())
    refused = propose(replica, Message(kind=MessageKind.PROP, entries=(leave,)))
    if refused is None:
        replica.logger.info("initiating automatic transition out of joint configuration %s", membership)
    else:
        # Tried again with every applied entry, by us or by the next leader.
        replica.logger.debug(
            "not initiating automatic transition out of joint configuration %s: %s", membership, refused
        )


# Answers.


def _append_answered(replica: Replica, message: Message) -> BadMessage | None:
    progress, refused = _session(replica, message)
    if progress is None:
        return refused
    if message.index > replica.log.last_index:
        last = replica.log.last_index
        text = f"{message.kind} for {message.index} from {message.sender}, our log ends at {last}"
        return BadMessage(Fault.BEYOND_LOG, text)
    progress.recent_active = True
    if message.reject:
        _append_refused(replica, message, progress)
    elif progress.accept(message.index) or (
        # A probe that was answered at `match` brings a follower back that was reported unreachable.
        progress.match == message.index and progress.state is ProgressState.PROBE
    ):
        _append_accepted(replica, message, progress)
    return None


def _append_refused(replica: Replica, message: Message, progress: Progress) -> None:
    replica.logger.debug(
        "%x received MsgAppResp(rejected, hint: (index %d, term %d)) from %x for index %d",
        replica.id,
        message.reject_hint,
        message.log_term,
        message.sender,
        message.index,
    )
    hint = message.reject_hint
    if message.log_term > 0:
        hint, _ = replica.log.last_possible_match(hint, message.log_term)
    if progress.refuse(message.index, hint):
        replica.logger.debug("%x decreased progress of %x to [%s]", replica.id, message.sender, progress)
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        send_append(replica, message.sender, progress)


def _append_accepted(replica: Replica, message: Message, progress: Progress) -> None:
    node = message.sender
    if progress.state is ProgressState.PROBE:
        progress.become_replicate()
    elif progress.state is ProgressState.REPLICATE:
        progress.inflights.free_up_to(message.index)
    elif progress.match + 1 >= replica.log.first_index:
        # The log reaches back to where the follower is, be it by the snapshot or by an older message.
        replica.logger.debug(
            "%x recovered from needing snapshot, resumed sending replication messages to %x [%s]",
            replica.id,
            node,
            progress,
        )
        progress.become_probe()
        progress.become_replicate()
    if maybe_commit(replica):
        committed_advanced(replica)
    elif node != replica.id and progress.can_bump_commit(replica.log.committed):
        send_append(replica, node, progress)
    if node != replica.id:
        # Several places may have become free in the pipeline.
        while send_append(replica, node, progress, if_empty=False):
            pass
        if node == replica.transferee and progress.match == replica.log.last_index:
            replica.logger.info("%x sent MsgTimeoutNow to %x after received MsgAppResp", replica.id, node)
            replica.send(Message(kind=MessageKind.TIMEOUT_NOW, to=node))


def _heartbeat_answered(replica: Replica, message: Message) -> BadMessage | None:
    progress, refused = _session(replica, message)
    if progress is None:
        return refused
    progress.recent_active = True
    progress.paused_flow = False
    # Whatever it lacks may have been lost on the way; it was not lost if nothing is lacking.
    if progress.match < replica.log.last_index or progress.state is ProgressState.PROBE:
        send_append(replica, message.sender, progress)
    if message.context and not replica.config.read_only_lease_based:
        _confirm_reads(replica, message.sender, message.context)
    return None


def _session(replica: Replica, message: Message) -> tuple[Progress | None, BadMessage | None]:
    """The sender's progress, or why its answer does not count."""
    progress = replica.tracker.progress.get(message.sender)
    if progress is None:
        replica.logger.debug("%x no progress available for %x", replica.id, message.sender)
        return None, BadMessage(Fault.UNKNOWN_SENDER, f"{message.kind} from {message.sender}")
    if progress.epoch != message.epoch:
        text = f"{message.kind} of session {message.epoch} from {message.sender}, which is in {progress.epoch}"
        return None, BadMessage(Fault.STALE_SESSION, text)
    return progress, None


# Committing.


def maybe_commit(replica: Replica) -> bool:
    """Commit what a quorum has stored, if that is an entry of our own term (Raft paper, figure 8)."""
    if replica.config.external_commit:
        return False
    index = replica.tracker.committed()
    if index <= replica.log.committed or not replica.log.matches(replica.term, index):
        return False
    return replica.log.commit_to(index)


def committed_advanced(replica: Replica) -> None:
    """Tell everybody, and take up the reads that waited for the first commit of this term."""
    if replica.early_reads and _committed_in_own_term(replica):
        waiting, replica.early_reads = replica.early_reads, []
        for request in waiting:
            _start_read(replica, request)
    broadcast_append(replica)


def _committed_in_own_term(replica: Replica) -> bool:
    return replica.log.term_or_zero(replica.log.committed) == replica.term


# Reading.


def read(replica: Replica, request: Message) -> BadMessage | None:
    """Start a linearizable read."""
    if len(replica.early_reads) + len(replica.reads) >= MAX_PENDING_READS:
        return BadMessage(Fault.BUSY, f"{MAX_PENDING_READS} reads wait for a quorum")
    elif not _committed_in_own_term(replica):
        # Until then we do not know which entries of earlier terms are committed,
        # not even alone: the commit index need not have reached the disk.
        replica.early_reads.append(request)
    else:
        _start_read(replica, request)
    return None


def _start_read(replica: Replica, request: Message) -> None:
    if replica.config.read_only_lease_based:
        _answer_read(replica, request, replica.log.committed)
        return
    replica.reads.add(request, replica.log.committed)
    if not _confirm_reads(replica, replica.id, read_context(request)):
        broadcast_heartbeat(replica, read_context(request))


def _confirm_reads(replica: Replica, node: int, context: bytes) -> bool:
    """`node` confirms that we led when `context` was asked; True if that made a quorum and was answered."""
    confirmed = replica.reads.confirm(node, context)
    if not confirmed or replica.tracker.membership.quorum.vote(confirmed) is not VoteResult.WON:
        return False
    for waiting in replica.reads.take_up_to(context):
        _answer_read(replica, waiting.request, waiting.index)
    return True


def _answer_read(replica: Replica, request: Message, index: int) -> None:
    if request.sender in (NO_NODE, replica.id):
        replica.read_states.append(ReadState(index, read_context(request)))
    else:
        replica.send(Message(kind=MessageKind.READ_INDEX_RESP, to=request.sender, index=index, entries=request.entries))


# Members and their state.


def membership_switched(replica: Replica) -> None:
    """The membership has changed under us: step down, commit, or send to the newcomers."""
    ours = replica.tracker.progress.get(replica.id)
    if ours is None or ours.learner:
        if replica.config.step_down_on_removal:
            replica.become_follower(replica.term, NO_NODE)
        return
    if maybe_commit(replica):
        committed_advanced(replica)
    else:
        for node, progress in replica.tracker.others(replica.id):
            send_append(replica, node, progress, if_empty=False)
    if replica.transferee not in replica.tracker.membership.quorum.ids:
        replica.transferee = NO_NODE


def snapshot_finished(replica: Replica, node: int, ok: bool) -> None:
    """The owner has delivered a snapshot to `node`, or failed to."""
    progress = replica.tracker.progress.get(node)
    if progress is None or progress.state is not ProgressState.SNAPSHOT:
        return
    if not ok:
        progress.pending_snapshot = 0
    progress.become_probe()
    verb = "succeeded" if ok else "failed"
    replica.logger.debug(
        f"%x snapshot {verb}, resumed sending replication messages to %x [%s]", replica.id, node, progress
    )
    # Delivered: the answer to it comes first. Failed: leave it a heartbeat's time before the next try.
    progress.paused_flow = True


def unreachable(replica: Replica, node: int) -> None:
    """The owner could not send to `node`: what was under way is probably lost."""
    progress = replica.tracker.progress.get(node)
    if progress is None:
        return
    if progress.state is ProgressState.REPLICATE:
        progress.become_probe()
    replica.logger.debug("%x failed to send message to %x because it is unreachable [%s]", replica.id, node, progress)


def transfer(replica: Replica, node: int) -> None:
    """Hand leadership to `node`: bring it up to date, then let it campaign (dissertation, 3.10)."""
    logger, progress = replica.logger, replica.tracker.progress.get(node)
    if progress is None:
        logger.debug("%x no progress available for %x", replica.id, node)
        return
    if progress.learner:
        logger.debug("%x is learner. Ignored transferring leadership", replica.id)
        return
    if replica.transferee == node:
        logger.info(
            "%x [term %d] transfer leadership to %x is in progress, ignores request to same node %x",
            replica.id,
            replica.term,
            node,
            node,
        )
        return
    if replica.transferee != NO_NODE:
        logger.info(
            "%x [term %d] abort previous transferring leadership to %x",
            replica.id,
            replica.term,
            replica.transferee,
        )
        replica.transferee = NO_NODE
    if node == replica.id:
        logger.debug("%x is already leader. Ignored transferring leadership to self", replica.id)
        return
    logger.info("%x [term %d] starts to transfer leadership to %x", replica.id, replica.term, node)
    # It must succeed within one election_tick, counted from now.
    replica.election_elapsed = 0
    replica.transferee = node
    if progress.match == replica.log.last_index:
        replica.send(Message(kind=MessageKind.TIMEOUT_NOW, to=node))
        logger.info(
            "%x sends MsgTimeoutNow to %x immediately as %x already has up-to-date log",
            replica.id,
            node,
            node,
        )
    else:
        send_append(replica, node, progress)


def _transfer_asked(replica: Replica, message: Message) -> BadMessage | None:
    transfer(replica, message.vote)
    return None


_HANDLERS: dict[MessageKind, Callable[[Replica, Message], BadMessage | None]] = {
    MessageKind.PROP: propose,
    MessageKind.APP_RESP: _append_answered,
    MessageKind.HEARTBEAT_RESP: _heartbeat_answered,
    MessageKind.READ_INDEX: read,
    MessageKind.TRANSFER_LEADER: _transfer_asked,
}
