"""Pledges: what may be signed after what was."""

from __future__ import annotations

from meshnode.network.pledges import Pledges
from meshnode.store import SignState
from protocols.records import Ack, Tip, Vote
from tests.protocols.village import device


def test_what_contradicts_a_promise_is_not_promised() -> None:
    key = device("anna")
    state = SignState(4, b"candidat", 4, 10, bytes(32), 7)
    log = {10: bytes(32)}
    pledges = Pledges(key.public, key.sign, bytes(32), state, lambda height, block: log.get(height) == block)
    tip = Tip(term=4, height=10, block=bytes(32))

    def vote(term: int, candidate: bytes) -> bool:
        given = Vote(term=term, candidate=candidate, candidate_tip=tip, voter_tip=tip)
        return pledges.allows(given, None)

    assert vote(5, b"somebody")
    assert not vote(4, b"somebody") and not vote(3, b"candidat")
    # With which tips it voted before the start is forgotten; what it says again in this life is the same.
    assert not vote(4, b"candidat")
    pledges.own_vote = Vote(term=5, candidate=b"somebody", candidate_tip=tip, voter_tip=tip)
    assert pledges.promise() is not None
    assert vote(5, b"somebody") and not vote(5, b"candidat")
    longer = Tip(term=4, height=11, block=bytes(32))
    assert not pledges.allows(Vote(term=5, candidate=b"somebody", candidate_tip=longer, voter_tip=tip), None)
    pledges.begin()
    pledges.state = state

    def ack(height: int, term: int, block: bytes) -> bool:
        return pledges.allows(None, Ack(validators=bytes(32), ack_term=term, height=height, block=block))

    assert ack(10, 4, bytes(32)) and ack(9, 5, b"x" * 32)
    assert ack(9, 4, b"x" * 32), "an ancestor: what was acknowledged is in the log"
    assert not ack(11, 3, bytes(32))
    # It was replaced. In this term nothing more is signed, at no height; in the next one it may be.
    log[10] = b"x" * 32
    for height in (9, 10, 11):
        assert not ack(height, 4, log.get(height, bytes(32)))
    assert ack(9, 5, b"x" * 32)
    # Whoever has voted in a later term signs nothing more in this one: the vote was given for what it had then.
    voted = Pledges(key.public, key.sign, bytes(32), SignState(5, b"candidat", 4, 10, bytes(32), 7), lambda *_: True)
    assert not voted.allows(None, Ack(validators=bytes(32), ack_term=4, height=10, block=bytes(32)))
