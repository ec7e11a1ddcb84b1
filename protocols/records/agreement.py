"""Agreement: what nodes sign to agree on blocks - headers, acks and votes."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from protocols.cose import HASH_BYTES, KEY_ID_BYTES, MAX_ENVELOPE_BYTES, SIGNATURE_BYTES
from protocols.records.genesis import MAX_BLOCK_RECORDS, MAX_VALIDATORS
from protocols.records.schema import (
    Bytes,
    Field,
    Int,
    ListOf,
    Maybe,
    Nested,
    Record,
    Row,
    Second,
    Table,
    Uint,
    register,
)

# A path in a tree of MAX_BLOCK_RECORDS leaves.
MAX_RECORD_PATH = (MAX_BLOCK_RECORDS - 1).bit_length()
# As many uncertified blocks as finality looks ahead: more never stand between a
# block and the one that certifies it.
MAX_RECEIPT_HEADERS = 1024
# Header envelopes have some 400 bytes, a certificate of twenty validators 1700.
MAX_HEADER_BYTES = 512
MAX_CERTIFICATE_BYTES = 2048
# A change of the validators has two or three kilobytes with its proof; after many elections
# without a certificate there may be some dozens of headers more.
MAX_CHANGE_BYTES = 32 * 1024
# One every month for five years. What is decided later is still proved by any node, not by a file.
MAX_RECEIPT_CHANGES = 64

PHASE_PREPARE = 1
PHASE_COMMIT = 2

Hash = Bytes(HASH_BYTES)
KeyId = Bytes(KEY_ID_BYTES)

TipRow: TypeAlias = tuple[int, int, bytes]
"""(term, height, block): a `Tip` in a row."""
VoteRow: TypeAlias = tuple[bytes, TipRow, TipRow | None, bytes]
"""(key id, the voter's tip, its lock, signature): what a `Vote` adds to its election."""
_TIP_ROW = Row(term=Uint(), height=Uint(), block=Hash)
VOTE_ROW = Row(
    key_id=KeyId,
    voter_tip=_TIP_ROW,
    lock=Maybe(_TIP_ROW),
    signature=Bytes(SIGNATURE_BYTES),
)


class Tip(Table, frozen=True, kw_only=True):
    """The last block of a log: what a vote compares."""

    term: Annotated[int, Field(1, Uint(), "term of the block")]
    height: Annotated[int, Field(2, Uint(), "height of the block")]
    block: Annotated[bytes, Field(3, Hash, "its hash")]

    @staticmethod
    def of_row(row: TipRow) -> Tip:
        """The same from a row."""
        return Tip(term=row[0], height=row[1], block=row[2])

    def row(self) -> TipRow:
        """The same as a row."""
        return self.term, self.height, self.block


@register(32)
class Header(Record, frozen=True, kw_only=True):
    """The head of a block, signed by the leader that made it.

    `block_hash` is the record id of this statement: the hash of what was signed.
    """

    height: Annotated[int, Field(1, Int(1), "one more than the parent's")]
    term: Annotated[int, Field(2, Int(1), "of the leader that made it")]
    parent: Annotated[bytes, Field(3, Hash, "hash of the parent block; the chain id at height 1")]
    tx_root: Annotated[bytes, Field(4, Hash, "Merkle root over the records' envelopes")]
    state_height: Annotated[int, Field(5, Uint(), "height that was final at the leader")]
    state_hash: Annotated[bytes, Field(6, Hash, "hash of the state after that height")]
    validators: Annotated[bytes, Field(7, Hash, "hash of the quorum configuration of this height")]
    next_validators: Annotated[bytes, Field(8, Hash, "the same for the next height")]
    time_s: Annotated[int, Field(9, Second(), "UTC second, never below the parent's")]
    election: Annotated[bytes, Field(10, Hash, "hash of the election certificate; first block of a term only")] = b""
    # A Merkle root does not tell how many leaves it has; without the count a proof
    # of inclusion could name a false place.
    tx_count: Annotated[int, Field(11, Uint(MAX_BLOCK_RECORDS), "number of records under the Merkle root")]


@register(33)
class Ack(Record, frozen=True, kw_only=True):
    """A validator has checked this block and has it on disk."""

    validators: Annotated[bytes, Field(1, Hash, "quorum configuration of the height")]
    ack_term: Annotated[int, Field(2, Int(1), "the validator's term when it acknowledged")]
    height: Annotated[int, Field(3, Int(1), "of the block")]
    block: Annotated[bytes, Field(4, Hash, "hash of the block")]
    phase: Annotated[int, Field(5, Int(1, 2), "1 prepare, 2 commit (the only one in majority mode)")] = PHASE_COMMIT


@register(34)
class Vote(Record, frozen=True, kw_only=True):
    """A validator votes for a candidate in a term."""

    term: Annotated[int, Field(1, Int(1), "of the election")]
    candidate: Annotated[bytes, Field(2, KeyId, "device key id")]
    candidate_tip: Annotated[Tip, Field(3, Nested(Tip), "what the candidate said it has")]
    voter_tip: Annotated[Tip, Field(4, Nested(Tip), "what the voter has")]
    lock: Annotated[
        Tip | None, Field(5, Nested(Tip), "block that the voter is locked on; in byzantine mode, once it has one")
    ] = None


@register(35)
class PreVote(Record, frozen=True, kw_only=True):
    """A validator would vote for a candidate; binds nobody, and is a kind of its own for that reason."""

    term: Annotated[int, Field(1, Int(1), "of the election that may follow")]
    candidate: Annotated[bytes, Field(2, KeyId, "device key id")]


@register(36)
class Certificate(Record, frozen=True, kw_only=True):
    """Acks of a quorum for one block. Not signed itself: it carries the signatures.

    Every signature is over the `Ack` that the other fields spell out.
    """

    validators: Annotated[bytes, Field(1, Hash, "as in the acks")]
    ack_term: Annotated[int, Field(2, Int(1), "as in the acks; equals the block's term")]
    height: Annotated[int, Field(3, Int(1), "as in the acks")]
    block: Annotated[bytes, Field(4, Hash, "as in the acks")]
    signatures: Annotated[
        tuple[tuple[bytes, bytes], ...],
        Field(
            5,
            ListOf(Row(key_id=KeyId, signature=Bytes(SIGNATURE_BYTES)), MAX_VALIDATORS * 2, 1, ascending=True),
            "ascending by key id",
        ),
    ]
    phase: Annotated[int, Field(6, Int(1, 2), "as in the acks")] = PHASE_COMMIT

    def ack(self) -> Ack:
        """The statement that every signature in this certificate covers."""
        return Ack(
            validators=self.validators,
            ack_term=self.ack_term,
            height=self.height,
            block=self.block,
            phase=self.phase,
        )


@register(37)
class Election(Record, frozen=True, kw_only=True):
    """Votes of a quorum for one leader in one term; travels in the term's first block."""

    term: Annotated[int, Field(1, Int(1), "of the election")]
    candidate: Annotated[bytes, Field(2, KeyId, "who was elected")]
    candidate_tip: Annotated[Tip, Field(3, Nested(Tip), "the block that the term's first block extends")]
    votes: Annotated[
        tuple[VoteRow, ...],
        Field(
            4,
            ListOf(
                VOTE_ROW,
                MAX_VALIDATORS * 2,
                1,
                ascending=True,
            ),
            "ascending by key id",
        ),
    ]

    lock: Annotated[
        Certificate | None,
        Field(5, Nested(Certificate), "of the highest lock among the voters, or a higher one (byzantine mode)"),
    ] = None

    def vote_of(self, row: VoteRow) -> Vote:
        """The statement that the signature in `row` covers."""
        return Vote(
            term=self.term,
            candidate=self.candidate,
            candidate_tip=self.candidate_tip,
            voter_tip=Tip.of_row(row[1]),
            lock=None if row[2] is None else Tip.of_row(row[2]),
        )


@register(38)
class Handover(Record, frozen=True, kw_only=True):
    """A leader lets one validator be elected while it still leads itself."""

    term: Annotated[int, Field(1, Int(1), "of the leader that signs")]
    successor: Annotated[bytes, Field(2, KeyId, "device key id")]


@register(48)
class Receipt(Record, frozen=True, kw_only=True):
    """Proof that a record stands in a final block. Not signed itself: it carries the signatures."""

    record: Annotated[bytes, Field(1, Bytes(1, MAX_ENVELOPE_BYTES), "envelope of the record")]
    index: Annotated[int, Field(2, Uint(MAX_BLOCK_RECORDS - 1), "its place in the block, from 0")]
    count: Annotated[int, Field(3, Int(1, MAX_BLOCK_RECORDS), "records in the block")]
    path: Annotated[tuple[bytes, ...], Field(4, ListOf(Hash, MAX_RECORD_PATH), "Merkle path, from the leaf up")]
    headers: Annotated[
        tuple[bytes, ...],
        Field(
            5,
            ListOf(Bytes(1, MAX_HEADER_BYTES), MAX_RECEIPT_HEADERS, 1),
            "header envelopes, from the record's block to the certified one",
        ),
    ]
    certificate: Annotated[bytes, Field(6, Bytes(1, MAX_CERTIFICATE_BYTES), "certificate of the last header")]
    changes: Annotated[
        tuple[bytes, ...],
        Field(
            7,
            ListOf(Bytes(1, MAX_CHANGE_BYTES), MAX_RECEIPT_CHANGES),
            "the changes of the validators up to there, in order, each an encoded Receipt without `changes`",
        ),
    ] = ()
