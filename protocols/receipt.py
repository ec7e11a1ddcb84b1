"""Receipt: proof for anyone that a record stands in a final block, checked offline.

A receipt holds the record, its Merkle path, the headers that link its block to a
certified one, and the certificate. With the genesis of the microgrid nothing else is
needed: no node, no network, no trust in whoever hands it over. The file extension is
`.receipt`, the content the deterministic CBOR of a `Receipt`.

What it proves and what not:

- The validators are those of the genesis, or follow from them by the changes that the
  receipt carries: each is itself proved by a certificate of the validators before it, who
  certify a change only if an administrator signed it. Whether it was the one that took
  effect (another may have come first) is told by whom the headers after it name.
- Validators that were removed could still sign another history of their own time, and
  a file cannot tell; a node of the microgrid can.
- It proves inclusion. Whether the record took effect is the verdict of `apply`.
- Keys admitted after the genesis cannot be proved from it: the record's own signature
  is then not checked, and the verdict says so. A quorum of validators has checked it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocols import cose, merkle
from protocols.block import Block, SignedRecord, read_record
from protocols.certificate import QuorumConfig, check_certificate
from protocols.cose import EnvelopeError, key_id_of
from protocols.quorum_change import ChangeFault, successor
from protocols.records import (
    Certificate,
    Genesis,
    Header,
    QuorumChange,
    Receipt,
    Record,
    RecordError,
    chain_id,
    genesis_faults,
    keys_of,
    read_as,
    to_payload,
)
from protocols.records.agreement import (
    MAX_CERTIFICATE_BYTES,
    MAX_CHANGE_BYTES,
    MAX_HEADER_BYTES,
    MAX_RECEIPT_CHANGES,
    MAX_RECEIPT_HEADERS,
)

FILE_EXTENSION = ".receipt"

# The largest record, all headers and changes with their lengths, certificate and path.
MAX_RECEIPT_BYTES = (
    cose.MAX_ENVELOPE_BYTES
    + MAX_RECEIPT_HEADERS * (MAX_HEADER_BYTES + 3)
    + MAX_RECEIPT_CHANGES * (MAX_CHANGE_BYTES + 5)
    + MAX_CERTIFICATE_BYTES
    + 1024
)
# The role of whom the genesis names as the one to decide.
_ADMINISTRATOR = "administrator"

SIGNED_BY_FOUNDER = "signed with a key of the genesis"
SIGNER_LATER = "signer admitted later: key not provable from the genesis alone"


class ReceiptError(ValueError):
    """What of a receipt does not hold."""


class Verdict(msgspec.Struct, frozen=True):
    """What a receipt proves.

    Attributes:
        record, record_id: what stands in the block.
        height, time_s, block_hash: of the block that holds it, `index` its place there.
        certified_height: of the block whose certificate makes it final.
        validators: how many signatures the certificate has, all of them valid.
        signer: key id of the record's signer; `member` its name if the key is of the genesis.
        note: `SIGNED_BY_FOUNDER` (the record's signature was checked) or `SIGNER_LATER`.
        changes: how many changes of the validators lead from the genesis to those who signed.
    """

    record: Record
    record_id: bytes
    height: int
    index: int
    time_s: int
    block_hash: bytes
    certified_height: int
    validators: int
    signer: bytes
    member: str | None
    note: str
    changes: int = 0


def make(
    block: Block,
    record_id: bytes,
    following: Sequence[bytes],
    certificate: Certificate,
) -> Receipt:
    """The receipt of a record.

    Args:
        block: the block that holds it.
        following: header envelopes of the blocks after it, up to the certified one;
            empty if `certificate` is its own.
    Raises:
        ReceiptError: the block has no such record, or nothing can be certified so far ahead.
    """
    place = next((i for i, record in enumerate(block.records) if record.record_id == record_id), None)
    if place is None:
        raise ReceiptError(f"block {block.header.height} has no record {record_id.hex()}")
    if certificate.height != block.header.height + len(following):
        raise ReceiptError(
            f"certificate of height {certificate.height} for {len(following)} headers after {block.header.height}"
        )
    leaves = [merkle.leaf_hash(record.envelope_bytes) for record in block.records]
    return Receipt(
        record=block.records[place].envelope_bytes,
        index=place,
        count=len(leaves),
        path=merkle.path(leaves, place),
        headers=(block.header_envelope.encode(), *following),
        certificate=to_payload(certificate),
    )


def with_changes(receipt: Receipt, changes: Sequence[Receipt]) -> Receipt:
    """The receipt with the receipts of all changes of the validators that are in force at its certified height.

    Raises:
        ReceiptError: they have changed too often for one file.
    """
    if len(changes) > MAX_RECEIPT_CHANGES:
        raise ReceiptError(
            f"the validators have changed {len(changes)} times, a receipt proves {MAX_RECEIPT_CHANGES} changes; "
            "ask a node of the microgrid instead"
        )
    return msgspec.structs.replace(receipt, changes=tuple(encode(change) for change in changes))


def encode(receipt: Receipt) -> bytes:
    """The bytes of a `.receipt` file.

    Raises:
        ReceiptError: a part is larger than its table allows.
    """
    try:
        return to_payload(receipt)
    except RecordError as error:
        raise ReceiptError(str(error)) from error


def decode(data: bytes) -> Receipt:
    """Read a `.receipt` file; nothing is checked yet.

    Raises:
        ReceiptError: not a receipt of this format.
    """
    if len(data) > MAX_RECEIPT_BYTES:
        raise ReceiptError(f"receipt of {len(data)} bytes, the limit is {MAX_RECEIPT_BYTES}")
    try:
        return read_as(Receipt, data)
    except RecordError as error:
        raise ReceiptError(f"not a receipt: {error}") from error


def check(receipt: Receipt, genesis: Genesis, verifier: cose.Verifier) -> Verdict:
    """What the receipt proves to someone who has nothing but the genesis.

    Raises:
        ReceiptError: the first thing that does not hold, by name.
    """
    faults = genesis_faults(genesis)
    if faults:
        raise ReceiptError(faults[0])
    chain = chain_id(genesis)
    configs = _check_changes(receipt.changes, genesis, chain, verifier)
    record, linked, signatures = _check_inclusion(receipt, configs, chain, verifier)
    (first, first_hash), (last, _) = linked[0], linked[-1]
    member, note = _check_signer(record, genesis, chain, verifier)
    return Verdict(
        record=record.record,
        record_id=record.record_id,
        height=first.height,
        index=receipt.index,
        time_s=first.time_s,
        block_hash=first_hash,
        certified_height=last.height,
        validators=signatures,
        signer=record.key_id,
        member=member,
        note=note,
        changes=len(receipt.changes),
    )


def _check_changes(
    changes: Sequence[bytes], genesis: Genesis, chain: bytes, verifier: cose.Verifier
) -> list[QuorumConfig]:
    """The configurations that the changes lead through, from the genesis on."""
    configs = [QuorumConfig.of_genesis(genesis)]
    epochs = dict(configs[0].voters)
    for number, data in enumerate(changes):
        place = f"change {number} of the validators"
        try:
            link = read_as(Receipt, data)
        except RecordError as error:
            raise ReceiptError(f"{place}: {error}") from error
        if link.changes:
            raise ReceiptError(f"{place}: carries changes of its own")
        try:
            signed, _, _ = _check_inclusion(link, configs[-1:], chain, verifier)
        except ReceiptError as error:
            raise ReceiptError(f"{place}: {error}") from error
        if not isinstance(signed.record, QuorumChange):
            raise ReceiptError(f"{place}: is a {type(signed.record).__name__}")
        name, _ = _check_signer(signed, genesis, chain, verifier)
        if any(member.name == name and _ADMINISTRATOR not in member.roles for member in genesis.members):
            raise ReceiptError(f"{place}: signed by {name}, who is no administrator")
        following = successor(configs[-1], signed.record, len(genesis.validators), epochs)
        if isinstance(following, ChangeFault):
            raise ReceiptError(f"{place}: {following.value}")
        configs.append(following)
        epochs |= dict(following.voters)
    return configs


def _check_inclusion(
    receipt: Receipt, configs: Sequence[QuorumConfig], chain: bytes, verifier: cose.Verifier
) -> tuple[SignedRecord, list[tuple[Header, bytes]], int]:
    """The record, the headers with their hashes, and how many signatures the certificate has."""
    try:
        record = read_record(receipt.record, chain)
        certificate = read_as(Certificate, receipt.certificate)
    except (EnvelopeError, RecordError) as error:
        raise ReceiptError(f"receipt: {error}") from error
    linked, quorum = _check_headers(receipt.headers, configs, chain, verifier)
    _check_place(receipt, linked[0][0])
    last, last_hash = linked[-1]
    if (certificate.height, certificate.block) != (last.height, last_hash):
        raise ReceiptError(f"certificate: is for another block than header {last.height}")
    fault = check_certificate(certificate, last.term, quorum, chain, verifier)
    if fault:
        raise ReceiptError(fault)
    return record, linked, len(certificate.signatures)


def _check_headers(
    envelopes: Sequence[bytes], configs: Sequence[QuorumConfig], chain: bytes, verifier: cose.Verifier
) -> tuple[list[tuple[Header, bytes]], QuorumConfig]:
    """Headers with their hashes, and the configuration of the last one.

    Each is signed by a validator of its height, each the parent of the next.
    """
    linked: list[tuple[Header, bytes]] = []
    quorum: QuorumConfig | None = None
    known = {config.config_hash(): config for config in configs}
    for number, data in enumerate(envelopes):
        place = f"header {number} of the receipt"
        try:
            envelope = cose.decode(data)
            header = read_as(Header, envelope.payload)
        except (EnvelopeError, RecordError) as error:
            raise ReceiptError(f"{place}: {error}") from error
        quorum = known.get(header.validators)
        if quorum is None:
            raise ReceiptError(
                f"{place}: the validators of height {header.height} are not those of the genesis, nor do the "
                "receipt's changes lead to them; ask a node of the microgrid"
            )
        leader = quorum.key_of(envelope.key_id)
        if leader is None or not envelope.verify(Header.KIND, chain, leader, verifier):
            raise ReceiptError(f"{place}: not signed by a validator of height {header.height}")
        if linked:
            before, before_hash = linked[-1]
            if header.parent != before_hash or header.height != before.height + 1:
                raise ReceiptError(f"{place}: height {header.height} does not follow the header before it")
            if header.validators != before.next_validators:
                raise ReceiptError(f"{place}: its validators are not those that the header before it announces")
        linked.append((header, cose.record_id(envelope.to_be_signed(Header.KIND, chain))))
    assert quorum is not None, "a receipt has a header"
    return linked, quorum


def _check_place(receipt: Receipt, header: Header) -> None:
    place = f"record {receipt.index} of {receipt.count}"
    if receipt.count != header.tx_count:
        raise ReceiptError(f"{place}: block {header.height} has {header.tx_count} records")
    leaf = merkle.leaf_hash(receipt.record)
    if not merkle.verify_path(leaf, receipt.index, receipt.count, receipt.path, header.tx_root):
        raise ReceiptError(f"{place}: the path does not lead to the Merkle root of block {header.height}")


def _check_signer(
    record: SignedRecord, genesis: Genesis, chain: bytes, verifier: cose.Verifier
) -> tuple[str | None, str]:
    for member in genesis.members:
        for key in keys_of(member):
            if key_id_of(key) == record.key_id:
                if not record.envelope.verify(record.record.KIND, chain, key, verifier):
                    raise ReceiptError(f"record: the signature of {member.name} does not hold")
                return member.name, SIGNED_BY_FOUNDER
    return None, SIGNER_LATER
