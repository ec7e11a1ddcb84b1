"""Joining: what a newcomer and the door of a microgrid say to one another before it is a member.

    newcomer -> door  Knock       the invitation with its secret, who wants in, the proof of its key
    door -> newcomer  Foundation  the genesis, and where members' nodes are found
    door -> newcomer  Admitted    the proof that the Join record is final

At any point the door may say `Refused` instead, and then the stream ends. The link that
the newcomer was given names the door's peer id, so the connection is the right one before
the secret is sent; the genesis must hash to the chain id of the link, so that a door can
let nobody into another microgrid than that. No I/O, no clock and no chance here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import IntEnum
from typing import Annotated

from protocols import receipt as receipts
from protocols.cose import SIGNATURE_BYTES, Verifier
from protocols.receipt import MAX_RECEIPT_BYTES, ReceiptError
from protocols.records import Genesis, Join, MemberEntry, RecordError, genesis_faults, join_request_bytes, read_as
from protocols.records.genesis import MAX_GENESIS_BYTES
from protocols.records.schema import (
    Bytes,
    Field,
    Int,
    ListOf,
    Nested,
    Record,
    Text,
    Uint,
    from_payload,
    register,
    to_payload,
)
from protocols.records.statements import INVITATION_BYTES

# 256 bits: nobody guesses it, so it needs neither stretching nor a limit of attempts.
SECRET_BYTES = 32
# A multiaddress with an IPv6 address and a peer id has some 110 characters.
MAX_ADDRESS_BYTES = 256
# One way in is enough; a few more survive a neighbour who is away.
MAX_PEERS = 16
# Sixteen meters with names of 48 bytes, keys and all.
MAX_KNOCK_BYTES = 8 * 1024
# The longest answer is a genesis of the largest size with its peers.
MAX_ANSWER_BYTES = max(MAX_GENESIS_BYTES, MAX_RECEIPT_BYTES) + MAX_PEERS * MAX_ADDRESS_BYTES + 1024


class JoiningError(ValueError):
    """What the other side said does not hold."""


class Reason(IntEnum):
    """Why a newcomer is not let in. The numbers are part of the format; none is reused."""

    UNKNOWN_INVITATION = 1
    EXPIRED = 2
    USED = 3
    WRONG_ROLE = 4
    BAD_PROOF = 5
    LEDGER = 6
    NOT_OPEN = 7
    NOT_FINAL_YET = 8


SENTENCES: Mapping[Reason, str] = {
    Reason.UNKNOWN_INVITATION: "there is no such invitation; check that the link is complete",
    Reason.EXPIRED: "the invitation has expired; ask the administrator for a new one",
    Reason.USED: "the invitation was used by somebody else; ask the administrator for a new one",
    Reason.WRONG_ROLE: "the invitation is for another role",
    Reason.BAD_PROOF: "the proof of the keys does not hold",
    Reason.LEDGER: "the ledger does not take the newcomer in",
    Reason.NOT_OPEN: "this node lets nobody in now; its owner is no administrator",
    Reason.NOT_FINAL_YET: "the community's nodes have not agreed yet; try again with the same link",
}


@register(70)
class Knock(Record, frozen=True, kw_only=True):
    """Somebody with an invitation wants in."""

    invitation: Annotated[bytes, Field(1, Bytes(INVITATION_BYTES), "id of the invitation")]
    secret: Annotated[bytes, Field(2, Bytes(SECRET_BYTES), "what only its holder knows")]
    member: Annotated[MemberEntry, Field(3, Nested(MemberEntry), "who, with which keys and meters")]
    proof: Annotated[bytes, Field(4, Bytes(SIGNATURE_BYTES), "the member key over `join_request_bytes`")]


@register(71)
class Foundation(Record, frozen=True, kw_only=True):
    """What the microgrid stands on, and where its members' nodes are found."""

    genesis: Annotated[bytes, Field(1, Bytes(1, MAX_GENESIS_BYTES), "its canonical bytes")]
    peers: Annotated[
        tuple[str, ...], Field(2, ListOf(Text(MAX_ADDRESS_BYTES, 1), MAX_PEERS), "multiaddresses, each with a peer id")
    ] = ()


@register(72)
class Admitted(Record, frozen=True, kw_only=True):
    """The newcomer is a member."""

    receipt: Annotated[bytes, Field(1, Bytes(1, MAX_RECEIPT_BYTES), "of the Join record")]


@register(73)
class Refused(Record, frozen=True, kw_only=True):
    """The newcomer is not let in."""

    reason: Annotated[int, Field(1, Int(1, 255), "a `Reason`")]
    verdict: Annotated[int, Field(2, Uint(255), "the ledger's, if the reason is LEDGER")] = 0


ANSWERS: Mapping[int, type[Record]] = {message.KIND: message for message in (Foundation, Admitted, Refused)}


def knock_bytes(knock: Knock) -> bytes:
    """A knock as it is sent.

    Raises:
        RecordError: a name, role or meter that no ledger would take, or more than a knock may hold.
    """
    payload = to_payload(knock)
    if len(payload) > MAX_KNOCK_BYTES:
        raise RecordError(f"knock of {len(payload)} bytes, the limit is {MAX_KNOCK_BYTES}; bring fewer meters")
    return payload


def read_knock(payload: bytes) -> Knock:
    """A knock. Raises RecordError for anything else."""
    return read_as(Knock, payload)


def read_answer(payload: bytes) -> Foundation | Admitted | Refused:
    """What the door said. Raises RecordError for anything else."""
    answer = from_payload(payload, ANSWERS)
    assert isinstance(answer, Foundation | Admitted | Refused)
    return answer


def secret_hash(secret: bytes) -> bytes:
    """What is kept of a secret; whoever reads it can let nobody in."""
    return hashlib.sha256(b"meshnode invitation\x00" + secret).digest()


def check_proof(knock: Knock, chain_id: bytes, device_key: bytes, verifier: Verifier) -> bool:
    """Whether the newcomer has the keys that it names.

    Args:
        device_key: of the peer at the other end of the connection.
    """
    request = join_request_bytes(chain_id, knock.invitation, knock.member)
    return knock.member.device_key == device_key and verifier(knock.member.member_key, request, knock.proof)


def check_foundation(foundation: Foundation, chain_id: bytes) -> Genesis:
    """The genesis, once it is certain that it is that of the link.

    Raises:
        JoiningError: another genesis, or one that founds nothing.
    """
    found = hashlib.sha256(foundation.genesis).digest()
    if found != chain_id:
        raise JoiningError(
            f"genesis: its hash is {found.hex()}, the link is for {chain_id.hex()}; this is another microgrid"
        )
    try:
        genesis = read_as(Genesis, foundation.genesis)
        faults = genesis_faults(genesis)
    except RecordError as error:
        raise JoiningError(f"genesis: {error}") from error
    if faults:
        raise JoiningError(faults[0])
    return genesis


def check_admission(
    admitted: Admitted, invitation: bytes, member: MemberEntry, genesis: Genesis, verifier: Verifier
) -> int:
    """The height of the block that holds the newcomer's Join record.

    Raises:
        JoiningError: the receipt does not hold, or is for something else.
    """
    try:
        verdict = receipts.check(receipts.decode(admitted.receipt), genesis, verifier)
    except ReceiptError as error:
        raise JoiningError(f"receipt of the admission: {error}") from error
    record = verdict.record
    if not isinstance(record, Join) or record.member != member or record.invitation != invitation:
        raise JoiningError("receipt of the admission: it is for another record than this newcomer's Join")
    return verdict.height
