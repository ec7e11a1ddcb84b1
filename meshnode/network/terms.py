"""Terms: how far one message of a peer may raise ours.

Raft believes every term it hears. A single message with the largest possible term
would end all elections for ever, because nothing comes after it; so a term that is
too far ahead is approached in steps, one message at a time. An honest node that is
really that far ahead repeats itself with every heartbeat and brings us there.
"""

from __future__ import annotations

import msgspec

from protocols.raft import Message, MessageKind

# A node that was away hears of the elections it missed in one message; a thousand of them
# is a bad day. To use up the 2^62 terms that there are, a liar would need 2^52 messages,
# each of which every honest node also writes to its disk: longer than any disk lasts.
MAX_TERM_JUMP = 1024


def bounded(message: Message, term: int) -> Message:
    """The message, or, if it is too far ahead of our `term`, one that says nothing but a bounded term.

    Pre-votes speak of terms that nobody has begun and raise no term; they pass.
    """
    granted_pre_vote = message.kind is MessageKind.PRE_VOTE_RESP and not message.reject
    if message.term <= term + MAX_TERM_JUMP or message.kind is MessageKind.PRE_VOTE or granted_pre_vote:
        return message
    # An answer that nobody asked for is the one message without any other effect.
    return Message(kind=MessageKind.HEARTBEAT_RESP, to=message.to, sender=message.sender, term=term + MAX_TERM_JUMP)


def without_entries(message: Message) -> Message:
    """An append reduced to who leads which term, for one whose entries must wait."""
    return msgspec.structs.replace(message, entries=())
