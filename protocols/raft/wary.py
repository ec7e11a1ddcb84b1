"""Wary: what a request for votes cannot do to a replica among liars.

Elsewhere any such request begins its term, and with that our wait for a leader begins
anew. A liar needs no vote for it: by asking again and again, in one later term after the
other, it would keep everybody from ever being elected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocols.raft.messages import NO_NODE, Message, MessageKind

if TYPE_CHECKING:
    from protocols.raft.replica import Replica


def is_bound(replica: Replica) -> bool:
    """Whether this node has given its vote a moment ago: it waits for what comes of it as it would for a leader."""
    return replica.wary and replica.vote != NO_NODE and replica.since_promise < replica.config.election_tick


def turns_away(replica: Replica, message: Message) -> bool:
    """Refuse a request for votes of a later term that does not get ours; nobody follows it into its term.

    That the term has begun is remembered for our next campaign, as with everything that is only said.
    """
    if not replica.wary or message.kind is not MessageKind.VOTE or replica.has_enough(message):
        return False
    replica.heard_term = max(replica.heard_term, message.term)
    replica.refuse_vote(message)
    return True
