"""The candidate, and the pre-candidate before it: asks for votes until it wins, loses or hears a leader."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.raft import follower
from protocols.raft.errors import BadMessage, Fault
from protocols.raft.messages import FROM_LEADER, NO_NODE, Message, MessageKind, Role
from protocols.raft.quorum import VoteResult
from protocols.raft.sending import broadcast_append

if TYPE_CHECKING:
    from protocols.raft.replica import Replica


def step(replica: Replica, message: Message) -> BadMessage | None:
    """Take in a message of our term, as candidate or pre-candidate."""
    kind = message.kind
    if kind in FROM_LEADER:
        # Somebody else has won this term.
        replica.become_follower(replica.term, message.sender)
        return follower.step(replica, message)
    if kind is MessageKind.PROP:
        replica.logger.info("%x no leader at term %d; dropping proposal", replica.id, replica.term)
        return BadMessage(Fault.DROPPED, f"node {replica.id} is campaigning in term {replica.term}")
    if kind is _ANSWER[replica.role]:
        if kind is MessageKind.PRE_VOTE_RESP and not message.reject and message.term != replica.asked_term:
            return None  # of another campaign than this one: late, or repeated
        _count(replica, message)
    elif kind is MessageKind.TIMEOUT_NOW:
        replica.logger.debug(
            "%x [term %d state %s] ignored MsgTimeoutNow from %x",
            replica.id,
            replica.term,
            replica.role,
            message.sender,
        )
    return None


# A pre-candidate's late answers must not count once it is a candidate.
_ANSWER = {Role.PRE_CANDIDATE: MessageKind.PRE_VOTE_RESP, Role.CANDIDATE: MessageKind.VOTE_RESP}


def _count(replica: Replica, message: Message) -> None:
    if message.reject and replica.learn_commit(message) and replica.change_unapplied():
        # The membership that we ask is not today's any more: apply it, then ask again.
        replica.become_follower(replica.term, NO_NODE)
        return
    result = replica.poll(message)
    # A membership change may have become final, or have taken our vote, while we
    # campaigned: then we have counted by the wrong membership.
    outdated = result is VoteResult.WON and (replica.change_unapplied() or not replica.promotable)
    if result is VoteResult.LOST or outdated:
        replica.become_follower(replica.term, NO_NODE)
    elif result is VoteResult.WON and replica.role is Role.PRE_CANDIDATE:
        replica.ask_for_votes(pre_vote=False)
    elif result is VoteResult.WON:
        replica.become_leader()
        broadcast_append(replica)
