"""Proofs: evidence as files beside the ledger, so that it survives although no block may be able to carry it.

    microgrids/<chain id>/evidence/<kind>-<accused>-<term>.evidence

The content is the deterministic CBOR of an `Evidence`; anybody may copy such a file and hand
it on (`meshnode evidence check`). Nothing in it is secret.
"""

from __future__ import annotations

import os
from pathlib import Path

from meshnode.store.place import StoreError
from protocols.evidence import Case
from protocols.records import Evidence, RecordError, read_as, to_payload

DIRECTORY = "evidence"
EXTENSION = ".evidence"
# One liar can be convicted in every term. A thousand files of some kilobytes are plenty to look at.
MAX_FILES = 1000


def keep(place: Path, evidence: Evidence, case: Case) -> Path | None:
    """Write evidence beside the ledger at `place`, durably; None if there is enough of it already.

    Raises:
        StoreError: the disk refuses.
    """
    directory = place / DIRECTORY
    path = directory / f"{case.kind.name.lower()}-{case.accused.hex()}-{case.term}{EXTENSION}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        if path.exists() or sum(1 for _ in directory.iterdir()) >= MAX_FILES:
            return path if path.exists() else None
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(to_payload(evidence))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        for folder in (directory, place):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check the disk and the permissions") from error
    return path


def kept(place: Path) -> tuple[dict[Path, Evidence], list[str]]:
    """The evidence beside a ledger, by file, and what cannot be read of it, with the remedy.

    Raises:
        StoreError: the directory cannot be read.
    """
    found: dict[Path, Evidence] = {}
    faults: list[str] = []
    try:
        for path in sorted((place / DIRECTORY).glob(f"*{EXTENSION}")):
            try:
                found[path] = read_as(Evidence, path.read_bytes())
            except RecordError as error:
                faults.append(f"{path}: {error}; remove the file, what it said can be found out again")
    except OSError as error:
        raise StoreError(f"{place / DIRECTORY}: {error.strerror}; check the disk and the permissions") from error
    return found, faults
