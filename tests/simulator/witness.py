"""Witness: sees everything that any node signs, writes and executes, and holds it against the invariants.

It knows more than any node: an ack counts for it when it is signed, so that a block is
certified here before anybody has put the certificate together. What liars can bring
about by lying is set down as a lie that worked; whatever else breaks is a violation.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine, RecordDone
from meshnode.network.finalizer import TWO_HISTORIES
from meshnode.network.validator import Validator
from meshnode.network.work import FinalBlock
from meshnode.store import Batch
from protocols import cbor, cose
from protocols.cose import Envelope, key_id_of
from protocols.locks import place_of
from protocols.parcel import RaftMessage
from protocols.raft import MessageKind, Role
from protocols.records import PHASE_COMMIT, QUORUM_BYZANTINE, Ack, Certificate, Header, Vote, read_as

if TYPE_CHECKING:
    from tests.simulator.disk import Disk
    from tests.simulator.node import Node
    from tests.simulator.seat import Seat
    from tests.simulator.world import World

# A change of the ledger makes one turn, and patience outlasts several elections: who turns so often in so short a
# time, and every time for nothing, would do it for ever while hardly any simulated time passes.
TURNS = 20
TURNS_MS = 5_000


class Violation(Exception):
    """An invariant does not hold.

    Attributes:
        invariant: which.
    """

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


class Seen(msgspec.Struct, frozen=True):
    """A header that somebody signed."""

    height: int
    term: int
    parent: bytes
    leader: str
    time_s: int
    validators: bytes
    following: bytes
    state_height: int


class Witness:
    """See the module text.

    Attributes:
        checked: how often each invariant was held against something.
        forks: heights at which two blocks were certified; only liars bring that about.
        twice_led: terms that liars gave two leaders.
        stopped: honest nodes that do nothing any more because a liar signed two blocks for one place, or said after
            their power cut that its log goes on.
    """

    def __init__(self, world: World) -> None:
        self.checked: Counter[str] = Counter()
        self.forks: list[int] = []
        self.twice_led: set[int] = set()
        self.stopped: set[str] = set()
        self._equivocated = False
        # (term, height): the farthest that the log of an honest node has ever reached.
        self._reached = (0, 0)
        self._world = world
        root = world.village.root
        self._headers: dict[bytes, Seen] = {root.block_hash: Seen(0, 0, b"", "", 0, b"", root.next_validators, 0)}
        self._own: dict[tuple[str, int, int], bytes] = {}
        self._votes: dict[tuple[str, int], tuple[bytes, bytes]] = {}
        self._acks: dict[tuple[str, int, int], bytes] = {}
        self._ackers: dict[tuple[bytes, int], set[bytes]] = {}
        self._leaders: dict[int, str] = {}
        self._granted: dict[tuple[str, int], set[int]] = {}
        self._voters: dict[tuple[int, bytes, bytes], set[bytes]] = {}
        self._elected: set[tuple[int, bytes]] = set()
        self._followed: dict[str, tuple[int, bytes]] = {}
        self._firsts: dict[int, list[bytes]] = {}
        self._certified: dict[int, bytes] = {0: root.block_hash}
        self._certified_terms: list[tuple[int, int]] = [(0, 0)]
        self._states: dict[int, bytes | None] = {}
        self._turned: dict[str, deque[int]] = {}
        self._writing: dict[str, Batch] = {}
        self.effective: dict[bytes, int] = {}

    @property
    def certified_height(self) -> int:
        """How far the chain is certified, whether or not any node knows."""
        return len(self._certified) - 1

    def broken(self, invariant: str, text: str) -> None:
        """Raise; nobody's lie explains it."""
        raise Violation(invariant, text)

    def _unless_lied(self, invariant: str, text: str) -> bool:
        """Raise, or say that it may be because somebody lied."""
        if not self._world.may_fork:
            raise Violation(invariant, text)
        return True

    # --- what is signed

    def signs(self, node: Node, message: bytes, signature: bytes) -> None:
        """A node signs a statement (its Sig_structure)."""
        _, _, aad, payload = cbor.decode(message)
        kind = cbor.decode(aad)[1]
        self._world.prosecutor.hear(kind, Envelope(node.key.key_id, payload, signature))
        if kind == Header.KIND:
            self._header(node, read_as(Header, payload), cose.record_id(message))
        elif kind == Ack.KIND:
            self._ack(node, read_as(Ack, payload))
        elif kind == Vote.KIND:
            self._vote(node, read_as(Vote, payload))
        self._world.images.signs(node, kind, payload)

    def _header(self, node: Node, header: Header, block_hash: bytes) -> None:
        seen = Seen(
            height=header.height,
            term=header.term,
            parent=header.parent,
            leader=node.home,
            time_s=header.time_s,
            validators=header.validators,
            following=header.next_validators,
            state_height=header.state_height,
        )
        self._headers[block_hash] = seen
        first = bool(header.election)
        if first and (self._world.honest(node) or self._world.may_fork):
            # What a liar begins must find nobody's ack where no fork may be; elsewhere it explains one.
            self._firsts.setdefault(header.term, []).append(block_hash)
        place = (node.home, header.term, header.height)
        second = self._own.setdefault(place, block_hash) != block_hash
        if not self._world.honest(node):
            self._equivocated |= second
            return
        self.checked["one block for one place"] += 1
        if second:
            self.broken("one block for one place", f"{node.name} signed two blocks at {place[1:]}")
        if first:
            self.checked["leader completeness"] += 1
            for height, term in reversed(self._certified_terms):
                if term < header.term:
                    if not self._descends(block_hash, height):
                        self._unless_lied(
                            "leader completeness", f"{node.name} leads term {header.term} without block {height}"
                        )
                    break

    def _ack(self, node: Node, ack: Ack) -> None:
        place = (node.home, ack.ack_term, ack.height)
        if self._world.honest(node):
            self.checked["signed only what is on disk"] += 1
            known = self._acks.setdefault(place, ack.block)
            if known != ack.block:
                self.broken("nobody signs against itself", f"{node.name} acknowledged two blocks at {place[1:]}")
            disk = node.disk
            entry = disk.entry(ack.height) if ack.height <= disk.last_index() else None
            if entry is None or entry.block_hash != ack.block:
                self.broken("signed only what is on disk", f"{node.name} acknowledged {ack.height} without it")
            self.checked["time is not ahead of every clock"] += 1
            time_s = self._headers[ack.block].time_s
            # Others may have answered for a time already; a clock that is behind does not take it back.
            certified_s = self._headers[self._certified[self.certified_height]].time_s
            ahead = time_s - max(certified_s, node.clock.highest_s + self._world.village.genesis.max_drift_s)
            if ahead > 0 and not self._is_certified(ack.height, ack.block):
                self.broken("time is not ahead of every clock", f"{node.name}: block {ack.height} is {ahead} s ahead")
            signed = disk.sign_state()
            if ack.ack_term > disk.hard_state().term or (signed.ack_term, signed.ack_height) < place[1:]:
                self.broken("signed only what is on disk", f"{node.name}: the ack of {place[1:]} is not promised")
            config = self._world.succession.of(self._headers[ack.block].validators)
            if ack.phase == PHASE_COMMIT and config is not None and config.mode == QUORUM_BYZANTINE:
                self.checked["committed only with a lock on disk"] += 1
                if place_of_lock(disk) < place[1:]:
                    self.broken("committed only with a lock on disk", f"{node.name}: block {ack.height}")
        if ack.phase != PHASE_COMMIT:
            return
        header = self._headers.get(ack.block)
        ackers = self._ackers.setdefault((ack.block, ack.ack_term), set())
        ackers.add(node.key.key_id)
        if header is not None and header.term == ack.ack_term and self._are_quorum(header.validators, ackers):
            self._certify(ack.block, header)

    def may_campaign(self, node: Node, sender: int, message: RaftMessage) -> None:
        """A node hears that it could win an election, or that it shall try."""
        if message.kind == MessageKind.TIMEOUT_NOW:
            self._granted[node.name, message.term + 1] = set(self._world.numbers)
        elif not message.reject:
            self._granted.setdefault((node.name, message.term), set()).add(sender)

    def _vote(self, node: Node, vote: Vote) -> None:
        tip = self._headers.get(vote.candidate_tip.block)
        voters = self._voters.setdefault((vote.term, vote.candidate, vote.candidate_tip.block), set())
        voters.add(node.key.key_id)
        if tip is not None and self._are_quorum(tip.following, voters):
            self._elected.add((vote.term, vote.candidate))
        if not self._world.honest(node):
            return
        self.checked["one vote in a term"] += 1
        known = self._votes.setdefault((node.home, vote.term), (vote.candidate, vote.candidate_tip.block))
        if known != (vote.candidate, vote.candidate_tip.block):
            self.broken("nobody signs against itself", f"{node.name} voted twice in term {vote.term}")
        theirs, own = vote.candidate_tip, vote.voter_tip
        # In byzantine mode locks decide, and a longer log without one has to give way.
        if self._world.plan.mode == "majority" and (theirs.term, theirs.height) < (own.term, own.height):
            self.broken("leader completeness", f"{node.name} votes for a log that lacks what it has")
        signed, hard = node.disk.sign_state(), node.disk.hard_state()
        if hard.term < vote.term or (signed.vote_term, signed.vote_candidate) < (vote.term, vote.candidate):
            self.broken("signed only what is on disk", f"{node.name}: the vote of term {vote.term} is not promised")
        if hard.term == vote.term and hard.vote == 0:
            self.broken("signed only what is on disk", f"{node.name}: Raft's vote of term {vote.term} is not on disk")
        if vote.candidate == node.key.key_id:
            self.checked["asks before it disturbs"] += 1
            granted = self._granted.get((node.name, vote.term), set())
            keys = {node.key.key_id, *(self._world.device_of(number).key_id for number in granted)}
            if tip is None or not self._are_quorum(tip.following, keys):
                self.broken("asks before it disturbs", f"{node.name} begins term {vote.term}, which nobody wants")

    def _are_quorum(self, config_hash: bytes, key_ids: set[bytes]) -> bool:
        config = self._world.succession.of(config_hash)
        return config is not None and config.is_quorum(key_ids)

    # --- what becomes certified

    def _certify(self, block_hash: bytes, header: Seen) -> None:
        """A quorum has acknowledged this block in its own term: it and all before it are final, for ever."""
        self.checked["certified once and for ever"] += 1
        top = self.certified_height
        if header.height <= top:
            if not self._is_certified(header.height, block_hash):
                self._forked(header.height)
            return
        path = [block_hash]
        while self._headers[path[-1]].height > top + 1:
            path.append(self._headers[path[-1]].parent)
        if self._headers[path[-1]].parent != self._certified[top]:
            self._forked(top)
            return
        for one in reversed(path):
            head = self._headers[one]
            if head.time_s < self._headers[head.parent].time_s:
                self.broken("time does not go back", f"block {head.height} is older than the one before it")
            self._certified[head.height] = one
            self.checked["those in force agree"] += 1
            succession = self._world.succession
            fault = succession.certified(head.height, head.state_height, one, head.validators, head.following)
            if fault is not None:
                self.broken("those in force agree", fault)
        self._certified_terms.append((header.height, header.term))
        # Whoever was elected after that term has it.
        for term, firsts in self._firsts.items():
            if term > header.term:
                for first in firsts:
                    if not self._descends(first, header.height):
                        self._unless_lied(
                            "leader completeness",
                            f"term {term} began without block {header.height}, which is certified",
                        )

    def _forked(self, height: int) -> None:
        self._unless_lied("no fork", f"two blocks are certified at height {height}")
        self.forks.append(height)
        self._world.fork_seen()

    def _is_certified(self, height: int, block_hash: bytes) -> bool:
        return self._certified.get(height) == block_hash

    def _descends(self, block_hash: bytes, height: int) -> bool:
        """Whether the block has the certified block of this height before it."""
        header = self._headers[block_hash]
        while header.height > height:
            block_hash = header.parent
            header = self._headers[block_hash]
        return self._is_certified(height, block_hash)

    # --- what is written

    def writes(self, node: Node, batch: Batch) -> None:
        """A node begins to write a batch."""
        for entry in batch.entries:
            self._world.succession.written(entry.block_hash, entry.data)
        self._writing[node.name] = batch

    def written(self, node: Node) -> None:
        """The batch is on disk."""
        batch = self._writing.pop(node.name)
        if not self._world.honest(node):
            return
        if batch.hard_state is not None or batch.sign_state is not None:
            self.checked["what was promised stays promised"] += 1
        for gone in node.disk.replaced:
            self.checked["certified blocks stay"] += 1
            if self._is_certified(gone.index, gone.block_hash):
                self._unless_lied("certified blocks stay", f"{node.name} removed block {gone.index}")
        previous: bytes | None = None
        for entry in batch.entries:
            self.checked["log matching"] += 1
            header = self._headers.get(entry.block_hash)
            if header is None:
                self.broken("log matching", f"{node.name} wrote a block {entry.index} that nobody signed")
                return
            if previous is None and entry.index > 1:
                previous = node.disk.entry(entry.index - 1).block_hash
            if (header.height, header.term) != (entry.index, entry.term) or previous not in (None, header.parent):
                self.broken("log matching", f"{node.name}: block {entry.index} does not follow the one before it")
            previous = entry.block_hash
            self._reached = max(self._reached, (entry.term, entry.index))
        self._final_prefix(node)
        for _, certificate in batch.certificates if not self.forks else ():
            self.checked["final by those in force"] += 1
            fault = self._world.succession.fault_of(read_as(Certificate, certificate))
            if fault is not None:
                self._unless_lied("final by those in force", f"{node.name}: {fault}")

    def _final_prefix(self, node: Node) -> None:
        self.checked["final is certified"] += 1
        final = node.disk.final_height()
        if final and not self._is_certified(final, node.disk.entry(final).block_hash):
            self._unless_lied("final is certified", f"{node.name}: block {final} is final and not certified")

    # --- what nodes do

    def looks_at(self, node: Node) -> None:
        """A node has done something: who leads, and has it stopped for no reason?"""
        validator = node.validator
        assert validator is not None
        if not self._world.honest(node):
            return
        if validator.role is Role.LEADER:
            self.checked["one leader in a term"] += 1
            known = self._leaders.setdefault(validator.term, node.home)
            if known != node.home and self._unless_lied(
                "one leader in a term", f"term {validator.term}: {known} and {node.home}"
            ):
                self.twice_led.add(validator.term)
        claim = (validator.term, validator.leader)
        if validator.leader is not None and self._followed.get(node.name) != claim:
            self._followed[node.name] = claim
            self.checked["follows only who was elected"] += 1
            if (validator.term, key_id_of(validator.leader)) not in self._elected:
                self.broken("follows only who was elected", f"{node.name}, term {validator.term}")
        self.stops(node, validator.halted)

    def stops(self, node: Node, halted: str | None) -> None:
        """An honest node that has halted, if it has."""
        if halted is not None and not self.forks:
            if not (self._equivocated and self._world.may_fork and TWO_HISTORIES in halted):
                self.broken("stops only for a fork", f"{node.name}: {halted}")
            self.stopped.add(node.name)

    def executed(self, node: Node, final: list[FinalBlock]) -> None:
        """Blocks became final at a node."""
        if not self._world.honest(node) or self.forks:
            return
        for done in final:
            height = done.block.header.height
            self.checked["executed is certified"] += 1
            if not self._is_certified(height, done.block.block_hash):
                self.broken("executed is certified", f"{node.name} executed block {height}, which is not certified")
            if node.disk.entry(height).block_hash != done.block.block_hash:
                self.broken("executed is certified", f"{node.name} executed block {height} before it was on disk")
            for event in done.events:
                if isinstance(event, RecordDone) and event.verdict == Verdict.ACCEPTED:
                    self.checked["a record takes effect once"] += 1
                    if self.effective.setdefault(event.record_id, height) != height:
                        self.broken("a record takes effect once", f"{event.record_id.hex()} at {height} again")
        machine = node.machine
        self._world.snapshots.take(machine, final[-1].block.block_hash)
        self.checked["equal states"] += 1
        ours = machine.state_hash()
        if machine.height not in self._states:
            # Whoever is first; the others have the same state, or it is another that is broken.
            self.conserved(node)
        if self._states.setdefault(machine.height, ours) != ours:
            self.broken("equal states", f"{node.name} has another state at height {machine.height}")

    def conserved(self, node: Node) -> None:
        """Energy, money and assets of a node's ledger add up."""
        self.checked["conservation"] += 1
        try:
            node.machine.check_invariants()
        except AssertionError as error:
            self.broken("conservation", f"{node.name} at height {node.machine.height}: {error}")

    def restored(self, machine: Machine, state_hash: bytes) -> None:
        """A ledger was taken up from a snapshot."""
        self.checked["equal states"] += 1
        if machine.state_hash() != state_hash:
            self.broken("equal states", f"a snapshot of height {machine.height} does not have the hash of its state")

    def deceived(self, nodes: Iterable[Node]) -> set[str]:
        """Honest nodes that a liar keeps from going on where it may, which is in majority mode.

        Their log has, in place of a certified block, another one that a liar made beside it; or they lost their
        newest writes, and wait for a log that only a liar said it has (`meshnode.network.licence`).
        """
        if not self._world.may_fork:
            return set()
        return {
            node.name for node in nodes if (self._equivocated and not self._agrees(node)) or self._waits_in_vain(node)
        }

    def _waits_in_vain(self, node: Node) -> bool:
        validator = node.validator
        return validator is not None and validator.licence.tip > max(self._reached, validator.tip())

    def _agrees(self, node: Node) -> bool:
        height = min(node.disk.last_index(), self.certified_height)
        return height == 0 or self._is_certified(height, node.disk.entry(height).block_hash)

    def started(self, node: Node) -> None:
        """A node has started."""
        if self._world.honest(node) and not self.forks:
            self._final_prefix(node)

    def provable(self, node: Node) -> None:
        """What a node calls final it can prove: the certificate is on its disk."""
        self.checked["final can be proved"] += 1
        final = node.disk.final_height()
        newest = node.disk.certificate_below(final)
        if final and (newest is None or newest[0] != final):
            self.broken("final can be proved", f"{node.name}: {final} is final, the newest certificate is {newest}")

    def leaves(self, seat: Seat, validator: Validator, tick_ms: int) -> None:
        """A validator goes to fetch what it lacks, because it could not get on for so long.

        That mends what it met while something was wrong; without it, who votes and is led gets on by itself. Whoever
        missed a change of the validators cannot know that a leader was rightly elected, and has to look.
        """
        self.checked["gets on by itself"] += 1
        stuck_ms, healed_ms = validator._finalizer.unable * tick_ms, self._world.healed_ms
        if healed_ms is None or not stuck_ms or self._world.may_fork or not self._world.honest_home(seat.home):
            return
        in_force = self._headers[self._certified[self.certified_height]].following
        leaderless = validator._leadership.silence >= validator._core._replica.config.election_tick
        if leaderless or validator._electorate.of(in_force) is None:
            return
        if stuck_ms < self._world.timeline.now_ms - healed_ms:
            self.broken("gets on by itself", f"{seat.name} was stuck for {stuck_ms // 1000} s, and nothing was wrong")

    def turns(self, seat: Seat) -> None:
        """A node votes from now on, or follows: as the ledger says, or after a time of patience."""
        self.checked["changes sides seldom"] += 1
        now_ms = self._world.timeline.now_ms
        turned = self._turned.setdefault(seat.name, deque(maxlen=TURNS))
        turned.append(now_ms)
        if len(turned) == TURNS and now_ms - turned[0] < TURNS_MS:
            self.broken("changes sides seldom", f"{seat.name} did {TURNS} times in {now_ms - turned[0]} ms")

    def ended(self, node: Node) -> None:
        """A node is off."""
        self._followed.pop(node.name, None)
        self._writing.pop(node.name, None)

    def refused_to_start(self, node: Node, error: Exception) -> None:
        """A node found its disk damaged."""
        if self._world.honest(node):
            self.broken("a healthy disk starts", f"{node.name}: {error}")

    def dropped(self, receiver: Node, sender: str, reason: str) -> None:
        """A node drops another for what it sent."""
        self.checked["nobody honest is dropped"] += 1
        if self._world.honest(receiver) and self._world.honest_home(sender):
            self.broken("nobody honest is dropped", f"{receiver.name} dropped {sender}: {reason}")

    def acknowledged(self, record_id: bytes, height: int) -> None:
        """A client was told that its record is final and took effect."""
        self.checked["acknowledged records stay"] += 1
        if not self.forks and self.effective.get(record_id) != height:
            self.broken("acknowledged records stay", f"{record_id.hex()} was acknowledged at {height}")

    def block_hash(self, height: int) -> bytes:
        """The certified block of a height."""
        return self._certified[height]


def place_of_lock(disk: Disk) -> tuple[int, int]:
    """(term, height) that binds whoever has this disk: of its lock, or of its newest certificate."""
    found = disk.certificate_below(disk.final_height())
    stored = [data for data in (disk.lock(), found[1] if found is not None else b"") if data]
    return max((place_of(read_as(Certificate, data)) for data in stored), default=(0, 0))
