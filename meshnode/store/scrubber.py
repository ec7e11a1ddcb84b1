"""Scrubber: looks at every row of a ledger again and again, slowly, so that rot is found while others can help.

A card loses a bit where nobody has read for months. A small page of rows is read at a time,
from the card and not from what the system remembers of it; a whole ledger of some years
takes a few days, and the card hardly notices.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec

from meshnode.store import rows
from meshnode.store.database import records_of
from meshnode.store.place import DATABASE_FILE, StoreError
from meshnode.store.reader import LedgerReader
from meshnode.store.survey import ABOVE_ALL, fault
from protocols.block import BlockError

# At ten seconds a step: five rows a second, half a million a day, some kilobytes a second.
STEP_EVERY_S = 10.0
STEP_ROWS = 48


class Found(msgspec.Struct, frozen=True):
    """What one step has found.

    Attributes:
        damage: a row that is not as it was written, in words; empty if there is none.
        index: (record id, height, position) that the index of records should have and has not.
    """

    damage: str = ""
    index: tuple[tuple[bytes, int, int], ...] = ()


class Scrubber:
    """Goes through one ledger, pass after pass. For one thread at a time.

    Attributes:
        passes: how often it has come to the end.
    """

    def __init__(self, place: Path, chain_id: bytes) -> None:
        self.passes = 0
        self._place = place
        self._chain_id = chain_id
        self._reader: LedgerReader | None = None
        self._next = 1

    def step(self) -> Found:
        """Look at the next rows."""
        try:
            return self._step()
        except StoreError as error:
            self.close()
            return Found(damage=str(error))

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _step(self) -> Found:
        if self._reader is None:
            # What the system remembers is not what the card holds.
            forget_cached(self._place / DATABASE_FILE)
            self._reader = LedgerReader(self._place, archive=False)
            self._next = 1
        reader, low = self._reader, self._next
        # Heights that are final by now: what is above still changes, and is read all the time.
        high = min(low + STEP_ROWS, reader.standing().final_height + 1)
        damage, index = self._look(reader, low, high)
        self._next = high
        if damage or high < low + STEP_ROWS:
            self.close()
            self.passes += not damage
        return Found(damage, tuple(index))

    def _look(self, reader: LedgerReader, low: int, high: int) -> tuple[str, list[tuple[bytes, int, int]]]:
        index: list[tuple[bytes, int, int]] = []
        expected = low
        for row in reader.log_rows(low, high):
            if row[0] != expected:
                break
            damage = fault(rows.read_log_row, row)
            if damage is not None:
                return str(damage), []
            index += self._not_indexed(reader, row)
            expected += 1
        if expected != high:
            return f"log row {expected} is missing", []
        last = high if high == low + STEP_ROWS else ABOVE_ALL
        for read, found in (
            (rows.read_certificate_row, reader.certificate_rows(low, last)),
            (rows.read_election_row, reader.election_rows() if last == ABOVE_ALL else ()),
        ):
            for row in found:
                damage = fault(read, row)
                if damage is not None:
                    return str(damage), []
        return "", index

    def _not_indexed(self, reader: LedgerReader, row: tuple[Any, ...]) -> list[tuple[bytes, int, int]]:
        """Records of a block that the index does not find, or finds in a block that comes later."""
        try:
            records = records_of(rows.read_log_row(row), self._chain_id)
        except BlockError as error:
            raise StoreError(f"block {row[0]}: {error}", row[0]) from error
        missing = []
        for record in records:
            place = reader.find_record(record[0])
            # Where a record stands in several blocks, the first counts.
            if place is None or place > record[1:]:
                missing.append(record)
        return missing


def forget_cached(path: Path) -> None:
    """Have the system read a file from the disk when it is read next, as far as it will."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
