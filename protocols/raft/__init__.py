"""protocols.raft: consensus on one log, without I/O.

`RawNode` takes ticks, messages and proposals and hands out `Ready` bundles of
work. What its owner must do, what is guaranteed then and what is not stands,
numbered, in this package's README.md.
"""

from protocols.raft.config import NO_LIMIT, Config
from protocols.raft.core import RawNode
from protocols.raft.errors import BadMessage, CommitRefused, Fault, ProposalDropped
from protocols.raft.hooks import Judge, Sealer, unsealed
from protocols.raft.logger import SILENT, Logger
from protocols.raft.membership import (
    ChangeKind,
    MembershipChange,
    MembershipError,
    NodeChange,
    Transition,
    decode_change,
    parse_changes,
)
from protocols.raft.messages import (
    NO_NODE,
    Entry,
    EntryType,
    HardState,
    MembershipState,
    Message,
    MessageKind,
    ReadState,
    Role,
    Snapshot,
    SoftState,
)
from protocols.raft.progress import ProgressState, ProgressView
from protocols.raft.ready import Ready
from protocols.raft.storage import (
    Compacted,
    MemoryStorage,
    SnapshotOutOfDate,
    SnapshotTemporarilyUnavailable,
    Storage,
    Unavailable,
)

__all__ = [
    "NO_LIMIT",
    "NO_NODE",
    "SILENT",
    "BadMessage",
    "ChangeKind",
    "CommitRefused",
    "Compacted",
    "Config",
    "Entry",
    "EntryType",
    "Fault",
    "HardState",
    "Judge",
    "Logger",
    "MembershipChange",
    "MembershipError",
    "MembershipState",
    "MemoryStorage",
    "Message",
    "MessageKind",
    "NodeChange",
    "ProgressState",
    "ProgressView",
    "ProposalDropped",
    "RawNode",
    "ReadState",
    "Ready",
    "Role",
    "Sealer",
    "Snapshot",
    "SnapshotOutOfDate",
    "SnapshotTemporarilyUnavailable",
    "SoftState",
    "Storage",
    "Transition",
    "Unavailable",
    "decode_change",
    "parse_changes",
    "unsealed",
]
