"""Accusation: evidence put together from statements that contradict one another.

What is made here is not signed and has no place in time yet: `nonce` and
`valid_until_s` are 0 until a node hands it in. Every maker returns what `judge`
accepts, or None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from protocols import cbor, cose, merkle
from protocols.cose import EnvelopeError
from protocols.evidence import EvidenceKind, judge, record_fault, record_id_of
from protocols.records import Evidence, Header, RecordError, read_as
from protocols.records.statements import MAX_EVIDENCE_STATEMENT_BYTES, MAX_EVIDENCE_STATEMENTS
from protocols.roll import Roll
from protocols.trial import EvidenceError


def accuse(
    kind: EvidenceKind, accused: bytes, statements: Sequence[bytes], roll: Roll, verifier: cose.Verifier
) -> Evidence | None:
    """Evidence of these statements; None if they do not prove it, or are more than a record can carry."""
    if len(statements) > MAX_EVIDENCE_STATEMENTS or any(
        len(data) > MAX_EVIDENCE_STATEMENT_BYTES for data in statements
    ):
        return None
    evidence = Evidence(
        nonce=0, valid_until_s=0, evidence_kind=int(kind), accused=accused, statements=tuple(statements)
    )
    try:
        judge(evidence, roll, verifier)
    except EvidenceError:
        return None
    return evidence


def accuse_pair(
    kind: EvidenceKind, accused: bytes, one: bytes, two: bytes, roll: Roll, verifier: cose.Verifier
) -> Evidence | None:
    """Evidence of two statements whose order says nothing: always the same bytes."""
    return accuse(kind, accused, sorted((one, two)), roll, verifier)


def accuse_block(data: bytes, parent: bytes | None, roll: Roll, verifier: cose.Verifier) -> Evidence | None:
    """Evidence against the leader that signed a block, if anything under its signature breaks the rules.

    Args:
        data: the encoded block, which may be one that cannot be read.
        parent: header envelope of the block before it; None at height 1, or if it is not known.
    """
    try:
        parts = cbor.decode(data)
        if type(parts) is not list or len(parts) != 3 or type(parts[0]) is not bytes or type(parts[1]) is not list:
            return None
        envelope = cose.decode(parts[0])
        header = read_as(Header, envelope.payload)
    except (cbor.CborError, EnvelopeError, RecordError):
        return None
    election = parts[2] if type(parts[2]) is bytes else None
    for kind, statements in _charges(parts[0], header, parent, election, parts[1], roll.chain_id):
        evidence = accuse(kind, envelope.key_id, statements, roll, verifier)
        if evidence is not None:
            return evidence
    return None


Charge = tuple[EvidenceKind, tuple[bytes, ...]]


def _charges(
    signed: bytes, header: Header, parent: bytes | None, election: bytes | None, records: list[object], chain_id: bytes
) -> Iterator[Charge]:
    """What a leader could be charged with for a block, cheapest first."""
    before = () if parent is None or header.parent == chain_id else (parent,)
    yield EvidenceKind.FORM, (signed, *before)
    if election is not None:
        yield EvidenceKind.EXTENSION, (signed, election)
        yield EvidenceKind.EXTENSION, (signed, election, *before)
        yield EvidenceKind.FORM, (signed, election)
    bodies = [record for record in records if isinstance(record, bytes)]
    leaves = [merkle.leaf_hash(body) for body in bodies]
    if len(bodies) != len(records) or header.tx_count != len(bodies) or header.tx_root != merkle.root(leaves):
        return  # the leader did not sign for these
    seen: dict[bytes, int] = {}
    for place, body in enumerate(bodies):
        if record_fault(body) is not None:
            yield EvidenceKind.FORM, (signed, _proof(place, bodies, leaves))
            continue
        record_id = record_id_of(body, chain_id)
        if record_id in seen:
            yield EvidenceKind.FORM, (signed, _proof(seen[record_id], bodies, leaves), _proof(place, bodies, leaves))
        seen[record_id] = place


def _proof(place: int, bodies: list[bytes], leaves: list[bytes]) -> bytes:
    return cbor.encode([place, bodies[place], list(merkle.path(leaves, place))])
