"""Survey: every row of a ledger looked at once, and what of it is not as it was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from meshnode.store import rows
from meshnode.store.reader import LedgerReader
from meshnode.store.rows import DamagedRow, Standing

# Heights are far below; see `protocols.records.schema.Uint`.
ABOVE_ALL = 1 << 62


class Survey(msgspec.Struct, frozen=True):
    """What is not there, or not as it was written.

    Attributes:
        lost: heights of the log, ascending.
        spoilt: (table, height or term, checksum as it stands there) of certificates and elections.
        proven: highest final height that a good certificate covers.
    """

    lost: tuple[int, ...]
    spoilt: tuple[tuple[str, int, bytes], ...]
    proven: int


def survey(reader: LedgerReader, standing: Standing) -> Survey:
    """Look at every row of log, certificates and elections.

    Raises:
        StoreError: the file itself cannot be read.
    """
    good: set[int] = set()
    spoilt: list[tuple[str, int, bytes]] = []
    for row in reader.log_rows(1, ABOVE_ALL):
        if row[0] <= standing.last_height and fault(rows.read_log_row, row) is None:
            good.add(row[0])
    lost = tuple(height for height in range(1, standing.last_height + 1) if height not in good)
    proven = 0
    for row in reader.certificate_rows(1, ABOVE_ALL):
        if fault(rows.read_certificate_row, row) is not None:
            spoilt.append(("certificate", row[0], row[-1]))
        elif row[0] <= standing.final_height:
            proven = max(proven, row[0])
    for row in reader.election_rows():
        if fault(rows.read_election_row, row) is not None:
            spoilt.append(("election", row[0], row[-1]))
    return Survey(lost, tuple(spoilt), proven)


def fault(read: Callable[[tuple[Any, ...]], object], row: tuple[Any, ...]) -> DamagedRow | None:
    """What is wrong with a row; None if it is as it was written."""
    try:
        read(row)
    except DamagedRow as damage:
        return damage
    return None
