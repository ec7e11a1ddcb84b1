"""Messages: what nodes say to one another, and the records that a log is made of.

Field by field the same as in the Raft paper and dissertation (Ongaro, 2014),
plus an `epoch` that ties an answer to the session it answers (see `Message`).
No encoding here: the shell turns a `Message` into bytes and back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum

import msgspec

NO_NODE = 0
"""The node id that means "nobody": no leader known, no vote cast."""

STORAGE_APPEND_TARGET = -1
"""Where a core with asynchronous storage writes sends its write orders. No peer has a negative id."""

STORAGE_APPLY_TARGET = -2
"""Where a core with asynchronous storage writes sends its apply orders."""

MAX_INT = 2**62
"""Largest term or index taken from a peer: half of int64, so that adding to it never overflows a column."""

ENTRY_OVERHEAD_BYTES = 16
"""What an entry costs beside its data when the size of a batch is limited: term, index, type and framing."""


class _Spoken(IntEnum):
    """An enumeration that prints itself as <prefix><CamelCase>, the way Raft's own literature writes it."""

    def __str__(self) -> str:
        return _PREFIX[type(self).__name__] + "".join(word.capitalize() for word in self.name.split("_"))


_PREFIX = {"MessageKind": "Msg", "Role": "State"}


class MessageKind(_Spoken):
    """What a message is about. The numbers are part of the wire format: never reuse one."""

    PROP = 1  # a follower hands a proposal on to the leader
    APP = 2  # the leader's entries, or an empty probe that carries the commit index
    APP_RESP = 3
    VOTE = 4
    VOTE_RESP = 5
    PRE_VOTE = 6
    PRE_VOTE_RESP = 7
    HEARTBEAT = 8
    HEARTBEAT_RESP = 9
    SNAP = 10
    TIMEOUT_NOW = 11  # the leader tells its chosen successor to campaign at once
    TRANSFER_LEADER = 12  # a follower hands on the wish to transfer leadership; `vote` names the successor
    READ_INDEX = 13
    READ_INDEX_RESP = 14
    # Only between a core with asynchronous storage writes and its own storage; never from a peer.
    STORAGE_APPEND = 15
    STORAGE_APPEND_RESP = 16
    STORAGE_APPLY = 17
    STORAGE_APPLY_RESP = 18


STORAGE_KINDS = frozenset(
    {
        MessageKind.STORAGE_APPEND,
        MessageKind.STORAGE_APPEND_RESP,
        MessageKind.STORAGE_APPLY,
        MessageKind.STORAGE_APPLY_RESP,
    }
)
VOTE_RESPONSE = {
    MessageKind.VOTE: MessageKind.VOTE_RESP,
    MessageKind.PRE_VOTE: MessageKind.PRE_VOTE_RESP,
}
VOTE_REQUESTS = frozenset(VOTE_RESPONSE)
FROM_LEADER = frozenset({MessageKind.APP, MessageKind.HEARTBEAT, MessageKind.SNAP})
ANSWERS = frozenset(
    {
        MessageKind.APP_RESP,
        MessageKind.VOTE_RESP,
        MessageKind.PRE_VOTE_RESP,
        MessageKind.HEARTBEAT_RESP,
    }
)
ANSWERS_OF_MEMBERS = ANSWERS | {MessageKind.READ_INDEX_RESP}
"""Kinds that only members have reason to send."""

TERMLESS = frozenset({MessageKind.PROP, MessageKind.READ_INDEX})
"""Kinds that are good in any term: whoever leads when they arrive may serve them."""

TRANSFER_CONTEXT = b"CampaignTransfer"
"""Context of a vote request that the old leader asked for: voters then do not defend its lease."""


class Role(_Spoken):
    """What a node is at this moment."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2
    PRE_CANDIDATE = 3


class EntryType(IntEnum):
    """What an entry carries; the core looks only into membership changes that it is asked to propose."""

    NORMAL = 0
    SINGLE_CHANGE = 1  # adds, demotes or removes exactly one node, never by way of a joint configuration
    CHANGE = 2  # any membership change, joint where it must be


class Entry(msgspec.Struct, frozen=True):
    """One place in the log.

    term, index: 1 or more; together they name the entry (one leader per term).
    data: what the sealer returned when the leader appended it.
    """

    term: int = 0
    index: int = 0
    type: EntryType = EntryType.NORMAL
    data: bytes = b""


class HardState(msgspec.Struct, frozen=True):
    """What a node must never forget: its term, whom it voted for in it, and the commit index it knew."""

    term: int = 0
    vote: int = NO_NODE
    commit: int = 0


class SoftState(msgspec.Struct, frozen=True):
    """What a node may forget: who leads, and its own role."""

    leader: int = NO_NODE
    role: Role = Role.FOLLOWER


class MembershipState(msgspec.Struct, frozen=True):
    """A whole membership, as stored in a snapshot. Every tuple is sorted and free of duplicates.

    voters_outgoing is empty unless the membership is joint; learners_next are
    voters of the outgoing half that become learners when it is left.
    """

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False


class Snapshot(msgspec.Struct, frozen=True):
    """The state after applying everything up to (index, term), in place of those entries. index 0: none."""

    index: int = 0
    term: int = 0
    membership: MembershipState = MembershipState()
    data: bytes = b""


class ReadState(msgspec.Struct, frozen=True):
    """A read request that may be served once everything up to `index` is applied here."""

    index: int
    context: bytes


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message. Which fields count depends on the kind; the others keep their defaults.

    sender, to: node ids. The shell must set `sender` from the authenticated connection.
    term: the sender's term (of the election asked for, in a pre-vote; 0 in PROP and READ_INDEX).
    log_term, index: the entry before `entries` (APP); the tip of the candidate's
        log (votes); the last matching entry (APP_RESP), or the entry that was
        refused, with log_term then the term at `reject_hint`.
    commit: the sender's commit index, never beyond what `to` is known to have (HEARTBEAT);
        in a refused vote with log_term as that entry's term.
    reject, reject_hint: the answer is no; hint = largest index that may still match.
    context: of a read request, carried round with heartbeats; of a vote, why.
    vote: in TRANSFER_LEADER the successor; in STORAGE_APPEND the vote to be stored.
    epoch: session of the receiver (APP, HEARTBEAT, SNAP) or of the sender (their
        answers). A leader numbers the sessions of its term; a node that is
        removed and added again gets a new number, so that a delayed answer from
        its earlier life - before it lost its disk, perhaps - does not count.
    responses: of a storage message, what to deliver once it is done.
    """

    kind: MessageKind
    to: int = NO_NODE
    sender: int = NO_NODE
    term: int = 0
    log_term: int = 0
    index: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    snapshot: Snapshot | None = None
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    vote: int = NO_NODE
    epoch: int = 0
    responses: tuple[Message, ...] = ()


def entry_bytes(entry: Entry) -> int:
    """Size of one entry in a batch, in bytes."""
    return len(entry.data) + ENTRY_OVERHEAD_BYTES


def entries_bytes(entries: Iterable[Entry]) -> int:
    """Size of a batch of entries, in bytes."""
    return sum(map(entry_bytes, entries))


def payload_bytes(entries: Iterable[Entry]) -> int:
    """Bytes of data alone, which the limits on uncommitted and in-flight data count."""
    return sum(len(entry.data) for entry in entries)


def limit_size(entries: Sequence[Entry], max_bytes: int) -> Sequence[Entry]:
    """The longest head of `entries` of at most max_bytes, but always the first entry: work must go on."""
    size = 0
    for count, entry in enumerate(entries):
        size += entry_bytes(entry)
        if size > max_bytes and count:
            return entries[:count]
    return entries
