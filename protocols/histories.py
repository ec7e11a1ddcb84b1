"""Histories: what nodes have on their disks, compared, and who is to blame where they differ.

    History             one node's blocks, certificates and elections, and what it heard others sign
    extract(histories)  evidence against everyone that two or more histories convict

Where certified blocks conflict, at least one culprit is found if the histories hold the
blocks of both sides from where they part and the certificates. The proof: let X and Y be
such blocks, certified by acks of the terms t1 <= t2.

- t1 = t2: one leader led both sides, or two were elected. One leader signed two blocks
  for a height, or began the term twice (HEADERS); two leaders have a voter in common who
  voted for both (VOTES), or one of them was not elected (FORM).
- t1 < t2: take the first block of Y's side with a term above t1. It extends the tip of
  its election certificate (EXTENSION), whose term is at most t1. If that tip is of t1 and
  no ancestor of X, the case above finds the leader of t1. Else it is older than X; a
  voter of that election has acknowledged X (two quorums meet), with a tip that is no
  newer than the candidate's (FORM): OLDER_TIP. If it has an answer, that is an election of
  a term between, again with a tip older than X, and a voter that acknowledged X. Terms
  are numbers: one of them has no answer, unless it keeps it to itself (`open`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, pairwise

import msgspec

from protocols import block as blocks
from protocols import cose
from protocols.accusation import accuse, accuse_block, accuse_pair
from protocols.block import BlockError
from protocols.cose import Envelope, EnvelopeError
from protocols.evidence import EvidenceKind, check_answer, kept_by
from protocols.records import (
    PHASE_COMMIT,
    Ack,
    Certificate,
    Election,
    Evidence,
    Header,
    RecordError,
    Vote,
    kind_of,
    read_as,
    to_payload,
)
from protocols.records.statements import MAX_EVIDENCE_STATEMENTS
from protocols.roll import Roll


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What one node has kept. Nothing of it is believed without its signatures.

    Attributes:
        owner: device key id of the node whose disk it is: what it could answer with is
            here. Empty if nobody can say so.
        blocks: encoded, of its log.
        certificates: encoded.
        elections: encoded election certificates it has kept, beside those in its blocks.
        statements: envelopes of headers, acks and votes that it heard.
    """

    owner: bytes = b""
    blocks: tuple[bytes, ...] = ()
    certificates: tuple[bytes, ...] = ()
    elections: tuple[bytes, ...] = ()
    statements: tuple[bytes, ...] = ()


class Extraction(msgspec.Struct, frozen=True):
    """What histories prove.

    Attributes:
        evidence: leaves nothing to say, one for each (accused, kind, term).
        open: OLDER_TIP against nodes whose own history was not given; they may have an answer.
        unreadable: parts of the histories that are no statement of this format.
    """

    evidence: tuple[Evidence, ...]
    open: tuple[Evidence, ...]
    unreadable: int


def extract(histories: Sequence[History], roll: Roll, verifier: cose.Verifier) -> Extraction:
    """Name everyone whom these histories together convict."""
    known = _Known(histories, roll, verifier)
    found: dict[tuple[bytes, int, int], Evidence] = {}
    unanswered: dict[tuple[bytes, int, int], Evidence] = {}
    owners = {history.owner for history in histories}
    for term, evidence in known.contradictions():
        found.setdefault((evidence.accused, evidence.evidence_kind, term), evidence)
    for term, evidence in known.unanswered():
        side = found if evidence.accused in owners else unanswered
        side.setdefault((evidence.accused, evidence.evidence_kind, term), evidence)
    return Extraction(
        tuple(found[key] for key in sorted(found)),
        tuple(unanswered[key] for key in sorted(unanswered)),
        known.unreadable,
    )


class _Seen(msgspec.Struct, frozen=True):
    """A header somebody has: with its envelope, and the block it came in, if it did."""

    header: Header
    signer: bytes
    envelope: bytes
    block: bytes | None


Proved = Iterator[tuple[int, Evidence]]
"""(term of the fault, evidence)."""


class _Known:
    """All statements of all histories, by whom and when they were signed."""

    def __init__(self, histories: Iterable[History], roll: Roll, verifier: cose.Verifier) -> None:
        self.unreadable = 0
        self._roll = roll
        self._verifier = verifier
        self._heads: dict[bytes, _Seen] = {}
        self._acks: dict[tuple[bytes, int], dict[bytes, Ack]] = defaultdict(dict)
        self._votes: dict[tuple[bytes, int], dict[bytes, Vote]] = defaultdict(dict)
        self._elections: dict[bytes, Election] = {}
        # What several of them have byte by byte is read once.
        self._taken: set[bytes] = set()
        for history in histories:
            self._take(history)

    def _take(self, history: History) -> None:
        for data in self._new(history.blocks):
            try:
                block = blocks.read(data, self._roll.chain_id)
            except BlockError:
                self.unreadable += 1
                continue
            self._take_header(block.header_envelope, data)
            if block.election is not None:
                self._take_election(block.election)
        for data in self._new(history.certificates):
            try:
                certificate = read_as(Certificate, data)
            except RecordError:
                self.unreadable += 1
                continue
            payload = to_payload(certificate.ack())
            for signer, signature in certificate.signatures:
                self._take_ack(Envelope(signer, payload, signature))
        for data in self._new(history.elections):
            try:
                self._take_election(read_as(Election, data))
            except RecordError:
                self.unreadable += 1
        for data in self._new(history.statements):
            try:
                envelope = cose.decode(data)
                take = {Header.KIND: self._take_header, Ack.KIND: self._take_ack, Vote.KIND: self._take_vote}
                take[kind_of(envelope.payload)](envelope)
            except (EnvelopeError, RecordError, KeyError):
                self.unreadable += 1

    def _new(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for data in parts:
            if data not in self._taken:
                unreadable = self.unreadable
                yield data
                # Those that cannot be read are counted wherever they stand.
                if self.unreadable == unreadable:
                    self._taken.add(data)

    def _take_header(self, envelope: Envelope, block: bytes | None = None) -> None:
        header = read_as(Header, envelope.payload)
        block_hash = cose.record_id(envelope.to_be_signed(Header.KIND, self._roll.chain_id))
        before = self._heads.get(block_hash)
        if before is None or before.block is None:
            self._heads[block_hash] = _Seen(header, envelope.key_id, envelope.encode(), block)

    def _take_ack(self, envelope: Envelope) -> None:
        ack = read_as(Ack, envelope.payload)
        self._acks[envelope.key_id, ack.ack_term].setdefault(envelope.encode(), ack)

    def _take_vote(self, envelope: Envelope) -> None:
        vote = read_as(Vote, envelope.payload)
        self._votes[envelope.key_id, vote.term].setdefault(envelope.encode(), vote)

    def _take_election(self, election: Election) -> None:
        if self._elections.setdefault(to_payload(election), election) is not election:
            return
        for row in election.votes:
            self._take_vote(Envelope(row[0], to_payload(election.vote_of(row)), row[3]))

    # --- what convicts by itself

    def contradictions(self) -> Proved:
        """Everything but OLDER_TIP."""
        yield from self._two_headers()
        yield from self._two_acks()
        yield from self._two_votes()
        yield from self._false_tips()
        yield from self._bad_blocks()

    def _two_headers(self) -> Proved:
        places: dict[tuple[bytes, int, int], list[_Seen]] = defaultdict(list)
        for block_hash in sorted(self._heads):
            seen = self._heads[block_hash]
            places[seen.signer, seen.header.term, seen.header.height].append(seen)
            if seen.header.election:
                # Height 0, which no block has, stands for "begins the term".
                places[seen.signer, seen.header.term, 0].append(seen)
        for (signer, term, _), group in sorted(places.items()):
            for one, two in combinations(group, 2):
                yield from self._pair(EvidenceKind.HEADERS, signer, term, one.envelope, two.envelope)

    def _two_votes(self) -> Proved:
        for (voter, term), votes in sorted(self._votes.items()):
            for one, two in combinations(sorted(votes), 2):
                if votes[one].candidate != votes[two].candidate:
                    yield from self._pair(EvidenceKind.VOTES, voter, term, one, two)

    def _two_acks(self) -> Proved:
        for (signer, term), acks in sorted(self._acks.items()):
            # If every ack is of an ancestor of the next one, all are of one chain; a forged one must not part two.
            order = sorted((ack.height, ack.block, data) for data, ack in acks.items())
            if any(self._links(low, high) is not None for low, high in pairwise(order)):
                order = [place for place in order if self._holds(place[2], signer)]
            for low, high in pairwise(order):
                links = self._links(low, high)
                if links is not None:
                    yield from self._case(EvidenceKind.ACKS, signer, term, (low[2], high[2], *links))

    def _holds(self, ack: bytes, signer: bytes) -> bool:
        key = self._roll.key_of(signer)
        return key is not None and cose.decode(ack).verify(Ack.KIND, self._roll.chain_id, key, self._verifier)

    def _links(self, low: tuple[int, bytes, bytes], high: tuple[int, bytes, bytes]) -> list[bytes] | None:
        """Headers that show that two acknowledged blocks conflict; None if they do not, or nobody has them."""
        links: list[bytes] = []
        block = high[1]
        while len(links) < high[0] - low[0]:
            seen = self._heads.get(block)
            if seen is None:
                return None
            links.append(seen.envelope)
            block = seen.header.parent
        return links if block != low[1] and len(links) + 2 <= MAX_EVIDENCE_STATEMENTS else None

    def _false_tips(self) -> Proved:
        for (voter, term), votes in sorted(self._votes.items()):
            for data, vote in sorted(votes.items()):
                for tip in (vote.voter_tip, vote.candidate_tip):
                    seen = self._heads.get(tip.block)
                    if seen is None:
                        yield from self._case(EvidenceKind.TIP, voter, term, (data,))
                    elif (seen.header.term, seen.header.height) != (tip.term, tip.height):
                        yield from self._case(EvidenceKind.TIP, voter, term, (data, seen.envelope))

    def _bad_blocks(self) -> Proved:
        for _, seen in sorted(self._heads.items()):
            if seen.block is None:
                continue
            parent = self._heads.get(seen.header.parent)
            data = None if parent is None else parent.envelope
            evidence = accuse_block(seen.block, data, self._roll, self._verifier)
            if evidence is not None:
                yield seen.header.term, evidence

    def _pair(self, kind: EvidenceKind, accused: bytes, term: int, one: bytes, two: bytes) -> Proved:
        evidence = accuse_pair(kind, accused, one, two, self._roll, self._verifier)
        if evidence is not None:
            yield term, evidence

    def _case(self, kind: EvidenceKind, accused: bytes, term: int, statements: Sequence[bytes]) -> Proved:
        evidence = accuse(kind, accused, statements, self._roll, self._verifier)
        if evidence is not None:
            yield term, evidence

    # --- what can be answered

    def unanswered(self) -> Proved:
        """OLDER_TIP without an answer in any of the histories."""
        given: dict[bytes, list[tuple[int, int, bytes]]] = defaultdict(list)
        for (signer, term), acks in self._acks.items():
            for data, ack in acks.items():
                seen = self._heads.get(ack.block)
                if seen is not None and seen.header.term == term and ack.phase == PHASE_COMMIT:
                    given[signer].append((term, ack.height, data))
        for (voter, term), votes in sorted(self._votes.items()):
            lost = sorted(place for place in given[voter] if place[0] < term)
            for data, vote in sorted(votes.items()):
                for ack_term, height, ack_data in lost:
                    head = self._heads[self._acks[voter, ack_term][ack_data].block].header
                    if (ack_term, height) > kept_by(vote, head, self._roll):
                        yield from self._lost(voter, vote, data, self._acks[voter, ack_term][ack_data], ack_data)

    def _lost(self, voter: bytes, vote: Vote, vote_data: bytes, ack: Ack, ack_data: bytes) -> Proved:
        seen = self._heads[ack.block]
        for election in self._elections.values():
            if check_answer(election, seen.header, vote, self._roll, self._verifier) is None:
                return
        yield from self._case(EvidenceKind.OLDER_TIP, voter, vote.term, (ack_data, seen.envelope, vote_data))
