"""Parcel: what one validator sends another - a Raft message with the signatures that belong to it.

Raft decides what is said, signatures make it count: a vote is only a vote with the
voter's signature, an answer to an append carries the ack of the block it speaks of,
certificates travel with appends and heartbeats, and who leads proves it. Parcels themselves are not
signed; the connection they come over is authenticated.
"""

from __future__ import annotations

from typing import Annotated

from protocols.cose import SIGNATURE_BYTES
from protocols.raft.checks import MAX_CONTEXT_BYTES
from protocols.raft.messages import MAX_INT, STORAGE_KINDS, Entry, EntryType, Message, MessageKind
from protocols.records.agreement import MAX_HEADER_BYTES, VOTE_ROW, Ack, Certificate, Election, Hash, VoteRow
from protocols.records.genesis import MAX_BLOCK_BYTES
from protocols.records.schema import (
    Bool,
    Bytes,
    Field,
    ListOf,
    Nested,
    Record,
    RecordError,
    Row,
    Table,
    Uint,
    register,
)

# Appends are cut at a few hundred kilobytes; a thousand tiny blocks stay below that.
MAX_ENTRIES = 1024
# A sender has four to tell: the newest one, the one that covers the entries sent along, the one before
# the validators change, and, in byzantine mode, the newest of the prepare phase.
MAX_CERTIFICATES = 4
# A branch with blocks of more terms than these, none of them certified, has not been seen.
MAX_ELECTIONS = 4
# A validator's number is its place among at most twenty; a byte is enough for ever.
MAX_NUMBER = 255
# The kinds above are between a core and its own storage.
LAST_KIND = int(MessageKind.READ_INDEX_RESP)

# The log is whole, so that nobody needs a snapshot; records go to leaders by gossip; and a leader hands over when
# it wants to, not when others do: it makes no blocks meanwhile, and one who asked again and again would stop it.
_STAYS_AT_HOME = STORAGE_KINDS | {MessageKind.SNAP, MessageKind.PROP, MessageKind.TRANSFER_LEADER}

Count = Uint(MAX_INT)


class RaftMessage(Table, frozen=True, kw_only=True):
    """The fields of a `protocols.raft.Message` that travel; both ends are known from the connection."""

    kind: Annotated[int, Field(1, Uint(LAST_KIND), "MessageKind, without storage messages")]
    term: Annotated[int, Field(2, Count, "of the sender")] = 0
    log_term: Annotated[int, Field(3, Count, "term of the entry before, or of the tip")] = 0
    index: Annotated[int, Field(4, Count, "height of that entry")] = 0
    entries: Annotated[
        tuple[tuple[int, int, bytes], ...],
        Field(5, ListOf(Row(term=Count, index=Count, block=Bytes(1, MAX_BLOCK_BYTES)), MAX_ENTRIES), "blocks"),
    ] = ()
    commit: Annotated[int, Field(6, Count, "final height known to the sender and held by the receiver")] = 0
    reject: Annotated[bool, Field(7, Bool(), "the answer is no")] = False
    reject_hint: Annotated[int, Field(8, Count, "largest height that may match")] = 0
    context: Annotated[bytes, Field(9, Bytes(1, MAX_CONTEXT_BYTES), "of a read or a campaign")] = b""
    vote: Annotated[int, Field(10, Uint(MAX_NUMBER), "successor in a transfer of leadership")] = 0
    epoch: Annotated[int, Field(11, Count, "session of the receiver or the sender")] = 0


class Elected(Table, frozen=True, kw_only=True):
    """Proof that the sender leads the message's term; see `protocols.leadership`."""

    first: Annotated[bytes, Field(1, Bytes(1, MAX_HEADER_BYTES), "header envelope of the term's first block")]
    election: Annotated[Election, Field(2, Nested(Election), "the certificate that it names")]


@register(49)
class Parcel(Record, frozen=True, kw_only=True):
    """One frame between validators."""

    message: Annotated[RaftMessage | None, Field(1, Nested(RaftMessage), "what Raft says")] = None
    tip: Annotated[
        bytes | None,
        Field(2, Hash, "with a vote request: hash of the candidate's last block; with an append: of the block before"),
    ] = None
    vote: Annotated[
        VoteRow | None,
        Field(3, VOTE_ROW, "with a granted vote: its signature"),
    ] = None
    ack: Annotated[Ack | None, Field(4, Nested(Ack), "with an answer to an append: what is acknowledged")] = None
    ack_signature: Annotated[bytes | None, Field(5, Bytes(SIGNATURE_BYTES), "over the ack")] = None
    certificates: Annotated[
        tuple[Certificate, ...], Field(6, ListOf(Nested(Certificate), MAX_CERTIFICATES), "ascending by height")
    ] = ()
    elected: Annotated[
        Elected | None, Field(7, Nested(Elected), "from a leader, until the receiver has the term's first block")
    ] = None
    handover: Annotated[
        bytes | None,
        Field(8, Bytes(SIGNATURE_BYTES), "over the `Handover` of the term before: to the successor, and from it"),
    ] = None
    elections: Annotated[
        tuple[Election, ...],
        Field(9, ListOf(Nested(Election), MAX_ELECTIONS), "with an append: of the next terms, ascending"),
    ] = ()
    lock: Annotated[
        Certificate | None, Field(10, Nested(Certificate), "with a vote request or a refusal of one: the sender's lock")
    ] = None


def pack(message: Message) -> RaftMessage:
    """A core's message as it travels."""
    return RaftMessage(
        kind=int(message.kind),
        term=message.term,
        log_term=message.log_term,
        index=message.index,
        entries=tuple((entry.term, entry.index, entry.data) for entry in message.entries),
        commit=message.commit,
        reject=message.reject,
        reject_hint=message.reject_hint,
        context=message.context,
        vote=message.vote,
        epoch=message.epoch,
    )


def unpack(raft: RaftMessage, sender: int, to: int) -> Message:
    """A received message, for the core of node `to`.

    Raises:
        RecordError: a kind that does not travel.
    """
    try:
        kind = MessageKind(raft.kind)
    except ValueError as error:
        raise RecordError(f"Parcel.message.kind: found {raft.kind}, which no message has") from error
    if kind in _STAYS_AT_HOME:
        raise RecordError(f"Parcel.message.kind: {kind.name} from a peer")
    return Message(
        kind=kind,
        to=to,
        sender=sender,
        term=raft.term,
        log_term=raft.log_term,
        index=raft.index,
        entries=tuple(Entry(term, index, EntryType.NORMAL, block) for term, index, block in raft.entries),
        commit=raft.commit,
        reject=raft.reject,
        reject_hint=raft.reject_hint,
        context=raft.context,
        vote=raft.vote,
        epoch=raft.epoch,
    )
