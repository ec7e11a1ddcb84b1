"""Trial: the statements of one accusation, read one after the other; every one of them must be signed."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import msgspec

from protocols import cose
from protocols.block import Parent
from protocols.cose import EnvelopeError
from protocols.records import Election, Evidence, Header, Record, RecordError, read_as
from protocols.roll import Roll

R = TypeVar("R", bound=Record)


class EvidenceError(ValueError):
    """Why statements do not prove what they were handed in for."""


class Signed(msgspec.Struct, frozen=True):
    """A header with who signed it and its hash."""

    header: Header
    signer: bytes
    block_hash: bytes


class Trial:
    """See the module text. Everything here raises EvidenceError where the proof breaks off."""

    def __init__(self, evidence: Evidence, roll: Roll, verifier: cose.Verifier) -> None:
        self.accused = evidence.accused
        self.roll = roll
        self.verifier = verifier
        self._statements = evidence.statements
        self._next = 0

    def has_more(self) -> bool:
        """Whether a statement is left."""
        return self._next < len(self._statements)

    def end(self) -> None:
        """Nothing may stand there that was not asked for: one case has one form."""
        if self.has_more():
            raise EvidenceError(f"statement {self._next}: not part of the proof")

    def take(self) -> bytes:
        """The next statement as it is."""
        if not self.has_more():
            raise EvidenceError(f"statement {self._next} is missing")
        self._next += 1
        return self._statements[self._next - 1]

    def peek(self) -> bytes:
        """The same, without taking it; nothing if none is left."""
        return self._statements[self._next] if self.has_more() else b""

    def by_accused(self, kind: type[R]) -> R:
        """The next statement, which the accused must have signed."""
        record, signer, _ = self._signed(kind)
        if signer != self.accused:
            raise EvidenceError(f"statement {self._next - 1}: signed by {signer.hex()}, not by the accused")
        return record

    def header(self) -> Signed:
        """The next statement: a header of any validator."""
        return Signed(*self._signed(Header))

    def header_by_accused(self) -> Signed:
        """The next statement: a header of the accused."""
        found = self.header()
        if found.signer != self.accused:
            raise EvidenceError(f"statement {self._next - 1}: signed by {found.signer.hex()}, not by the accused")
        return found

    def election(self) -> tuple[Election, bytes]:
        """The next statement: an election certificate, and its hash as headers name it."""
        data = self.take()
        try:
            return read_as(Election, data), hashlib.sha256(data).digest()
        except RecordError as error:
            raise EvidenceError(f"statement {self._next - 1}: {error}") from error

    def parent_of(self, child: Signed) -> Parent:
        """What `child` names as its parent: the genesis, or the next statement."""
        if child.header.parent == self.roll.chain_id:
            return Parent.of_genesis(self.roll.genesis, self.roll.chain_id)
        found = self.header()
        if found.block_hash != child.header.parent:
            raise EvidenceError(f"statement {self._next - 1}: not the parent of block {child.header.height}")
        return Parent.of_header(found.header, found.signer, found.block_hash)

    def _signed(self, kind: type[R]) -> tuple[R, bytes, bytes]:
        data, place = self.take(), f"statement {self._next - 1}"
        try:
            envelope = cose.decode(data)
            record = read_as(kind, envelope.payload)
        except (EnvelopeError, RecordError) as error:
            raise EvidenceError(f"{place}: {error}") from error
        key = self.roll.key_of(envelope.key_id)
        if key is None:
            raise EvidenceError(f"{place}: signed by {envelope.key_id.hex()}, who never was a validator")
        if not envelope.verify(kind.KIND, self.roll.chain_id, key, self.verifier):
            raise EvidenceError(f"{place}: the signature of {envelope.key_id.hex()} does not hold")
        return record, envelope.key_id, cose.record_id(envelope.to_be_signed(kind.KIND, self.roll.chain_id))
