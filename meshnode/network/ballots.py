"""Ballots: the votes of elections - asked for, given, collected, and put into an election certificate."""

from __future__ import annotations

from meshnode.network.watcher import Watcher
from protocols import cose
from protocols.cose import Verifier
from protocols.records import Certificate, Election, Tip, Vote, to_payload
from protocols.records.agreement import VoteRow


class Ballots:
    """What one validator knows of votes.

    Invariant: every vote kept holds and would be accepted in an election certificate;
    one bad row would make everybody refuse the first block of an honest leader.
    """

    def __init__(self, chain_id: bytes, verifier: Verifier, watcher: Watcher) -> None:
        self._chain_id = chain_id
        self._verifier = verifier
        self._watcher = watcher
        # The newest request of each candidate: bounded by the number of validators.
        self._requests: dict[int, tuple[int, Tip]] = {}
        self._votes: dict[int, dict[bytes, VoteRow]] = {}

    def asked(self, term: int, candidate: int, tip: Tip) -> str | None:
        """Validator number `candidate` asks for a vote in `term`, with this tip; why it may not."""
        known = self._requests.get(candidate)
        if known is None or known[0] < term:
            self._requests[candidate] = (term, tip)
        elif known[0] == term and known[1] != tip:
            # What a candidate has does not change while it is one. The vote that we give
            # for one tip must not be signed for another.
            return f"two vote requests in term {term} with different tips"
        return None

    def tip_of(self, term: int, candidate: int) -> Tip | None:
        """The tip that a candidate named when it asked in this term, if that is remembered."""
        asked_in, tip = self._requests.get(candidate, (0, None))
        return tip if asked_in == term else None

    def take(self, row: VoteRow, vote: Vote, voter_key: bytes, *, by_tips: bool = True) -> str | None:
        """Count a vote for ourselves; why it does not count, if it does not.

        Args:
            by_tips: nobody votes for a shorter log than its own.
        """
        own, theirs = vote.candidate_tip, vote.voter_tip
        if by_tips and (theirs.term, theirs.height) > (own.term, own.height):
            return "vote of a node that has more than we have"
        envelope = cose.Envelope(row[0], to_payload(vote), row[3])
        if not envelope.verify(Vote.KIND, self._chain_id, voter_key, self._verifier):
            return "vote whose signature does not hold"
        self._watcher.vote(row, vote)
        self.keep(vote.term, row)
        return None

    def keep(self, term: int, row: VoteRow) -> None:
        """Remember a vote that holds; those of earlier terms are of no more use."""
        for stale in [known for known in self._votes if known < term]:
            del self._votes[stale]
        self._votes.setdefault(term, {})[row[0]] = row

    def election(self, term: int, candidate: bytes, tip: Tip, lock: Certificate | None = None) -> Election:
        """The certificate of the votes collected in `term`; `lock` is the candidate's, in byzantine mode."""
        rows = tuple(sorted(self._votes.get(term, {}).values()))
        return Election(term=term, candidate=candidate, candidate_tip=tip, votes=rows, lock=lock)


def voted(row: VoteRow, term: int, candidate: bytes, tip: Tip) -> Vote:
    """What the voter of a row has signed, if it was for this candidate."""
    lock = None if row[2] is None else Tip.of_row(row[2])
    return Vote(term=term, candidate=candidate, candidate_tip=tip, voter_tip=Tip.of_row(row[1]), lock=lock)


def row_of(vote: Vote, key_id: bytes, signature: bytes) -> VoteRow:
    """A vote as it travels and stands in a certificate."""
    return (key_id, vote.voter_tip.row(), None if vote.lock is None else vote.lock.row(), signature)
