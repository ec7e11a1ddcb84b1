"""Room: how much is left on a node's disk, and what waits until there is more.

A disk that fills up is no broken disk. Before its last megabytes are gone the node stops
acknowledging, so that what it must still write finds room; it goes on showing what it
has, says why, and takes up its duty again by itself when somebody has made room.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trio

from meshnode.store import DiskFull
from meshnode.store.place import free_bytes

log = logging.getLogger(__name__)

# The write-ahead logs of ledger and views at their largest, a checkpoint of each, and the own
# records of some days: what is still written after the last acknowledgement.
RESERVE_BYTES = 16 * 1024 * 1024
# Half as much again, so that a node at the edge does not stop and go on with every block.
RESUME_BYTES = 24 * 1024 * 1024
# A busy microgrid writes a megabyte in this time.
LOOK_S = 1.0
_MIB = 1024 * 1024

T = TypeVar("T")


class Room:
    """The room on the disk of one directory."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._free = free_bytes(place)
        self._was_refused = False
        self._is_full = self._free < RESERVE_BYTES

    @property
    def is_full(self) -> bool:
        """Whether nothing should be acknowledged any more."""
        return self._is_full

    @property
    def sentence(self) -> str:
        """What a person should know and do."""
        return (
            f"the disk is full ({self._free // _MIB} MiB left, {RESERVE_BYTES // _MIB} are kept back): this node takes "
            f"in nothing new; make room for at least {RESUME_BYTES // _MIB} MiB, and it goes on by itself"
        )

    def look(self) -> bool:
        """Look how much is left; whether `is_full` is another than before. Raises OSError."""
        before, self._free = self._is_full, free_bytes(self._place)
        if self._is_full and self._free >= RESUME_BYTES:
            self._is_full = False
        elif self._free < RESERVE_BYTES:
            self._is_full = True
        return self._is_full != before

    def refused(self) -> None:
        """A write found no room, whatever the system says is left (a quota, or others who were faster)."""
        self._is_full = True

    async def wait(self) -> None:
        """Until the disk is not full."""
        while self._is_full:
            await trio.sleep(LOOK_S)
            self.look()


async def when_there_is_room(what: str, write: Callable[[], T]) -> T:
    """Call `write` in a thread; as long as the disk is full, again and again."""
    waits = False
    while True:
        try:
            return await trio.to_thread.run_sync(write)
        except DiskFull as full:
            if not waits:
                log.warning("%s waits for room on the disk: %s", what, full)
            waits = True
            await trio.sleep(LOOK_S)
