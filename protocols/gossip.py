"""Gossip: records in batches, and how two nodes find out which records the other lacks.

A batch is a list of record envelopes in deterministic CBOR; its id is the SHA-256 of
its bytes. What is lost on the way comes back by anti-entropy, one round on a stream:

    A -> B  Digest    for each first byte of a record id, a sum over A's waiting records
    B -> A  Offer     the places whose sums differ, and ids that B has there
    A -> B  Reply     which of them A wants, and ids that A has there and B did not name
    B -> A  Delivery  batches with what A wants, as many as it takes
    B -> A  Want      which of A's ids B wants
    A -> B  Delivery  batches with what B wants; then A closes the stream

Every message is bounded, so one round may not be enough; the next begins elsewhere
(`Digest.pivot`). No state is kept between messages: whatever is lost, repeated or
overtaken, no node ends with less than it had. No I/O, no clock and no chance here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated

from protocols import cbor
from protocols.cose import MAX_ENVELOPE_BYTES
from protocols.records.schema import Bytes, Field, ListOf, Record, from_payload, register
from protocols.records.statements import RecordId

# A few dozen records: large enough that signatures and headers of the transport weigh
# little, small enough to cross a slow link in a few milliseconds.
MAX_BATCH_BYTES = 16 * 1024
# An envelope has at least a hundred bytes; more of them do not fit anyway.
MAX_BATCH_RECORDS = 256
# List and byte string heads around a record that is too large to share a batch.
_HEADS_BYTES = 16
# The head of a byte string whose length takes four bytes.
_HEAD_BYTES = 5
MAX_SINGLE_BYTES = MAX_ENVELOPE_BYTES + _HEADS_BYTES

# Ids in one message: 16 KiB, as a batch. A full mempool differs in more; the next round goes on.
MAX_IDS = 512
# What one side delivers in a round: the readings of a village for an hour. More comes in the next.
MAX_DELIVERY_BYTES = 256 * 1024

# One place for each first byte of an id.
PLACES = 256
# Sums of 64 bits hardly ever agree by chance, and the next record in their place parts them.
SUM_BYTES = 8

Ids = ListOf(RecordId, MAX_IDS, ascending=True)


class BatchError(ValueError):
    """Bytes that are not a batch; whoever wrote them is at fault."""


@register(50)
class Digest(Record, frozen=True, kw_only=True):
    """What a node has, in two kilobytes: per place the exclusive or of its record ids' bytes 8 to 15."""

    sums: Annotated[bytes, Field(1, Bytes(PLACES * SUM_BYTES), "one after the other, by first byte of the ids")]
    pivot: Annotated[bytes, Field(2, RecordId, "offers begin with the first id from here on")]


@register(51)
class Offer(Record, frozen=True, kw_only=True):
    """Where the answering node differs, and what it has there."""

    places: Annotated[bytes, Field(1, Bytes(PLACES // 8), "one bit per place, the highest bit first")]
    ids: Annotated[tuple[bytes, ...], Field(2, Ids, "record ids")] = ()


@register(52)
class Reply(Record, frozen=True, kw_only=True):
    """What the asking node wants of the offer, and what it has in the same places."""

    want: Annotated[tuple[bytes, ...], Field(1, Ids, "record ids")] = ()
    offer: Annotated[tuple[bytes, ...], Field(2, Ids, "record ids")] = ()


@register(53)
class Want(Record, frozen=True, kw_only=True):
    """What the answering node wants of the reply's offer; ends its deliveries."""

    ids: Annotated[tuple[bytes, ...], Field(1, Ids, "record ids")] = ()


@register(54)
class Delivery(Record, frozen=True, kw_only=True):
    """A batch that was wanted."""

    batch: Annotated[bytes, Field(1, Bytes(1, MAX_SINGLE_BYTES), "records")]


MESSAGES: Mapping[int, type[Record]] = {message.KIND: message for message in (Digest, Offer, Reply, Want, Delivery)}
"""The messages of a round by their kind. They are not signed: the connection is authenticated."""


def read_message(payload: bytes) -> Record:
    """A message of a round.

    Raises:
        RecordError: not one of `MESSAGES`.
    """
    return from_payload(payload, MESSAGES)


def batch_id(batch: bytes) -> bytes:
    """What a batch is known by: the SHA-256 of its bytes."""
    return hashlib.sha256(batch).digest()


def batches(envelopes: Iterable[bytes]) -> list[bytes]:
    """Cut envelopes into batches, in their order; one larger than `MAX_BATCH_BYTES` travels alone.

    Raises:
        BatchError: an envelope is larger than any may be.
    """
    result: list[bytes] = []
    waiting: list[bytes] = []
    size = _HEADS_BYTES
    for envelope in envelopes:
        if len(envelope) > MAX_ENVELOPE_BYTES:
            raise BatchError(f"envelope of {len(envelope)} bytes, the limit is {MAX_ENVELOPE_BYTES}")
        cost = len(envelope) + _HEAD_BYTES
        if waiting and (size + cost > MAX_BATCH_BYTES or len(waiting) == MAX_BATCH_RECORDS):
            result.append(cbor.encode(waiting))
            waiting, size = [], _HEADS_BYTES
        waiting.append(envelope)
        size += cost
    if waiting:
        result.append(cbor.encode(waiting))
    return result


def read_batch(batch: bytes) -> tuple[bytes, ...]:
    """The envelopes of a batch, unread.

    Raises:
        BatchError: not deterministic CBOR, not a list of byte strings, empty, an envelope
            in it twice, or over one of the limits.
    """
    if len(batch) > MAX_SINGLE_BYTES:
        raise BatchError(f"batch of {len(batch)} bytes, the limit is {MAX_SINGLE_BYTES}")
    try:
        value = cbor.decode(batch)
    except cbor.CborError as error:
        raise BatchError(f"batch: {error}") from error
    if type(value) is not list or not all(type(item) is bytes for item in value):
        raise BatchError("batch is not a list of byte strings")
    if not 1 <= len(value) <= MAX_BATCH_RECORDS:
        raise BatchError(f"batch of {len(value)} records, expected 1 to {MAX_BATCH_RECORDS}")
    if len(value) > 1 and len(batch) > MAX_BATCH_BYTES:
        raise BatchError(f"batch of {len(value)} records and {len(batch)} bytes, the limit is {MAX_BATCH_BYTES}")
    if len(set(value)) != len(value):
        raise BatchError("a record stands in the batch twice")
    return tuple(value)


def digest(ids: Iterable[bytes], pivot: bytes) -> Digest:
    """The digest of the records that wait here.

    Args:
        pivot: any 32 bytes, others each time, so that in the end every id is offered.
    """
    return Digest(sums=_sums(ids), pivot=pivot)


def offer(theirs: Digest, ids: Collection[bytes]) -> Offer:
    """The answer to a digest."""
    places = _differing(theirs.sums, _sums(ids))
    return Offer(places=places, ids=_in_places(places, ids, theirs.pivot))


def reply(asked: Digest, theirs: Offer, ids: Collection[bytes], wanted: Iterable[bytes]) -> Reply:
    """The answer to an offer.

    Args:
        asked: the digest that it answers.
        wanted: those of the offer's ids that this node lacks.
    """
    named = frozenset(theirs.ids)
    own = _in_places(theirs.places, [one for one in ids if one not in named], asked.pivot)
    return Reply(want=want(wanted).ids, offer=own)


def want(ids: Iterable[bytes]) -> Want:
    """Ask for these records, the first `MAX_IDS` of them."""
    return Want(ids=tuple(sorted(set(ids))[:MAX_IDS]))


def deliveries(envelopes: Iterable[bytes]) -> list[Delivery]:
    """The records that were wanted, up to `MAX_DELIVERY_BYTES` (but at least one); the rest in another round.

    Raises:
        BatchError: an envelope is larger than any may be.
    """
    chosen: list[bytes] = []
    size = 0
    for envelope in envelopes:
        size += len(envelope)
        if chosen and size > MAX_DELIVERY_BYTES:
            break
        chosen.append(envelope)
    return [Delivery(batch=batch) for batch in batches(chosen)]


def _sums(ids: Iterable[bytes]) -> bytes:
    sums = [0] * PLACES
    for one in ids:
        sums[one[0]] ^= int.from_bytes(one[8 : 8 + SUM_BYTES], "big")
    return b"".join(value.to_bytes(SUM_BYTES, "big") for value in sums)


def _differing(one: bytes, other: bytes) -> bytes:
    bits = 0
    for place in range(0, PLACES * SUM_BYTES, SUM_BYTES):
        bits = bits << 1 | (one[place : place + SUM_BYTES] != other[place : place + SUM_BYTES])
    return bits.to_bytes(PLACES // 8, "big")


def _in_places(places: bytes, ids: Iterable[bytes], pivot: bytes) -> tuple[bytes, ...]:
    """Up to `MAX_IDS` of `ids` that lie in the places, from the pivot on and around; ascending."""
    bits = int.from_bytes(places, "big")
    there = sorted(one for one in ids if bits >> (PLACES - 1 - one[0]) & 1)
    if len(there) <= MAX_IDS:
        return tuple(there)
    first = next((number for number, one in enumerate(there) if one >= pivot), 0)
    return tuple(sorted((there + there)[first : first + MAX_IDS]))
