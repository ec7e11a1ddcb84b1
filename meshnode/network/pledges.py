"""Pledges: what a validator is going to sign, fixed before the disk is asked, signed after it has answered.

While the disk works, other messages may change log and term; what was written down
as promised is what gets signed. `SignState` names the newest vote and ack promised, and
is written in the same transaction as the blocks that they are about.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from meshnode.network.ballots import row_of
from meshnode.network.licence import FREE, Licence
from meshnode.store import SignState
from protocols import cose
from protocols.cose import Signer, key_id_of
from protocols.locks import place_of_tip
from protocols.raft import Message
from protocols.records import PHASE_COMMIT, Ack, Vote, to_payload
from protocols.records.agreement import VoteRow


class Pledge(msgspec.Struct, frozen=True):
    """A message of Raft that waits for the disk, with the statement that is to be signed for it.

    Attributes:
        silent: the ack is promised and not signed: of a block of an earlier term it would certify
            nothing, and a quorum of such signatures would look like a certificate.
    """

    message: Message
    tip: bytes | None = None
    vote: Vote | None = None
    ack: Ack | None = None
    silent: bool = False

    @property
    def spoken(self) -> Ack | None:
        """The ack that is to be signed."""
        return None if self.silent else self.ack


class Pledges:
    """The promises of one piece of work.

    Attributes:
        waiting: messages to send after the write, in order.
        own_vote, own_ack: what we tell ourselves after the write.
        own_commit: what is said of our lock after the write, to the leader or to ourselves (byzantine mode).
        key_id: of the device key that signs.
        state: what was promised last.
        licence: what may be promised beside that.
    """

    def __init__(
        self,
        device_key: bytes,
        signer: Signer,
        chain_id: bytes,
        state: SignState,
        in_log: Callable[[int, bytes], bool],
        licence: Licence = FREE,
    ) -> None:
        """Args:
        state: what was promised before the last start.
        in_log: (height, block hash) -> whether our log has that block there.
        """
        self.key_id = key_id_of(device_key)
        self.waiting: list[Pledge] = []
        self.own_vote: Vote | None = None
        self.own_ack: Ack | None = None
        self.own_commit: Ack | None = None
        self._key = device_key
        self._signer = signer
        self._chain_id = chain_id
        self.state = state
        self.licence = licence
        self._in_log = in_log
        # The newest vote since the start: it alone may be said again.
        self._voted: Vote | None = None

    def begin(self) -> None:
        """A new piece of work: the promises of the last one are kept or void."""
        self.waiting, self.own_vote, self.own_ack, self.own_commit = [], None, None, None

    def allows(self, vote: Vote | None, ack: Ack | None, final_height: int = 0) -> bool:
        """Whether these may be promised, after what was.

        The last line of defence: whatever a liar makes of our log, two signatures of
        ours never convict us. Not a vote of an earlier term, nor another one in its term, be it for the
        same candidate, which a liar would be elected by twice, with two logs; not an ack of an earlier
        term than any signature, nor one beside a block that was acknowledged in the same term and has
        left our log: all acks of a term are of one chain.
        """
        state = self.state
        if (vote is not None and not self.licence.allows_vote(vote, final_height)) or (
            ack is not None and not self.licence.allows_ack(ack)
        ):
            return False
        if vote is not None and vote.term <= state.vote_term and vote != self._voted:
            return False
        return ack is None or not (
            ack.ack_term < max(state.ack_term, state.vote_term)
            or (ack.ack_term == state.ack_term and not self._in_log(state.ack_height, state.ack_block))
        )

    def promise(self) -> SignState | None:
        """The sign state that covers every promise made, to be written; None if the written one does."""
        if not self.waiting and (self.own_vote, self.own_ack, self.own_commit) == (None, None, None):
            return None
        vote = (self.state.vote_term, self.state.vote_candidate)
        ack = (self.state.ack_term, self.state.ack_height, self.state.ack_block)
        bound = (self.state.bound_term, self.state.bound_height)
        for given in (*(pledge.vote for pledge in self.waiting), self.own_vote):
            if given is not None:
                self._voted = given
                vote = max(vote, (given.term, given.candidate))
                bound = max(bound, place_of_tip(given.lock))
        for made in (*(pledge.ack for pledge in self.waiting), self.own_ack, self.own_commit):
            if made is not None:
                ack = max(ack, (made.ack_term, made.height, made.block))
                bound = max(bound, (made.ack_term, made.height) if made.phase == PHASE_COMMIT else bound)
        promised = SignState(vote[0], vote[1], ack[0], ack[1], ack[2], self.state.sequence, bound[0], bound[1])
        if promised == self.state:
            return None
        self.state = msgspec.structs.replace(promised, sequence=promised.sequence + 1)
        return self.state

    def sign_vote(self, vote: Vote) -> VoteRow:
        """Sign a promised vote."""
        return row_of(vote, self.key_id, self._sign(Vote.KIND, to_payload(vote)))

    def sign_ack(self, ack: Ack) -> bytes:
        """Sign a promised ack."""
        return self._sign(Ack.KIND, to_payload(ack))

    def _sign(self, kind: int, payload: bytes) -> bytes:
        return cose.sign(kind, self._chain_id, payload, self._key, self._signer).signature
