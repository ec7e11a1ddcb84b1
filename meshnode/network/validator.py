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
from collections.abc import Callable
from random import Random

from meshnode.machine import Machine, StateMismatch
from meshnode.network.ballots import Ballots
from meshnode.network.certificates import CertificateBook
from meshnode.network.chain import Chain, CoreStorage, StoredLog
from meshnode.network.intake import Intake
from meshnode.network.pledges import Pledge, Pledges
from meshnode.network.work import FinalBlock, Outgoing, Proposals, Settings, Work
from meshnode.store import Batch, Entry, HardState
from protocols import block as blocks
from protocols import raft
from protocols.block import Block, SignedRecord
from protocols.certificate import check_certificate
from protocols.cose import Signer, Verifier, key_id_of
from protocols.finality import Finality, Link
from protocols.parcel import Parcel, pack, unpack
from protocols.raft import Message, MessageKind, RawNode, Ready, Role
from protocols.raft.messages import STORAGE_KINDS
from protocols.records import Ack, Certificate, Header, RecordError, Tip, Vote, to_payload

# Blocks under way at once: enough to hide one fsync of the followers, few enough that
# the state heights in their headers stay recent.
MAX_BLOCKS_IN_FLIGHT = 4
# Appends that wait for their turn (a state that is not applied yet, a clock ahead of
# ours); the leader sends again what is dropped beyond that.
MAX_PARKED = 64
# Heads of blocks kept in memory for checking what follows them.
HEADS_KEPT = 1024
# Vote requests whose tips are remembered until they are answered.
MAX_CANDIDATE_TIPS = 64


class Validator:
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
    ) -> None:
        """Take up where the log stands.

        Args:
            machine: executed up to the log's final height.
            clock: UTC seconds of the microgrid's clock.
        """
        self.machine = machine
        self.counters: Counter[str] = Counter()
        self.halted: str | None = None
        self._log = log
        self._proposals = proposals
        self._key = device_key
        self._key_id = key_id_of(device_key)
        self._signer = signer
        self._verifier = verifier
        self._clock = clock
        self._chain_id = machine.chain_id
        self._quorum = machine.quorum
        self._ids = {key: number for number, (key, _) in enumerate(self._quorum.voters, 1)}
        self._keys = {number: key for key, number in self._ids.items()}
        self.number = self._ids[device_key]
        self._finality = Finality(self._chain_id, verifier, log.final_height())
        self._chain = Chain(log, machine.genesis, self._chain_id)
        self._ballots = Ballots(self._chain_id, verifier)
        self._certificates = CertificateBook(log)
        self._pledges = Pledges(device_key, signer, self._chain_id, self._quorum.config_hash(), log.sign_state())
        self._ready: Ready | None = None
        self._final: list[FinalBlock] = []
        self._offered: tuple[SignedRecord, ...] = ()
        for index in range(log.final_height() + 1, log.last_index() + 1):
            self._link(self._chain.load(index))
        self._core = RawNode(
            raft.Config(
                id=self.number,
                election_tick=settings.election_ticks,
                heartbeat_tick=settings.heartbeat_ticks,
                applied=log.final_height(),
                max_size_per_msg=settings.max_append_bytes,
                max_inflight_msgs=16,
                disable_proposal_forwarding=True,
                external_commit=True,
                priority=settings.priority,
            ),
            CoreStorage(log, tuple(self._keys)),
            random=random,
            sealer=self._seal,
        )
        self._intake = Intake(
            self._core, machine, self._chain, self._finality, verifier, clock, self.counters, self._halt
        )

    # --- what the owner sees

    @property
    def role(self) -> Role:
        """Follower, candidate or leader."""
        return self._core.state

    @property
    def term(self) -> int:
        """Raft's term."""
        return self._core.term

    @property
    def leader(self) -> bytes | None:
        """Device key of the leader, as far as known."""
        return self._keys.get(self._core.leader)

    @property
    def final_height(self) -> int:
        """Height up to which blocks are final here."""
        return self._finality.final_height

    @property
    def newest_certificate(self) -> Certificate | None:
        """The highest certificate that this node has made or verified."""
        return self._certificates.newest

    @property
    def certificates_verified(self) -> int:
        """How many certificates were made or verified here since the start."""
        return self._certificates.verified

    @property
    def last_height(self) -> int:
        """Height of the last block in the log, final or not."""
        return self._core.last_index

    def peers(self) -> list[tuple[bytes, int]]:
        """Device key and number of every other validator."""
        return [(key, number) for key, number in self._ids.items() if number != self.number]

    def number_of(self, device_key: bytes) -> int | None:
        """The number of a validator, by its device key."""
        return self._ids.get(device_key)

    def key_of(self, number: int) -> bytes:
        """The device key of a validator, by its number."""
        return self._keys[number]

    def tick(self) -> None:
        """One unit of time has passed."""
        self._core.tick()
        self._drain()

    def unreachable(self, number: int) -> None:
        """What was last sent to this validator may not have arrived."""
        self._certificates.forget(number)
        self._core.report_unreachable(number)

    def campaign(self) -> None:
        """Try to become leader now."""
        self._core.campaign()

    def transfer(self, number: int) -> None:
        """Hand leadership to another validator."""
        self._core.transfer_leadership(number)

    def receive(self, sender: int, parcel: Parcel) -> str | None:
        """Take a parcel from validator `sender`.

        Returns:
            Why the sender must be dropped, or None. What is refused without being
            anybody's fault is only counted.
        """
        for certificate in parcel.certificates:
            fault = self._take_certificate(certificate)
            if fault is not None:
                return fault
        if parcel.message is None:
            return None
        try:
            message = unpack(parcel.message, sender, self.number)
        except RecordError as error:
            return str(error)
        if message.kind not in _TRAVELLING:
            return f"message of kind {message.kind.name} from a peer"
        if message.kind == MessageKind.APP and message.entries:
            if self.halted:
                self.counters["append refused: halted"] += 1
                return None
            return self._intake.take(message)
        if message.kind == MessageKind.VOTE:
            if parcel.tip is None:
                return "vote request without a tip"
            tip = Tip(term=message.log_term, height=message.index, block=parcel.tip)
            self._ballots.asked(message.term, sender, tip)
        if message.kind == MessageKind.VOTE_RESP and not message.reject:
            fault = self._take_vote(sender, message, parcel)
            if fault is not None:
                return fault
        if message.kind == MessageKind.APP_RESP and parcel.ack is not None:
            fault = self._take_ack(sender, parcel)
            if fault is not None:
                return fault
        return self._intake.step(message)

    def propose(self) -> bool:
        """As leader: make a block if there is something to put into it or a period to close.

        Returns:
            Whether a block was made.
        """
        if self.role != Role.LEADER or self.halted or self._core.last_index < 1:
            return False
        in_flight = range(self.final_height + 1, self._core.last_index + 1)
        if len(in_flight) >= MAX_BLOCKS_IN_FLIGHT:
            return False
        limits = self.machine.genesis.limits
        pending = frozenset(record.record_id for block in self._chain.kept(in_flight) for record in block.records)
        time_s = max(self._chain.head(self._core.last_index).time_s, self._clock())
        offered = self._proposals.select(
            time_s, limits.max_block_bytes - _HEADER_ROOM_BYTES, limits.max_block_records, pending
        )
        if not offered and (in_flight or not self.machine.close_possible(time_s)):
            return False
        self._offered = tuple(offered)
        try:
            self._core.propose(b"")
        except raft.ProposalDropped:
            self.counters["proposal dropped"] += 1
            return False
        finally:
            self._offered = ()
        return True

    def urgent(self) -> tuple[Outgoing, ...]:
        """What may be sent although the disk is busy: heartbeats and their answers, among others."""
        return tuple(self._outgoing(message) for message in self._core.take_messages())

    def poll(self) -> Work | None:
        """The next piece of work; None if there is nothing to do or one is under way."""
        if self._ready is not None:
            return None
        if not self._core.has_ready() and not self._certificates.has_unwritten():
            return None
        certificates = self._certificates.take_unwritten()
        ready = self._core.ready()
        self._ready = ready
        now = [self._outgoing(message) for message in ready.messages]
        if certificates and self.role == Role.LEADER:
            # Everybody learns at once what is final.
            now += self._certificates.tell(certificates[-1], [number for _, number in self.peers()])
        for entry in ready.entries:
            self._chain.keep(self._chain.read(entry))
        entries = tuple(
            Entry(entry.index, entry.term, int(entry.type), entry.data, self._chain.read(entry).block_hash)
            for entry in ready.entries
        )
        self._prepare(ready)
        sign = self._pledges.promise()
        hard = ready.hard_state
        batch = None
        if entries or certificates or hard is not None or sign is not None:
            batch = Batch(
                entries=entries,
                hard_state=None if hard is None else HardState(hard.term, hard.vote, hard.commit),
                sign_state=sign,
                certificates=tuple((c.height, to_payload(c)) for c in certificates),
                final_height=self.final_height,
            )
        return Work(tuple(now), batch)

    def persisted(self) -> tuple[Outgoing, ...]:
        """The batch of the last `poll` is on disk: sign, and say what to send."""
        ready = self._ready
        assert ready is not None, "persisted() without poll()"
        self._ready = None
        for entry in ready.entries:
            if self._intake.in_log(entry.index, entry.term):
                self._link(self._chain.read(entry))
        pledges = self._pledges
        if pledges.own_vote is not None:
            self._ballots.keep(pledges.own_vote.term, pledges.sign_vote(pledges.own_vote))
        if pledges.own_ack is not None and not self.halted:
            signature = pledges.sign_ack(pledges.own_ack)
            self._certified_now(self._finality.add_ack(self._key_id, pledges.own_ack, signature))
        after = tuple(self._outgoing(pledge.message, pledge.tip, pledge.vote, pledge.ack) for pledge in pledges.waiting)
        self._core.advance(ready)
        self._advance_final()
        self._drain()
        return after

    def take_final(self) -> list[FinalBlock]:
        """Blocks that became final and were executed since the last call."""
        final, self._final = self._final, []
        return final

    def take_faults(self) -> list[tuple[int, str]]:
        """Validators to be dropped for parcels that had to wait before they were judged, with the reason."""
        return self._intake.take_faults()

    def _drain(self) -> None:
        if not self.halted:
            self._intake.drain()

    # --- votes

    def _take_vote(self, sender: int, message: Message, parcel: Parcel) -> str | None:
        if message.term != self._core.term or self._core.state != Role.CANDIDATE or parcel.vote is None:
            return None if parcel.vote is not None else "vote without a signature"
        row = parcel.vote
        term, height, block = row[1]
        vote = Vote(
            term=message.term,
            candidate=self._key_id,
            candidate_tip=self._own_tip(),
            voter_tip=Tip(term=term, height=height, block=block),
            lock=row[2],
        )
        return self._ballots.take(row, vote, self._keys[sender])

    def _own_tip(self) -> Tip:
        return self._chain.tip(self._core.last_index)

    # --- acks and certificates

    def _take_ack(self, sender: int, parcel: Parcel) -> str | None:
        ack, signature = parcel.ack, parcel.ack_signature
        if ack is None or signature is None:
            return "ack without a signature"
        if ack.height <= self.final_height:
            return None
        key_id = key_id_of(self._keys[sender])
        if not self._finality.verify_ack(key_id, ack, signature, self._quorum):
            return "ack whose signature does not hold"
        self._certified_now(self._finality.add_ack(key_id, ack, signature))
        return None

    def _certified_now(self, certificate: Certificate | None) -> None:
        if certificate is not None:
            self._certificates.add(certificate)
            self._advance_final()

    def _take_certificate(self, certificate: Certificate) -> str | None:
        if certificate.height <= self.final_height:
            return None
        if self._finality.conflicting(certificate) and self._holds(certificate):
            self._halt(f"height {certificate.height}: a valid certificate names another block than the one here")
            return None
        if self._finality.has(certificate.height):
            fault = self._finality.add_certificate(certificate)
            if fault is not None:
                return fault
            self._certificates.add(certificate)
            self._advance_final()
            return None
        # For a block that is still to come: only a quorum's signatures make it worth keeping.
        if not self._holds(certificate):
            return f"certificate of height {certificate.height} does not hold"
        self._finality.add_certificate(certificate)
        return None

    def _holds(self, certificate: Certificate) -> bool:
        return (
            check_certificate(certificate, certificate.ack_term, self._quorum, self._chain_id, self._verifier) is None
        )

    def _link(self, block: Block) -> None:
        """A block is checked and on disk: it may be certified from now on."""
        self._chain.keep(block)
        link = Link(block.header.height, block.header.term, block.block_hash, self._quorum)
        certificate = self._finality.extend(link)
        if certificate is not None:
            self._certificates.add(certificate)

    def _advance_final(self) -> None:
        final = self._finality.final_height
        while self.machine.height < final and not self.halted:
            height = self.machine.height + 1
            block = self._chain.take(height)
            fault = self.machine.check_view(block)
            if fault is not None:
                self._halt(f"a certified block fails our own check: {fault}")
                return
            try:
                events = self.machine.apply(block)
            except StateMismatch as error:
                self._halt(str(error))
                return
            self._final.append(FinalBlock(block, events))
        self._core.commit_to(final)

    def _halt(self, reason: str) -> None:
        if self.halted is None:
            self.halted = reason
        self.counters["halted"] += 1

    # --- blocks going out

    def _seal(self, term: int, index: int, _payload: bytes, first_of_term: bool) -> bytes:
        """Make and sign the block of a new entry (called by the core, as leader)."""
        parent = self._chain.head(index - 1)
        election = self._ballots.election(term, self._key_id, self._own_tip()) if first_of_term else None
        records = () if first_of_term else self._offered
        state_hash = self.machine.state_hash()
        assert state_hash is not None
        header = Header(
            height=index,
            term=term,
            parent=parent.block_hash,
            tx_root=blocks.tx_root([record.envelope_bytes for record in records]),
            tx_count=len(records),
            state_height=self.machine.height,
            state_hash=state_hash,
            validators=self._quorum.config_hash(),
            next_validators=self._quorum.config_hash(),
            time_s=max(parent.time_s, self._clock()),
            election=blocks.election_hash(election) if election is not None else b"",
        )
        block = blocks.make(header, records, election, self._chain_id, self._key, self._signer)
        self._chain.keep(block)
        return block.encoded

    def _prepare(self, ready: Ready) -> None:
        """Fix what will be signed once this piece of work is on disk."""
        pledges, core = self._pledges, self._core
        pledges.begin()
        for message in ready.messages_after_persist:
            tip = vote = ack = None
            if message.kind == MessageKind.VOTE:
                tip = self._own_tip().block
            elif message.kind == MessageKind.VOTE_RESP and not message.reject:
                asked = self._ballots.tip_of(message.term, message.to)
                if asked is None:
                    self.counters["vote not given: request forgotten"] += 1
                    continue
                candidate = key_id_of(self._keys[message.to])
                vote = Vote(term=message.term, candidate=candidate, candidate_tip=asked, voter_tip=self._own_tip())
            elif message.kind == MessageKind.APP_RESP and not message.reject and message.index > self.final_height:
                ack = self._ack(message.index, message.term)
            pledges.waiting.append(Pledge(message, tip, vote, ack))
        hard = ready.hard_state
        if hard is not None and hard.vote == self.number and core.state == Role.CANDIDATE:
            tip_now = self._own_tip()
            pledges.own_vote = Vote(term=hard.term, candidate=self._key_id, candidate_tip=tip_now, voter_tip=tip_now)
        if ready.entries and ready.entries[-1].term == core.term and core.state == Role.LEADER:
            pledges.own_ack = self._ack(ready.entries[-1].index, core.term)

    def _ack(self, height: int, term: int) -> Ack:
        return self._pledges.ack(height, term, self._chain.head(height).block_hash)

    def _outgoing(
        self, message: Message, tip: bytes | None = None, vote: Vote | None = None, ack: Ack | None = None
    ) -> Outgoing:
        """Dress a message of the core with the signatures and certificates that go with it."""
        if self.halted:
            ack = None
        certificates: tuple[Certificate, ...] = ()
        if message.kind in (MessageKind.APP, MessageKind.HEARTBEAT):
            certificates = self._certificates.along(message)
        parcel = Parcel(
            message=pack(message),
            tip=tip,
            vote=None if vote is None else self._pledges.sign_vote(vote),
            ack=ack,
            ack_signature=None if ack is None else self._pledges.sign_ack(ack),
            certificates=certificates,
        )
        return Outgoing(message.to, parcel)


# What a header, an election certificate of ten votes and the framing need of a block.
_HEADER_ROOM_BYTES = 4096


_TRAVELLING = frozenset(MessageKind) - STORAGE_KINDS - {MessageKind.SNAP}
