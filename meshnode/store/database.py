"""Database: the SQLite file of a ledger - how it is opened, made and changed, and what its errors mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from meshnode.store import rows
from meshnode.store.reader import BUSY_S
from meshnode.store.rows import Entry, Standing
from protocols import block as blocks
from protocols.records import Election, read_as

# The write-ahead log is cut back to this after a checkpoint, so that one catch-up does not
# leave a large file behind.
WAL_KEPT_BYTES = 8 * 1024 * 1024

# The column by which the rows of a table are found.
KEYS = {"log": "height", "certificate": "height", "election": "term"}


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """One transaction. cut_above: rows of the log above this go first; then `entries` come, replacing any there.

    replace: whether places of records replace those that the index has.
    """

    standing: Standing
    cut_above: int | None = None
    entries: tuple[Entry, ...] = ()
    certificates: tuple[tuple[int, bytes], ...] = ()
    elections: tuple[bytes, ...] = ()
    records: list[tuple[bytes, int, int]] = []
    replace: bool = False


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of the block is on disk afterwards, or nothing of it. Raises sqlite3.Error."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has rolled back by itself after some errors (a full disk), not after others.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def write(db: sqlite3.Connection, changes: Changes) -> None:
    """Make changes, with one fsync. Raises sqlite3.Error."""
    with transaction(db):
        if changes.cut_above is not None:
            db.execute("DELETE FROM log WHERE height > ?", (changes.cut_above,))
        db.executemany("INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?, ?)", map(rows.log_row, changes.entries))
        db.executemany(
            "INSERT OR REPLACE INTO certificate VALUES (?, ?, ?)",
            [rows.certificate_row(height, data) for height, data in changes.certificates],
        )
        db.executemany(
            "INSERT OR IGNORE INTO election VALUES (?, ?, ?)",
            [rows.election_row(read_as(Election, data).term, data) for data in changes.elections],
        )
        # A record may stand in a later block again, without effect; the first place counts.
        how = "REPLACE" if changes.replace else "IGNORE"
        db.executemany(f"INSERT OR {how} INTO record VALUES (?, ?, ?)", changes.records)
        put_standing(db, changes.standing)


def records_of(entry: Entry, chain_id: bytes) -> list[tuple[bytes, int, int]]:
    """(record id, height, position) of each record of an entry's block. Raises BlockError."""
    block = blocks.read(entry.data, chain_id)
    return [(record.record_id, entry.index, position) for position, record in enumerate(block.records)]


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes: every commit waits for the disk. Raises sqlite3.Error."""
    # Transactions are written out here: the module's own would begin and end where nobody looks.
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    return db


def found_database(path: Path, chain_id: bytes) -> None:
    """Make the database of a ledger without blocks. Raises sqlite3.Error, OSError."""
    db = connect(path)
    try:
        path.chmod(0o600)
        db.execute("BEGIN IMMEDIATE")
        for statement in rows.SCHEMA:
            db.execute(statement)
        put_standing(db, rows.first_standing(chain_id))
        db.execute("COMMIT")
    finally:
        db.close()


def put_standing(db: sqlite3.Connection, standing: Standing) -> None:
    """Replace the standing row, within the caller's transaction. Raises sqlite3.Error."""
    values = rows.standing_row(standing)
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT OR REPLACE INTO standing (one, {rows.STANDING_COLUMNS}) VALUES (1, {marks})", values)


def is_full(error: sqlite3.Error) -> bool:
    """Whether there was no room: SQLite has undone the transaction, and the next may succeed."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")


def why(error: sqlite3.Error) -> str:
    """An error of SQLite in words that say what to do."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "the disk is full; nothing that was acknowledged is lost: make room"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk failed ({error}, {name}); nothing that was acknowledged is lost: check the card"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"cannot be written ({error}); check its owner and permissions"
    if name.startswith("SQLITE_BUSY"):
        return "another program holds it; no tool may write to the ledger beside the node"
    return f"{error} ({name or type(error).__name__}); the file is damaged or was changed by another program"
