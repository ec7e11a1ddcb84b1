"""Database: the SQLite file of a ledger - how it is opened, made, and what its errors mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from meshnode.store import rows
from meshnode.store.reader import BUSY_S
from meshnode.store.rows import Standing

# The write-ahead log is cut back to this after a checkpoint, so that one catch-up does not
# leave a large file behind.
WAL_KEPT_BYTES = 8 * 1024 * 1024


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


def why(error: sqlite3.Error) -> str:
    """An error of SQLite in words that say what to do."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return "the disk is full; nothing that was acknowledged is lost: make room and start the node again"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk failed ({error}, {name}); nothing that was acknowledged is lost: check the card"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"cannot be written ({error}); check its owner and permissions"
    if name.startswith("SQLITE_BUSY"):
        return "another program holds it; no tool may write to the ledger beside the node"
    return f"{error} ({name or type(error).__name__}); the file is damaged or was changed by another program"
