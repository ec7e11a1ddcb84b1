"""A cluster at the mercy of chance: cores with disks, on a network that loses, repeats and reorders.

One seed decides everything: who runs when, which messages arrive, whose power
fails between which two steps of its work. After every step the cluster is
checked for what Raft promises (Raft paper, figure 3):

    election safety      one leader per term
    log matching         one (term, index) names one entry with one predecessor
    leader completeness  a new leader holds every committed entry
    state machine safety every node applies the same entry at each index
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from random import Random

import msgspec

from protocols.raft import (
    Config,
    Entry,
    EntryType,
    HardState,
    MembershipChange,
    MembershipError,
    MembershipState,
    MemoryStorage,
    Message,
    MessageKind,
    ProposalDropped,
    RawNode,
    Ready,
    Role,
    SnapshotOutOfDate,
    Transition,
    decode_change,
    parse_changes,
)

MOST_IN_FLIGHT = 120
"""The network drops what comes on top of this, as full queues do; it bounds the time of a run."""


class Disk(MemoryStorage):
    """What survives a power failure: the log, and the applied state with its membership."""

    def __init__(self, membership: MembershipState) -> None:
        super().__init__()
        self.applied: list[Entry] = []
        self.membership = membership

    def initial_state(self) -> tuple[HardState, MembershipState]:
        return super().initial_state()[0], self.membership


class Machine:
    """One node and the step of its work that it is at."""

    def __init__(self, number: int, voters: tuple[int, ...], seed: int, settings: dict[str, int | bool]) -> None:
        self.number = number
        self.disk = Disk(MembershipState(voters=voters))
        self.settings = settings
        self.random = Random(f"machine {number} of cluster {seed}")
        self.up = False
        self.start()

    def start(self) -> None:
        """Power on."""
        config = Config(
            id=self.number,
            applied=len(self.disk.applied),
            election_tick=5,
            max_size_per_msg=60,
            max_inflight_msgs=3,
            max_committed_size_per_ready=80,
            **self.settings,  # type: ignore[arg-type]  # bool and int settings, by name
        )
        self.node = RawNode(config, self.disk, random=self.random)
        self.writing: Ready | None = None
        self.up = True


class Cluster:
    """All machines, the messages under way, and what has been seen so far.

    Args:
        seed: of everything that chance decides.
        size: machines; all vote in the beginning but the last one, if `growing`.
        growing: also change the membership, one node at a time.
        joint: change several at once, by way of joint memberships.
        certified: entries become final by acknowledgements that the owner counts (external_commit).
    """

    def __init__(
        self, seed: int, size: int, *, growing: bool = False, joint: bool = False, certified: bool = False
    ) -> None:
        # Through a text, since the first draws of neighbouring small numbers are alike.
        self.random = Random(f"cluster {seed}")
        self.growing = growing
        self.joint = joint
        self.certified = certified
        voters = tuple(range(1, size + 1 - growing))
        settings: dict[str, int | bool] = {
            "pre_vote": self.random.random() < 0.7,
            "check_quorum": self.random.random() < 0.7,
            "external_commit": certified,
            "step_down_on_removal": self.random.random() < 0.5,
        }
        self.machines = {n: Machine(n, voters, seed, settings) for n in range(1, size + 1)}
        self.voters = voters
        self.network: list[Message] = []
        self.loss, self.repetition = self.random.choice([(0.0, 0.0), (0.05, 0.1), (0.25, 0.1)])
        self.proposed = 0
        # What has been seen.
        self.leaders: dict[int, int] = {}
        self.entries: dict[tuple[int, int], tuple[Entry, int]] = {}
        self.final: list[Entry] = []
        self.final_term = 0  # newest term there was when the last of them became final
        self.acknowledged: dict[tuple[int, int], set[int]] = {}

    def run(self, steps: int) -> None:
        """Let chance do this many steps."""
        moves = [self.deliver] * 60 + [self.work] * 60 + [self.tick] * 10 + [self.propose] * 4
        moves += [self.power] * 2 + [self.partition, self.compact] + [self.change] * self.growing
        moves += [self.certify] * 20 * self.certified
        self.cut: set[int] = set()
        for _ in range(steps):
            self.random.choice(moves)()
            self.check()

    # What can happen.

    def deliver(self) -> None:
        """A message arrives, in any order, twice, or never."""
        if not self.network:
            return
        at = self.random.randrange(len(self.network))
        message = self.network[at]
        if self.random.random() >= self.repetition:
            self.network.pop(at)
        lost = self.random.random() < self.loss or bool({message.to, message.sender} & self.cut)
        self.arrive(message, lost)

    def arrive(self, message: Message, lost: bool) -> None:
        """Hand a message over, unless it is lost or nobody is at home."""
        target, sender = self.machines[message.to], self.machines[message.sender]
        lost = lost or not target.up
        if not lost:
            refused = target.node.step(message)
            # All of these nodes are honest, whatever the network makes of their words.
            assert refused is None or not refused.fault.blame, f"{refused} (to {message.to})"
        if message.kind is MessageKind.SNAP and sender.up and (lost or self.random.random() < 0.5):
            sender.node.report_snapshot(message.to, ok=not lost)

    def work(self) -> None:
        """A machine does one step of its work: takes it, or writes it and finishes."""
        machine = self.pick()
        if not machine.up:
            return
        if machine.writing is None:
            if machine.node.has_ready():
                machine.writing = machine.node.ready()
                self.send(machine.writing.messages)
        else:
            self.send(machine.node.take_messages())
            self.finish(machine, machine.writing)

    def finish(self, machine: Machine, ready: Ready) -> None:
        """Write, then send what waited for it, then apply; the power may fail between any two."""
        disk = machine.disk
        if ready.hard_state is not None:
            disk.set_hard_state(ready.hard_state)
        if ready.snapshot is not None:
            disk.apply_snapshot(ready.snapshot)
            disk.applied = msgspec.json.decode(ready.snapshot.data, type=list[Entry])
            disk.membership = ready.snapshot.membership
        disk.append(ready.entries)
        if self.fails(machine):
            return
        self.send(ready.messages_after_persist)
        self.acknowledge(machine, ready)
        if self.fails(machine):
            return
        for entry in ready.committed_entries:
            assert entry.index == len(disk.applied) + 1, f"{machine.number} applies {entry} out of order"
            disk.applied.append(entry)
            if entry.type is not EntryType.NORMAL:
                with suppress(MembershipError):  # void, on every node alike
                    disk.membership = machine.node.apply_membership(decode_change(entry.type, entry.data))
        machine.writing = None
        machine.node.advance(ready)

    def acknowledge(self, machine: Machine, ready: Ready) -> None:
        """What an owner signs: this entry, of the term that I am in, is on my disk."""
        node = machine.node
        stored = [m.index for m in ready.messages_after_persist if m.kind is MessageKind.APP_RESP and not m.reject]
        if ready.entries and node.state is Role.LEADER and ready.entries[-1].term == node.term:
            stored.append(ready.entries[-1].index)
        for index in stored:
            term = node.term_of(index)
            # What is in memory may have moved on; only what was written counts.
            if term is None or not term == node.term == machine.disk.initial_state()[0].term:
                continue
            if index <= machine.disk.last_index() and machine.disk.term(index) == term:
                self.acknowledged.setdefault((term, index), set()).add(machine.number)

    def certify(self) -> None:
        """A machine sees that a majority has acknowledged an entry that it has."""
        machine = self.pick()
        if not machine.up:
            return
        certain = [place for place, who in self.acknowledged.items() if 2 * len(who) > len(self.voters)]
        known = [(term, index) for term, index in certain if machine.node.term_of(index) == term]
        if known:
            term, index = self.random.choice(known)
            machine.node.commit_to(index, term=term)

    def tick(self) -> None:
        """Time passes for one machine."""
        machine = self.pick()
        if machine.up:
            machine.node.tick()
            self.send(machine.node.take_messages())

    def propose(self) -> None:
        """Somebody proposes something."""
        machine = self.pick()
        if machine.up:
            self.proposed += 1
            with suppress(ProposalDropped):  # as it may be
                machine.node.propose(f"p{self.proposed}".encode())

    def change(self) -> None:
        """Somebody proposes that the last machine, or any two, join, vote, learn or leave."""
        machine = self.pick()
        if machine.up:
            who = self.random.sample(sorted(self.machines), 2) if self.joint else [len(self.machines)]
            words = [f"{self.random.choice('vvlr')}{number}" for number in who]
            change = MembershipChange(parse_changes(words), Transition.AUTO if self.joint else Transition.SINGLE)
            with suppress(ProposalDropped):  # as it may be
                machine.node.propose_membership(change)

    def power(self) -> None:
        """The power fails, or comes back."""
        down = [machine for machine in self.machines.values() if not machine.up]
        if down:
            self.random.choice(down).start()
        else:
            self.pick().up = False

    def fails(self, machine: Machine) -> bool:
        """In the middle of its work."""
        if self.random.random() < 0.01:
            machine.up = False
        return not machine.up

    def partition(self) -> None:
        """Machines are cut off, or everybody can talk again."""
        count = self.random.choice([0, 0, 0, 1, len(self.machines) // 2])
        self.cut = set(self.random.sample(sorted(self.machines), count))

    def compact(self) -> None:
        """A machine replaces the head of its log by a snapshot."""
        machine = self.pick()
        applied = machine.disk.applied
        if len(applied) < machine.disk.first_index() + 3:
            return
        try:
            machine.disk.create_snapshot(len(applied), machine.disk.membership, msgspec.json.encode(applied))
        except SnapshotOutOfDate:
            return
        machine.disk.compact(len(applied) - self.random.randrange(3))

    def pick(self) -> Machine:
        """Any machine."""
        return self.machines[self.random.randint(1, len(self.machines))]

    def send(self, messages: Iterable[Message]) -> None:
        """Put messages on the network, as far as it holds them."""
        for message in messages:
            if message.to not in self.machines:
                continue
            if len(self.network) < MOST_IN_FLIGHT:
                self.network.append(message)
            else:
                self.arrive(message, lost=True)

    # What must hold.

    def check(self) -> None:
        """Check everything that has happened so far; raises AssertionError."""
        for machine in self.machines.values():
            if machine.up:
                self._check_leader(machine)
                self._check_log(machine)
                self._check_final(machine)

    def _check_leader(self, machine: Machine) -> None:
        node = machine.node
        if node.state is not Role.LEADER:
            return
        known = self.leaders.setdefault(node.term, node.id)
        assert known == node.id, f"term {node.term} is led by {known} and {node.id}"
        # A leader of an earlier term that does not know yet may lack what a later one has committed.
        if self.final and node.term > self.final_term:
            last = self.final[-1]
            held = node.term_of(last.index)
            assert node.first_index > last.index or held == last.term, f"leader {node.id} lacks {last}"

    def _check_log(self, machine: Machine) -> None:
        disk = machine.disk
        first, last = disk.first_index(), disk.last_index()
        before = disk.term(first - 1)
        for entry in disk.entries(first, last + 1, 1 << 30) if last >= first else ():
            known = self.entries.setdefault((entry.term, entry.index), (entry, before))
            assert known[0] == entry, f"{machine.number} holds {entry}, elsewhere it is {known[0]}"
            assert entry.index == first or known[1] == before, f"{machine.number}: {entry} follows term {before}"
            before = entry.term

    def _check_final(self, machine: Machine) -> None:
        applied = machine.disk.applied
        common = min(len(applied), len(self.final))
        # Only the ends can differ from what was compared before.
        assert applied[:common][-3:] == self.final[:common][-3:], f"{machine.number} applied something else"
        if len(applied) > common:
            self.final += applied[common:]
            self.final_term = max(other.node.term for other in self.machines.values())

    # How it must end.

    def heal(self) -> None:
        """Power everywhere, a perfect network: soon everybody agrees, and new proposals are committed."""
        self.cut, self.loss, self.repetition = set(), 0.0, 0.0
        for machine in self.machines.values():
            if not machine.up:
                machine.start()
        for round_number in range(400):
            for machine in self.machines.values():
                machine.node.tick()
                self._finish_all(machine)
            for message in self.take_network():
                self.arrive(message, lost=False)
            self.check()
            leader = self.leading()
            if leader is not None and round_number % 20 == 0:
                try:
                    leader.node.propose(b"after")
                except ProposalDropped:
                    continue
            if self.certified:
                for _ in range(10):
                    self.certify()
            if leader is not None and round_number > 60 and self.agree(leader):
                return
        raise AssertionError("the cluster did not come to rest: " + ", ".join(map(_told, self.machines.values())))

    def take_network(self) -> list[Message]:
        """All messages under way."""
        taken, self.network = self.network, []
        return taken

    def leading(self) -> Machine | None:
        """Who leads the newest term, if anybody does."""
        newest = max(machine.node.term for machine in self.machines.values())
        for machine in self.machines.values():
            if machine.node.state is Role.LEADER and machine.node.term == newest:
                return machine
        return None

    def agree(self, leader: Machine) -> bool:
        """Have all members applied all that the leader has?"""
        state = leader.node.membership
        members = [self.machines[n] for n in {*state.voters, *state.learners}]
        length = {len(member.disk.applied) for member in members}
        return length == {leader.node.last_index} and any(entry.data == b"after" for entry in leader.disk.applied)

    def _finish_all(self, machine: Machine) -> None:
        while machine.writing is not None or machine.node.has_ready():
            if machine.writing is None:
                machine.writing = machine.node.ready()
                self.send(machine.writing.messages)
            self.finish(machine, machine.writing)
            if not machine.up:
                machine.start()


def _told(machine: Machine) -> str:
    node = machine.node
    return f"{node.id}: {node.state} term {node.term} last {node.last_index} applied {len(machine.disk.applied)}"
