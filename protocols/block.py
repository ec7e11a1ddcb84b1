"""Block: one log entry - a signed header, the records it commits to, and how both are checked.

    block = [header envelope, [record envelope, ...], election certificate / null]

Its hash is the record id of the header. The first gate of validation lives here:
*form*, a pure function of the block, its parent's header and the validators.
A block that fails it was signed wrongly by its leader, which is evidence; a block
that cannot even be read, or whose parts its header does not name, proves nothing
about anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from protocols import cbor, cose, merkle
from protocols.certificate import QuorumConfig, check_election
from protocols.cose import Envelope, EnvelopeError
from protocols.records import (
    BLOCK_RECORDS,
    Election,
    Genesis,
    Header,
    Limits,
    Record,
    RecordError,
    from_payload,
    read_as,
    to_payload,
)
from protocols.records.genesis import MAX_BLOCK_BYTES
from protocols.records.schema import KINDS

_ALLOWED: Mapping[int, type[Record]] = {kind: KINDS[kind] for kind in sorted(BLOCK_RECORDS)}


class BlockError(ValueError):
    """Bytes that are not a block; says nothing about who is at fault."""


class FormError(ValueError):
    """A signed block that breaks the rules of form: its leader signed it, so it convicts."""


class MismatchError(FormError):
    """A header with parts that it does not name, or of another place than where it was offered.

    The leader need not have anything to do with it: anyone can hang other records on
    an honest header. So it is refused like every fault of form, and convicts nobody.
    """


class SignedRecord(msgspec.Struct, frozen=True):
    """A record with the envelope that carries it.

    Attributes:
        record_id: SHA-256 of the signed bytes.
        envelope_bytes: as stored and sent; its leaf hash stands in the Merkle tree.
    """

    record: Record
    envelope: Envelope
    envelope_bytes: bytes
    record_id: bytes

    @property
    def key_id(self) -> bytes:
        """Key id of the signer."""
        return self.envelope.key_id


class Block(msgspec.Struct, frozen=True):
    """A block with its parts read. `block_hash` is the record id of the header."""

    header: Header
    header_envelope: Envelope
    records: tuple[SignedRecord, ...]
    election: Election | None
    block_hash: bytes
    encoded: bytes

    @property
    def leader(self) -> bytes:
        """Key id of the leader that signed the header."""
        return self.header_envelope.key_id


def read_record(data: bytes, chain_id: bytes) -> SignedRecord:
    """Read a signed record of a block or of gossip; the signature is not checked here.

    Raises:
        EnvelopeError, RecordError: not an envelope, or not a record of this chain's format.
    """
    envelope = cose.decode(data)
    record = from_payload(envelope.payload, _ALLOWED)
    return SignedRecord(record, envelope, data, cose.record_id(envelope.to_be_signed(record.KIND, chain_id)))


def sign_record(record: Record, chain_id: bytes, public_key: bytes, signer: cose.Signer) -> SignedRecord:
    """Sign a record.

    Raises:
        RecordError: a value outside its table.
    """
    envelope = cose.sign(record.KIND, chain_id, to_payload(record), public_key, signer)
    signed = envelope.to_be_signed(record.KIND, chain_id)
    return SignedRecord(record, envelope, envelope.encode(), cose.record_id(signed))


def tx_root(envelopes: Sequence[bytes]) -> bytes:
    """The Merkle root over the envelopes of a block, in their order."""
    return merkle.root([merkle.leaf_hash(data) for data in envelopes])


def election_hash(election: Election) -> bytes:
    """What a term's first header says of its election certificate: SHA-256 of its CBOR."""
    return hashlib.sha256(to_payload(election)).digest()


def make(
    header: Header,
    records: Sequence[SignedRecord],
    election: Election | None,
    chain_id: bytes,
    public_key: bytes,
    signer: cose.Signer,
) -> Block:
    """Sign `header` and put a block together; the caller has filled in roots and count."""
    envelope = cose.sign(Header.KIND, chain_id, to_payload(header), public_key, signer)
    encoded = cbor.encode(
        [
            envelope.encode(),
            [record.envelope_bytes for record in records],
            None if election is None else to_payload(election),
        ]
    )
    block_hash = cose.record_id(envelope.to_be_signed(Header.KIND, chain_id))
    return Block(header, envelope, tuple(records), election, block_hash, encoded)


# A block is looked at several times while it comes in, each time by its bytes, which say all that it is. These are
# as many as a leader has under way, and half as many again; at most three megabytes.
READ_LAST = 6


@lru_cache(READ_LAST)
def read(data: bytes, chain_id: bytes) -> Block:
    """Read a block; neither signatures nor roots are checked here.

    Raises:
        BlockError: not a block of this format.
    """
    if len(data) > MAX_BLOCK_BYTES:
        raise BlockError(f"block of {len(data)} bytes, the limit is {MAX_BLOCK_BYTES}")
    place = "block"
    try:
        parts = cbor.decode(data)
        if type(parts) is not list or len(parts) != 3 or type(parts[0]) is not bytes or type(parts[1]) is not list:
            raise BlockError("block is not [header, records, election]")
        place = "header of the block"
        header_envelope = cose.decode(parts[0])
        header = read_as(Header, header_envelope.payload)
        records = []
        for number, item in enumerate(parts[1]):
            place = f"record {number} of the block"
            if type(item) is not bytes:
                raise BlockError(f"{place} is not a byte string")
            records.append(read_record(item, chain_id))
        place = "election certificate of the block"
        election = None
        if parts[2] is not None:
            if type(parts[2]) is not bytes:
                raise BlockError(f"{place} is not a byte string")
            election = read_as(Election, parts[2])
    except (cbor.CborError, EnvelopeError, RecordError) as error:
        raise BlockError(f"{place}: {error}") from error
    block_hash = cose.record_id(header_envelope.to_be_signed(Header.KIND, chain_id))
    return Block(header, header_envelope, tuple(records), election, block_hash, data)


class Parent(msgspec.Struct, frozen=True):
    """What a block is checked against: the head of the block before it."""

    height: int
    term: int
    block_hash: bytes
    time_s: int
    state_height: int
    next_validators: bytes
    leader: bytes

    @staticmethod
    def of(block: Block) -> Parent:
        """The parent that `block` is to its successor."""
        return Parent.of_header(block.header, block.leader, block.block_hash)

    @staticmethod
    def of_header(head: Header, leader: bytes, block_hash: bytes) -> Parent:
        """The same from the header alone, with its signer's key id and its hash."""
        return Parent(head.height, head.term, block_hash, head.time_s, head.state_height, head.next_validators, leader)

    @staticmethod
    def of_genesis(genesis: Genesis, chain_id: bytes) -> Parent:
        """Height 0: the chain id stands for the hash of the block; nobody led it."""
        return Parent(0, 0, chain_id, genesis.start_s, 0, QuorumConfig.of_genesis(genesis).config_hash(), b"")


def check_form(
    block: Block,
    parent: Parent,
    quorum: QuorumConfig,
    genesis: Genesis,
    chain_id: bytes,
    verifier: cose.Verifier,
) -> None:
    """The gate of form: everything that block, parent and validators alone decide.

    First whether the parts belong together, then whether what the leader signed keeps
    the rules; so a rule is only ever held against what the leader did sign. Records'
    own signatures are checked with the keys of the state (the gate of view), the clock
    at the node (the local gate).

    Args:
        quorum: the configuration in force at the block's height.
    Raises:
        MismatchError: the parts do not belong together; convicts nobody.
        FormError: what was found and what was expected; the leader's signature on
            the header makes it evidence.
    """
    check_belonging(block, parent, quorum, chain_id, verifier)
    check_header(block.header, block.leader, parent, genesis.limits)
    _check_body(block, genesis.limits)
    if block.election is not None:
        fault = check_election(block.election, block.leader, block.header.term, parent, quorum, chain_id, verifier)
        if fault:
            raise FormError(f"block {block.header.height}: {fault}")


def check_belonging(
    block: Block, parent: Parent, quorum: QuorumConfig, chain_id: bytes, verifier: cose.Verifier
) -> None:
    """The first part of `check_form`: whether header, signature, records and election belong together.

    The hash of a block covers what its leader signed, and through it the records; it
    does not cover the leader's signature. Who hands over a block of a known hash can
    still have exchanged its parts.

    Raises:
        MismatchError: they do not; convicts nobody.
    """
    head, place = block.header, f"block {block.header.height}"
    leader_key = quorum.key_of(block.leader)
    if leader_key is None:
        raise MismatchError(f"{place}: leader {block.leader.hex()} is not a validator of this height")
    if not block.header_envelope.verify(Header.KIND, chain_id, leader_key, verifier):
        raise MismatchError(f"{place}: the leader's signature does not hold")
    if head.parent != parent.block_hash:
        raise MismatchError(f"{place}: parent {head.parent.hex()[:16]}, expected {parent.block_hash.hex()[:16]}")
    if parent.next_validators != quorum.config_hash():
        raise MismatchError(f"{place}: checked against other validators than the parent announces")
    if head.tx_count != len(block.records):
        raise MismatchError(f"{place}: {len(block.records)} records, the header says {head.tx_count}")
    if head.tx_root != tx_root([record.envelope_bytes for record in block.records]):
        raise MismatchError(f"{place}: the records do not give the header's Merkle root")
    named = b"" if block.election is None else election_hash(block.election)
    if head.election != named:
        raise MismatchError(f"{place}: the header names another election certificate, or none")


def check_header(head: Header, leader: bytes, parent: Parent, limits: Limits) -> None:
    """What the header alone must keep against its parent: all of it stands under the leader's signature.

    Args:
        leader: key id of who signed the header.
    Raises:
        FormError: the leader broke a rule.
    """
    place = f"block {head.height}"
    if head.height != parent.height + 1:
        raise FormError(f"{place}: follows height {parent.height}")
    if head.term < parent.term:
        raise FormError(f"{place}: term {head.term} after term {parent.term}")
    if head.time_s < parent.time_s:
        raise FormError(f"{place}: time {head.time_s} before the parent's {parent.time_s}")
    if not parent.state_height <= head.state_height < head.height:
        raise FormError(
            f"{place}: state height {head.state_height}, expected {parent.state_height} to {head.height - 1}"
        )
    if head.validators != parent.next_validators:
        raise FormError(f"{place}: validators hash does not follow from the parent")
    if head.tx_count > limits.max_block_records:
        raise FormError(f"{place}: {head.tx_count} records, the limit is {limits.max_block_records}")
    first_of_term = head.term > parent.term
    if first_of_term != bool(head.election):
        raise FormError(f"{place}: the first block of a term, and only it, carries the election certificate")
    # Without this a validator whom nobody elected could go on in the leader's term.
    if not first_of_term and leader != parent.leader:
        raise FormError(f"{place}: by {leader.hex()}, term {head.term} is led by {parent.leader.hex()}")


def _check_body(block: Block, limits: Limits) -> None:
    place = f"block {block.header.height}"
    if len(block.encoded) > limits.max_block_bytes:
        raise FormError(f"{place}: {len(block.encoded)} bytes, the limit is {limits.max_block_bytes}")
    if len({record.record_id for record in block.records}) != len(block.records):
        raise FormError(f"{place}: a record stands in it twice")
