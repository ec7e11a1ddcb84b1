"""Signatures: what a node holds of another node's signed word, asked for before that one signs again.

    client -> server   SignaturesRequest   of which device key
    server -> client   Signatures          the newest ack, vote and header by it, and where the server stands

Whoever comes back from a restart cannot tell by its own disk alone whether the disk is
of yesterday. Its neighbours can: what they answer carries the signatures themselves, so
nobody can make a node doubt its memory with mere words. No I/O and no clock.
"""

from __future__ import annotations

from typing import Annotated

from protocols import cose
from protocols.cose import KEY_ID_BYTES, SIGNATURE_BYTES, Envelope, EnvelopeError, key_id_of
from protocols.records.agreement import MAX_HEADER_BYTES, Ack, Certificate, Header, Vote
from protocols.records.schema import Bytes, Field, Nested, Record, RecordError, Uint, read_as, register, to_payload

# A header envelope, an ack and a vote with their signatures have less than a kilobyte, a lock has another one.
MAX_MESSAGE_BYTES = 4096

Signature = Bytes(SIGNATURE_BYTES)


@register(65)
class SignaturesRequest(Record, frozen=True, kw_only=True):
    """What do you hold that this device key has signed?"""

    key_id: Annotated[bytes, Field(1, Bytes(KEY_ID_BYTES), "device key id")]


@register(66)
class Signatures(Record, frozen=True, kw_only=True):
    """The newest that the server holds of each kind; none of a kind that it does not hold."""

    term: Annotated[int, Field(1, Uint(), "newest term that the server knows")]
    tip_term: Annotated[int, Field(2, Uint(), "term of the last block in the server's log")]
    tip_height: Annotated[int, Field(3, Uint(), "its height")]
    ack: Annotated[Ack | None, Field(4, Nested(Ack), "what was acknowledged")] = None
    ack_signature: Annotated[bytes | None, Field(5, Signature, "over it")] = None
    vote: Annotated[Vote | None, Field(6, Nested(Vote), "for whom was voted")] = None
    vote_signature: Annotated[bytes | None, Field(7, Signature, "over it")] = None
    header: Annotated[bytes | None, Field(8, Bytes(1, MAX_HEADER_BYTES), "envelope of a block's header")] = None
    lock: Annotated[
        Certificate | None, Field(9, Nested(Certificate), "that binds the server itself (byzantine mode)")
    ] = None
    commit: Annotated[
        Ack | None, Field(10, Nested(Ack), "newest ack of the commit phase, if that is another than `ack`")
    ] = None
    commit_signature: Annotated[bytes | None, Field(11, Signature, "over it")] = None


def read_request(payload: bytes) -> SignaturesRequest:
    """A client's question. Raises RecordError."""
    return read_as(SignaturesRequest, payload)


def read_answer(payload: bytes) -> Signatures:
    """A server's answer. Raises RecordError."""
    return read_as(Signatures, payload)


def header_of(answer: Signatures) -> Header | None:
    """The header in an answer that `fault` has nothing against."""
    return None if answer.header is None else read_as(Header, cose.decode(answer.header).payload)


def fault(answer: Signatures, device_key: bytes, chain_id: bytes, verifier: cose.Verifier) -> str | None:
    """Why an answer about `device_key` is not what an honest node gives; None if every statement in it holds."""
    key_id = key_id_of(device_key)
    for name, statement, signature in (
        ("ack", answer.ack, answer.ack_signature),
        ("vote", answer.vote, answer.vote_signature),
        ("commit", answer.commit, answer.commit_signature),
    ):
        if (statement is None) != (signature is None):
            return f"{name} without its signature, or a signature without it"
        if statement is None or signature is None:
            continue
        envelope = Envelope(key_id, to_payload(statement), signature)
        if not envelope.verify(statement.KIND, chain_id, device_key, verifier):
            return f"{name} whose signature does not hold"
    if answer.header is None:
        return None
    try:
        envelope = cose.decode(answer.header)
        read_as(Header, envelope.payload)
    except (EnvelopeError, RecordError) as error:
        return f"header: {error}"
    if envelope.key_id != key_id or not envelope.verify(Header.KIND, chain_id, device_key, verifier):
        return "header whose signature does not hold"
    return None
