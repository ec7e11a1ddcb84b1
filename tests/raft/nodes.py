"""Nodes for stories: a few cores with disks in memory, and a network that the story delivers by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

from protocols.raft import (
    BadMessage,
    Config,
    Entry,
    EntryType,
    HardState,
    MembershipState,
    MemoryStorage,
    Message,
    MessageKind,
    RawNode,
    ReadState,
    Ready,
    Role,
    Sealer,
    decode_change,
    unsealed,
)


class Home:
    """A node, its disk and what it has applied; `work` does all that a Ready asks for, at once."""

    def __init__(self, number: int, voters: Iterable[int], sealer: Sealer = unsealed, **settings: Any) -> None:
        self.disk = MemoryDisk(MembershipState(voters=tuple(sorted(voters))))
        self.config = Config(**{"id": number, "election_tick": 5, "pre_vote": False, "check_quorum": False, **settings})
        self.sealer = sealer
        self.applied: list[Entry] = []
        self.reads: list[ReadState] = []
        self.start()

    def start(self) -> None:
        """Start, or start again with what is on disk."""
        self.node = RawNode(self.config, self.disk, random=Random(self.config.id), sealer=self.sealer)

    def work(self) -> list[Message]:
        """Write, apply and acknowledge everything; returns the messages to be delivered."""
        sent: list[Message] = []
        while self.node.has_ready():
            ready = self.node.ready()
            sent += ready.messages
            self.write(ready)
            sent += ready.messages_after_persist
            self.apply(ready)
            self.node.advance(ready)
        return sent

    def write(self, ready: Ready) -> None:
        """Write what a Ready asks for."""
        if ready.hard_state is not None:
            self.disk.set_hard_state(ready.hard_state)
        if ready.snapshot is not None:
            self.disk.apply_snapshot(ready.snapshot)
            self.disk.membership = ready.snapshot.membership
        self.disk.append(ready.entries)

    def apply(self, ready: Ready) -> None:
        """Apply what a Ready says is committed, and note the reads that may be served."""
        self.reads += ready.read_states
        for entry in ready.committed_entries:
            self.applied.append(entry)
            if entry.type is not EntryType.NORMAL:
                self.disk.membership = self.node.apply_membership(decode_change(entry.type, entry.data))


class MemoryDisk(MemoryStorage):
    """Remembers the membership of the applied entries, as an owner does with its applied state."""

    def __init__(self, membership: MembershipState) -> None:
        super().__init__()
        self.membership = membership

    def initial_state(self) -> tuple[HardState, MembershipState]:
        return super().initial_state()[0], self.membership


class Village:
    """Homes that talk until nobody has anything left to say, unless a message is lost on the way.

    loses: says of each message whether it is lost; refused: what the homes would not take.
    """

    def __init__(self, size: int, sealers: Mapping[int, Sealer] | None = None, **settings: Any) -> None:
        numbers = range(1, size + 1)
        sealers = sealers or {}
        self.homes = {n: Home(n, numbers, sealers.get(n, unsealed), **settings) for n in numbers}
        self.loses: Callable[[Message], bool] = lambda message: False
        self.refused: list[BadMessage] = []
        self.heard: list[Message] = []

    def __getitem__(self, number: int) -> RawNode:
        return self.homes[number].node

    def add(self, number: int, **settings: Any) -> None:
        """A home that nobody knows of yet."""
        self.homes[number] = Home(number, (), **settings)

    def settle(self) -> None:
        """Deliver and work until it is quiet."""
        while waiting := [message for home in self.homes.values() for message in home.work()]:
            self.deliver(waiting)

    def deliver(self, messages: Iterable[Message]) -> None:
        """Deliver messages that are not lost."""
        for message in messages:
            if message.to in self.homes and not self.loses(message):
                self.heard.append(message)
                refused = self[message.to].step(message)
                if refused is not None:
                    self.refused.append(refused)

    def elect(self, number: int) -> None:
        """Let a home campaign and the village answer."""
        self[number].campaign()
        self.settle()

    def cut_off(self, *numbers: int) -> None:
        """Lose everything that goes to or comes from these homes."""
        self.loses = lambda message: message.to in numbers or message.sender in numbers

    def heal(self) -> None:
        """Lose nothing any more."""
        self.loses = lambda message: False


def role(node: RawNode) -> Role:
    """A node's role; by way of a call, as it changes between two looks."""
    return node.state


def data_of(entries: Iterable[Entry]) -> list[bytes]:
    """The data of entries that have any."""
    return [entry.data for entry in entries if entry.data]


def appends(messages: Iterable[Message]) -> list[Message]:
    """The APPs among messages."""
    return [message for message in messages if message.kind is MessageKind.APP]


def led_by_1(size: int = 3, **settings: Any) -> Village:
    """A village that has elected home 1."""
    village = Village(size, **settings)
    village.elect(1)
    assert role(village[1]) is Role.LEADER
    return village


def reads_of(village: Village, number: int) -> list[tuple[int, bytes]]:
    """Settle, and collect the reads that this home may serve since it was asked last."""
    village.settle()
    home = village.homes[number]
    served, home.reads = home.reads, []
    return [(read.index, read.context) for read in served]
