"""Heard: the newest signed word of every validator that this node has checked, to be given back to its author.

A validator that has forgotten what it signed asks the others; see `protocols.signatures`.
Only statements that hold come in here. What was heard before the last start is read
from the newest blocks and certificates on disk.
"""

from __future__ import annotations

import msgspec

from meshnode.network.chain import StoredLog
from protocols import block as blocks
from protocols.block import Block
from protocols.records import PHASE_COMMIT, Ack, Certificate, Election, Vote, read_as
from protocols.records.agreement import VoteRow
from protocols.signatures import Signatures

# After a start so many blocks are looked through: a few minutes of a busy microgrid, a day of a quiet one.
LOOKED_BACK = 256
# Device keys that are remembered: those of ten validators many times over.
MAX_KEYS = 256


Statement = tuple[Ack, bytes]
"""An ack and its signature."""


class _Newest(msgspec.Struct):
    ack: Statement | None = None
    commit: Statement | None = None
    vote: tuple[Vote, bytes] | None = None
    header: tuple[int, int, bytes] | None = None


class Heard:
    """What one node has heard of all others."""

    def __init__(self, log: StoredLog, chain_id: bytes) -> None:
        """Read what the disk has.

        Args:
            log: its entries were checked before they were written.
        """
        self._of: dict[bytes, _Newest] = {}
        last = log.last_index()
        for height in range(max(log.first_index(), last - LOOKED_BACK + 1), last + 1):
            self.block(blocks.read(log.entry(height).data, chain_id))
            found = log.certificate_below(height) if height <= log.final_height() else None
            if found is not None and found[0] == height:
                self.certificate(read_as(Certificate, found[1]))

    def ack(self, key_id: bytes, ack: Ack, signature: bytes) -> None:
        """An ack that holds."""
        newest = self._newest(key_id)
        newest.ack = _newer(newest.ack, ack, signature)
        if ack.phase == PHASE_COMMIT:
            # While blocks follow one another fast, later ones are prepared before this one is committed.
            newest.commit = _newer(newest.commit, ack, signature)

    def certificate(self, certificate: Certificate) -> None:
        """A certificate that holds: an ack of each of its signers."""
        for key_id, signature in certificate.signatures:
            self.ack(key_id, certificate.ack(), signature)

    def vote(self, row: VoteRow, vote: Vote) -> None:
        """A vote that holds."""
        newest = self._newest(row[0])
        if newest.vote is None or vote.term > newest.vote[0].term:
            newest.vote = (vote, row[3])

    def block(self, block: Block) -> None:
        """A block that was checked: its leader's header, and the votes of its election."""
        newest, head = self._newest(block.leader), block.header
        if newest.header is None or (head.term, head.height) > newest.header[:2]:
            newest.header = (head.term, head.height, block.header_envelope.encode())
        if block.election is not None:
            self._election(block.election)

    def of(self, key_id: bytes, term: int, tip: tuple[int, int], lock: Certificate | None = None) -> Signatures:
        """The answer to a device that asks.

        Args:
            term: the newest that this node knows.
            tip: (term, height) of the last block in its log.
            lock: what binds this node in byzantine mode.
        """
        newest = self._of.get(key_id, _Newest())
        commit = newest.commit if newest.commit != newest.ack else None
        return Signatures(
            term=term,
            tip_term=tip[0],
            tip_height=tip[1],
            ack=None if newest.ack is None else newest.ack[0],
            ack_signature=None if newest.ack is None else newest.ack[1],
            vote=None if newest.vote is None else newest.vote[0],
            vote_signature=None if newest.vote is None else newest.vote[1],
            header=None if newest.header is None else newest.header[2],
            lock=lock,
            commit=None if commit is None else commit[0],
            commit_signature=None if commit is None else commit[1],
        )

    def _election(self, election: Election) -> None:
        for row in election.votes:
            self.vote(row, election.vote_of(row))

    def _newest(self, key_id: bytes) -> _Newest:
        found = self._of.get(key_id)
        if found is None:
            if len(self._of) >= MAX_KEYS:
                del self._of[next(iter(self._of))]
            found = self._of[key_id] = _Newest()
        return found


def _newer(known: Statement | None, ack: Ack, signature: bytes) -> Statement:
    if known is None or (ack.ack_term, ack.height) > (known[0].ack_term, known[0].height):
        return ack, signature
    return known
