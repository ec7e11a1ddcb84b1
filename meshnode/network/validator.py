"""Validator: one voting node of a microgrid, without disk, clock or network.

Joins the Raft core, the block rules, finality by certificates and the state
machine. Bytes of peers go in as parcels, what must be written and sent comes out
as `Work`; the order validate -> persist -> sign -> send is kept here and nowhere
else, so that the simulator and the real node run the very same code.

Contract for the owner:
1. `poll()` hands out one piece of work at a time; send `work.now` at once, write
   `work.batch` with one fsync, then call `persisted()` and send what it returns.
2. While the disk works, go on calling `tick()`, `receive()` and `urgent()`: heartbeats
   never wait behind the disk.
3. A failed write ends the process: the validator must not be used again.
4. `take_final()` gives the blocks that became final, executed, in order, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

import msgspec

from meshnode.ledger import validators
from meshnode.machine import Machine
from meshnode.network.ballots import Ballots, voted
from meshnode.network.certificates import CertificateBook
from meshnode.network.chain import Chain, CoreStorage, StoredLog
from meshnode.network.elections import ElectionBook
from meshnode.network.electorate import Electorate
from meshnode.network.finalizer import Finalizer
from meshnode.network.heard import Heard
from meshnode.network.intake import Intake
from meshnode.network.leadership import Leadership
from meshnode.network.licence import FREE, Licence
from meshnode.network.locking import Locking
from meshnode.network.observed import Observed
from meshnode.network.parcels import Parcels
from meshnode.network.patience import Patience
from meshnode.network.pledges import Pledges
from meshnode.network.promises import Promises
from meshnode.network.proposer import Proposer
from meshnode.network.wariness import Wariness
from meshnode.network.watcher import Watcher
from meshnode.network.work import FinalBlock, Outgoing, Proposals, Settings, Work
from meshnode.store import Batch, Entry, HardState
from protocols import raft
from protocols.cose import Signer, Verifier, key_id_of
from protocols.finality import Finality
from protocols.parcel import Parcel, unpack
from protocols.raft import NO_NODE, Message, MessageKind, RawNode, ReadState, Ready, Role
from protocols.raft.messages import VOTE_REQUESTS
from protocols.records import RecordError, Tip, to_payload

_ACKNOWLEDGING = frozenset({MessageKind.APP_RESP, MessageKind.HEARTBEAT_RESP})
# What makes a leader of a node; one that is halted must not become it.
_TOWARDS_POWER = frozenset({MessageKind.VOTE_RESP, MessageKind.PRE_VOTE_RESP, MessageKind.TIMEOUT_NOW})


class Validator(Observed):
    """See the module text. Nodes are numbered 1, 2, ... in the order of their device keys."""

    def __init__(
        self,
        machine: Machine,
        log: StoredLog,
        proposals: Proposals,
        device_key: bytes,
        signer: Signer,
        verifier: Verifier,
        clock: Callable[[], int],
        random: Random,
        settings: Settings,
        licence: Licence = FREE,
    ) -> None:
        """Take up where the log stands.

        Args:
            machine: executed up to the log's final height.
            clock: UTC seconds of the microgrid's clock.
            licence: what may be signed, until `permit` says otherwise.
        Raises:
            ValueError: the disk has signatures of a term that Raft on the same disk has not reached.
        """
        signed, term = log.sign_state(), log.hard_state().term
        if max(signed.vote_term, signed.ack_term) > term:
            raise ValueError(
                f"this node signed in term {max(signed.vote_term, signed.ack_term)}, but its log is of term {term}: "
                "parts of the disk are of different times; it must not sign again with this device key"
            )
        self.machine = machine
        self.counters: Counter[str] = Counter()
        self.heard = Heard(log, machine.chain_id)
        self._key_id = key_id_of(device_key)
        self._chain_id = machine.chain_id
        self._chain = Chain(log, machine.genesis, self._chain_id)
        self._electorate = Electorate(machine, self._chain, device_key)
        self.number = self._electorate.number
        self.watcher = Watcher(lambda: machine.roll, verifier)
        self._ballots = Ballots(self._chain_id, verifier, self.watcher)
        self._certificates = CertificateBook(log, partial(validators.last_heights, machine.state))
        self._elections = ElectionBook(log, self._electorate, self._chain_id, verifier, self.counters)
        self._pledges = Pledges(device_key, signer, self._chain_id, signed, self._chain_has, licence)
        self._ready: Ready | None = None
        self._reads: list[ReadState] = []
        self._core = RawNode(
            settings.core(self.number, log.final_height()),
            CoreStorage(log, self._electorate.numbers(self._electorate.at(log.last_index() + 1) or machine.quorum)),
            random=random,
            sealer=self._seal,
            judge=self._may_elect,
        )
        finality = Finality(self._chain_id, verifier, log.final_height())
        self._locking = Locking(
            self._core,
            self._chain,
            self._electorate,
            finality,
            self._certificates,
            self._elections,
            self._pledges,
            self.heard,
            log.lock(),
            self._chain_id,
            verifier,
            lambda reason: self._finalizer.halt(reason),
            self.counters,
        )
        self._finalizer = Finalizer(
            self._core,
            machine,
            self._chain,
            self._electorate,
            finality,
            self._certificates,
            self._locking,
            self.watcher,
            self.heard,
            verifier,
            self.counters,
        )
        self._leadership = Leadership(
            self._core,
            self._chain,
            self._electorate.of,
            self._chain_id,
            device_key,
            signer,
            verifier,
            self.watcher,
            self.counters,
        )
        self._proposer = Proposer(
            machine, self._chain, self._electorate, self._ballots, self._locking, proposals, device_key, signer, clock
        )
        self._intake = Intake(
            self._core,
            machine,
            self._chain,
            self._electorate,
            finality,
            self._elections,
            self._leadership,
            self._locking,
            self.watcher,
            verifier,
            clock,
            self.counters,
        )
        self._promises = Promises(
            self._core,
            machine,
            self._chain,
            self._electorate,
            self._ballots,
            self._leadership,
            self._locking,
            self._pledges,
            self.counters,
        )
        self._parcels = Parcels(
            self._core,
            self._chain,
            self._electorate,
            self._finalizer,
            self._certificates,
            self._elections,
            self._leadership,
            self._locking,
            self._pledges,
        )
        self._patience = Patience(self._core, settings.election_ticks)
        self._wariness = Wariness(
            self._core,
            self._leadership,
            lambda: self._proposer.waits(self.last_height),
            settings.election_ticks,
            self.counters,
        )
        self._electorate.follow(self._core, log.final_height())
        for index in range(log.final_height() + 1, log.last_index() + 1):
            self._finalizer.link(self._chain.load(index))

    # --- what the owner sees

    @property
    def leader(self) -> bytes | None:
        """Device key of the leader, as far as known."""
        return self._electorate.key_of(self._core.leader) if self._core.leader != NO_NODE else None

    def peers(self) -> Sequence[tuple[bytes, int]]:
        """Device key and number of every other validator, those among them that are about to become one."""
        return self._electorate.peers()

    def number_of(self, device_key: bytes) -> int | None:
        """The number of a validator, by its device key."""
        return self._electorate.number_of(device_key)

    def key_of(self, number: int) -> bytes:
        """The device key of a validator, by its number."""
        return self._electorate.key_of(number)

    def tick(self) -> None:
        """One unit of time has passed."""
        # Without ticks a leader is silent, and silence is what makes the others elect another.
        self._leadership.silence = 0 if self.role is Role.LEADER else self._leadership.silence + 1
        self._finalizer.tick()
        self._wariness.tick(self.final_height, self._finalizer.certified_height)
        if self._may_not_lead():
            self._core.wait()
        elif not self._patience.exhausted(self.final_height):
            self._core.tick()
            self._drain()

    def unreachable(self, number: int) -> None:
        """What was last sent to this validator may not have arrived."""
        self._certificates.forget(number)
        self._core.report_unreachable(number)

    def campaign(self) -> None:
        """Try to become leader now."""
        if not self._may_not_lead():
            self._core.campaign()

    def transfer(self, number: int) -> None:
        """As leader: hand leadership to another validator."""
        if self.role == Role.LEADER:
            self._core.transfer_leadership(number)

    def hand_over(self) -> bool:
        """As leader: hand leadership to whoever has most of the log; whether there is somebody."""
        others = {number: view.match for number, view in self._core.progress.items() if number != self.number}
        if self.role != Role.LEADER or not others:
            return False
        self.transfer(max(others, key=lambda number: (others[number], number)))
        return True

    def receive(self, sender: int, parcel: Parcel) -> str | None:
        """Take a parcel from validator `sender`.

        Returns:
            Why the sender must be dropped, or None. What is refused without being
            anybody's fault is only counted.
        """
        for certificate in parcel.certificates:
            fault = self._finalizer.take_certificate(certificate)
            if fault is not None:
                return fault
        key = self._electorate.key_of(sender)
        if parcel.message is None:
            return None if parcel.ack is None else self._finalizer.take_ack(key, parcel)
        try:
            message = self._wariness.bounded(unpack(parcel.message, sender, self.number))
        except RecordError as error:
            return str(error)
        if not self.licence.hears(message.term, pre_vote=message.kind is MessageKind.PRE_VOTE):
            # As if nobody were here: whatever Raft answers is worth a signature.
            self.counters["not heard: nothing may be signed yet"] += 1
            return None
        if self.halted and message.entries:
            self.counters[f"refused while halted: {message.kind.name}"] += 1
            return None
        if message.kind in _TOWARDS_POWER and self._may_not_lead():
            self.counters[f"refused, must not lead: {message.kind.name}"] += 1
            return None
        if not self._wariness.hears(message):
            return None
        admitted, fault = self._leadership.admits(message, key, parcel)
        if not admitted:
            return fault
        message = self._leadership.without_false_haste(message, key, self.leader, parcel)
        fault = self._elections.hear(parcel.elections) or self._locking.hear(message, parcel)
        if fault is not None:
            return fault
        if message.kind == MessageKind.APP:
            fault = self._intake.take_append(message, parcel.tip)
            self._electorate.follow(self._core, self.final_height)
            return fault
        if message.kind == MessageKind.VOTE:
            if parcel.tip is None:
                return "vote request without a tip"
            tip = Tip(term=message.log_term, height=message.index, block=parcel.tip)
            fault = self._ballots.asked(message.term, sender, tip)
        elif message.kind == MessageKind.VOTE_RESP and not message.reject:
            if self._locking.outranked_by(parcel.vote):
                return None
            fault = self._take_vote(sender, message, parcel)
        elif message.kind in _ACKNOWLEDGING and parcel.ack is not None:
            fault = self._finalizer.take_ack(key, parcel)
        if fault is not None:
            return fault
        if message.kind in VOTE_REQUESTS and self._lacks_final(message.index, parcel.tip):
            # By term and height its log is as good as ours, because a leader made two blocks. Raft is
            # told of a log with nothing in it.
            self.counters["vote refused: lacks a final block"] += 1
            message = msgspec.structs.replace(message, index=0, log_term=0)
        return self._intake.step(message)

    def propose(self) -> bool:
        """As leader: make a block if there is something to put into it or a period to close.

        Returns:
            Whether a block was made.
        """
        if self.role != Role.LEADER or self.halted or self.licence.silent or self._patience.resting:
            return False
        # Before a block of the new voters is made, the core must send to them.
        self._electorate.follow(self._core, self.final_height)
        if self.role != Role.LEADER or not self._proposer.prepare(self.last_height, self._finalizer.executed_unseen()):
            return False
        try:
            self._core.propose(b"")
        except raft.ProposalDropped:
            self.counters["proposal dropped"] += 1
            return False
        finally:
            self._proposer.forget()
        return True

    def urgent(self) -> tuple[Outgoing, ...]:
        """What may be sent although the disk is busy: heartbeats and their answers, among others."""
        return tuple(map(self._parcels.of, self._core.take_messages()))

    def poll(self) -> Work | None:
        """The next piece of work; None if there is nothing to do or one is under way."""
        if self._ready is not None:
            return None
        if not (self._core.has_ready() or self._certificates.has_unwritten() or self._locking.has_work()):
            return None
        certificates = self._certificates.take_unwritten()
        elections = self._elections.take_unwritten()
        ready = self._core.ready()
        self._ready = ready
        self._reads += ready.read_states
        now = [self._parcels.of(message) for message in ready.messages]
        now += self._locking.tell(number for _, number in self.peers())
        if certificates and self.role == Role.LEADER:
            # Everybody learns at once what is final.
            now += self._certificates.tell(certificates[-1], [number for _, number in self.peers()])
        for entry in ready.entries:
            self._chain.keep(self._chain.read(entry))
        entries = tuple(
            Entry(entry.index, entry.term, int(entry.type), entry.data, self._chain.read(entry).block_hash)
            for entry in ready.entries
        )
        self._promises.prepare(ready)
        sign, lock, hard = self._pledges.promise(), self._locking.take_unwritten(), ready.hard_state
        batch = None
        if entries or certificates or elections or (hard, sign, lock) != (None, None, None):
            batch = Batch(
                entries=entries,
                hard_state=None if hard is None else HardState(hard.term, hard.vote, hard.commit),
                sign_state=sign,
                # After a halt there may be certificates of what was not executed: not of our log, perhaps.
                certificates=tuple((c.height, to_payload(c)) for c in certificates if c.height <= self.final_height),
                final_height=self.final_height,
                elections=elections,
                lock=lock,
            )
        return Work(tuple(now), batch)

    def persisted(self) -> tuple[Outgoing, ...]:
        """The batch of the last `poll` is on disk: sign, and say what to send."""
        ready = self._ready
        assert ready is not None, "persisted() without poll()"
        self._ready = None
        for entry in ready.entries:
            block = self._chain.read(entry)
            # While the disk was busy, a later leader may have replaced it.
            replaced = not self._intake.in_log(entry.index, entry.term)
            if not replaced and self._chain.head(entry.index).block_hash == block.block_hash:
                self._finalizer.link(block)
                self.heard.block(block)
        pledges = self._pledges
        if pledges.own_vote is not None:
            self._ballots.keep(pledges.own_vote.term, pledges.sign_vote(pledges.own_vote))
        if pledges.own_ack is not None and not self.halted:
            self._finalizer.count_ack(self._key_id, pledges.own_ack, pledges.sign_ack(pledges.own_ack))
        after = (*map(self._parcels.of_pledge, pledges.waiting), *self._parcels.of_commit(pledges.own_commit))
        self._core.advance(ready)
        self._finalizer.advance()
        self._electorate.follow(self._core, self.final_height)
        self._drain()
        return after

    def read_index(self, context: bytes) -> bool:
        """Ask the leader for a height that everything final until now lies below; as `RawNode.read_index`."""
        return not self.halted and self._core.read_index(context)

    def take_reads(self) -> list[ReadState]:
        """Answers since the last call: once `final_height` has reached the index, reads miss nothing."""
        reads, self._reads = self._reads, []
        return reads

    @property
    def astray(self) -> int:
        """For how many ticks this node has heard no leader, or has not got on although it knows that others have: then
        they may have gone on without it."""
        return max(self._leadership.silence, self._finalizer.unable, self._wariness.behind)

    @property
    def takes_part(self) -> bool:
        """Whether this node votes or is to vote; if not, it has only to follow from now on."""
        return self._electorate.takes_part

    def closing(self) -> Batch:
        """What has still to be written, with nothing under way, when this node goes on as learner or is to look
        for what it missed. Afterwards this validator must not be used again."""
        known = [c for c in self._certificates.take_unwritten() if c.height <= self.final_height]
        return Batch(
            certificates=tuple((certificate.height, to_payload(certificate)) for certificate in known),
            final_height=self.final_height,
            lock=self._locking.take_unwritten(),
        )

    def take_final(self) -> list[FinalBlock]:
        """Blocks that became final and were executed since the last call."""
        return self._finalizer.take_final()

    def take_faults(self) -> list[tuple[int, str]]:
        """Validators to be dropped for parcels that had to wait before they were judged, with the reason."""
        return self._intake.take_faults()

    def _may_not_lead(self) -> bool:
        """Halted, without licence, or back from a power cut with blocks whose certificate was not on the disk yet.

        A block of ours would then name an older state than the one before it, which
        convicts. Nor is it known here who votes after it. Whoever made them final can lead, and tells us.
        """
        licence = self.licence
        licensed = licence == FREE or licence.allows_campaign(self._core.term + 1, self.tip(), self.final_height)
        if self.halted or not licensed or self._locking.is_behind:
            return True
        return self._chain.head(self.last_height).state_height > self.machine.height

    def _lacks_final(self, height: int, tip: bytes | None) -> bool:
        """Whether a log that ends with this block has another one in place of what is final here."""
        return tip is not None and 0 < height <= self.final_height and not self._chain_has(height, tip)

    def _chain_has(self, height: int, block_hash: bytes) -> bool:
        return height <= self.last_height and self._chain.head(height).block_hash == block_hash

    def _drain(self) -> None:
        if not self.halted and not self.licence.silent:
            self._intake.drain()
            self._electorate.follow(self._core, self.final_height)

    # --- votes

    def _take_vote(self, sender: int, message: Message, parcel: Parcel) -> str | None:
        core = self._core
        # Of one who does not vote after our log's last block it would spoil the election certificate, and convict us.
        counts = message.term == core.term and core.state == Role.CANDIDATE and sender in core.voters
        if not counts or parcel.vote is None:
            return None if parcel.vote is not None else "vote without a signature"
        row = parcel.vote
        vote = voted(row, message.term, self._key_id, self._chain.tip(self.last_height))
        fault = self._ballots.take(row, vote, self._electorate.key_of(sender), by_tips=not self._locking.is_on)
        if fault is None:
            self.heard.vote(row, vote)
        return fault

    def _may_elect(self, message: Message, up_to_date: bool) -> bool:
        """Whether the sender of a vote request has enough to lead (called by the core)."""
        return self._wariness.may_elect(message.sender) and self._locking.may_elect(message, up_to_date)

    # --- blocks going out

    def _seal(self, term: int, index: int, _payload: bytes, first_of_term: bool) -> bytes:
        """The data of a new entry (called by the core, as leader)."""
        block = self._proposer.seal(term, index, first_of_term)
        if block.election is not None:
            self._leadership.made(block)
            self._elections.keep(block.election)
        return block.encoded
