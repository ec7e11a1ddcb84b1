"""Reservation: up to where this node may have signed, written beside the database before it signs.

The database says exactly what was signed last, in the same fsync as the block. Should the
card lose that write although it confirmed it, or should somebody put an old copy of
one of the two files back, this second place shows it. It is written rarely: it names a
term and a height that the node has not come to yet, and is only then written anew.

Pure: what must be written when, and what the two places say about one another.
"""

from __future__ import annotations

import hashlib
from enum import Enum

import msgspec

from meshnode.store.rows import SignState
from protocols import cbor
from protocols.cbor import CborError

# Acks are reserved this far ahead: at the four blocks an hour that a quiet microgrid makes
# this is a write in sixteen hours, and a node that forgot everything waits no longer than that.
HEIGHTS_AHEAD = 64
# What fits a slot with everything else at its largest.
MAX_REASON_BYTES = 300
CHECKSUM_BYTES = 16
_PERSON = b"sign file"


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What one slot of the file says.

    Attributes:
        number: of the write; the higher one of the two slots counts.
        key_id: of the device key that it is about.
        term: nothing was signed in a later one.
        height: in no term up to `term` was anything above it acknowledged.
        sequence: of the sign state that was in the database when this was written.
        boot: of which start of the computer (empty: not known).
        clean: the node has stopped in order; `sequence` is that of its last signature.
        owed: (term, height) of the newest ack whose block this disk has lost; (0, 0) mostly.
        retired: why this key never signs again; empty while it may.
    """

    number: int
    key_id: bytes
    term: int
    height: int
    sequence: int
    boot: bytes
    clean: bool = False
    owed: tuple[int, int] = (0, 0)
    retired: str = ""

    def covers(self, signed: SignState) -> bool:
        """Whether the newest signatures lie within what was reserved."""
        return signed_term(signed) <= self.term and signed.ack_height <= self.height


class Trust(Enum):
    """What the database and the file say of one another."""

    UNUSED = "this key has never signed here"
    CLEAN = "stopped in order"
    SAME_BOOT = "the process ended, the computer did not: nothing that was written can be lost"
    POWER_CUT = "the computer went off while the node ran"
    DATABASE_BEHIND = "the card has lost the newest writes of the database"
    FILE_BEHIND = "the card has lost the newest write of the sign file"
    RESTORED = "database and sign file are of different times"
    RETIRED = "this key never signs again"


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The two places as they are found at a start.

    Attributes:
        signed: what the database says was signed last.
        newest, older: the slots of the file that can be read, by number.
        is_there: whether there is a file at all.
        key_id: of the device key that is to sign.
        boot: of this start of the computer; empty if not known.
    """

    signed: SignState
    newest: Reservation | None
    older: Reservation | None
    is_there: bool
    key_id: bytes
    boot: bytes

    def trust(self) -> tuple[Trust, str]:
        """What they say of one another, and the sentence for a person.

        An ordinary power cut loses nothing that was written. A card that confirms what it
        has not written may lose the newest writes of either file; it cannot lose what two
        writes of the sign file in a row have stood upon, so that is somebody's old copy.
        """
        signed, newest = self.signed, self.newest
        if newest is None:
            return self._without_file()
        if newest.key_id != self.key_id:
            # Device keys are replaced, and a new one has signed nothing.
            return Trust.UNUSED, Trust.UNUSED.value
        if newest.retired:
            return Trust.RETIRED, newest.retired
        same_boot = bool(self.boot) and newest.boot == self.boot
        if signed.sequence < newest.sequence:
            behind = f"the database knows {signed.sequence} signatures, the sign file {newest.sequence}"
            oldest = newest.sequence if self.older is None else min(self.older.sequence, newest.sequence)
            if same_boot or newest.clean or signed.sequence < oldest:
                return Trust.RESTORED, f"the database is older than the sign file ({behind})"
            return Trust.DATABASE_BEHIND, f"{Trust.DATABASE_BEHIND.value} ({behind})"
        ran_on = newest.clean and signed.sequence > newest.sequence
        if ran_on or not newest.covers(signed):
            found = f"acknowledged up to {signed.ack_height}, reserved up to {newest.height}"
            if same_boot or signed.ack_height > newest.height + HEIGHTS_AHEAD + 1:
                return Trust.RESTORED, f"the sign file is older than the database ({found})"
            return Trust.FILE_BEHIND, f"{Trust.FILE_BEHIND.value} ({found})"
        if newest.clean:
            return Trust.CLEAN, Trust.CLEAN.value
        return (Trust.SAME_BOOT, Trust.SAME_BOOT.value) if same_boot else (Trust.POWER_CUT, Trust.POWER_CUT.value)

    def _without_file(self) -> tuple[Trust, str]:
        if not self.signed.sequence:
            # The file comes before the first signature; it may have been torn when it was made.
            return Trust.UNUSED, Trust.UNUSED.value
        if self.is_there:
            return Trust.RESTORED, "both halves of the sign file are damaged"
        return Trust.RESTORED, f"the sign file is missing, although this node has signed {self.signed.sequence} times"


def signed_term(signed: SignState) -> int:
    """The newest term in which anything was signed."""
    return max(signed.vote_term, signed.ack_term)


def before_signing(
    newest: Reservation | None, key_id: bytes, boot: bytes, promised: SignState, stored: int
) -> Reservation | None:
    """What must be on disk before these promises are; None if what is there covers them.

    Args:
        newest: what is there.
        promised: the sign state that the next transaction writes.
        stored: sequence of the one that is in the database now.
    """
    runs = newest is not None and newest.key_id == key_id and newest.boot == boot and not newest.clean
    if newest is not None and runs and newest.covers(promised):
        return None
    own = newest if newest is not None and newest.key_id == key_id else None
    height = 0 if own is None else own.height
    return Reservation(
        number=1 if newest is None else newest.number + 1,
        key_id=key_id,
        term=max(signed_term(promised), 0 if own is None else own.term),
        height=height if promised.ack_height <= height else promised.ack_height + HEIGHTS_AHEAD,
        sequence=stored,
        boot=boot,
        owed=(0, 0) if own is None else own.owed,
    )


def changed(
    newest: Reservation | None,
    key_id: bytes,
    boot: bytes,
    signed: SignState,
    *,
    clean: bool = False,
    owed: tuple[int, int] | None = None,
    retired: str = "",
) -> Reservation:
    """The next slot after a stop in order (`clean`), a loss (`owed`) or the end of a key (`retired`)."""
    base = before_signing(newest, key_id, boot, signed, signed.sequence)
    if base is None:
        assert newest is not None
        base = msgspec.structs.replace(newest, number=newest.number + 1, sequence=signed.sequence)
    cut = retired.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
    return msgspec.structs.replace(base, clean=clean, owed=base.owed if owed is None else owed, retired=cut)


def encode(reservation: Reservation) -> bytes:
    """The bytes of a slot: CBOR, and a checksum before it."""
    r = reservation
    data = cbor.encode(
        [r.number, r.key_id, r.term, r.height, r.sequence, r.boot, int(r.clean), list(r.owed), r.retired]
    )
    return _checksum(data) + len(data).to_bytes(2, "big") + data


def decode(slot: bytes) -> Reservation | None:
    """What a slot says; None if it was never written, or not to its end, or is damaged."""
    size = int.from_bytes(slot[CHECKSUM_BYTES : CHECKSUM_BYTES + 2], "big")
    data = slot[CHECKSUM_BYTES + 2 : CHECKSUM_BYTES + 2 + size]
    if not size or len(data) != size or _checksum(data) != slot[:CHECKSUM_BYTES]:
        return None
    try:
        number, key_id, term, height, sequence, boot, clean, owed, retired = cbor.decode(data)
        return msgspec.convert(
            {
                "number": number,
                "key_id": key_id,
                "term": term,
                "height": height,
                "sequence": sequence,
                "boot": boot,
                "clean": bool(clean),
                "owed": tuple(owed),
                "retired": retired,
            },
            Reservation,
        )
    except (CborError, ValueError, TypeError):
        return None


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES, person=_PERSON).digest()
