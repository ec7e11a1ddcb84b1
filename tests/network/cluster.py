"""Cluster: validators of one microgrid in one thread, with a disk and a network made of lists."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

from meshnode.keys import SignatureCheck
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.mempool import Mempool
from meshnode.network.validator import Validator
from meshnode.network.work import Settings
from meshnode.store import Batch, Entry, HardState, SignState
from protocols import block as blocks
from protocols.parcel import Parcel
from protocols.raft import Role
from protocols.records import read_as, to_payload
from tests.protocols.keys import KeyPair
from tests.protocols.village import START_S, Village, device
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

PERIOD_S = 900


class Disk:
    """What survives a crash: a log, hard state, sign state and certificates in memory."""

    def __init__(self) -> None:
        self.log: dict[int, Entry] = {}
        self.hard = HardState(0, 0, 0)
        self.sign = SignState(0, b"", 0, 0, b"", 0)
        self.certificates: dict[int, bytes] = {}
        self.final = 0

    def persist(self, batch: Batch) -> None:
        if batch.entries:
            first = batch.entries[0].index
            assert first > self.final, "a final block would be overwritten"
            for index in [known for known in self.log if known >= first]:
                del self.log[index]
            for entry in batch.entries:
                self.log[entry.index] = entry
        self.hard = batch.hard_state or self.hard
        self.sign = batch.sign_state or self.sign
        if batch.final_height is not None:
            assert batch.final_height <= max(self.log, default=0)
            self.final = max(self.final, batch.final_height)
        for height, data in batch.certificates:
            assert height <= self.final
            self.certificates[height] = data

    def hard_state(self) -> HardState:
        return self.hard

    def sign_state(self) -> SignState:
        return self.sign

    def first_index(self) -> int:
        return 1

    def last_index(self) -> int:
        return max(self.log, default=0)

    def term(self, index: int) -> int:
        return self.log[index].term if index else 0

    def entry(self, index: int) -> Entry:
        return self.log[index]

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        found: list[Entry] = []
        for index in range(low, high):
            if found and sum(len(entry.data) for entry in found) + len(self.log[index].data) > max_bytes:
                break
            found.append(self.log[index])
        return found

    def final_height(self) -> int:
        return self.final

    def certificate_below(self, height: int) -> tuple[int, bytes] | None:
        known = [place for place in self.certificates if place <= height]
        return (max(known), self.certificates[max(known)]) if known else None


class Cluster:
    """`size` validators; `down` and `cut` say which are off and which links are broken."""

    def __init__(self, size: int, seed: int = 1, **genesis: Any) -> None:
        self.random = Random(seed)
        binding = read(preset("neighbour_market"))
        self.village = Village(
            size, binding=encode(binding), binding_text=preset("neighbour_market").encode(), **genesis
        )
        self.now_s = START_S
        self.disks = {home: Disk() for home in self.village.homes}
        self.down: set[str] = set()
        self.cut: set[tuple[str, str]] = set()
        self.wires: deque[tuple[str, str, bytes]] = deque()
        self.validators: dict[str, Validator] = {}
        self.pools: dict[str, Mempool] = {}
        self.loss = 0
        self.faults: list[tuple[str, str, str]] = []
        for home in self.village.homes:
            self.start(home)

    def machine(self, home: str) -> Machine:
        disk = self.disks[home]
        machine = Machine(self.village.genesis, self.village.chain_id, installed_mechanisms(), SignatureCheck())
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
            SignatureCheck(),
            lambda: self.now_s,
            Random(self.random.random()),
            Settings(election_ticks=10, heartbeat_ticks=2),
        )
        self.down.discard(home)

    def stop(self, home: str) -> None:
        """Power off: what is not on the disk is gone."""
        self.down.add(home)

    def add(self, signed: Any, homes: list[str] | None = None) -> None:
        """A record reaches these mempools (else all)."""
        for home in homes or self.village.homes:
            refusal = self.pools[home].add(signed, self.now_s)
            assert refusal is None, refusal

    def step(self) -> None:
        """One tick, then everything that follows from it."""
        for home, validator in self.validators.items():
            if home not in self.down:
                validator.tick()
                validator.propose()
        self.settle()

    def settle(self) -> None:
        """Work and deliver until nothing moves."""
        busy = True
        while busy:
            busy = False
            for home in self.village.homes:
                if home not in self.down:
                    busy |= self.work(home)
            while self.wires:
                sender, receiver, data = self.wires.popleft()
                busy = True
                if receiver in self.down or sender in self.down or (sender, receiver) in self.cut:
                    continue
                if self.loss and self.random.randrange(100) < self.loss:
                    continue
                number = self.validators[receiver].number_of(device(sender).public)
                assert number is not None
                fault = self.validators[receiver].receive(number, read_as(Parcel, data))
                if fault:
                    self.faults.append((sender, receiver, fault))

    def work(self, home: str) -> bool:
        validator = self.validators[home]
        did = False
        while (work := validator.poll()) is not None:
            did = True
            self.send(home, work.now)
            if work.batch is not None:
                self.disks[home].persist(work.batch)
            self.send(home, validator.persisted())
        final = validator.take_final()
        for block in final:
            self.pools[home].final([record.record_id for record in block.block.records])
        return did

    def send(self, home: str, outgoing: Any) -> None:
        names = {validator.number: name for name, validator in self.validators.items()}
        for item in outgoing:
            self.wires.append((home, names[item.to], to_payload(item.parcel)))

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.step()

    def leader(self) -> str | None:
        leaders = [
            home
            for home, validator in self.validators.items()
            if home not in self.down and validator.role == Role.LEADER
        ]
        return max(leaders, key=lambda home: self.validators[home].term) if leaders else None

    def until(self, condition: Any, ticks: int = 400) -> None:
        for _ in range(ticks):
            if condition():
                return
            self.step()
        raise AssertionError(
            f"not reached in {ticks} ticks; "
            + "; ".join(
                f"{home}: {v.role} term {v.term} final {v.final_height} last {v.last_height} {v.halted} {dict(v.counters)}"
                for home, v in self.validators.items()
            )
            + f" faults {self.faults[-3:]}"
        )

    def heights(self) -> set[int]:
        return {v.final_height for home, v in self.validators.items() if home not in self.down}

    def hashes(self) -> set[bytes | None]:
        return {v.machine.state_hash() for home, v in self.validators.items() if home not in self.down}
