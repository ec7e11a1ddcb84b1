"""Cluster: validators of one microgrid in one thread, with disks, wires and clocks made of lists and numbers.

After every step it is checked what must hold whatever happens: `_Witness`. A disk may
be slow (`slow`), a node may lose power at any of four moments (`Moment`), wires lose,
double and reorder what they carry, clocks differ (`offset_s`), and `lie` sends what a
dishonest validator could send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from random import Random
from typing import Any

import msgspec

from meshnode.keys import SignatureCheck
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine, RecordDone
from meshnode.market.registry import installed_mechanisms
from meshnode.mempool import Mempool
from meshnode.network.validator import Validator
from meshnode.network.work import FinalBlock, Outgoing, Settings
from meshnode.store import Batch, Entry
from protocols import block as blocks
from protocols.certificate import QuorumConfig
from protocols.locks import NOWHERE, place_of
from protocols.parcel import Parcel, pack
from protocols.raft import Message, MessageKind, Role
from protocols.records import (
    PHASE_COMMIT,
    QUORUM_BYZANTINE,
    Certificate,
    read_as,
    to_payload,
)
from tests.network.disks import Disk
from tests.protocols.keys import KeyPair
from tests.protocols.village import START_S, Village, device
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

PERIOD_S = 900
ELECTION_TICKS = 10
# One for all: the same signatures arrive at every node, and a good one stays good.
_CHECK = SignatureCheck()


class Moment(Enum):
    """When the power fails."""

    IDLE = "with nothing being written"
    BEFORE_PERSIST = "the batch is not on the disk"
    BEFORE_PERSISTED = "the batch is on the disk, the validator does not know"
    BEFORE_SENDING = "signed, but nothing was sent"


class Writing(msgspec.Struct):
    """A batch on its way to a disk, there at tick `due`."""

    batch: Batch | None
    due: int


class _Witness:
    """Sees everything that any node writes, signs and executes, also across restarts, and compares."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[bytes, int], Any] = {}
        self.acks: dict[tuple[bytes, int, int], bytes] = {}
        self.blocks: dict[tuple[int, int], bytes] = {}
        self.final: dict[int, bytes] = {}
        self.states: dict[int, bytes | None] = {}
        self.effective: dict[bytes, int] = {}
        self.checked: dict[str, int] = {}
        self.elections: set[bytes] = set()

    def signed(self, home: str, outgoing: Outgoing) -> None:
        """A parcel leaves an honest node."""
        key_id, disk, parcel = device(home).key_id, self._cluster.disks[home], outgoing.parcel
        if parcel.vote is not None:
            assert parcel.message is not None
            term, candidate = parcel.message.term, self._cluster.names[outgoing.to]
            self.vote(key_id, term, device(candidate).key_id)
            assert disk.hard.term > term or (disk.hard.term, disk.hard.vote) == (term, outgoing.to), "vote not on disk"
            assert (disk.sign.vote_term, disk.sign.vote_candidate) >= (term, device(candidate).key_id)
            assert parcel.vote[1][0] < term, "the voter's tip is of the term that it votes about"
            # Who may have forgotten a lock votes by those of the others.
            licence = self._cluster.validators[home].licence
            lock = max(disk.lock_place(), place_of(licence.lock) if disk.final < licence.until else NOWHERE)
            assert parcel.vote[2] is None or parcel.vote[2][:2] <= lock, f"{home}: the lock of its vote is not on disk"
            if self._cluster.byzantine:
                assert (parcel.vote[2] or NOWHERE)[:2] == lock, f"{home}: the vote hides its lock"
        message = parcel.message
        if message is not None and message.kind == MessageKind.VOTE and message.index:
            entry = disk.log[message.index]
            assert (entry.term, entry.block_hash) == (message.log_term, parcel.tip), f"{home}: asks with a false tip"
        if parcel.ack is not None:
            ack = parcel.ack
            self.ack(key_id, ack.ack_term, ack.height, ack.block)
            entry = disk.log.get(ack.height)
            assert entry is not None and entry.block_hash == ack.block, f"{home}: ack of a block that is not on disk"
            assert entry.term == ack.ack_term <= disk.hard.term, f"{home}: ack of a term that is not the block's"
            assert (disk.sign.ack_term, disk.sign.ack_height) >= (ack.ack_term, ack.height), "ack not promised"
            if self._cluster.byzantine and ack.phase == PHASE_COMMIT:
                assert disk.lock_place() >= (ack.ack_term, ack.height), f"{home}: committed without a lock on disk"
        for certificate in parcel.certificates:
            self.certificate(certificate)

    def vote(self, voter: bytes, term: int, candidate: bytes) -> None:
        assert self.votes.setdefault((voter, term), candidate) == candidate, f"two votes in term {term}"

    def ack(self, signer: bytes, term: int, height: int, block: bytes) -> None:
        assert self.acks.setdefault((signer, term, height), block) == block, f"two acks of {height} in term {term}"

    def certificate(self, certificate: Certificate) -> None:
        for key_id, _ in certificate.signatures:
            self.ack(key_id, certificate.ack_term, certificate.height, certificate.block)

    def written(self, batch: Batch) -> None:
        """Log matching: one block for one term and height, and blocks name their parents."""
        for entry in batch.entries:
            place = (entry.term, entry.index)
            if self._cluster.lied(entry):
                continue
            assert self.blocks.setdefault(place, entry.block_hash) == entry.block_hash, f"two blocks at {place}"
            block = blocks.read(entry.data, self._cluster.village.chain_id)
            assert (block.header.term, block.header.height) == place
            assert not block.records or not block.election, "a term begins with an empty block"
            if block.election is not None and block.block_hash not in self.elections:
                self.elections.add(block.block_hash)
                quorum = self._cluster.quorum_of(block.header.validators)
                assert quorum.is_quorum(row[0] for row in block.election.votes)
                for row in block.election.votes:
                    if not self._cluster.is_honest(row[0]):
                        continue
                    voter = next(home for home in self._cluster.village.homes if device(home).key_id == row[0])
                    promised = self._cluster.disks[voter].sign
                    assert (promised.vote_term, promised.vote_candidate) >= (
                        block.election.term,
                        block.election.candidate,
                    ), f"the vote of {voter} was not promised"
                    self.vote(row[0], block.election.term, block.election.candidate)

    def executed(self, home: str, final: list[FinalBlock]) -> None:
        for done in final:
            height = done.block.header.height
            same = self.final.setdefault(height, done.block.block_hash) == done.block.block_hash
            assert same or self._cluster.may_fork, f"fork at {height}"
            written = self._cluster.disks[home].log.get(height)
            assert written is not None and written.block_hash == done.block.block_hash, "executed before it was on disk"
            for event in done.events:
                if isinstance(event, RecordDone) and event.verdict == Verdict.ACCEPTED:
                    assert self.effective.setdefault(event.record_id, height) == height, "a record took effect twice"
        if final and home not in self._cluster.may_halt:
            machine = self._cluster.validators[home].machine
            ours = machine.state_hash()
            same = self.states.setdefault(machine.height, ours) == ours
            assert same or self._cluster.may_fork, f"states differ at {machine.height}"

    def check(self) -> None:
        cluster = self._cluster
        for home, validator in cluster.validators.items():
            if validator.role == Role.LEADER and home not in cluster.liars:
                known = self.leaders.setdefault(validator.term, home)
                assert known == home, f"term {validator.term}: {known} and {home} lead"
            disk = cluster.disks[home]
            for height in range(self.checked.get(home, 0) + 1, disk.final + 1):
                block = disk.log[height].block_hash
                same = self.final.setdefault(height, block) == block
                assert same or cluster.may_fork, f"{home}: {height} is final with another block"
            self.checked[home] = disk.final
            assert not [name for name in validator.counters if "not applied here" in name], "judged without its state"
            if home in cluster.down:
                continue
            assert validator.halted is None or home in cluster.may_halt, f"{home}: {validator.halted}"
        for home, validator in cluster.validators.items():
            named = [case for case in validator.watcher.cases if cluster.is_honest(case.accused)]
            assert not named, f"{home} accuses an honest node: {named[0]}"
        honest = [fault for fault in cluster.faults if fault[0] not in cluster.liars]
        assert not honest, f"honest node dropped: {honest[:3]}"


class Cluster:
    """`size` validators; `down` and `cut` say which are off and which links are broken.

    liars: homes whose machine lies; they may be dropped. may_halt: nodes that may stop for a fork.
    forged: homes with whose keys the test itself has signed. may_fork: liars bring about two histories.
    """

    def __init__(self, size: int, seed: int = 1, **genesis: Any) -> None:
        self.seed = seed
        self.random = Random(seed)
        binding = read(preset("neighbour_market"))
        self.village = Village(
            size, binding=encode(binding), binding_text=preset("neighbour_market").encode(), **genesis
        )
        self.byzantine = self.village.genesis.quorum_mode == QUORUM_BYZANTINE
        self.now_s = START_S
        self.ticks = 0
        self.offset_s: dict[str, int] = {}
        self.disks = {home: Disk() for home in self.village.homes}
        self.down: set[str] = set()
        self.cut: set[tuple[str, str]] = set()
        self.wires: list[tuple[str, str, bytes]] = []
        self.writing: dict[str, Writing] = {}
        self.validators: dict[str, Validator] = {}
        self.pools: dict[str, Mempool] = {}
        self.slow: dict[str, int] = {}
        self.loss = self.doubling = self.reordering = 0
        self.faults: list[tuple[str, str, str]] = []
        self.liars: set[str] = set()
        self.may_halt: set[str] = set()
        # What a liar sends to a home instead of a parcel of its validator.
        self.tamper: dict[str, Callable[[str, Parcel], Iterable[Parcel]]] = {}
        self.forged: set[str] = set()
        self.may_fork = False
        self.witness = _Witness(self)
        for home in self.village.homes:
            self.start(home)
        self.names = {validator.number: home for home, validator in self.validators.items()}

    def machine(self, home: str) -> Machine:
        disk = self.disks[home]
        machine = Machine(self.village.genesis, self.village.chain_id, installed_mechanisms(), _CHECK)
        for height in range(1, disk.final + 1):
            machine.apply(blocks.read(disk.log[height].data, self.village.chain_id))
        return machine

    def start(self, home: str) -> None:
        key: KeyPair = device(home)
        machine = self.machine(home)
        self.pools[home] = Mempool(machine)
        self.validators[home] = Validator(
            machine,
            self.disks[home],
            self.pools[home],
            key.public,
            key.sign,
            _CHECK,
            lambda: self.now_s + self.offset_s.get(home, 0),
            Random(self.random.random()),
            Settings(election_ticks=ELECTION_TICKS, heartbeat_ticks=2),
        )
        self.down.discard(home)

    def stop(self, home: str, moment: Moment = Moment.IDLE) -> None:
        """Power off: what is not on the disk is gone."""
        writing = self.writing.pop(home, None)
        if writing is not None and moment is not Moment.BEFORE_PERSIST:
            self._persist(home, writing.batch)
            if moment is Moment.BEFORE_SENDING:
                self.validators[home].persisted()
        self.down.add(home)

    def stop_writing(self, home: str, moment: Moment) -> bool:
        """Power off at a moment of the next write, if there is something to write."""
        work = self.validators[home].poll() if home not in self.writing else None
        if work is not None:
            self.send(home, work.now)
            self.writing[home] = Writing(work.batch, self.ticks)
        written = home in self.writing
        self.stop(home, moment)
        return written

    def add(self, signed: Any, homes: list[str] | None = None) -> None:
        """A record reaches these mempools (else all)."""
        for home in homes or self.village.homes:
            refusal = self.pools[home].add(signed, self.now_s)
            assert refusal is None, refusal

    def step(self) -> None:
        """One tick, then everything that follows from it."""
        self.ticks += 1
        for home, validator in self.validators.items():
            if home not in self.down:
                validator.tick()
                validator.propose()
                self.send(home, validator.urgent())
        self.settle()
        self.witness.check()

    def settle(self) -> None:
        """Work and deliver until nothing moves but slow disks."""
        busy = True
        while busy:
            busy = False
            for home in self.village.homes:
                if home not in self.down:
                    busy |= self.work(home)
            while self.wires:
                busy = True
                self.deliver()

    def deliver(self) -> None:
        """The next parcel arrives, or a later one, or twice, or never."""
        place = 0
        if self.reordering and self.random.randrange(100) < self.reordering:
            place = self.random.randrange(len(self.wires))
        sender, receiver, data = self.wires.pop(place)
        if self.doubling and self.random.randrange(100) < self.doubling:
            self.wires.insert(self.random.randrange(len(self.wires) + 1), (sender, receiver, data))
        if receiver in self.down or (sender, receiver) in self.cut:
            return
        if self.loss and self.random.randrange(100) < self.loss:
            return
        self.hand_over(sender, receiver, read_as(Parcel, data))

    def hand_over(self, sender: str, receiver: str, parcel: Parcel) -> str | None:
        """A parcel of `sender` arrives; the reason for which `sender` would be dropped."""
        number = self.validators[receiver].number_of(device(sender).public)
        assert number is not None
        fault = self.validators[receiver].receive(number, parcel)
        if fault:
            self.faults.append((sender, receiver, fault))
        if receiver in self.writing:
            # What need not wait for the disk.
            self.send(receiver, self.validators[receiver].urgent())
        return fault

    def is_honest(self, key_id: bytes) -> bool:
        """Whether this is the device key id of a node that does not lie, and whose key no test has used."""
        return not any(device(liar).key_id == key_id for liar in self.liars | self.forged)

    def quorum_of(self, config_hash: bytes) -> QuorumConfig:
        """The configuration of a hash that an executed block announces."""
        for validator in self.validators.values():
            for _, row in validator.machine.state.quorums.items():
                config = QuorumConfig(row.mode, row.voters)
                if config.config_hash() == config_hash:
                    return config
        raise AssertionError(f"validators {config_hash.hex()} were never decided")

    def lied(self, entry: Entry) -> bool:
        """Whether a liar made this block."""
        leader = blocks.read(entry.data, self.village.chain_id).leader
        return any(device(liar).key_id == leader for liar in self.liars)

    def lie(self, liar: str, receiver: str, kind: MessageKind, **fields: Any) -> str | None:
        """The liar's own parcel arrives: a message of Raft's with what else the parcel carries."""
        self.liars.add(liar)
        extra = {name: fields.pop(name) for name in list(fields) if name in Parcel.__struct_fields__}
        message = Message(kind=kind, **fields)
        return self.hand_over(liar, receiver, read_as(Parcel, to_payload(Parcel(message=pack(message), **extra))))

    def work(self, home: str) -> bool:
        validator, did = self.validators[home], False
        while True:
            if home in self.writing:
                if self.writing[home].due > self.ticks:
                    break
                writing = self.writing.pop(home)
                self._persist(home, writing.batch)
                self.send(home, validator.persisted())
                did = True
            work = validator.poll()
            if work is None:
                break
            did = True
            self.send(home, work.now)
            delay = self.random.randrange(self.slow.get(home, 0) + 1) if work.batch is not None else 0
            self.writing[home] = Writing(work.batch, self.ticks + delay)
        for number, reason in validator.take_faults():
            self.faults.append((self.names[number], home, reason))
        final = validator.take_final()
        self.witness.executed(home, final)
        for block in final:
            self.pools[home].final([record.record_id for record in block.block.records])
        return did

    def _persist(self, home: str, batch: Batch | None) -> None:
        if batch is not None:
            self.disks[home].persist(batch)
            self.witness.written(batch)

    def send(self, home: str, outgoing: Any) -> None:
        for item in outgoing:
            if home not in self.liars:
                self.witness.signed(home, item)
            to = self.names[item.to]
            for parcel in self.tamper[home](to, item.parcel) if home in self.tamper else (item.parcel,):
                self.wires.append((home, to, to_payload(parcel)))

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.step()

    def heal(self) -> None:
        """Everybody is on, hears everybody, and writes quickly."""
        self.loss = self.doubling = self.reordering = 0
        self.cut, self.slow, self.offset_s = set(), {}, {}
        for home in sorted(self.down):
            self.start(home)

    def leader(self) -> str | None:
        leaders = [
            home
            for home, validator in self.validators.items()
            if home not in self.down and validator.role == Role.LEADER
        ]
        return max(leaders, key=lambda home: self.validators[home].term) if leaders else None

    def followers(self) -> list[str]:
        return [home for home in self.village.homes if home not in (self.leader(), *self.down)]

    def until(self, condition: Any, ticks: int = 400) -> None:
        for _ in range(ticks):
            if condition():
                return
            self.step()
        raise AssertionError(
            f"not reached in {ticks} ticks; "
            + "; ".join(
                f"{home}: {v.role} term {v.term} final {v.final_height} last {v.last_height} {v.halted} "
                f"{dict(v.counters)}"
                for home, v in self.validators.items()
            )
            + f" faults {self.faults[-3:]}"
        )

    def founded(self) -> str:
        """Until somebody leads and everybody has the first block; who leads."""
        self.until(lambda: self.leader() and self.heights() == {1})
        leader = self.leader()
        assert leader is not None
        return leader

    def agreed(self) -> bool:
        """Somebody leads, and nobody has anything that is not final everywhere."""
        up = [v for home, v in self.validators.items() if home not in self.down]
        return self.leader() is not None and len({v.final_height for v in up} | {v.last_height for v in up}) == 1

    def heights(self) -> set[int]:
        return {v.final_height for home, v in self.validators.items() if home not in self.down}

    def hashes(self) -> set[bytes | None]:
        return {v.machine.state_hash() for home, v in self.validators.items() if home not in self.down}
