"""Rows: what the tables of a ledger's database hold, and the checksum that each row carries.

    log          one row for each block: index (= height), term, kind, block hash, data
    certificate  one row for each certificate that this node has, by height
    election     one row for each election certificate that this node has relied on, for good
    standing     one row: Raft's hard state, what we signed last and what it binds us to, the final and the last height
    record       where each record of a final block stands (found again from the log)

SQLite notices a torn write, not a bit that rots in a cell; the checksums do. They
guard against a failing card, not against a person: signatures do that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

# "msnd": what `file` and people see first in a database of this project.
APPLICATION_ID = 0x6D736E64
SCHEMA_VERSION = 4

# Against accidents, not against intent: one undetected in 2**64.
CHECKSUM_BYTES = 8

SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
    """CREATE TABLE log (
        height INTEGER PRIMARY KEY,
        term INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        block_hash BLOB NOT NULL,
        data BLOB NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE certificate (
        height INTEGER PRIMARY KEY,
        data BLOB NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE election (
        term INTEGER NOT NULL,
        data BLOB NOT NULL,
        checksum BLOB NOT NULL,
        PRIMARY KEY (term, checksum)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE standing (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        chain_id BLOB NOT NULL,
        term INTEGER NOT NULL,
        vote INTEGER NOT NULL,
        commit_height INTEGER NOT NULL,
        vote_term INTEGER NOT NULL,
        vote_candidate BLOB NOT NULL,
        ack_term INTEGER NOT NULL,
        ack_height INTEGER NOT NULL,
        ack_block BLOB NOT NULL,
        sequence INTEGER NOT NULL,
        bound_term INTEGER NOT NULL,
        bound_height INTEGER NOT NULL,
        final_height INTEGER NOT NULL,
        last_height INTEGER NOT NULL,
        lock BLOB NOT NULL,
        checksum BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE record (
        record_id BLOB PRIMARY KEY,
        height INTEGER NOT NULL,
        position INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
)

LOG_COLUMNS = "height, term, kind, block_hash, data, checksum"
CERTIFICATE_COLUMNS = "height, data, checksum"
ELECTION_COLUMNS = "term, data, checksum"
STANDING_COLUMNS = (
    "chain_id, term, vote, commit_height, vote_term, vote_candidate, "
    "ack_term, ack_height, ack_block, sequence, bound_term, bound_height, final_height, last_height, lock, checksum"
)


class DamagedRow(ValueError):
    """A row whose checksum does not fit what it holds.

    Attributes:
        table: which.
        height: of the entry or certificate, or the term of an election; 0 in the one row of `standing`.
    """

    def __init__(self, table: str, height: int, found: bytes, expected: bytes) -> None:
        super().__init__(f"{table} row {height}: checksum {found.hex()}, computed {expected.hex()}")
        self.table = table
        self.height = height
        self.found = found
        self.expected = expected


class Entry(msgspec.Struct, frozen=True):
    """One entry of the Raft log: one block.

    Attributes:
        index: its place in the log, which is the block's height; from 1 on.
        term: of the leader that made it.
        kind: the log's own word for what it is; opaque here.
        data: the encoded block.
        block_hash: its hash.
    """

    index: int
    term: int
    kind: int
    data: bytes
    block_hash: bytes


class HardState(msgspec.Struct, frozen=True):
    """What Raft must remember: term, whom it voted for in it (a node number, 0 none), commit index."""

    term: int
    vote: int
    commit: int


class SignState(msgspec.Struct, frozen=True):
    """What this node signed last, so that it never signs against it.

    Attributes:
        vote_term, vote_candidate: the newest vote.
        ack_term, ack_height, ack_block: the newest ack, of either phase.
        sequence: how often this was written.
        bound_term, bound_height: the highest place that a commit ack of ours was given for, or that
            a vote of ours named as its lock. It does not sink when the lock itself is given up.
    """

    vote_term: int
    vote_candidate: bytes
    ack_term: int
    ack_height: int
    ack_block: bytes
    sequence: int
    bound_term: int = 0
    bound_height: int = 0


class Standing(msgspec.Struct, frozen=True):
    """The one row that every write replaces.

    Attributes:
        final_height: blocks up to here are final.
        last_height: where the log ends. Without it, rows lost at the end would look like a
            log that was cut on a leader's word, which is no damage.
        lock: encoded prepare certificate that binds this node in byzantine mode; empty if none does.
    """

    chain_id: bytes
    hard_state: HardState
    sign_state: SignState
    final_height: int
    last_height: int
    lock: bytes = b""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that goes to disk with one fsync; what is None or empty stays as it is.

    Attributes:
        entries: of consecutive indexes; they replace whatever stands at or above the first.
        certificates: (height, encoded certificate) of blocks that are final with this batch.
        final_height: blocks up to here are final; never decreases.
        elections: encoded election certificates to be kept for good, also when their block goes.
        lock: encoded prepare certificate, empty for none.
    """

    entries: tuple[Entry, ...] = ()
    hard_state: HardState | None = None
    sign_state: SignState | None = None
    certificates: tuple[tuple[int, bytes], ...] = ()
    final_height: int | None = None
    elections: tuple[bytes, ...] = ()
    lock: bytes | None = None


def first_standing(chain_id: bytes) -> Standing:
    """Where a ledger begins: nothing voted, acknowledged or final."""
    return Standing(chain_id, HardState(0, 0, 0), SignState(0, b"", 0, 0, b"", 0), 0, 0)


def log_row(entry: Entry) -> tuple[int | bytes, ...]:
    """The row of an entry, in the order of `LOG_COLUMNS`."""
    return _with_checksum("log", (entry.index, entry.term, entry.kind, entry.block_hash, entry.data))


def read_log_row(row: tuple[Any, ...]) -> Entry:
    """The entry of a row.

    Raises:
        DamagedRow: the checksum does not fit.
    """
    height, term, kind, block_hash, data = _checked("log", row[0], row)
    return Entry(height, term, kind, data, block_hash)


def certificate_row(height: int, data: bytes) -> tuple[int | bytes, ...]:
    """The row of a certificate, in the order of `CERTIFICATE_COLUMNS`."""
    return _with_checksum("certificate", (height, data))


def read_certificate_row(row: tuple[Any, ...]) -> tuple[int, bytes]:
    """Height and bytes of a certificate.

    Raises:
        DamagedRow: the checksum does not fit.
    """
    height, data = _checked("certificate", row[0], row)
    return height, data


def election_row(term: int, data: bytes) -> tuple[int | bytes, ...]:
    """The row of an election certificate, in the order of `ELECTION_COLUMNS`."""
    return _with_checksum("election", (term, data))


def read_election_row(row: tuple[Any, ...]) -> bytes:
    """The bytes of an election certificate.

    Raises:
        DamagedRow: the checksum does not fit.
    """
    _, data = _checked("election", row[0], row)
    assert isinstance(data, bytes)
    return data


def standing_row(standing: Standing) -> tuple[int | bytes, ...]:
    """The row of `standing`, in the order of `STANDING_COLUMNS`."""
    raft, signed = msgspec.structs.astuple(standing.hard_state), msgspec.structs.astuple(standing.sign_state)
    heights = standing.final_height, standing.last_height
    return _with_checksum("standing", (standing.chain_id, *raft, *signed, *heights, standing.lock))


def read_standing_row(row: tuple[Any, ...]) -> Standing:
    """The standing of a row.

    Raises:
        DamagedRow: the checksum does not fit.
    """
    chain_id, *rest, final_height, last_height, lock = _checked("standing", 0, row)
    return Standing(chain_id, HardState(*rest[:3]), SignState(*rest[3:]), final_height, last_height, lock)


def checksum(table: str, values: Sequence[int | bytes]) -> bytes:
    """What the last column of a row with these values says."""
    digest = hashlib.blake2b(digest_size=CHECKSUM_BYTES, person=table.encode())
    for value in values:
        # A damaged cell may hold anything, so anything has a spelling here.
        data = value if isinstance(value, bytes) else str(value).encode()
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.digest()


def _with_checksum(table: str, values: tuple[int | bytes, ...]) -> tuple[int | bytes, ...]:
    return (*values, checksum(table, values))


def _checked(table: str, height: int, row: tuple[Any, ...]) -> tuple[Any, ...]:
    values, found = row[:-1], row[-1]
    expected = checksum(table, values)
    if found != expected:
        raise DamagedRow(table, height, found, expected)
    return values
