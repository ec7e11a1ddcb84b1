"""Promises: which statements a piece of work obliges a validator to sign, held against log and term as they are now."""

from __future__ import annotations

from collections import Counter

from meshnode.machine import Machine
from meshnode.network.ballots import Ballots
from meshnode.network.chain import Chain
from meshnode.network.electorate import Electorate
from meshnode.network.leadership import Leadership
from meshnode.network.locking import Locking
from meshnode.network.pledges import Pledge, Pledges
from protocols.cose import key_id_of
from protocols.raft import NO_NODE, Message, MessageKind, RawNode, Ready, Role
from protocols.records import PHASE_COMMIT, PHASE_PREPARE, Ack, Vote


class Promises:
    """Turns the messages of a `Ready` into pledges; see `prepare`."""

    def __init__(
        self,
        core: RawNode,
        machine: Machine,
        chain: Chain,
        electorate: Electorate,
        ballots: Ballots,
        leadership: Leadership,
        locking: Locking,
        pledges: Pledges,
        counters: Counter[str],
    ) -> None:
        self._core = core
        self._machine = machine
        self._chain = chain
        self._electorate = electorate
        self._ballots = ballots
        self._leadership = leadership
        self._locking = locking
        self._pledges = pledges
        self._counters = counters

    def prepare(self, ready: Ready) -> None:
        """Fix what will be signed once this piece of work is on disk.

        Only what is still so: since a message was made, log and term may have changed.
        In one term a follower's log only grows, and a candidate's or voter's does not
        change before that term has a leader.
        """
        pledges, core = self._pledges, self._core
        pledges.begin()
        for message in ready.messages_after_persist:
            pledge = self._pledge(message)
            if pledge is None:
                self._counters[f"void before it was on disk: {message.kind.name}"] += 1
            elif pledges.allows(pledge.vote, pledge.ack, self._machine.height):
                pledges.waiting.append(pledge)
            else:
                self._counters[f"not signed, contradicts a signature: {message.kind.name}"] += 1
        hard = ready.hard_state
        if hard is not None and hard.vote == core.id and core.state == Role.CANDIDATE:
            tip, own = self._chain.tip(self._core.last_index), self._pledges.key_id
            lock = self._locking.of_vote()
            vote = Vote(term=hard.term, candidate=own, candidate_tip=tip, voter_tip=tip, lock=lock)
            pledges.own_vote = vote if pledges.allows(vote, None, self._machine.height) else None
        if ready.entries and ready.entries[-1].term == core.term and core.state == Role.LEADER:
            own_ack = self._ack(ready.entries[-1].index, core.term)
            pledges.own_ack = own_ack if pledges.allows(None, own_ack) else None
        commit = self._locking.to_commit()
        if commit is not None:
            self._locking.promise(commit)
            pledges.own_commit = commit if pledges.allows(None, commit) else None

    def _pledge(self, message: Message) -> Pledge | None:
        """The message with what is to be signed for it; None if it has become void."""
        core = self._core
        if message.kind == MessageKind.VOTE:
            still = core.state == Role.CANDIDATE and message.term == core.term
            return Pledge(message, tip=self._chain.tip(self._core.last_index).block) if still else None
        if message.reject or message.kind not in (MessageKind.VOTE_RESP, MessageKind.APP_RESP):
            return Pledge(message)
        if message.term != core.term:
            return None
        if message.kind == MessageKind.APP_RESP:
            if message.index <= self._machine.height:
                return Pledge(message)
            silent = self._chain.head(message.index).term != message.term
            return Pledge(message, ack=self._ack(message.index, message.term), silent=silent)
        asked, own = self._ballots.tip_of(message.term, message.to), self._chain.tip(self._core.last_index)
        # Once somebody has led the term our log may have changed, even if that leader is forgotten meanwhile.
        if asked is None or core.leader != NO_NODE or self._leadership.proved_term >= message.term:
            return None
        candidate = key_id_of(self._electorate.key_of(message.to))
        lock = self._locking.of_vote()
        vote = Vote(term=message.term, candidate=candidate, candidate_tip=asked, voter_tip=own, lock=lock)
        return Pledge(message, vote=vote)

    def _ack(self, height: int, term: int) -> Ack | None:
        """The ack of a block, to be promised; None from one who does not vote at its height."""
        if not self._electorate.votes_at(height):
            return None
        validators_hash, block = self._chain.head(height - 1).next_validators, self._chain.head(height).block_hash
        phase = PHASE_PREPARE if self._electorate.is_byzantine_at(height) else PHASE_COMMIT
        return Ack(validators=validators_hash, ack_term=term, height=height, block=block, phase=phase)
