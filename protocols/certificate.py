"""Certificate: who may vote, how many of them agree, and how their signatures are checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

import msgspec

from protocols import cbor, cose
from protocols.cose import Envelope, key_id_of
from protocols.records import (
    PHASE_COMMIT,
    QUORUM_BYZANTINE,
    QUORUM_MAJORITY,
    Ack,
    Certificate,
    Election,
    Genesis,
    Vote,
    to_payload,
)


class QuorumConfig(msgspec.Struct, frozen=True, cache_hash=True):
    """The whole quorum configuration of a height.

    Attributes:
        mode: 0 majority, 1 byzantine.
        voters: (device key, epoch), ascending by key.
        outgoing: the leaving half of a joint configuration, else empty.
    """

    mode: int
    voters: tuple[tuple[bytes, int], ...]
    outgoing: tuple[tuple[bytes, int], ...] = ()

    @staticmethod
    def of_genesis(genesis: Genesis) -> QuorumConfig:
        """The configuration that a microgrid is founded with."""
        return QuorumConfig(
            genesis.quorum_mode,
            tuple(sorted((entry.device_key, entry.epoch) for entry in genesis.validators)),
        )

    def config_hash(self) -> bytes:
        """What headers, acks and certificates name: SHA-256 of the CBOR of all of it."""
        return _config_hash(self)

    def has(self, device_key: bytes) -> bool:
        """Whether this device votes."""
        return any(key == device_key for key, _ in (*self.voters, *self.outgoing))

    def key_of(self, key_id: bytes) -> bytes | None:
        """The device key of a voter, by its key id."""
        for key, _ in (*self.voters, *self.outgoing):
            if key_id_of(key) == key_id:
                return key
        return None

    def is_quorum(self, key_ids: Iterable[bytes]) -> bool:
        """Whether these voters are enough, in each half of a joint configuration."""
        found = frozenset(key_ids)
        # A configuration without voters has no quorum, an empty `outgoing` asks for none.
        halves = (self.voters, self.outgoing) if self.outgoing else (self.voters,)
        return all(
            len(found & {key_id_of(key) for key, _ in half}) >= quorum_size(len(half), self.mode) for half in halves
        )


# A microgrid has a handful of configurations, and after years of changes some hundreds; each is hashed once, not with
# every parcel. One takes a few hundred bytes.
@lru_cache(maxsize=1024)
def _config_hash(config: QuorumConfig) -> bytes:
    return hashlib.sha256(cbor.encode([config.mode, config.voters, config.outgoing])).digest()


def quorum_size(voters: int, mode: int) -> int:
    """How many of `voters` make a quorum.

    Majority: more than half. Byzantine: ceil((n + f + 1) / 2) with f = (n - 1) // 3,
    so that any two quorums share an honest node.

    Raises:
        ValueError: an unknown mode.
    """
    if mode == QUORUM_MAJORITY:
        return voters // 2 + 1
    if mode == QUORUM_BYZANTINE:
        tolerated = (voters - 1) // 3
        return (voters + tolerated + 2) // 2
    raise ValueError(f"quorum mode {mode} is unknown")


class Head(Protocol):
    """Height, term and hash of a block: what an election certificate is held against."""

    @property
    def height(self) -> int:
        """Height of the block; 0 for the genesis."""
        ...

    @property
    def term(self) -> int:
        """Term of the leader that made it; 0 for the genesis."""
        ...

    @property
    def block_hash(self) -> bytes:
        """Record id of its header; of the genesis, the chain id."""
        ...


def check_certificate(
    certificate: Certificate, block_term: int, quorum: QuorumConfig, chain_id: bytes, verifier: cose.Verifier
) -> str | None:
    """Why a certificate does not prove its block final; None if it does. Arguments as for `check_acks`."""
    if certificate.phase != PHASE_COMMIT:
        return (
            f"certificate of height {certificate.height}: acks of phase {certificate.phase}; "
            f"only phase {PHASE_COMMIT} (commit) makes a block final"
        )
    return check_acks(certificate, block_term, quorum, chain_id, verifier)


def check_acks(
    certificate: Certificate, block_term: int, quorum: QuorumConfig, chain_id: bytes, verifier: cose.Verifier
) -> str | None:
    """Why a certificate of either phase does not hold; None if it does.

    All its signatures are checked, not only enough of them: a certificate with one
    bad signature was made by someone who does not check.

    Args:
        certificate: its `height` and `block` say what it certifies; that this is the
            block in question is for the caller to compare.
        block_term: the term in the header of the certified block. Acks of a later
            term do not certify an older block by themselves (Raft, section 5.4.2):
            it becomes final as an ancestor.
    """
    place = f"certificate of height {certificate.height}"
    if certificate.ack_term != block_term:
        return f"{place}: acks of term {certificate.ack_term} for a block of term {block_term}"
    if certificate.validators != quorum.config_hash():
        return f"{place}: names another set of validators"
    key_ids = [key_id for key_id, _ in certificate.signatures]
    if key_ids != sorted(set(key_ids)):
        return f"{place}: signatures are not in ascending order of key ids"
    payload = to_payload(certificate.ack())
    for key_id, signature in certificate.signatures:
        key = quorum.key_of(key_id)
        if key is None:
            return f"{place}: {key_id.hex()} is not a validator of this height"
        if not Envelope(key_id, payload, signature).verify(Ack.KIND, chain_id, key, verifier):
            return f"{place}: the signature of {key_id.hex()} does not hold"
    if not quorum.is_quorum(key_ids):
        return f"{place}: {len(key_ids)} signatures are not a quorum of {len(quorum.voters)}"
    return None


def check_election(
    election: Election,
    leader: bytes,
    term: int,
    parent: Head,
    quorum: QuorumConfig,
    chain_id: bytes,
    verifier: cose.Verifier,
) -> str | None:
    """Why an election certificate does not make `leader` the leader of `term`; None if it does.

    The term's first block must extend the very tip that the votes name. In majority mode no
    voter may have had a newer tip than the candidate; in byzantine mode none a higher lock
    than the one that the certificate carries (`protocols.locks`), which only whoever has the chain
    before the tip can find there: `check_lock_before`.
    """
    place = f"election certificate of term {election.term}"
    if election.term != term or election.candidate != leader:
        return f"{place}: elects {election.candidate.hex()}, the header is by {leader.hex()} in term {term}"
    tip = election.candidate_tip
    if (tip.term, tip.height, tip.block) != (parent.term, parent.height, parent.block_hash):
        return f"{place}: names the tip {tip.height} of term {tip.term}, the block extends {parent.height}"
    key_ids = [row[0] for row in election.votes]
    if key_ids != sorted(set(key_ids)):
        return f"{place}: votes are not in ascending order of key ids"
    for row in election.votes:
        key = quorum.key_of(row[0])
        if key is None:
            return f"{place}: {row[0].hex()} is not a validator of this height"
        if quorum.mode == QUORUM_MAJORITY and row[1][:2] > (tip.term, tip.height):
            return f"{place}: the voter {row[0].hex()} had a newer tip than the candidate"
        payload = to_payload(election.vote_of(row))
        if not Envelope(row[0], payload, row[3]).verify(Vote.KIND, chain_id, key, verifier):
            return f"{place}: the vote of {row[0].hex()} does not hold"
    if not quorum.is_quorum(key_ids):
        return f"{place}: {len(key_ids)} votes are not a quorum of {len(quorum.voters)}"
    if quorum.mode == QUORUM_BYZANTINE:
        return _check_locks(election, quorum, chain_id, verifier)
    return None


def check_lock_before(election: Election, block_hash_at: Callable[[int], bytes | None]) -> str | None:
    """Why the block that an election names as its tip does not have the election's lock before it; None if it does.

    Args:
        block_hash_at: (height) -> hash of the block there, on the branch that ends in the tip.
    """
    lock = election.lock
    if lock is None or block_hash_at(lock.height) == lock.block:
        return None
    return f"election certificate of term {election.term}: its lock, block {lock.height}, is not on its branch"


def _check_locks(election: Election, quorum: QuorumConfig, chain_id: bytes, verifier: cose.Verifier) -> str | None:
    place, lock, tip = f"election certificate of term {election.term}", election.lock, election.candidate_tip
    highest = (0, 0)
    if lock is not None:
        fault = check_acks(lock, lock.ack_term, quorum, chain_id, verifier)
        if fault is not None:
            return f"{place}: its lock: {fault}"
        if lock.ack_term >= election.term or lock.height > tip.height:
            return f"{place}: its lock, block {lock.height} of term {lock.ack_term}, cannot be before its tip"
        highest = (lock.ack_term, lock.height)
    for key_id, _, named, _ in election.votes:
        if named is None:
            continue
        if named[:2] > highest:
            return f"{place}: the voter {key_id.hex()} had a higher lock, block {named[1]} of term {named[0]}"
        if lock is not None and named[:2] == highest and named[2] != lock.block:
            return f"{place}: the voter {key_id.hex()} was locked on another block at the same place"
    return None
