"""Outbox: this node's own signed records that are not final yet, on disk.

A record is written with an fsync before it leaves the node for the first time, and
forgotten when it is final: a node that is killed loses no reading. One small SQLite
file beside the ledger. No network and no rules here: what became of a record, and
whether it is still worth sending, others know.

All calls are synchronous and safe from several threads.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from meshnode.store import DiskFull
from meshnode.store.database import is_full
from protocols.block import SignedRecord, read_record
from protocols.cose import EnvelopeError
from protocols.records import Reading, RecordError

OUTBOX_FILE = "outbox.sqlite"
VERSION = 1
# Six weeks of quarter-hours of two meters: longer than any correction deadline, so that
# what makes room would be refused by now. Two megabytes.
MAX_RECORDS = 8_192

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    number INTEGER PRIMARY KEY,
    record_id BLOB NOT NULL UNIQUE,
    is_reading INTEGER NOT NULL,
    envelope BLOB NOT NULL
)
"""


log = logging.getLogger(__name__)


class OutboxError(Exception):
    """The outbox cannot be used or written: place, what was found, what to do."""


class OutboxFull(OutboxError, DiskFull):
    """There is no room on the disk; it can be tried again."""


class Outbox:
    """Records on their way, oldest first. Made by `open`.

    Attributes:
        damaged: rows that could not be read back since the start.
    """

    def __init__(self, path: Path, chain_id: bytes, db: sqlite3.Connection, max_records: int) -> None:
        """Use `Outbox.open`."""
        self.path = path
        self.damaged = 0
        self._chain_id = chain_id
        self._db = db
        self._max = max_records
        self._using = threading.Lock()

    @staticmethod
    def open(place: Path, chain_id: bytes, max_records: int = MAX_RECORDS) -> Outbox:
        """Open the outbox in a microgrid's directory, or make it.

        Raises:
            OutboxError: the file cannot be opened, is damaged or of a newer version.
        """
        path = place / OUTBOX_FILE
        try:
            path.touch(mode=0o600)
            # Each statement is a transaction; what is one together says so.
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(f"{path}: cannot be opened ({error}); check its owner and permissions") from error
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, VERSION):
                raise OutboxError(f"{path}: version {version}, this node reads {VERSION}; upgrade the node")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(_SCHEMA)
            db.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            db.close()
            raise OutboxError(
                f"{path}: {error}; own records that were on their way may be lost: check the disk, "
                f"then move the file away, the node makes another"
            ) from error
        except BaseException:
            db.close()
            raise
        return Outbox(path, chain_id, db, max_records)

    def __len__(self) -> int:
        with self._using:
            return int(self._one("SELECT count(*) FROM outbox"))

    def close(self) -> None:
        """Let go of the file; what was added is on disk already."""
        with self._using:
            self._db.close()

    def add(self, signed: SignedRecord) -> tuple[bytes, ...]:
        """Keep a record; when this returns, it survives a power cut.

        Returns:
            Ids of what made room for it, readings first: an old register is the least
            loss, the counter has gone on. To be told to the member; mostly empty.
        Raises:
            OutboxError: the disk failed or is full; the record must not be sent.
        """
        row = (signed.record_id, isinstance(signed.record, Reading), signed.envelope_bytes)
        with self._using:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.execute("INSERT OR IGNORE INTO outbox (record_id, is_reading, envelope) VALUES (?, ?, ?)", row)
                over = self._one("SELECT count(*) FROM outbox") - self._max
                gone = self._db.execute(
                    "SELECT record_id FROM outbox WHERE record_id != ? ORDER BY is_reading DESC, number LIMIT ?",
                    (signed.record_id, max(0, over)),
                ).fetchall()
                self._db.executemany("DELETE FROM outbox WHERE record_id = ?", gone)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise self._broken(error) from error
        return tuple(record_id for (record_id,) in gone)

    def final(self, record_ids: Iterable[bytes]) -> None:
        """Forget these: they are in a final block, or can never be in one; those that are not here are ignored.

        Raises:
            OutboxError: the disk failed. Nothing is lost: they are found final after a restart.
        """
        self._change("DELETE FROM outbox WHERE record_id = ?", [(one,) for one in record_ids])

    def pending(self) -> list[SignedRecord]:
        """All records, oldest first; to be submitted again after a start.

        A row whose bytes are no record any more can never be sent: it is dropped, logged
        and counted in `damaged`, and the others go on.

        Raises:
            OutboxError: the file is unreadable.
        """
        with self._using:
            try:
                found = self._db.execute("SELECT number, envelope FROM outbox ORDER BY number").fetchall()
            except sqlite3.Error as error:
                raise self._broken(error) from error
        records, bad = [], []
        for number, envelope in found:
            try:
                records.append(read_record(envelope, self._chain_id))
            except (EnvelopeError, RecordError) as error:
                log.error("%s: row %d is damaged and dropped (%s); the disk may be failing", self.path, number, error)
                bad.append((number,))
        if bad:
            self.damaged += len(bad)
            self._change("DELETE FROM outbox WHERE number = ?", bad)
        return records

    def _change(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._using:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise self._broken(error) from error

    def _one(self, query: str) -> int:
        row = self._db.execute(query).fetchone()
        return int(row[0])

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some errors (a full disk), not after others.
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _broken(self, error: sqlite3.Error) -> OutboxError:
        if is_full(error):
            return OutboxFull(f"{self.path}: {error}; nothing was promised: make room on the disk")
        return OutboxError(f"{self.path}: {error}; nothing was promised: check the disk and its free space")
