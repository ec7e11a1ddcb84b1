"""Place: the directory of one microgrid's ledger, who may write in it, and how it is founded.

<node directory>/microgrids/<chain id in hex>/
    genesis.cbor     canonical bytes of the genesis; their SHA-256 is the chain id
    ledger.sqlite    everything else (`meshnode.store.rows`)
    ledger.lock      held by the process that writes
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
from pathlib import Path
from typing import IO

from protocols.cose import CHAIN_ID_BYTES
from protocols.records import Genesis, RecordError, read_as

MICROGRIDS = "microgrids"
GENESIS_FILE = "genesis.cbor"
DATABASE_FILE = "ledger.sqlite"
# Present once this node has voted in the ledger; it stays when the ledger is set aside.
VALIDATOR_FILE = "validator"
LOCK_FILE = "ledger.lock"

# Twenty times the genesis of a hundred homes; whatever is larger is not one.
MAX_GENESIS_FILE_BYTES = 4 * 1024 * 1024


class StoreError(Exception):
    """The ledger on disk cannot be used or written: place, what was found, what to do.

    Attributes:
        height: of the damaged entry, where the damage has one.
    """

    def __init__(self, message: str, height: int | None = None) -> None:
        super().__init__(message)
        self.height = height


class Damage(StoreError):
    """The disk gives back something else than was written; `height` says where. Seen at a start, it is mended."""


class DiskFull(StoreError):
    """There is no room for a write. Nothing was changed and nothing is damaged: it can be tried again."""


def microgrid_directory(directory: Path, chain_id: bytes) -> Path:
    """Where a node keeps the ledger of a microgrid."""
    return directory / MICROGRIDS / chain_id.hex()


def microgrids(directory: Path) -> tuple[Path, ...]:
    """The microgrid directories that `directory` means: itself, or all of the node whose directory it is.

    Raises:
        StoreError: there is none.
    """
    if (directory / GENESIS_FILE).is_file():
        return (directory,)
    found = tuple(sorted(path.parent for path in (directory / MICROGRIDS).glob(f"*/{GENESIS_FILE}")))
    if found:
        return found
    for place in (directory, *sorted((directory / MICROGRIDS).glob("*/"))):
        if (place / DATABASE_FILE).exists():
            raise genesis_missing(place)
    raise StoreError(
        f"{directory}: no ledger here; expected the directory of a node (with {MICROGRIDS}/) "
        f"or of a microgrid (with {GENESIS_FILE})"
    )


def genesis_missing(place: Path) -> StoreError:
    """What to say of a ledger whose genesis is gone: it is public, and every member has the same."""
    return StoreError(
        f"{place / GENESIS_FILE}: is missing\n"
        "    copy it from another member's node (the same folder there), or from the backup"
    )


def chain_of(genesis_bytes: bytes) -> bytes:
    """The chain id of canonical genesis bytes."""
    return hashlib.sha256(genesis_bytes).digest()


def read_genesis(place: Path) -> bytes:
    """The genesis bytes of a microgrid directory, as they are.

    Raises:
        StoreError: the file is missing, unreadable or far too large.
    """
    path = place / GENESIS_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_GENESIS_FILE_BYTES + 1)
    except FileNotFoundError:
        raise genesis_missing(place) from None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check the disk and the permissions") from error
    if len(data) > MAX_GENESIS_FILE_BYTES:
        raise StoreError(f"{path}: more than {MAX_GENESIS_FILE_BYTES} bytes; this is no genesis")
    return data


def refill(place: Path) -> str:
    """What to do about a microgrid directory whose ledger is lost or damaged, as a sentence."""
    if place.parent.name != MICROGRIDS:
        return "copy the ledger again from the node that it was taken from"
    several = len(list(place.parent.glob(f"*/{GENESIS_FILE}"))) > 1
    which = f" --chain {place.name[:16]}" if several else ""
    return (
        "stop the node and have it fetch the ledger again from its neighbours: "
        f"meshnode ledger refetch {shlex.quote(str(place.parent.parent))}{which}"
    )


def mend(place: Path) -> str:
    """What to do about rows that are damaged in a ledger that can be opened, as a sentence."""
    if place.parent.name != MICROGRIDS:
        return refill(place)
    return (
        f"start the node: it fetches what is damaged from its neighbours by itself; if it stays, {refill(place)} "
        "(a validator's device key is retired with its ledger)"
    )


def check_genesis(genesis_bytes: bytes) -> Genesis:
    """The genesis of canonical bytes.

    Raises:
        StoreError: they are not the canonical encoding of one.
    """
    try:
        return read_as(Genesis, genesis_bytes)
    except RecordError as error:
        raise StoreError(f"genesis: {error}; take it again from a member of the community") from error


def write_genesis(place: Path, genesis_bytes: bytes) -> None:
    """Put the genesis in its place, whole or not at all; the last step of founding."""
    temporary = place / (GENESIS_FILE + ".new")
    with temporary.open("wb") as file:
        file.write(genesis_bytes)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(place / GENESIS_FILE)
    sync_directory(place)


def free_bytes(place: Path) -> int:
    """How much this user may still write on the disk of a directory. Raises OSError."""
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize


def make_directory(place: Path) -> None:
    """Make a microgrid directory for its owner alone, and make sure that a power cut does not unmake it."""
    missing = [path for path in (place, *place.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_directory(path.parent)


def mark_as_validator(place: Path) -> None:
    """Remember beside the ledger that this node votes in it, for good: it must never begin an empty one again.

    Raises:
        StoreError: the disk refuses.
    """
    try:
        (place / VALIDATOR_FILE).touch(mode=0o600)
        sync_directory(place)
    except OSError as error:
        raise StoreError(f"{place}: {error.strerror}; check the disk and the permissions") from error


def was_validator(place: Path) -> bool:
    """Whether this node votes in the ledger here, or ever did."""
    return (place / VALIDATOR_FILE).exists()


def sync_directory(path: Path) -> None:
    """Fsync a directory: a new name in it is only then on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_chain_id(chain_id: bytes) -> None:
    """Refuse what cannot be a chain id before a path is made of it."""
    if len(chain_id) != CHAIN_ID_BYTES:
        raise StoreError(f"chain id of {len(chain_id)} bytes, expected {CHAIN_ID_BYTES}")


class Lock:
    """The right to write in a microgrid directory; it ends with the process that holds it."""

    def __init__(self, place: Path) -> None:
        """Take it.

        Raises:
            StoreError: another process has it.
        """
        path = place / LOCK_FILE
        # "a": the process number of the present owner must not be cut before we are it.
        self._file: IO[str] = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            owner = self._file.read(20).strip() or "unknown"
            self._file.close()
            raise StoreError(
                f"{place}: in use by another process (number {owner}); two writers would destroy the ledger, stop one"
            ) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Give it back. The file stays: removing it would let two processes lock two files of one name."""
        self._file.close()
