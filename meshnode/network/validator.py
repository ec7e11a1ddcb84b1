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

from collections import Counter, deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

import msgspec
from meshnode.store import Batch, Entry, HardState, SignState

from meshnode.machine import Event, Machine, StateMismatch
from protocols import block as blocks
from protocols import cose, raft
from protocols.block import Block, BlockError, FormError, Parent, SignedRecord
from protocols.certificate import check_certificate
from protocols.cose import Signer, Verifier, key_id_of
from protocols.finality import Finality, Link
from protocols.parcel import Parcel, VoteRow, pack, unpack
from protocols.raft import BadMessage, Message, MessageKind, RawNode, Ready, Role
from protocols.raft.messages import STORAGE_KINDS
from protocols.records import Ack, Certificate, Election, Header, RecordError, Tip, Vote, read_as, to_payload

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


class StoredLog(Protocol):
    """What a validator reads from the disk; see `meshnode.store.Store`."""

    def hard_state(self) -> HardState: ...
    def sign_state(self) -> SignState: ...
    def first_index(self) -> int: ...
    def last_index(self) -> int: ...
    def term(self, index: int) -> int: ...
    def entry(self, index: int) -> Entry: ...
    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]: ...
    def final_height(self) -> int: ...
    def certificate_below(self, height: int) -> tuple[int, bytes] | None: ...


class Proposals(Protocol):
    """Where a leader finds the records of its next block; see `meshnode.mempool.Mempool`."""

    def select(self, time_s: int, max_bytes: int, max_records: int, exclude: frozenset[bytes]) -> list[SignedRecord]:
        """Records that the state machine would take now, oldest first."""


class Outgoing(msgspec.Struct, frozen=True):
    """A parcel and the number of the validator it goes to."""

    to: int
    parcel: Parcel


class Work(msgspec.Struct, frozen=True):
    """What to send now and what to write; see the contract."""

    now: tuple[Outgoing, ...]
    batch: Batch | None


class FinalBlock(msgspec.Struct, frozen=True):
    """A block that became final here, with what executing it did."""

    block: Block
    events: tuple[Event, ...]


class _Prepared(msgspec.Struct, frozen=True):
    """A message that waits for the disk, with what is to be signed for it, fixed before the write.

    While the disk works, other messages may change log and term; what was promised to
    the disk is what gets signed.
    """

    message: Message
    tip: bytes | None = None
    vote: Vote | None = None
    ack: Ack | None = None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Timing of a validator, in ticks, and the size of its appends."""

    election_ticks: int = 20
    heartbeat_ticks: int = 5
    max_append_bytes: int = 192 * 1024
    priority: int = 0


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
        self._chain = machine.chain_id
        self._quorum = machine.quorum
        self._ids = {key: number for number, (key, _) in enumerate(self._quorum.voters, 1)}
        self._keys = {number: key for key, number in self._ids.items()}
        self.number = self._ids[device_key]
        self._finality = Finality(self._chain, verifier, log.final_height())
        self._blocks: dict[int, Block] = {}
        self._heads: dict[int, Parent] = {0: Parent.of_genesis(machine.genesis, self._chain)}
        self._certificates: list[Certificate] = []
        self._newest: Certificate | None = None
        self._told: dict[int, int] = {}
        self._tips: dict[tuple[int, int], Tip] = {}
        self._votes: dict[int, dict[bytes, VoteRow]] = {}
        self._sign = log.sign_state()
        self._ready: Ready | None = None
        self._prepared: list[_Prepared] = []
        self._own_vote: Vote | None = None
        self._own_ack: Ack | None = None
        self._parked: deque[tuple[int, Message]] = deque()
        self._final: list[FinalBlock] = []
        self._faults: list[tuple[int, str]] = []
        self._offered: tuple[SignedRecord, ...] = ()
        below = log.certificate_below(log.final_height())
        if below is not None:
            self._newest = read_as(Certificate, below[1])
        for index in range(log.final_height() + 1, log.last_index() + 1):
            self._link(self._load(index))
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
            _CoreStorage(log, tuple(self._keys)),
            random=random,
            sealer=self._seal,
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
        return self._newest

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
        self._drain_parked()

    def unreachable(self, number: int) -> None:
        """What was last sent to this validator may not have arrived."""
        self._told.pop(number, None)
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
            return self._take_append(sender, message)
        if message.kind == MessageKind.VOTE and not self._take_vote_request(sender, message, parcel):
            return None
        if message.kind == MessageKind.VOTE_RESP and not message.reject:
            fault = self._take_vote(sender, message, parcel)
            if fault is not None:
                return fault
        if message.kind == MessageKind.APP_RESP and parcel.ack is not None:
            fault = self._take_ack(sender, parcel)
            if fault is not None:
                return fault
        return self._step(message)

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
        under_way = [self._blocks[height] for height in in_flight if height in self._blocks]
        pending = frozenset(record.record_id for block in under_way for record in block.records)
        time_s = max(self._head(self._core.last_index).time_s, self._clock())
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
        certificates, self._certificates = self._certificates, []
        if not self._core.has_ready() and not certificates:
            return None
        ready = self._core.ready()
        self._ready = ready
        now = [self._outgoing(message) for message in ready.messages]
        if certificates:
            now += self._tell(certificates[-1])
        entries = tuple(
            Entry(entry.index, entry.term, int(entry.type), entry.data, self._block_of(entry).block_hash)
            for entry in ready.entries
        )
        self._prepare(ready)
        sign = self._promised()
        hard = ready.hard_state
        batch = None
        if entries or certificates or hard is not None or sign != self._sign:
            batch = Batch(
                entries=entries,
                hard_state=None if hard is None else HardState(hard.term, hard.vote, hard.commit),
                sign_state=sign,
                certificates=tuple((c.height, to_payload(c)) for c in certificates),
                final_height=self.final_height,
            )
        self._sign = sign
        return Work(tuple(now), batch)

    def persisted(self) -> tuple[Outgoing, ...]:
        """The batch of the last `poll` is on disk: sign, and say what to send."""
        ready = self._ready
        assert ready is not None, "persisted() without poll()"
        self._ready = None
        for entry in ready.entries:
            if self._in_log(entry.index, entry.term):
                self._link(self._block_of(entry))
        if self._own_vote is not None:
            self._keep_vote(self._own_vote.term, self._vote_row(self._own_vote))
        if self._own_ack is not None and not self.halted:
            self._certified_now(
                self._finality.add_ack(self._key_id, self._own_ack, self._sign_as(Ack.KIND, self._own_ack))
            )
        after = tuple(
            self._outgoing(prepared.message, prepared.tip, prepared.vote, prepared.ack) for prepared in self._prepared
        )
        self._core.advance(ready)
        self._advance_final()
        self._drain_parked()
        return after

    def take_final(self) -> list[FinalBlock]:
        """Blocks that became final and were executed since the last call."""
        final, self._final = self._final, []
        return final

    def take_faults(self) -> list[tuple[int, str]]:
        """Validators to be dropped for parcels that had to wait before they were judged, with the reason."""
        faults, self._faults = self._faults, []
        return faults

    # --- blocks coming in

    def _take_append(self, sender: int, message: Message) -> str | None:
        if self._parked or not self._can_check(message):
            if len(self._parked) >= MAX_PARKED:
                self.counters["append dropped: too many wait"] += 1
                return None
            self._parked.append((sender, message))
            self._drain_parked()
            return None
        return self._check_and_step(message)

    def _drain_parked(self) -> None:
        while self._parked:
            _, message = self._parked[0]
            if message.term < self._core.term:
                self._parked.popleft()
                continue
            follows = self._follows(message)
            ready = self._checkable(message) if follows else len(message.entries)
            if ready == 0:
                return
            self._parked.popleft()
            if ready < len(message.entries):
                # The head of the batch can be taken; the rest waits for it to be final.
                rest = msgspec.structs.replace(
                    message,
                    index=message.entries[ready - 1].index,
                    log_term=message.entries[ready - 1].term,
                    entries=message.entries[ready:],
                )
                self._parked.appendleft((message.sender, rest))
                message = msgspec.structs.replace(message, entries=message.entries[:ready])
            fault = self._check_and_step(message)
            if fault is not None:
                self._faults.append((message.sender, fault))

    def _can_check(self, message: Message) -> bool:
        return not self._follows(message) or self._checkable(message) == len(message.entries)

    def _in_log(self, height: int, term: int) -> bool:
        return (height, term) == (0, 0) or (0 < height <= self._core.last_index and self._core.term_of(height) == term)

    def _follows(self, message: Message) -> bool:
        """Whether the entry before the batch is in our log (else Raft refuses it without looking at blocks)."""
        return message.term >= self._core.term and self._in_log(message.index, message.log_term)

    def _checkable(self, message: Message) -> int:
        """How many of the entries can be judged now: certified, or their state is applied and their time has come."""
        certified = self._certified_until(message)
        for count, entry in enumerate(message.entries):
            if entry.index <= certified or self._in_log(entry.index, entry.term):
                continue
            try:
                head = self._read(entry).header
            except BlockError:
                return count + 1  # it will be refused with its reason
            if head.state_height > self.machine.height:
                return count
            if head.time_s > self._clock() + self.machine.genesis.max_drift_s:
                self.counters["append held: time ahead of our clock"] += 1
                return count
        return len(message.entries)

    def _certified_until(self, message: Message) -> int:
        """Up to which height the batch leads to a block that a certificate we hold names by its hash.

        Such blocks are final already: a quorum answered for view and clock when they
        were made, and `check_form` links every block before the certified one to it.
        """
        first = message.entries[0].index
        for certificate in self._finality.pending():
            place = certificate.height - first
            if 0 <= place < len(message.entries):
                try:
                    block = self._read(message.entries[place])
                except BlockError:
                    continue
                if block.block_hash == certificate.block:
                    return certificate.height
        return 0

    def _check_and_step(self, message: Message) -> str | None:
        """The gates, then Raft. A block that fails the gate of form ends the leader's connection."""
        if self.halted:
            self.counters["append refused: halted"] += 1
            return None
        checked: list[Block] = []
        if self._follows(message):
            certified = self._certified_until(message)
            parent = self._head(message.index)
            for entry in message.entries:
                if not checked and self._in_log(entry.index, entry.term):
                    parent = self._head(entry.index)
                    continue
                try:
                    candidate = self._read(entry)
                    if (candidate.header.height, candidate.header.term) != (entry.index, entry.term):
                        raise FormError(f"block {candidate.header.height}: sent as entry {entry.index}")
                    blocks.check_form(
                        candidate, parent, self._quorum, self.machine.genesis, self._chain, self._verifier
                    )
                except (BlockError, FormError) as error:
                    self.counters["block refused: form"] += 1
                    return str(error)
                if entry.index > certified and not self._may_acknowledge(candidate):
                    return None
                checked.append(candidate)
                parent = Parent.of(candidate)
        fault = self._step(message)
        for block in checked:
            # Raft may have had its own reasons not to take them.
            if self._in_log(block.header.height, block.header.term):
                self._blocks[block.header.height] = block
                self._remember(Parent.of(block))
        return fault

    def _may_acknowledge(self, block: Block) -> bool:
        """The gate of view, and whether the leader's state is ours."""
        head = block.header
        fault = self.machine.check_view(block)
        if fault is not None:
            self.counters[f"block refused: {fault.rsplit(': ', 1)[-1]}"] += 1
            return False
        ours = self.machine.state_hash(head.state_height)
        if ours is not None and ours != head.state_hash:
            self._halt(
                f"state after height {head.state_height}: ours is {ours.hex()}, "
                f"the leader signed {head.state_hash.hex()}"
            )
            return False
        return True

    def _step(self, message: Message) -> str | None:
        refusal = self._core.step(message)
        if isinstance(refusal, BadMessage):
            self.counters[f"message refused: {refusal.fault.value}"] += 1
            return str(refusal) if refusal.fault.blame else None
        return None

    # --- votes

    def _take_vote_request(self, sender: int, message: Message, parcel: Parcel) -> bool:
        if parcel.tip is None:
            self.counters["vote request without a tip"] += 1
            return False
        if len(self._tips) >= MAX_CANDIDATE_TIPS:
            self._tips.pop(min(self._tips))
        self._tips[(message.term, sender)] = Tip(term=message.log_term, height=message.index, block=parcel.tip)
        return True

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
        key = self._keys[sender]
        envelope = cose.Envelope(row[0], to_payload(vote), row[3])
        if not envelope.verify(Vote.KIND, self._chain, key, self._verifier):
            return "vote whose signature does not hold"
        self._keep_vote(message.term, row)
        return None

    def _keep_vote(self, term: int, row: VoteRow) -> None:
        for stale in [known for known in self._votes if known < term]:
            del self._votes[stale]
        self._votes.setdefault(term, {})[row[0]] = row

    def _vote_row(self, vote: Vote) -> VoteRow:
        own = vote.voter_tip
        return (self._key_id, (own.term, own.height, own.block), vote.lock, self._sign_as(Vote.KIND, vote))

    def _sign_as(self, kind: int, statement: Ack | Vote) -> bytes:
        return cose.sign(kind, self._chain, to_payload(statement), self._key, self._signer).signature

    def _own_tip(self) -> Tip:
        head = self._head(self._core.last_index)
        return Tip(term=head.term, height=head.height, block=head.block_hash)

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

    def _ack(self, height: int, term: int) -> Ack:
        return Ack(
            validators=self._quorum.config_hash(),
            ack_term=term,
            height=height,
            block=self._head(height).block_hash,
        )

    def _certified_now(self, certificate: Certificate | None) -> None:
        if certificate is not None:
            self._new_certificate(certificate)
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
            self._new_certificate(certificate)
            self._advance_final()
            return None
        # For a block that is still to come: only a quorum's signatures make it worth keeping.
        if not self._holds(certificate):
            return f"certificate of height {certificate.height} does not hold"
        self._finality.add_certificate(certificate)
        return None

    def _holds(self, certificate: Certificate) -> bool:
        return check_certificate(certificate, certificate.ack_term, self._quorum, self._chain, self._verifier) is None

    def _new_certificate(self, certificate: Certificate) -> None:
        self._certificates.append(certificate)
        if self._newest is None or certificate.height > self._newest.height:
            self._newest = certificate

    def _link(self, block: Block) -> None:
        """A block is checked and on disk: it may be certified from now on."""
        self._remember(Parent.of(block))
        link = Link(block.header.height, block.header.term, block.block_hash, self._quorum)
        certificate = self._finality.extend(link)
        if certificate is not None:
            self._new_certificate(certificate)

    def _advance_final(self) -> None:
        final = self._finality.final_height
        while self.machine.height < final and not self.halted:
            height = self.machine.height + 1
            block = self._blocks.pop(height, None) or self._load(height)
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
        parent = self._head(index - 1)
        election = self._election(term) if first_of_term else None
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
        block = blocks.make(header, records, election, self._chain, self._key, self._signer)
        self._blocks[index] = block
        self._remember(Parent.of(block))
        return block.encoded

    def _election(self, term: int) -> Election:
        rows = self._votes.get(term, {})
        return Election(
            term=term, candidate=self._key_id, candidate_tip=self._own_tip(), votes=tuple(sorted(rows.values()))
        )

    def _prepare(self, ready: Ready) -> None:
        """Fix what will be signed once this piece of work is on disk."""
        self._prepared, self._own_vote, self._own_ack = [], None, None
        for message in ready.messages_after_persist:
            tip = vote = ack = None
            if message.kind == MessageKind.VOTE:
                tip = self._own_tip().block
            elif message.kind == MessageKind.VOTE_RESP and not message.reject:
                asked = self._tips.get((message.term, message.to))
                if asked is None:
                    self.counters["vote not given: request forgotten"] += 1
                    continue
                vote = Vote(
                    term=message.term,
                    candidate=key_id_of(self._keys[message.to]),
                    candidate_tip=asked,
                    voter_tip=self._own_tip(),
                )
            elif message.kind == MessageKind.APP_RESP and not message.reject and message.index > self.final_height:
                ack = self._ack(message.index, message.term)
            self._prepared.append(_Prepared(message, tip, vote, ack))
        hard = ready.hard_state
        if hard is not None and hard.vote == self.number and self._core.state == Role.CANDIDATE:
            tip_now = self._own_tip()
            self._own_vote = Vote(term=hard.term, candidate=self._key_id, candidate_tip=tip_now, voter_tip=tip_now)
        if ready.entries and ready.entries[-1].term == self._core.term and self._core.state == Role.LEADER:
            self._own_ack = self._ack(ready.entries[-1].index, self._core.term)

    def _promised(self) -> SignState:
        """The sign state that covers everything prepared: written before anything is signed."""
        sign = self._sign
        vote = (sign.vote_term, sign.vote_candidate)
        ack = (sign.ack_term, sign.ack_height, sign.ack_block)
        for given in (*(prepared.vote for prepared in self._prepared), self._own_vote):
            if given is not None:
                vote = max(vote, (given.term, given.candidate))
        for made in (*(prepared.ack for prepared in self._prepared), self._own_ack):
            if made is not None:
                ack = max(ack, (made.ack_term, made.height, made.block))
        if (*vote, *ack) == msgspec.structs.astuple(sign)[:-1]:
            return sign
        return SignState(*vote, *ack, sign.sequence + 1)

    def _outgoing(
        self, message: Message, tip: bytes | None = None, vote: Vote | None = None, ack: Ack | None = None
    ) -> Outgoing:
        """Dress a message of the core with the signatures and certificates that go with it."""
        if self.halted:
            ack = None
        certificates: Sequence[Certificate] = ()
        if message.kind in (MessageKind.APP, MessageKind.HEARTBEAT):
            certificates = self._certificates_for(message)
        parcel = Parcel(
            message=pack(message),
            tip=tip,
            vote=None if vote is None else self._vote_row(vote),
            ack=ack,
            ack_signature=None if ack is None else self._sign_as(Ack.KIND, ack),
            certificates=tuple(certificates),
        )
        return Outgoing(message.to, parcel)

    def _certificates_for(self, message: Message) -> list[Certificate]:
        """The certificate that covers most of the entries sent along, and the newest if the peer lacks it."""
        found: dict[int, Certificate] = {}
        if message.entries:
            covering = self._log.certificate_below(message.entries[-1].index)
            if covering is not None and covering[0] >= message.entries[0].index:
                found[covering[0]] = read_as(Certificate, covering[1])
        newest = self._newest
        if newest is not None and (
            message.kind == MessageKind.HEARTBEAT or self._told.get(message.to, 0) < newest.height
        ):
            self._told[message.to] = newest.height
            found[newest.height] = newest
        return [found[height] for height in sorted(found)]

    def _tell(self, certificate: Certificate) -> list[Outgoing]:
        """As leader: everybody learns at once what is final."""
        if self.role != Role.LEADER:
            return []
        told = []
        for number in self._keys:
            if number != self.number and self._told.get(number, 0) < certificate.height:
                self._told[number] = certificate.height
                told.append(Outgoing(number, Parcel(certificates=(certificate,))))
        return told

    # --- heads of blocks

    def _read(self, entry: raft.Entry) -> Block:
        known = self._blocks.get(entry.index)
        if known is not None and known.encoded == entry.data:
            return known
        return blocks.read(entry.data, self._chain)

    def _block_of(self, entry: raft.Entry) -> Block:
        block = self._read(entry)
        self._blocks[entry.index] = block
        return block

    def _load(self, height: int) -> Block:
        return blocks.read(self._log.entry(height).data, self._chain)

    def _head(self, height: int) -> Parent:
        known = self._heads.get(height)
        if known is None:
            known = Parent.of(self._load(height))
            self._remember(known)
        return known

    def _remember(self, head: Parent) -> None:
        self._heads[head.height] = head
        if len(self._heads) > HEADS_KEPT:
            for height in sorted(self._heads)[1 : HEADS_KEPT // 2]:
                del self._heads[height]


# What a header, an election certificate of ten votes and the framing need of a block.
_HEADER_ROOM_BYTES = 4096


_TRAVELLING = frozenset(MessageKind) - STORAGE_KINDS - {MessageKind.SNAP}


class _CoreStorage:
    """The core's view of the log: entries and hard state, and a membership that the genesis fixes."""

    def __init__(self, log: StoredLog, voters: tuple[int, ...]) -> None:
        self._log = log
        self._voters = voters

    def initial_state(self) -> tuple[raft.HardState, raft.MembershipState]:
        hard = self._log.hard_state()
        return raft.HardState(hard.term, hard.vote, hard.commit), raft.MembershipState(voters=self._voters)

    def entries(self, low: int, high: int, max_bytes: int) -> list[raft.Entry]:
        return [
            raft.Entry(entry.term, entry.index, raft.EntryType(entry.kind), entry.data)
            for entry in self._log.entries(low, high, max_bytes)
        ]

    def term(self, index: int) -> int:
        if index > self._log.last_index():
            raise raft.Unavailable(f"term of entry {index}: the log ends at {self._log.last_index()}")
        return self._log.term(index)

    def first_index(self) -> int:
        return self._log.first_index()

    def last_index(self) -> int:
        return self._log.last_index()

    def snapshot(self) -> raft.Snapshot:
        raise raft.SnapshotTemporarilyUnavailable("the log is whole; nobody needs a snapshot")
