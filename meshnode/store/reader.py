"""Reader: a ledger's database, read only, also while the node that owns it is running.

Every call is a short read of its own: a long one would keep SQLite from reusing its
write-ahead log, and the disk of a running node would fill. What is final does not
change between two calls; what is not final may.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from meshnode.store import rows
from meshnode.store.place import DATABASE_FILE, StoreError, refill
from meshnode.store.rows import Entry, Standing

# Rows fetched at once; at the usual block of a few kilobytes this is far below a megabyte.
PAGE_ROWS = 64
# A reader waits this long for a checkpoint of the writer before it gives up.
BUSY_S = 10.0
# What a damaged file makes of a read: SQLite's message may itself hold bytes that are no text.
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)


class LedgerReader:
    """Reads one microgrid's ledger; `with` closes it."""

    def __init__(self, place: Path, *, archive: bool = True) -> None:
        """Open the database of a microgrid directory.

        Args:
            archive: also read a ledger that lies where nothing can be written.
        Raises:
            StoreError: there is none, it is not one of ours, or of a newer version.
        """
        self.path = place / DATABASE_FILE
        # Not every SQLite that Python is built with keeps the threads apart itself.
        self._using = threading.RLock()
        self._db = _connect(self.path, archive)
        try:
            _check_version(self._db, self.path)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> LedgerReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def standing(self) -> Standing:
        """The standing row.

        Raises:
            StoreError: missing or unreadable.
            DamagedRow: its checksum does not fit.
        """
        row = self._one(f"SELECT {rows.STANDING_COLUMNS} FROM standing", ())
        if row is None:
            raise StoreError(
                f"{self.path}: the standing row is missing; this ledger was never founded\n"
                f"    {refill(self.path.parent)}"
            )
        return rows.read_standing_row(row)

    def tail(self) -> tuple[Standing, list[tuple[Any, ...]], int]:
        """Of one moment: standing, rows of all entries above the final height, height of the last certificate."""
        with self._using, self._transaction():
            standing = self.standing()
            found = self._all(
                f"SELECT {rows.LOG_COLUMNS} FROM log WHERE height > ? ORDER BY height", (standing.final_height,)
            )
            return standing, found, self.bounds("certificate")[1]

    def log_rows(self, low: int, high: int) -> Iterator[tuple[Any, ...]]:
        """Rows of the log with low <= height < high, in order, as they are (`rows.read_log_row`)."""
        yield from self._pages("log", rows.LOG_COLUMNS, low, high)

    def certificate_rows(self, low: int, high: int) -> Iterator[tuple[Any, ...]]:
        """Rows of certificates with low <= height < high, in order, as they are."""
        yield from self._pages("certificate", rows.CERTIFICATE_COLUMNS, low, high)

    def bounds(self, table: str) -> tuple[int, int]:
        """Lowest and highest height in `log` or `certificate`; (1, 0) if there are no rows."""
        # Each in a query of its own is a step down the index; both in one would read the whole table.
        row = self._one(f"SELECT (SELECT min(height) FROM {table}), (SELECT max(height) FROM {table})", ())
        return (1, 0) if row is None or row[0] is None else (row[0], row[1])

    def entry(self, height: int) -> Entry | None:
        """The entry of a height.

        Raises:
            DamagedRow: its checksum does not fit.
        """
        row = self._one(f"SELECT {rows.LOG_COLUMNS} FROM log WHERE height = ?", (height,))
        return None if row is None else rows.read_log_row(row)

    def certificate_from(self, height: int) -> tuple[int, bytes] | None:
        """Height and bytes of the lowest certificate at or above a height.

        Raises:
            DamagedRow: its checksum does not fit.
        """
        return self._certificate("height >= ? ORDER BY height", height)

    def certificate_below(self, height: int) -> tuple[int, bytes] | None:
        """Height and bytes of the highest certificate at or below a height.

        Raises:
            DamagedRow: its checksum does not fit.
        """
        return self._certificate("height <= ? ORDER BY height DESC", height)

    def elections_after(self, term: int, limit: int) -> list[bytes]:
        """Election certificates of later terms than this, the first ones first.

        Raises:
            DamagedRow: the checksum of one does not fit.
        """
        found = self._all(
            f"SELECT {rows.ELECTION_COLUMNS} FROM election WHERE term > ? ORDER BY term, checksum LIMIT ?",
            (term, limit),
        )
        return [rows.read_election_row(row) for row in found]

    def election_rows(self) -> Iterator[tuple[Any, ...]]:
        """Rows of election certificates, in order of terms, as they are."""
        after: tuple[int, bytes] = (-1, b"")
        query = (
            f"SELECT {rows.ELECTION_COLUMNS} FROM election WHERE (term, checksum) > (?, ?) "
            f"ORDER BY term, checksum LIMIT {PAGE_ROWS}"
        )
        while page := self._all(query, after):
            yield from page
            after = (page[-1][0], page[-1][-1])

    def find_record(self, record_id: bytes) -> tuple[int, int] | None:
        """Height and position of a record of a final block."""
        row = self._one("SELECT height, position FROM record WHERE record_id = ?", (record_id,))
        return None if row is None else (row[0], row[1])

    def count_records(self, height: int) -> int:
        """How many records of blocks up to a height the index knows."""
        row = self._one("SELECT count(*) FROM record WHERE height <= ?", (height,))
        return 0 if row is None else int(row[0])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All reads within see one moment."""
        self._all("BEGIN", ())
        try:
            yield
        finally:
            self._all("COMMIT", ())

    def _certificate(self, where: str, height: int) -> tuple[int, bytes] | None:
        row = self._one(f"SELECT {rows.CERTIFICATE_COLUMNS} FROM certificate WHERE {where} LIMIT 1", (height,))
        return None if row is None else rows.read_certificate_row(row)

    def _pages(self, table: str, columns: str, low: int, high: int) -> Iterator[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {table} WHERE height >= ? AND height < ? ORDER BY height LIMIT {PAGE_ROWS}"
        while low < high:
            page = self._all(query, (low, high))
            yield from page
            if len(page) < PAGE_ROWS:
                return
            low = page[-1][0] + 1

    def _one(self, query: str, values: tuple[int | bytes, ...]) -> tuple[Any, ...] | None:
        found = self._all(query, values)
        return found[0] if found else None

    def _all(self, query: str, values: tuple[int | bytes, ...]) -> list[tuple[Any, ...]]:
        try:
            with self._using:
                return self._db.execute(query, values).fetchall()
        except UNREADABLE as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path}: cannot be read ({error}); the disk or the file is damaged\n    {refill(self.path.parent)}"
        )


def _connect(path: Path, archive: bool) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreError(f"{path}: no database here, the ledger is lost\n    {refill(path.parent)}")
    # A ledger on a medium that cannot be written (an archive) has no write-ahead log that
    # could be shared; SQLite must then be told that nobody writes.
    frozen = archive and not path.with_name(path.name + "-wal").exists()
    error: Exception | None = None
    for options in ("mode=ro", "mode=ro&immutable=1") if frozen else ("mode=ro",):
        db = None
        try:
            db = sqlite3.connect(
                f"{path.resolve().as_uri()}?{options}",
                uri=True,
                timeout=BUSY_S,
                isolation_level=None,
                check_same_thread=False,
            )
            # A damaged cell may say that it is text and hold anything.
            db.text_factory = bytes
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            return db
        except UNREADABLE as failure:
            error = failure
            if db is not None:
                db.close()
    raise StoreError(
        f"{path}: cannot be opened ({error}); the file is damaged or not a ledger\n    {refill(path.parent)}"
    ) from error


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if application != rows.APPLICATION_ID:
        raise StoreError(
            f"{path}: application id {application:#x}, expected {rows.APPLICATION_ID:#x}; not a ledger\n"
            f"    {refill(path.parent)}"
        )
    if version != rows.SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written by version {version} of the store, this program knows {rows.SCHEMA_VERSION}; "
            f"use the program that wrote it"
        )
