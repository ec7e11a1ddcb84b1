"""Terms: how far one message of a peer may raise ours.

Raft believes every term it hears. A single message with the largest possible term
would end all elections for ever, because nothing comes after it; so a term that is
too far ahead is approached in steps, one message at a time. An honest node that is
really that far ahead repeats itself with every heartbeat and brings us there.
"""

from __future__ import annotations

import msgspec

from protocols.raft import Message, MessageKind
from protocols.raft.messages import VOTE_REQUESTS

# A node that was away hears of the elections it missed in one message; a thousand of them
# is a bad day. To use up the 2^62 terms that there are, a liar would need 2^52 messages,
# each of which every honest node also writes to its disk: longer than any disk lasts.
MAX_TERM_JUMP = 1024

LEADERS_WORD = frozenset({MessageKind.APP, MessageKind.HEARTBEAT, MessageKind.TIMEOUT_NOW, MessageKind.READ_INDEX_RESP})
"""What only the leader of a term may say in it."""


def bounded(message: Message, term: int) -> Message:
    """The message, or, if it is too far ahead of our `term`, one that says nothing but a bounded term.

    Pre-votes speak of terms that nobody has begun and raise no term; they pass.
    """
    granted_pre_vote = message.kind is MessageKind.PRE_VOTE_RESP and not message.reject
    if message.term <= term + MAX_TERM_JUMP or message.kind is MessageKind.PRE_VOTE or granted_pre_vote:
        return message
    return _claim(message, term + MAX_TERM_JUMP)


def bounded_among_liars(message: Message, term: int, vain: int) -> Message:
    """Likewise where nobody's word about terms is taken: what is claimed counts for campaigns alone.

    Whoever stands asks about a term as far ahead as it believes, and voters follow twice as far: no liar
    can tell a candidate of a term for which the others would not vote. They need not all stand in one term,
    though, and no heartbeat brings together who was parted; so both bounds grow as long as
    there is no leader, until the farthest of the honest is within reach of everybody.

    Args:
        vain: election timeouts without a leader since something was certified.
    """
    believed = term + MAX_TERM_JUMP * (1 + vain)
    if message.kind in LEADERS_WORD:
        return message  # an election certificate is asked for, whatever the term
    if message.kind in VOTE_REQUESTS:
        followed = believed + MAX_TERM_JUMP * (1 + vain)
        return message if message.term <= followed else _claim(message, believed)
    granted_pre_vote = message.kind is MessageKind.PRE_VOTE_RESP and not message.reject
    return message if message.term <= believed or granted_pre_vote else _claim(message, believed)


def _claim(message: Message, term: int) -> Message:
    # An answer that nobody asked for is the one message without any other effect.
    return Message(kind=MessageKind.HEARTBEAT_RESP, to=message.to, sender=message.sender, term=term)


def without_entries(message: Message) -> Message:
    """An append reduced to who leads which term, for one whose entries must wait."""
    return msgspec.structs.replace(message, entries=())
