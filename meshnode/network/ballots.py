"""Ballots: the votes of elections - asked for, given, collected, and put into an election certificate."""

from __future__ import annotations

from protocols import cose
from protocols.cose import Verifier
from protocols.parcel import VoteRow
from protocols.records import Election, Tip, Vote, to_payload

# Vote requests whose tips are remembered until they are answered.
MAX_REQUESTS = 64


class Ballots:
    """What one validator knows of votes."""

    def __init__(self, chain_id: bytes, verifier: Verifier) -> None:
        self._chain_id = chain_id
        self._verifier = verifier
        self._requests: dict[tuple[int, int], Tip] = {}
        self._votes: dict[int, dict[bytes, VoteRow]] = {}

    def asked(self, term: int, candidate: int, tip: Tip) -> None:
        """Validator number `candidate` asks for a vote in `term`, with this tip."""
        if len(self._requests) >= MAX_REQUESTS:
            del self._requests[min(self._requests)]
        self._requests[(term, candidate)] = tip

    def tip_of(self, term: int, candidate: int) -> Tip | None:
        """The tip that a candidate named when it asked, if that is remembered."""
        return self._requests.get((term, candidate))

    def take(self, row: VoteRow, vote: Vote, voter_key: bytes) -> str | None:
        """Count a vote for ourselves; why it does not count, if it does not."""
        envelope = cose.Envelope(row[0], to_payload(vote), row[3])
        if not envelope.verify(Vote.KIND, self._chain_id, voter_key, self._verifier):
            return "vote whose signature does not hold"
        self.keep(vote.term, row)
        return None

    def keep(self, term: int, row: VoteRow) -> None:
        """Remember a vote that holds; those of earlier terms are of no more use."""
        for stale in [known for known in self._votes if known < term]:
            del self._votes[stale]
        self._votes.setdefault(term, {})[row[0]] = row

    def election(self, term: int, candidate: bytes, tip: Tip) -> Election:
        """The certificate of the votes collected in `term`."""
        rows = self._votes.get(term, {})
        return Election(term=term, candidate=candidate, candidate_tip=tip, votes=tuple(sorted(rows.values())))


def row_of(vote: Vote, key_id: bytes, signature: bytes) -> VoteRow:
    """A vote as it travels and stands in a certificate."""
    own = vote.voter_tip
    return (key_id, (own.term, own.height, own.block), vote.lock, signature)
