"""Inspection: one block of a ledger as JSON values, and proofs that a record stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from meshnode import keys
from meshnode.ledger import rows, validators
from meshnode.ledger.validators import Decision
from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.machine import Event, Machine, RecordDone
from meshnode.market import Mechanisms
from meshnode.store import LedgerReader, StoreError, chain_of, microgrids, read_genesis
from meshnode.store.place import check_genesis, mend
from meshnode.store.rows import DamagedRow
from protocols import block as blocks
from protocols import cose
from protocols import receipt as receipts
from protocols.block import Block, BlockError, SignedRecord
from protocols.certificate import QuorumConfig
from protocols.quorum_change import successor
from protocols.records import Certificate, Genesis, QuorumChange, Receipt, RecordError, read_as
from protocols.records.jsonform import to_json


class NotInLedger(LookupError):
    """What was asked for is not in this ledger; the message says what there is."""


def show(directory: Path, height: int, mechanisms: Mechanisms, chain_id: bytes | None = None) -> dict[str, Any]:
    """A block as JSON values: header, records with their verdicts, and who signed for it.

    Verdicts come from executing the ledger up to this height, which is trusted to be
    this node's own; use `verify` for one that is not.

    Args:
        directory: of a node or of a microgrid.
        mechanisms: what this node supports.
        chain_id: which microgrid; needed if the node has several.
    Raises:
        NotInLedger: no such height.
        StoreError: no ledger, several, or a damaged one.
    """
    with open_ledger(directory, chain_id) as ledger:
        block = ledger.block(height)
        final = height <= ledger.reader.standing().final_height
        machine, verdicts = ledger.execute(height if final else ledger.reader.standing().final_height, mechanisms)
        certificate = ledger.certificate_from(height) if final else None
        return describe(machine, block, certificate, verdicts if final else None)


def describe(
    machine: Machine, block: Block, certificate: Certificate | None, verdicts: Sequence[Verdict] | None
) -> dict[str, Any]:
    """A block as JSON values, with names where `machine` knows them.

    Args:
        machine: executed up to the block, or beyond it.
        certificate: of the block or a later one; None if it is not final.
        verdicts: of its records, in order; None if it is not executed.
    """
    return {
        "chain": machine.chain_id.hex(),
        "community": machine.genesis.community,
        "height": block.header.height,
        "hash": block.block_hash.hex(),
        "final": certificate is not None,
        "leader": _signer(machine, block.leader),
        "header": to_json(block.header),
        "election": None if block.election is None else to_json(block.election),
        "records": [
            _record(machine, signed, None if verdicts is None else verdicts[position])
            for position, signed in enumerate(block.records)
        ],
        "certificate": None if certificate is None else _certificate(machine, certificate),
    }


def receipt(
    directory: Path,
    record_id: bytes,
    mechanisms: Mechanisms,
    chain_id: bytes | None = None,
    decisions: Sequence[Decision] | None = None,
) -> bytes:
    """The proof that a record stands in a final block, as the bytes of a `.receipt` file.

    Args:
        directory: of a node or of a microgrid.
        mechanisms: what this node supports.
        chain_id: which microgrid; needed if the node has several.
        decisions: all configurations of validators up to there, from who has executed the ledger;
            without them it is executed here if the validators have ever changed.
    Raises:
        NotInLedger: no final block has it.
        StoreError: no ledger, several, or a damaged one.
        ReceiptError: the next certificate is too far ahead for one receipt, or the validators have
            changed too often for one.
    """
    with open_ledger(directory, chain_id) as ledger:
        place = ledger.reader.find_record(record_id)
        if place is None:
            raise NotInLedger(
                f"record {record_id.hex()}: in no final block up to height {ledger.reader.standing().final_height}"
            )
        found = ledger.proof(place[0], record_id)
        last = read_as(Certificate, found.certificate)
        changes: list[Receipt] = []
        if last.validators != QuorumConfig.of_genesis(ledger.genesis).config_hash():
            if decisions is None:
                machine, _ = ledger.execute(last.height, mechanisms)
                decisions = validators.decisions(machine.state)
            changes = _changes(ledger, [known for known in decisions if 0 < known.from_height <= last.height])
        return receipts.encode(receipts.with_changes(found, changes))


def _changes(ledger: Ledger, decisions: Sequence[Decision]) -> list[Receipt]:
    """The proofs that lead from the validators of the genesis to those of the last decision."""
    proofs = []
    epochs: dict[bytes, int] = {}
    for before, after in pairwise(decisions):
        epochs |= dict(before.config.voters)
        founded = len(decisions[0].config.voters)
        # Several may have asked for the same; the first that could be carried out was.
        record_id = next(
            signed.record_id
            for signed in ledger.block(after.height).records
            if isinstance(signed.record, QuorumChange)
            and successor(before.config, signed.record, founded, epochs) == after.config
        )
        proofs.append(ledger.proof(after.height, record_id))
    return proofs


def check_receipt(data: bytes, genesis_bytes: bytes) -> receipts.Verdict:
    """Check a receipt with nothing but the genesis of its microgrid.

    Raises:
        ReceiptError: what does not hold.
        StoreError: the genesis is not one.
    """
    genesis = check_genesis(genesis_bytes)
    try:
        return receipts.check(receipts.decode(data), genesis, keys.verify)
    except receipts.ReceiptError as error:
        raise receipts.ReceiptError(f"{_judge(data, genesis)}\n    details: {error}") from error


def _judge(data: bytes, genesis: Genesis) -> str:
    """What a receipt that does not hold means to whoever holds it."""
    try:
        found = receipts.decode(data)
        # The first link is signed by founders, whoever validates today.
        found = receipts.decode(found.changes[0]) if found.changes else found
        speakers = {cose.decode(header).key_id for header in found.headers}
        speakers |= {key_id for key_id, _ in read_as(Certificate, found.certificate).signatures}
    except (receipts.ReceiptError, cose.EnvelopeError, RecordError):
        return _ALTERED
    # One altered byte hides one signer; that none of them is known is another community.
    ours = {cose.key_id_of(entry.device_key) for entry in genesis.validators}
    return (
        _ALTERED if speakers & ours else f"this receipt belongs to another community than {genesis.community}\n{_OTHER}"
    )


_ALTERED = (
    "this receipt was altered or cut off, and proves nothing\n    have whoever gave it to you send it again, as a file"
)
_OTHER = "    check it with the genesis of its own community: meshnode receipt check FILE --genesis GENESIS"


class Ledger:
    """One ledger, opened for looking into it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        genesis_bytes = read_genesis(place)
        self.genesis = check_genesis(genesis_bytes)
        self.chain = chain_of(genesis_bytes)
        self.reader = LedgerReader(place)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()

    def block(self, height: int) -> Block:
        """The block of a height."""
        try:
            entry = self.reader.entry(height)
            if entry is None:
                raise NotInLedger(f"{self.place}: no block {height}; it has 1 to {self.reader.standing().last_height}")
            return blocks.read(entry.data, self.chain)
        except (DamagedRow, BlockError) as damage:
            raise self._damaged(f"block {height}", damage, height) from damage

    def certificate_from(self, height: int) -> Certificate:
        """The certificate that makes a final height final."""
        try:
            found = self.reader.certificate_from(height)
        except DamagedRow as damage:
            raise self._damaged(f"the certificate of height {damage.height}", damage, damage.height) from damage
        if found is None:
            raise self._damaged(f"the certificate of final height {height}", "there is none", height)
        return read_as(Certificate, found[1])

    def proof(self, height: int, record_id: bytes) -> Receipt:
        """The receipt of a record of a final block, without the changes of the validators that it may need."""
        certificate = self.certificate_from(height)
        heights = range(height + 1, certificate.height + 1)
        following = [self.block(above).header_envelope.encode() for above in heights]
        return receipts.make(self.block(height), record_id, following, certificate)

    def _damaged(self, what: str, details: object, height: int) -> StoreError:
        return StoreError(
            f"{self.place}: {what} cannot be read, this ledger is damaged or was altered\n"
            f"    {mend(self.place)}\n    details: {details}",
            height,
        )

    def execute(self, height: int, mechanisms: Mechanisms) -> tuple[Machine, list[Verdict]]:
        """The state after a height, and what became of the records of the block there."""
        machine = Machine(self.genesis, self.chain, mechanisms, keys.verify)
        events: tuple[Event, ...] = ()
        for number in range(1, height + 1):
            events = machine.apply(self.block(number))
        return machine, [event.verdict for event in events if isinstance(event, RecordDone)]


def open_ledger(directory: Path, chain_id: bytes | None) -> Ledger:
    """Open the one ledger that is meant. Raises StoreError if there is none, or several."""
    places = microgrids(directory)
    if chain_id is not None:
        places = tuple(place for place in places if chain_of(read_genesis(place)) == chain_id)
        if not places:
            raise StoreError(f"{directory}: no ledger of {chain_id.hex()} here")
    if len(places) > 1:
        names = ", ".join(place.name for place in places)
        raise StoreError(f"{directory}: has the ledgers of {len(places)} microgrids ({names}); name one")
    return Ledger(places[0])


def _record(machine: Machine, signed: SignedRecord, verdict: Verdict | None) -> dict[str, Any]:
    return {
        "id": signed.record_id.hex(),
        "kind": type(signed.record).__name__,
        "signer": _signer(machine, signed.key_id),
        "fields": to_json(signed.record),
        "verdict": None if verdict is None else verdict.name,
        "meaning": None if verdict is None else SENTENCES[verdict],
    }


def _certificate(machine: Machine, certificate: Certificate) -> dict[str, Any]:
    return {
        "height": certificate.height,
        "term": certificate.ack_term,
        "block": certificate.block.hex(),
        "signed_by": [_signer(machine, key_id) for key_id, _ in certificate.signatures],
    }


def _signer(machine: Machine, key_id: bytes) -> dict[str, str | None]:
    """A key id, with whose it is and what for."""
    key = machine.state.keys.get(key_id)
    if key is None:
        return {"key": key_id.hex(), "member": None, "purpose": None}
    return {
        "key": key_id.hex(),
        "member": machine.state.accounts[key.account].name,
        "purpose": _PURPOSES[key.purpose],
    }


_PURPOSES = {rows.PURPOSE_MEMBER: "member", rows.PURPOSE_DEVICE: "device", rows.PURPOSE_METER: "meter"}
