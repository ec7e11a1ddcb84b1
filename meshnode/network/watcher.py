"""Watcher: remembers what validators have signed, and says so when two statements contradict one another.

It is shown only what holds: whoever calls it has verified the signature. So nobody but
a validator can fill its memory, each only its own share, and what pushes out older
statements is that validator's own. Contradictions in chains that are not here any more
are found later, when the histories of two nodes are compared (`protocols.histories`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from protocols.accusation import accuse_block, accuse_pair
from protocols.block import Block
from protocols.cose import Envelope, Verifier
from protocols.evidence import Case, EvidenceKind, judge
from protocols.histories import History, extract
from protocols.records import Ack, Certificate, Election, Evidence, Header, Vote, to_payload
from protocols.records.agreement import VoteRow
from protocols.roll import Roll

# Of one validator and one kind; with ten validators these are some three megabytes at most. A
# validator signs one statement a block: two that contradict come within minutes, or by a restart.
KEPT_PER_SIGNER = 256
# When a fork is proved, the newest final blocks are compared at once; deeper ones from disk to disk.
COMPARED_BLOCKS = 256
# Evidence that waits to be handed in.
MAX_WAITING = 64
# A liar can be convicted anew in every term, also in terms that there never were, and every case
# stays on the ledger for good. So many of one validator and one kind leave no doubt.
MAX_TERMS = 16

TWO_HISTORIES = (
    "the community has two histories now; compare this ledger with a neighbour's (meshnode evidence compare) "
    "and decide together which one stands"
)

Encode = Callable[[], bytes]
"""The envelope of a statement; made when it is asked for, since hardly any ever is."""

Key = tuple[bytes, int, int]
"""(accused, kind, term): what is proved once."""


class Watcher:
    """The memory of one node.

    Invariant: no (accused, kind, term) is ever given out twice, and no more than `MAX_TERMS` of one (accused, kind).

    Attributes:
        cases: what was found here since the start, in order.
        verifier: checks Ed25519 signatures.
    """

    def __init__(self, roll: Callable[[], Roll], verifier: Verifier) -> None:
        """Args:
        roll: everybody who votes or has voted, as the ledger says now.
        """
        self.cases: list[Case] = []
        self._roll = roll
        self.verifier = verifier
        # (kind, signer) -> (term, height) -> (what was said, its envelope if asked for); oldest first.
        self._seen: dict[tuple[EvidenceKind, bytes], dict[tuple[int, int], tuple[bytes, Encode]]] = {}
        # Statements that contradicted a remembered one, with it.
        self._contrary: list[bytes] = []
        self._known: set[Key] = set()
        self._terms: Counter[tuple[bytes, int]] = Counter()
        self._found: list[Evidence] = []

    def take(self) -> list[Evidence]:
        """Evidence found since the last call."""
        found, self._found = self._found, []
        return found

    def convictions(self) -> list[str]:
        """What was proved here since the start: key id of the accused, and what it did."""
        return [f"{case.accused.hex()} {case.words}" for case in self.cases if case.convicts]

    def dismiss(self, key: Key) -> None:
        """This is proved already, on the ledger or beside it."""
        self._note(key)

    def statements(self) -> tuple[bytes, ...]:
        """The envelopes of everything that is remembered, for comparing histories."""
        remembered = (encode() for seen in self._seen.values() for _, encode in seen.values())
        return tuple(dict.fromkeys((*self._contrary, *remembered)))

    def take_over(self, before: Watcher) -> None:
        """Go on with the memory of the part of this node that has ended: what it found may not be handed in yet."""
        self._found = [*before.take(), *self._found]
        self.cases = [*before.cases, *self.cases][-MAX_WAITING:]
        self._contrary = [*before._contrary, *self._contrary][-2 * MAX_WAITING :]
        for known in before._known:
            self._note(known)
        for key, seen in before._seen.items():
            both = self._seen[key] = {**seen, **self._seen.get(key, {})}
            while len(both) > KEPT_PER_SIGNER:
                del both[next(iter(both))]

    # --- what is shown to it

    def block(self, block: Block) -> None:
        """A block whose form was checked."""
        self.header(block.header_envelope, block.header, block.block_hash)
        if block.election is not None:
            self.election(block.election)

    def header(self, envelope: Envelope, header: Header, block_hash: bytes) -> None:
        """A header whose signature holds."""
        signer, encode = envelope.key_id, envelope.encode
        self._remember(EvidenceKind.HEADERS, signer, header.term, header.height, block_hash, encode)
        if header.election:
            # No block has height 0: there stands what begins the term.
            self._remember(EvidenceKind.HEADERS, signer, header.term, 0, block_hash, encode)

    def ack(self, signer: bytes, ack: Ack, signature: bytes) -> None:
        """An ack that holds."""

        def encode() -> bytes:
            return Envelope(signer, to_payload(ack), signature).encode()

        self._remember(EvidenceKind.ACKS, signer, ack.ack_term, ack.height, ack.block, encode)

    def certificate(self, certificate: Certificate) -> None:
        """A certificate that holds."""
        ack = certificate.ack()
        for signer, signature in certificate.signatures:
            self.ack(signer, ack, signature)

    def vote(self, row: VoteRow, vote: Vote) -> None:
        """A vote that holds."""

        def encode() -> bytes:
            return Envelope(row[0], to_payload(vote), row[3]).encode()

        self._remember(EvidenceKind.VOTES, row[0], vote.term, 0, vote.candidate, encode)

    def election(self, election: Election) -> None:
        """An election certificate that holds."""
        for row in election.votes:
            self.vote(row, election.vote_of(row))

    def bad_block(self, data: bytes, parent: bytes | None) -> None:
        """A block that was refused: does its leader's signature stand for what is wrong with it?

        Args:
            data: the encoded block.
            parent: header envelope of the block before it; None at height 1.
        """
        evidence = accuse_block(data, parent, self._roll(), self.verifier)
        if evidence is not None:
            self._add(evidence)

    def compare(self, histories: Sequence[History]) -> None:
        """Two histories conflict: whom do they convict, and who is to be asked?"""
        found = extract(histories, self._roll(), self.verifier)
        for evidence in (*found.evidence, *found.open):
            self._add(evidence)

    def _remember(self, kind: EvidenceKind, signer: bytes, term: int, height: int, said: bytes, encode: Encode) -> None:
        seen = self._seen.setdefault((kind, signer), {})
        known = seen.get((term, height))
        if known is None:
            seen[term, height] = (said, encode)
            if len(seen) > KEPT_PER_SIGNER:
                del seen[next(iter(seen))]
        elif known[0] != said and self._is_news((signer, int(kind), term)):
            evidence = accuse_pair(kind, signer, known[1](), encode(), self._roll(), self.verifier)
            if evidence is not None:
                self._contrary = [*self._contrary, *evidence.statements][-2 * MAX_WAITING :]
                self._add(evidence)

    def _add(self, evidence: Evidence) -> None:
        case = judge(evidence, self._roll(), self.verifier)
        key = (case.accused, int(case.kind), case.term)
        if self._is_news(key) and len(self._found) < MAX_WAITING:
            self._note(key)
            self._found.append(evidence)
            self.cases = [*self.cases, case][-MAX_WAITING:]

    def _is_news(self, key: Key) -> bool:
        return key not in self._known and self._terms[key[:2]] < MAX_TERMS

    def _note(self, key: Key) -> None:
        if key not in self._known:
            self._known.add(key)
            self._terms[key[:2]] += 1
