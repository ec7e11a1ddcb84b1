"""Licence: what a validator may sign after a start, decided from its two places and its neighbours' word.

A card that was restored from an old copy looks exactly like one that has stopped in
order: only the others know better. So at every start they are asked what they hold of
our signatures, and until enough of them have answered, nothing is signed.

    what the two places say          answers of the others that are enough
    new key, stopped in order,       of all; after `PATIENCE_TIMEOUTS`, of as many as make a quorum with us
    process ended, computer did not
    power cut, newest writes of      of all; after that time, of a quorum without us; with fewer, as many
    the database lost                as make one with us, only beyond what the sign file reserved
    newest write of the sign file    of all; after that time, of a quorum without us
    lost
    of different times               none: this key never signs again
    any of them, and a neighbour     none: this key never signs again
    holds a newer signature of ours

A quorum without us has a node in common with every quorum that we were part of, so the
newest of their logs has all that was certified with our ack: that far our log, or a
candidate's, must reach before we vote. In byzantine mode it is an honest node, and what counts is the
highest of their locks, each of which proves itself. Pure: places and answers in, licence out.

What this cannot do: a restored copy that starts while all nodes which hold a newer signature of it
are away for longer than the patience (or have forgotten it by a start of their own: votes and uncertified
acks are kept in memory) is not found out before it signs; it is when one is back that still holds it.

In majority mode a neighbour's word about its own log is taken, as all crash-tolerant consensus takes it: one that
lies then keeps who lost its newest writes from voting until that log comes or the reservation is passed. After a
power cut everywhere that stops the microgrid; byzantine mode is for communities that fear it.

What it costs: if the power fails everywhere while a leader's clock is far ahead, its newest blocks are waited
for until their time has come, because whoever lost its newest writes may have signed them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from meshnode.store.reservation import Places, Trust, signed_term
from meshnode.store.rows import SignState
from protocols.certificate import QuorumConfig, quorum_size
from protocols.cose import key_id_of
from protocols.locks import Place, place_of, place_of_tip
from protocols.records import PHASE_COMMIT, QUORUM_BYZANTINE, Ack, Certificate, Vote
from protocols.signatures import Signatures, header_of

# In election timeouts. Neighbours that are there answer within one; ten are time enough for
# one that starts together with us, and an outage that a community of three survives.
PATIENCE_TIMEOUTS = 10


class Licence(msgspec.Struct, frozen=True, kw_only=True):
    """What may be signed.

    Attributes:
        silent: why nothing may; empty if something may.
        above: (term, height): votes and acks of later terms, and acks above that height; None for all.
        tip: (term, height) that a log must reach to get or to win our vote.
        lock: in byzantine mode, where tips can be forged: what a candidate must have a lock as high as.
        until: ... which ends when this height is final here.
    """

    silent: str = ""
    above: tuple[int, int] | None = None
    tip: tuple[int, int] = (0, 0)
    lock: Certificate | None = None
    until: int = 0

    def hears(self, term: int, *, pre_vote: bool = False) -> bool:
        """Whether messages of this term are to be heard at all.

        Who may sign nothing in a term is of no use in it. It keeps silent, so that a leader
        who needs it gives up and another term begins. The question whether one may begin is heard: nothing is
        signed for it, and the answer tells a candidate that is terms behind how far they are.
        """
        return not self.silent and (pre_vote or self.above is None or term > self.above[0])

    def allows_ack(self, ack: Ack) -> bool:
        """Whether this ack may be signed, as far as what may be forgotten goes."""
        if self.silent:
            return False
        return self.above is None or ack.ack_term > self.above[0] or ack.height > self.above[1]

    def allows_vote(self, vote: Vote, final_height: int) -> bool:
        """The same of a vote."""
        return self.allows_campaign(vote.term, (vote.candidate_tip.term, vote.candidate_tip.height), final_height)

    def allows_campaign(self, term: int, tip: tuple[int, int], final_height: int) -> bool:
        """Whether a log with this tip, which has all that we may have acknowledged, may win our vote in `term`."""
        if self.silent or (self.above is not None and term <= self.above[0]):
            return False
        return tip >= self.tip or (0 < self.until <= final_height)


FREE = Licence()


class Retired(msgspec.Struct, frozen=True):
    """This device key never signs again. reason: a sentence."""

    reason: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What our own disk knows, for the judgement of answers.

    Attributes:
        trust, sentence: what the two places said of one another at the start.
        reserved: (term, height) beyond which nothing was signed, by the sign file.
        owed: (term, height) of the newest ack whose block this disk has lost; (0, 0) mostly.
        signed, term: what was signed last, and Raft's term; they move on with what is signed after the start.
    """

    key_id: bytes
    trust: Trust
    sentence: str
    reserved: tuple[int, int]
    owed: tuple[int, int]
    signed: SignState
    term: int

    @staticmethod
    def of(places: Places, term: int) -> Known:
        """As the places are found at a start."""
        trust, sentence = places.trust()
        newest, signed = places.newest, places.signed
        own = newest is not None and newest.key_id == places.key_id
        return Known(
            key_id=places.key_id,
            trust=trust,
            sentence=sentence,
            reserved=(
                max(signed_term(signed), newest.term if newest is not None and own else 0),
                max(signed.ack_height, newest.height if newest is not None and own else 0),
            ),
            owed=newest.owed if newest is not None and own else (0, 0),
            signed=signed,
            term=term,
        )


def decide(
    known: Known, quorum: QuorumConfig, answers: Mapping[bytes, Signatures], *, waited_long: bool
) -> Licence | Retired:
    """What may be signed now.

    Args:
        quorum: of the next height; this node is one of its voters.
        answers: of each node that has answered, by its device key; every statement in them holds
            (`protocols.signatures.fault`). Those of nodes that do not vote count as witnesses only.
        waited_long: `PATIENCE_TIMEOUTS` have passed since the start.
    """
    for answer in answers.values():
        found = newer(answer, known.signed, known.term)
        if found is not None:
            return Retired(f"this disk is of an earlier time: {found}")
    voters = [key for key, _ in quorum.voters]
    others = [key for key in voters if key_id_of(key) != known.key_id]
    trust = known.trust
    if trust is Trust.RETIRED or (trust is Trust.RESTORED and others):
        # Alone nobody could be told two things, and nobody could take this node's place.
        return Retired(known.sentence)
    heard = [answers[key] for key in others if key in answers]
    byzantine = quorum.mode == QUORUM_BYZANTINE
    lock = max((answer.lock for answer in heard), key=place_of, default=None) if byzantine else None
    size = quorum_size(len(voters), quorum.mode)
    is_all = len(heard) == len(others)
    if not is_all and not waited_long:
        return Licence(silent=f"asking the others what they hold of ours ({len(heard)} of {len(others)} have answered)")
    if trust in (Trust.UNUSED, Trust.CLEAN, Trust.SAME_BOOT, Trust.RESTORED):
        if is_all or len(heard) >= size - 1:
            # What we were locked on is known here, even if its block is lost.
            return Licence() if byzantine else Licence(tip=known.owed, until=known.owed[1])
        return Licence(silent=_too_few(len(heard), size - 1))
    tip = max([known.owed, *((answer.tip_term, answer.tip_height) for answer in heard)]) if not byzantine else (0, 0)
    until = max(known.reserved[1], known.owed[1])
    if is_all or len(heard) >= size:
        return Licence(tip=tip, lock=lock, until=until)
    if trust is not Trust.FILE_BEHIND and len(heard) >= size - 1:
        return Licence(above=known.reserved, tip=tip, lock=lock, until=until)
    needed = size if trust is Trust.FILE_BEHIND else size - 1
    return Licence(silent=f"{known.sentence}; {_too_few(len(heard), needed)}")


def newer(answer: Signatures, signed: SignState, term: int) -> str | None:
    """What a neighbour holds that we signed and our disk does not know of; None if nothing.

    A block that we made may be newer than our disk: it goes out while it is being written. Its
    term may not, because a term is on disk before its election is won.

    In byzantine mode a commit ack is newer than the prepare ack of the same block: a lock was on the disk
    before it was given. So is a vote for the same candidate that names a higher lock.
    """
    vote, header = answer.vote, header_of(answer)
    for ack in (answer.ack, answer.commit):
        if ack is not None and _is_newer_ack(ack, signed):
            return f"a neighbour holds our ack of block {ack.height} in term {ack.ack_term}"
        if ack is not None and ack.phase == PHASE_COMMIT and _is_unbound((ack.ack_term, ack.height), signed):
            return f"a neighbour holds our commit ack of block {ack.height} in term {ack.ack_term}"
    if vote is not None and (
        vote.term > signed.vote_term or (vote.term == signed.vote_term and vote.candidate != signed.vote_candidate)
    ):
        return f"a neighbour holds our vote in term {vote.term}"
    if vote is not None and _is_unbound(place_of_tip(vote.lock), signed):
        return f"a neighbour holds our vote in term {vote.term}, with a lock that is not known here"
    if header is not None and header.term > term:
        return f"a neighbour holds our block {header.height} of term {header.term}"
    return None


def _is_newer_ack(ack: Ack, signed: SignState) -> bool:
    ours = (signed.ack_term, signed.ack_height)
    theirs = (ack.ack_term, ack.height)
    return theirs > ours or (theirs == ours and ack.block != signed.ack_block)


def _is_unbound(place: Place, signed: SignState) -> bool:
    return place > (signed.bound_term, signed.bound_height)


def _too_few(heard: int, needed: int) -> str:
    return f"waiting for the word of {needed} other validators, {heard} have answered"
