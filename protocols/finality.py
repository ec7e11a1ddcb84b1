"""Finality: signed acks in, final height out.

`apply` follows this, not Raft's commit index: a block is final when a quorum's
acks of the block's own term certify it, or when it is an ancestor of such a block
(Raft's figure 8: acks of a later term never certify an older block by themselves).

Keeps the chain of blocks above the final height (hash, term and validators of
each), the acks for them, and nothing below: certificates are handed out once and
stored by the caller.
"""

from __future__ import annotations

import msgspec

from protocols import cose
from protocols.certificate import QuorumConfig, check_certificate
from protocols.cose import Envelope
from protocols.records import PHASE_COMMIT, Ack, Certificate, to_payload

# Acks for heights that we do not have yet are kept this far ahead: a follower may be
# quicker than our own disk, but not by more than the leader's window of entries.
MAX_AHEAD = 1024


class Link(msgspec.Struct, frozen=True):
    """What finality needs of a block."""

    height: int
    term: int
    block_hash: bytes
    quorum: QuorumConfig


class Finality:
    """Tracks which blocks of one chain are final.

    Invariant: `final_height` never decreases, and every height up to it is the same
    on all nodes as long as no quorum lies.
    """

    def __init__(self, chain_id: bytes, verifier: cose.Verifier, final_height: int = 0) -> None:
        self.final_height = final_height
        self._chain_id = chain_id
        self._verifier = verifier
        self._links: dict[int, Link] = {}
        self._acks: dict[int, dict[bytes, tuple[Ack, bytes]]] = {}
        self._pending: dict[int, Certificate] = {}

    def extend(self, link: Link) -> Certificate | None:
        """Our log has this block now (checked and on disk); what stood at or above it is gone.

        The same block again changes nothing: a repeated append must not cut what
        follows it.

        Returns:
            A certificate that was waiting for the block or that its acks, come before
            it, complete.
        Raises:
            ValueError: heights between our log and this block are missing; finality
                would then speak of blocks that we do not have.
        """
        if link.height <= self.final_height:
            return None
        if self._links.get(link.height) != link:
            if link.height != self.final_height + 1 and link.height - 1 not in self._links:
                raise ValueError(f"block {link.height} does not follow what finality knows of our log")
            self.truncate(link.height)
            self._links[link.height] = link
        waiting = self._pending.get(link.height)
        # One for another block keeps waiting: it may be our block that goes.
        if waiting is not None and waiting.block == link.block_hash:
            del self._pending[link.height]
            if self.add_certificate(waiting) is None:
                return waiting
        return self._try_certify(link.height)

    def truncate(self, height: int) -> None:
        """Blocks at `height` and above left our log; their acks stay, the hash tells them apart."""
        for stale in [known for known in self._links if known >= height]:
            del self._links[stale]

    def add_ack(self, key_id: bytes, ack: Ack, signature: bytes) -> Certificate | None:
        """Count an ack whose signature the caller has verified (`verify_ack`) or made.

        Acks of the prepare phase do not count: they make nothing final, and one that
        comes late must not take the place of its validator's commit.

        Returns:
            The certificate that it completes, if it does.
        """
        if ack.phase != PHASE_COMMIT or not self.final_height < ack.height <= self.final_height + MAX_AHEAD:
            return None
        votes = self._acks.setdefault(ack.height, {})
        known = votes.get(key_id)
        # A validator acks a height anew in each term; only its latest counts.
        if known is not None and known[0].ack_term > ack.ack_term:
            return None
        votes[key_id] = (ack, signature)
        return self._try_certify(ack.height)

    def add_certificate(self, certificate: Certificate) -> str | None:
        """Take a certificate from a peer.

        Returns:
            None if our block of its height is final now (or was); else why not. One
            for a block that we do not have yet waits until `extend`.
        """
        if certificate.height <= self.final_height:
            return None
        link = self._links.get(certificate.height)
        if link is None or certificate.block != link.block_hash:
            if certificate.height <= self.final_height + MAX_AHEAD:
                self._pending[certificate.height] = certificate
            if link is None:
                return f"certificate of height {certificate.height}: we do not have that block yet"
            # Ours may be a block that lost and has not been replaced yet.
            return f"certificate of height {certificate.height}: is for another block than ours"
        fault = check_certificate(certificate, link.term, link.quorum, self._chain_id, self._verifier)
        if fault is None:
            self._advance(certificate.height)
        return fault

    @property
    def certified_height(self) -> int:
        """The highest height that is certified, whether or not its block is here."""
        return max((self.final_height, *self._pending))

    def pending(self) -> list[Certificate]:
        """Certificates for blocks that are not here yet, highest first."""
        return [self._pending[height] for height in sorted(self._pending, reverse=True)]

    def has(self, height: int) -> bool:
        """Whether our log's block at this height, above the final one, is known here."""
        return height in self._links

    def link(self, height: int) -> Link | None:
        """Our log's block at this height, if it is known here and not final."""
        return self._links.get(height)

    def verify_ack(self, key_id: bytes, ack: Ack, signature: bytes, quorum: QuorumConfig) -> bool:
        """Whether a validator of `quorum` signed this ack."""
        key = quorum.key_of(key_id)
        if key is None or ack.validators != quorum.config_hash():
            return False
        return Envelope(key_id, to_payload(ack), signature).verify(Ack.KIND, self._chain_id, key, self._verifier)

    def _try_certify(self, height: int) -> Certificate | None:
        link = self._links.get(height)
        if link is None or height <= self.final_height:
            return None
        expected = Ack(validators=link.quorum.config_hash(), ack_term=link.term, height=height, block=link.block_hash)
        matching = {
            key_id: signature
            for key_id, (ack, signature) in self._acks.get(height, {}).items()
            if ack == expected and link.quorum.key_of(key_id) is not None
        }
        if not link.quorum.is_quorum(matching):
            return None
        certificate = Certificate(
            validators=expected.validators,
            ack_term=expected.ack_term,
            height=height,
            block=link.block_hash,
            signatures=tuple(sorted(matching.items())),
            phase=expected.phase,
        )
        self._advance(height)
        return certificate

    def _advance(self, height: int) -> None:
        self.final_height = height
        for heights in (self._links, self._acks, self._pending):
            for stale in [known for known in heights if known <= height]:
                heights.pop(stale)
