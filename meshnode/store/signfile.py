"""Sign file: two slots beside the database that say up to where this node may have signed.

The slots take turns, each in a block of the disk of its own: a write that a power cut
tears spoils one, and the other still holds. What they say is `meshnode.store.reservation`.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from meshnode.store import reservation
from meshnode.store.place import DiskFull, StoreError, sync_directory
from meshnode.store.reservation import Reservation

SIGN_FILE = "signed.slots"
# One block of every file system on a card: no write of one slot touches the other.
SLOT_BYTES = 4096
SLOTS = 2
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SignFile:
    """The file of one microgrid's directory.

    Attributes:
        newest, older: what its slots say, by number of the write; None for one that says nothing.
        is_there: whether there is a file.
    """

    def __init__(self, place: Path) -> None:
        """Read it.

        Raises:
            StoreError: it is there and cannot be read.
        """
        self._path = place / SIGN_FILE
        self.newest: Reservation | None = None
        self.older: Reservation | None = None
        self.is_there = False
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._broken(error) from error
        # A file without a byte in it was being made when the power went; nothing was signed on its word.
        self.is_there = any(data)
        slots = (reservation.decode(data[n * SLOT_BYTES : (n + 1) * SLOT_BYTES]) for n in range(SLOTS))
        found = sorted((slot for slot in slots if slot is not None), key=lambda slot: slot.number)
        if found:
            self.newest, self.older = found[-1], found[0] if len(found) == SLOTS else None

    def write(self, next_: Reservation) -> None:
        """Put it on disk in the place of the older slot; when this returns, it survives a power cut.

        Raises:
            StoreError: the disk refuses; nothing may be signed on its word.
        """
        slot = reservation.encode(next_).ljust(SLOT_BYTES, b"\0")
        assert len(slot) == SLOT_BYTES, "a slot outgrew its block"
        is_new = not self._path.exists()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                if os.fstat(descriptor).st_size < SLOTS * SLOT_BYTES:
                    # All of its room at once: later writes need none.
                    _write(descriptor, bytes(SLOTS * SLOT_BYTES), 0)
                _write(descriptor, slot, next_.number % SLOTS * SLOT_BYTES)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_directory(self._path.parent)
        except OSError as error:
            raise self._broken(error) from error
        self.older, self.newest, self.is_there = self.newest, next_, True

    def _broken(self, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DiskFull(f"{self._path}: {error.strerror}; nothing is signed without it: make room")
        return StoreError(f"{self._path}: {error.strerror}; nothing is signed without it: check the disk")


def boot_id() -> bytes:
    """Which start of the computer this is; empty where the system does not say."""
    with contextlib.suppress(OSError, ValueError):
        return bytes.fromhex(_BOOT_ID.read_text().strip().replace("-", ""))
    return b""


def _write(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
