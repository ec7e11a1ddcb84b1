"""Slots: one node's sign file in memory, torn and put back like the one on a card.

Stands where `meshnode.store.signfile.SignFile` stands: two slots that take turns, each a
write of its own that is on the card before the database gets what it reserves. What is written
when, and what the slots say, is the product's own `meshnode.store.reservation`.
"""

from __future__ import annotations

from random import Random

from meshnode.store import SignState, reservation
from meshnode.store.reservation import Places, Reservation
from meshnode.store.signfile import SLOT_BYTES, SLOTS

BOOT_BYTES = 16

Image = tuple[bytes, ...]
"""The bytes of the slots."""


class Slots:
    """See the module text. `begin`, then `finish`: in between, a power cut may tear the slot.

    Attributes:
        newest, older: what the slots say, by number of the write; None for one that says nothing.
    """

    def __init__(self, key_id: bytes) -> None:
        self._key_id = key_id
        self._data: Image = (b"",) * SLOTS
        self._pending: Reservation | None = None
        self._boots = 0
        self.newest: Reservation | None = None
        self.older: Reservation | None = None

    @property
    def _boot(self) -> bytes:
        return self._boots.to_bytes(BOOT_BYTES, "big")

    def boots(self) -> None:
        """The computer starts once more."""
        self._boots += 1

    def places(self, signed: SignState) -> Places:
        """What database and file say at a start; as `Store.places`."""
        return Places(
            signed=signed,
            newest=self.newest,
            older=self.older,
            is_there=any(map(any, self._data)),
            key_id=self._key_id,
            boot=self._boot,
        )

    def begin(self, promised: SignState, stored: int) -> None:
        """These promises are about to be written to a database whose sign state has the sequence `stored`."""
        self._pending = reservation.before_signing(self.newest, self._key_id, self._boot, promised, stored)

    def finish(self) -> None:
        """What had to be written is on the card."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._write(pending, SLOT_BYTES)

    def power_off(self, chance: Random) -> bool:
        """The power fails; whether all was written that had to be before the database is."""
        pending, self._pending = self._pending, None
        if pending is None:
            return True
        whole = bool(chance.randrange(2))
        self._write(pending, SLOT_BYTES if whole else chance.randrange(len(reservation.encode(pending))))
        return whole

    def image(self) -> Image:
        """A copy of the file."""
        return self._data

    def stopped(self, signed: SignState) -> Image:
        """The file as it would be had the node stopped in order now, having signed this last."""
        if self.newest is None:
            return self._data
        return self._with(reservation.changed(self.newest, self._key_id, self._boot, signed, clean=True), SLOT_BYTES)

    def restore(self, image: Image) -> None:
        """An old copy is written back; the node must be off."""
        self._data = image
        self._read()

    def _write(self, slot: Reservation, up_to: int) -> None:
        self._data = self._with(slot, up_to)
        self._read()

    def _with(self, slot: Reservation, up_to: int) -> Image:
        place = slot.number % SLOTS
        old = self._data[place].ljust(SLOT_BYTES, b"\0")
        data = reservation.encode(slot).ljust(SLOT_BYTES, b"\0")[:up_to] + old[up_to:]
        return (*self._data[:place], data, *self._data[place + 1 :])

    def _read(self) -> None:
        slots = [slot for slot in map(reservation.decode, self._data) if slot is not None]
        found = sorted(slots, key=lambda slot: slot.number)
        self.newest = found[-1] if found else None
        self.older = found[0] if len(found) == SLOTS else None
