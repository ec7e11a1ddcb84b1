"""Changing: a cluster whose validators come and go by decision of its administrator.

Homes that do not vote follow: they fetch certified ranges from whoever is up, as the node
does. One that a decision makes a validator begins to vote, one that is removed goes on as
learner, and one that hears no leader for long looks for what it may have missed.
"""

from __future__ import annotations

from random import Random
from typing import Any

from meshnode.ledger import validators
from meshnode.mempool import Mempool
from meshnode.network.learner import Learner
from meshnode.network.validator import Validator
from meshnode.network.work import Settings
from protocols import block as blocks
from protocols.cose import key_id_of
from protocols.parcel import Parcel
from protocols.records import (
    CHANGE_ADD,
    CHANGE_MODE,
    CHANGE_REMOVE,
    Certificate,
    MemberEntry,
    MeterEntry,
    QuorumChange,
    ValidatorEntry,
    read_as,
)
from tests.network.cluster import ELECTION_TICKS, Cluster, Moment
from tests.protocols.keys import KeyPair, key_pair
from tests.protocols.village import HOMES, device, meter

# A validator that hears no leader for so long asks whether it missed something.
LOST_TICKS = 4 * ELECTION_TICKS


def member(home: str) -> MemberEntry:
    """A home; Anna is the administrator."""
    return MemberEntry(
        name=home,
        roles=("administrator", "prosumer") if home == "anna" else ("prosumer",),
        member_key=key_pair(home).public,
        device_key=device(home).public,
        meters=(MeterEntry(meter_key=meter(home).public, metering_point=f"AT-{home}"),),
    )


class Changing(Cluster):
    """`size` homes of which the first `voting` are founded as validators."""

    def __init__(self, size: int, voting: int, seed: int = 1, **genesis: Any) -> None:
        self.learners: dict[str, Learner] = {}
        self.nonce = 1000
        super().__init__(
            size,
            seed,
            members=tuple(member(home) for home in HOMES[:size]),
            validators=tuple(ValidatorEntry(device_key=device(home).public) for home in HOMES[:voting]),
            **genesis,
        )

    # --- who is what

    def start(self, home: str) -> None:
        machine = self.machine(home)
        self.validators.pop(home, None)
        self.learners.pop(home, None)
        self.pools[home] = Mempool(machine)
        self.down.discard(home)
        key: KeyPair = device(home)
        if not votes(machine.state, machine.height, key.public):
            self.learners[home] = Learner(machine, self.disks[home], machine.verifier)
            return
        self.validators[home] = Validator(
            machine,
            self.disks[home],
            self.pools[home],
            key.public,
            key.sign,
            machine.verifier,
            lambda: self.now_s + self.offset_s.get(home, 0),
            Random(self.random.random()),
            Settings(election_ticks=ELECTION_TICKS, heartbeat_ticks=2),
        )

    def stop_writing(self, home: str, moment: Moment) -> bool:
        if home in self.learners:
            self.stop(home)
            return False
        return super().stop_writing(home, moment)

    def close(self, home: str) -> None:
        """A validator stops in an orderly way: its last certificates reach the disk."""
        validator = self.validators[home]
        if home in self.writing:
            self._persist(home, self.writing.pop(home).batch)
            validator.persisted()
        self.witness.executed(home, validator.take_final())
        self._persist(home, validator.closing())

    def step(self) -> None:
        for home in self.village.homes:
            if home in self.down:
                continue
            if home in self.learners:
                self.follow(home)
                continue
            validator = self.validators[home]
            if not validator.takes_part:
                self.close(home)
                self.start(home)
            elif validator.astray >= LOST_TICKS and self.ahead_of(home):
                self.close(home)
                machine = self.machine(home)
                self.learners[home] = Learner(machine, self.disks[home], machine.verifier)
                self.validators.pop(home)
                self.follow(home)
        super().step()

    def ahead_of(self, home: str) -> list[str]:
        """Nodes that this one can reach and that have blocks that it lacks."""
        return [
            other
            for other in self.village.homes
            if other not in self.down
            and other != home
            and not {(home, other), (other, home)} & self.cut
            and self.disks[other].final > self.disks[home].final
        ]

    def follow(self, home: str) -> None:
        """Fetch a range from somebody; whoever is to vote begins to."""
        learner, others = self.learners[home], self.ahead_of(home)
        if others:
            server = self.random.choice(others)
            disk, own = self.disks[server], self.disks[home]
            until = validators.provable_until(self.machine_at(server).state, own.final)
            found = disk.certificate_below(disk.final if until is None else min(disk.final, until))
            assert found is not None and found[0] > own.final, "every node can prove what it has, step by step"
            heights = range(own.final + 1, found[0] + 1)
            learner.begin([disk.log[height].data for height in heights], read_as(Certificate, found[1]))
            while learner.step():
                pass
            assert learner.halted is None, learner.halted
            batch = learner.batch()
            assert batch is not None
            self._persist(home, batch)
            learner.persisted()
            for done in learner.take_final():
                self.pools[home].final([record.record_id for record in done.block.records])
                block = done.block.block_hash
                height = done.block.header.height
                assert self.witness.final.setdefault(height, block) == block, f"fork at {height}"
        machine = learner.machine
        if votes(machine.state, machine.height, device(home).public):
            self.start(home)

    def machine_at(self, home: str) -> Any:
        return (self.learners.get(home) or self.validators[home]).machine

    # --- what the base asks

    @property
    def names(self) -> dict[int, str]:
        """Homes by number, as far as anybody knows."""
        found: dict[int, str] = {}
        for home in self.village.homes:
            if home in self.validators or home in self.learners:
                for key, seat in self.machine_at(home).state.seats.items():
                    owner = next(name for name in HOMES if device(name).public == key)
                    assert found.setdefault(seat.number, owner) == owner
        return found

    @names.setter
    def names(self, _: dict[int, str]) -> None:
        """The base says it once; here it changes."""

    def hand_over(self, sender: str, receiver: str, parcel: Parcel) -> str | None:
        if receiver not in self.validators or self.validators[receiver].number_of(device(sender).public) is None:
            return None
        return super().hand_over(sender, receiver, parcel)

    def work(self, home: str) -> bool:
        return home in self.validators and super().work(home)

    def quorum_of(self, config_hash: bytes) -> Any:
        for home in self.village.homes:
            for _, row in self.machine_at(home).state.quorums.items():
                config = validators.QuorumConfig(row.mode, row.voters)
                if config.config_hash() == config_hash:
                    return config
        raise AssertionError(f"validators {config_hash.hex()} were never decided")

    # --- decisions

    def change(self, action: int, home: str | None = None, mode: int | None = None, by: str = "anna") -> Any:
        """A signed change of what is decided where the ledger is longest."""
        longest = max(self.village.homes, key=lambda name: self.machine_at(name).height)
        self.nonce += 1
        record = QuorumChange(
            nonce=self.nonce,
            valid_until_s=self.now_s + 3600,
            previous=validators.decided(self.machine_at(longest).state).config_hash(),
            action=action,
            device_key=None if home is None else device(home).public,
            mode=mode,
        )
        return self.village.sign(record, key_pair(by))

    def add_validator(self, home: str) -> Any:
        return self.offer(self.change(CHANGE_ADD, home))

    def remove_validator(self, home: str) -> Any:
        return self.offer(self.change(CHANGE_REMOVE, home))

    def set_mode(self, mode: int) -> Any:
        return self.offer(self.change(CHANGE_MODE, mode=mode))

    def offer(self, signed: Any) -> Any:
        """It reaches everybody who can take it now."""
        for home in self.village.homes:
            self.pools[home].add(signed, self.now_s)
        return signed

    def voters(self) -> list[str]:
        """Who votes at the next height, as the leader executed it."""
        leader = self.leader()
        assert leader is not None
        quorum = self.validators[leader].machine.quorum
        return [home for home in HOMES if quorum.has(device(home).public)]

    def in_force(self, *homes: str) -> bool:
        """Whether these homes vote, and every node that is up knows it."""
        up = [home for home in self.village.homes if home not in self.down]
        return all(
            {key for key, _ in self.machine_at(home).quorum.voters} == {device(name).public for name in homes}
            for home in up
        )

    def key_ids(self, *homes: str) -> set[bytes]:
        return {key_id_of(device(home).public) for home in homes}

    def block(self, home: str, height: int) -> blocks.Block:
        return blocks.read(self.disks[home].log[height].data, self.village.chain_id)


def votes(state: Any, height: int, key: bytes) -> bool:
    """Whether a device votes after a height, or is to."""
    return validators.at(state, height + 1).has(key) or validators.decided(state).has(key)
