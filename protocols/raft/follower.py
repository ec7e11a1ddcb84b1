"""The follower: stores what the leader sends, and answers for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from protocols.raft.errors import BadMessage, Fault
from protocols.raft.messages import NO_NODE, Message, MessageKind, ReadState
from protocols.raft.reads import read_context

if TYPE_CHECKING:
    from protocols.raft.replica import Replica


def step(replica: Replica, message: Message) -> BadMessage | None:
    """Take in a message of our term, as follower."""
    kind = message.kind
    if kind in _FROM_LEADER:
        replica.election_elapsed = 0
        replica.leader = message.sender
        return _FROM_LEADER[kind](replica, message)
    if kind in _FOR_LEADER:
        return _forward(replica, message)
    if kind is MessageKind.TIMEOUT_NOW:
        return _timeout_now(replica, message)
    elif kind is MessageKind.READ_INDEX_RESP:
        return _read_answered(replica, message)
    return None


def _forward(replica: Replica, message: Message) -> BadMessage | None:
    """Hand our own wish on to the leader.

    A peer's wish is not handed on a second time: the leader's answer would find
    only us, and two nodes that each take the other for leader would play ball.
    """
    log, ours = replica.logger, f"node {replica.id}"
    if message.sender != NO_NODE:
        return BadMessage(Fault.DROPPED, f"{message.kind} from {message.sender}: {ours} does not lead")
    if replica.leader == NO_NODE:
        log.info("%x no leader at term %d; dropping %s", replica.id, replica.term, _FOR_LEADER[message.kind])
        return BadMessage(Fault.DROPPED, f"{ours} knows no leader in term {replica.term}")
    if message.kind is MessageKind.PROP and replica.config.disable_proposal_forwarding:
        log.info(
            "%x not forwarding to leader %x at term %d; dropping proposal",
            replica.id,
            replica.leader,
            replica.term,
        )
        return BadMessage(Fault.DROPPED, f"{ours} does not forward proposals; {replica.leader} leads")
    replica.send(msgspec.structs.replace(message, to=replica.leader))
    return None


def append_entries(replica: Replica, message: Message) -> BadMessage | None:
    """Store the leader's entries if they follow on what we have, else say how far we may match."""
    log = replica.log
    if message.index < log.committed:
        _answer(replica, message, index=log.committed)
        return None
    last = log.append_after(message.log_term, message.index, message.entries)
    if last is not None:
        if not replica.config.external_commit:
            log.commit_to(min(message.commit, last))
        _answer(replica, message, index=last)
        return None
    replica.logger.debug(
        "%x [logterm: %d, index: %d] rejected MsgApp [logterm: %d, index: %d] from %x",
        replica.id,
        log.term_or_zero(message.index),
        message.index,
        message.log_term,
        message.index,
        message.sender,
    )
    hint, hint_term = log.last_possible_match(min(message.index, log.last_index), message.log_term)
    _answer(replica, message, index=message.index, reject=True, reject_hint=hint, log_term=hint_term)
    return None


def heartbeat(replica: Replica, message: Message) -> BadMessage | None:
    """The leader lives, and may know more entries committed."""
    if not replica.config.external_commit:
        if message.commit > replica.log.last_index:
            # A leader promises commit <= what we acknowledged: either it lies,
            # or our disk has lost entries that we answered for.
            text = f"commit {message.commit} from {message.sender}, our log ends at {replica.log.last_index}"
            return BadMessage(Fault.BEYOND_LOG, text)
        replica.log.commit_to(message.commit)
    _answer(replica, message, kind=MessageKind.HEARTBEAT_RESP, context=message.context)
    return None


def install_snapshot(replica: Replica, message: Message) -> BadMessage | None:
    """Replace our log by the leader's snapshot if it brings us forward."""
    snapshot = message.snapshot
    assert snapshot is not None, "checked when the message came in"
    restored = replica.restore(snapshot)
    replica.logger.info(
        f"%x [commit: %d] {'restored' if restored else 'ignored'} snapshot [index: %d, term: %d]",
        replica.id,
        replica.log.committed,
        snapshot.index,
        snapshot.term,
    )
    _answer(replica, message, index=replica.log.last_index if restored else replica.log.committed)
    return None


def _answer(
    replica: Replica,
    message: Message,
    *,
    kind: MessageKind = MessageKind.APP_RESP,
    index: int = 0,
    log_term: int = 0,
    reject: bool = False,
    reject_hint: int = 0,
    context: bytes = b"",
) -> None:
    replica.send(
        Message(
            kind=kind,
            to=message.sender,
            index=index,
            log_term=log_term,
            reject=reject,
            reject_hint=reject_hint,
            context=context,
            epoch=message.epoch,
        )
    )


def _timeout_now(replica: Replica, message: Message) -> BadMessage | None:
    if replica.leader not in (NO_NODE, message.sender):
        text = f"{message.kind} from {message.sender}, but {replica.leader} leads term {replica.term}"
        return BadMessage(Fault.NOT_FROM_LEADER, text)
    replica.logger.info(
        "%x [term %d] received MsgTimeoutNow from %x and starts an election to get leadership.",
        replica.id,
        replica.term,
        message.sender,
    )
    replica.campaign(transfer=True)
    return None


def _read_answered(replica: Replica, message: Message) -> BadMessage | None:
    if replica.leader not in (NO_NODE, message.sender):
        text = f"{message.kind} from {message.sender}, but {replica.leader} leads term {replica.term}"
        return BadMessage(Fault.NOT_FROM_LEADER, text)
    replica.read_states.append(ReadState(message.index, read_context(message)))
    return None


_FOR_LEADER = {
    MessageKind.PROP: "proposal",
    MessageKind.READ_INDEX: "index reading msg",
    MessageKind.TRANSFER_LEADER: "leader transfer msg",
}
_FROM_LEADER = {
    MessageKind.APP: append_entries,
    MessageKind.HEARTBEAT: heartbeat,
    MessageKind.SNAP: install_snapshot,
}
