"""Leadership: how a leader proves that it was elected, and that it chose its successor.

A heartbeat is only a claim. The header of a term's first block, signed by who leads the
term, and the election certificate that it names are the proof; whoever holds that block
needs no other. Pure: bytes and keys in, a reason or None out.
"""

from __future__ import annotations

import msgspec

from protocols import cose
from protocols.block import election_hash
from protocols.certificate import QuorumConfig, check_election
from protocols.cose import Envelope, EnvelopeError, key_id_of
from protocols.records import Election, Handover, Header, RecordError, read_as, to_payload


class Claim(msgspec.Struct, frozen=True):
    """The header of a term's first block with the votes for its leader, read but not checked."""

    header: Header
    envelope: Envelope
    election: Election


def read_claim(first: bytes, election: Election) -> Claim:
    """Read a header envelope beside its election certificate.

    Raises:
        RecordError: not the envelope of a header.
    """
    try:
        envelope = cose.decode(first)
    except EnvelopeError as error:
        raise RecordError(f"header of a term's first block: {error}") from error
    return Claim(read_as(Header, envelope.payload), envelope, election)


class _Tip(msgspec.Struct, frozen=True):
    """A tip as `check_election` compares it."""

    height: int
    term: int
    block_hash: bytes


def check_claim(
    claim: Claim, leader_key: bytes, term: int, quorum: QuorumConfig, chain_id: bytes, verifier: cose.Verifier
) -> str | None:
    """Why a claim does not make the owner of `leader_key` the leader of `term`; None if it does.

    Args:
        quorum: the configuration of the header's height.
    """
    header, tip = claim.header, claim.election.candidate_tip
    place = f"claim to lead term {term}"
    if header.term != term:
        return f"{place}: the header is of term {header.term}"
    if header.validators != quorum.config_hash() or quorum.key_of(key_id_of(leader_key)) is None:
        return f"{place}: by one who is no validator of height {header.height}"
    if not claim.envelope.verify(Header.KIND, chain_id, leader_key, verifier):
        return f"{place}: the header is not signed by who claims it"
    if header.election != election_hash(claim.election):
        return f"{place}: the header names another election certificate"
    if (header.parent, header.height) != (tip.block, tip.height + 1) or tip.term >= term:
        return f"{place}: height {header.height} does not follow the tip that was elected"
    head = _Tip(tip.height, tip.term, tip.block)
    return check_election(claim.election, key_id_of(leader_key), term, head, quorum, chain_id, verifier)


def sign_handover(term: int, successor: bytes, chain_id: bytes, leader_key: bytes, signer: cose.Signer) -> bytes:
    """The signature with which the leader of `term` lets `successor` (a key id) be elected before it falls silent."""
    statement = Handover(term=term, successor=successor)
    return cose.sign(Handover.KIND, chain_id, to_payload(statement), leader_key, signer).signature


def check_handover(
    signature: bytes, term: int, successor: bytes, chain_id: bytes, leader_key: bytes, verifier: cose.Verifier
) -> bool:
    """Whether the leader of `term` chose this successor. That it has not changed its mind since cannot be seen."""
    payload = to_payload(Handover(term=term, successor=successor))
    envelope = Envelope(key_id_of(leader_key), payload, signature)
    return envelope.verify(Handover.KIND, chain_id, leader_key, verifier)
