"""Intake: the gates that a leader's blocks pass before Raft may take them into the log.

Form (a failure is the leader's fault), view and clock (refused or held, nobody's
fault). A batch that cannot be judged yet - its state is not executed here, or its
time lies ahead of our clock - waits its turn; of a batch that can be judged in part
the head goes in.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import msgspec

from meshnode.machine import Machine
from meshnode.network.chain import Chain
from meshnode.network.elections import ElectionBook
from meshnode.network.electorate import Electorate
from meshnode.network.leadership import Leadership
from meshnode.network.locking import Locking, head_at
from meshnode.network.terms import without_entries
from meshnode.network.watcher import Watcher
from protocols import block as blocks
from protocols.block import Block, BlockError, FormError, Parent
from protocols.certificate import QuorumConfig, check_election
from protocols.cose import Verifier
from protocols.finality import Finality
from protocols.raft import NO_NODE, BadMessage, Entry, Message, RawNode
from protocols.raft.errors import Fault
from protocols.raft.messages import entries_bytes
from protocols.records import Certificate, Header

# Appends that wait for their turn; the leader sends again what is dropped beyond that.
# A leader's whole pipeline fits in: 16 messages of 192 KiB.
MAX_PARKED = 64
MAX_PARKED_BYTES = 8 * 1024 * 1024
# Blocks that we hold without a certificate. Honest leaders have a handful under way, and one
# small block for every election that came to nothing: this is room for ten thousand. Beyond
# it appends wait, so that a leader who never gets a quorum cannot fill memory and disk.
MAX_UNCERTIFIED_BYTES = 16 * 1024 * 1024

# A liar that claims to lead makes the true leader look like the second one, and one that votes for
# a candidate without a block that it acknowledged gives others a leader who has less than they: no
# ground to drop anybody.
_UNPROVED = frozenset({Fault.SECOND_LEADER, Fault.NOT_FROM_LEADER, Fault.BEYOND_LOG})


class Intake:
    """The one way of a peer's blocks into the log.

    Attributes:
        disputed: both state hashes of the last block whose leader had another state than
            we; None if there was none. It is not said who is right until a quorum signs.
    """

    def __init__(
        self,
        core: RawNode,
        machine: Machine,
        chain: Chain,
        electorate: Electorate,
        finality: Finality,
        elections: ElectionBook,
        leadership: Leadership,
        locking: Locking,
        watcher: Watcher,
        verifier: Verifier,
        clock: Callable[[], int],
        counters: Counter[str],
    ) -> None:
        self.disputed: str | None = None
        self._core = core
        self._machine = machine
        self._chain = chain
        self._electorate = electorate
        self._finality = finality
        self._elections = elections
        self._leadership = leadership
        self._locking = locking
        self._watcher = watcher
        self._verifier = verifier
        self._clock = clock
        self._counters = counters
        self._parked: deque[Message] = deque()
        self._parked_bytes = 0
        self._faults: list[tuple[int, str]] = []

    def take_append(self, message: Message, before: bytes | None) -> str | None:
        """Take an append of a proved leader; `before` is the hash of the leader's block at its index.

        Returns:
            Why its sender must be dropped, or None.
        """
        known = message.index > 0 and self._is_news(message) and self._follows(message)
        if known and before not in (None, self._chain.head(message.index).block_hash):
            return self._ask_for_earlier(message)
        return self.take(message) if message.entries else self.step(message)

    def take(self, message: Message) -> str | None:
        """Take an append with blocks, now or when its turn comes.

        Returns:
            Why its sender must be dropped, or None.
        """
        # As leader of a later term Raft put this off (figure 8); as follower it must not.
        self._core.commit_to(self._finality.final_height)
        if not self._is_news(message):
            return self.step(message)
        if not self._parked and self._can_check(message):
            return self._check_and_step(message)
        if self._core.leader != message.sender or self._core.term < message.term:
            # Only one node at a time may make us wait: Raft refuses a second leader.
            fault = self.step(without_entries(message))
            if self._core.leader != message.sender:
                return fault
        size = entries_bytes(message.entries)
        goes_ahead = self._goes_ahead(message)
        while self._parked and (len(self._parked) >= MAX_PARKED or self._parked_bytes + size > MAX_PARKED_BYTES):
            self._counters["append dropped: too many wait"] += 1
            if not goes_ahead:
                return None
            self._unpark(last=True)
        self._park(message, first=goes_ahead)
        self.drain()
        return None

    def drain(self) -> None:
        """Something changed that waiting appends may have waited for."""
        while self._parked:
            message = self._parked[0]
            if message.term < self._core.term or not self._is_news(message):
                self._unpark()
                continue
            ready = self._checkable(message) if self._follows(message) else len(message.entries)
            if ready == 0:
                if self._bring_forward():
                    continue
                return
            self._unpark()
            if ready < len(message.entries):
                # The head of the batch can be taken; the rest waits for it to be final.
                self._park(_tail(message, ready), first=True)
                message = _head(message, ready)
            fault = self._check_and_step(message)
            if fault is not None:
                self._faults.append((message.sender, fault))

    def in_log(self, height: int, term: int) -> bool:
        """Whether our log has an entry of this term at this height."""
        return (height, term) == (0, 0) or (0 < height <= self._core.last_index and self._core.term_of(height) == term)

    def step(self, message: Message) -> str | None:
        """Give a message to Raft; why its sender must be dropped, or None."""
        refusal = self._core.step(message)
        if isinstance(refusal, BadMessage):
            self._counters[f"message refused: {refusal.fault.value}"] += 1
            return str(refusal) if refusal.fault.blame and refusal.fault not in _UNPROVED else None
        return None

    def take_faults(self) -> list[tuple[int, str]]:
        """Numbers of validators to be dropped for appends that had to wait before they were judged."""
        faults, self._faults = self._faults, []
        return faults

    def _park(self, message: Message, *, first: bool = False) -> None:
        (self._parked.appendleft if first else self._parked.append)(message)
        self._parked_bytes += entries_bytes(message.entries)

    def _unpark(self, *, last: bool = False) -> None:
        self._parked_bytes -= entries_bytes((self._parked.pop() if last else self._parked.popleft()).entries)

    def _bring_forward(self) -> bool:
        """Put an append that can be taken at once before those that wait; whether there is one.

        The first may wait for a certificate that was lost: the leader sends each of them once. It sends the
        blocks again, though, and with a newer certificate they need no judgement.
        """
        for place, message in enumerate(self._parked):
            if place and self._goes_ahead(message):
                del self._parked[place]
                self._parked.appendleft(message)
                return True
        return False

    def _goes_ahead(self, message: Message) -> bool:
        return self._is_news(message) and self._follows(message) and self._certified_until(message) > 0

    # --- what can be judged

    def _is_news(self, message: Message) -> bool:
        """Whether Raft would look at the entries at all, and not answer without them."""
        core = self._core
        if message.term < core.term or message.index < core.commit:
            return False
        return message.term > core.term or core.leader in (NO_NODE, message.sender)

    def _can_check(self, message: Message) -> bool:
        return not self._follows(message) or self._checkable(message) == len(message.entries)

    def _follows(self, message: Message) -> bool:
        """Whether the entry before the batch is in our log (else Raft refuses it without looking at blocks)."""
        return self.in_log(message.index, message.log_term)

    def _checkable(self, message: Message) -> int:
        """How many of the entries can be judged now: certified, or their state is applied and their time has come."""
        certified = self._certified_until(message)
        room = MAX_UNCERTIFIED_BYTES - self._chain.kept_bytes
        for count, entry in enumerate(message.entries):
            if entry.index <= certified:
                continue
            try:
                candidate = self._chain.read(entry)
            except BlockError:
                return count + 1  # it will be refused with its reason
            head = candidate.header
            if self.in_log(entry.index, entry.term) and not self._other_block(message, candidate):
                continue
            if head.state_height >= entry.index:
                return count + 1  # so will a state that cannot come before the block
            room -= len(entry.data)
            if room < 0:
                self._counters["append held: too much is not certified"] += 1
                return count
            if head.state_height > self._machine.height:
                return count
            if head.time_s > self._clock() + self._machine.genesis.max_drift_s:
                self._counters["append held: time ahead of our clock"] += 1
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
                    block = self._chain.read(message.entries[place])
                except BlockError:
                    continue
                if block.block_hash == certificate.block:
                    return certificate.height
        return 0

    # --- the gates

    def _check_and_step(self, message: Message) -> str | None:
        """The gates, then Raft. A block that fails the gate of form ends the leader's connection."""
        if not self._follows(message):
            return self.step(message)
        certified = self._certified_until(message)
        parent = self._chain.head(message.index)
        checked: list[Block] = []
        known = 0
        for entry in message.entries:
            try:
                candidate = self._chain.read(entry)
                if not checked and self.in_log(entry.index, entry.term):
                    ours = self._chain.head(entry.index)
                    if candidate.block_hash == ours.block_hash:
                        parent = ours
                        known += 1
                        continue
                    fault = self._two_blocks(message, candidate, ours)
                    if fault is not None or entry.index <= self._core.commit or message.term <= ours.term:
                        return fault
                if not checked and not self._may_follow(message, candidate, parent):
                    return self._ask_for_earlier(message)
                quorum = self._electorate.of(parent.next_validators)
                if quorum is None:
                    # Decided in a block before it that is not final here yet; the leader sends it again.
                    self._counters["append held: its validators are not known yet"] += 1
                    break
                self._check_form(entry, candidate, parent, quorum)
                fault = self._locking.check_first(candidate, head_at(self._chain, message.index + known, checked))
                if fault is not None:
                    raise FormError(f"block {entry.index}: {fault}")
                self._watcher.block(candidate)
            except (BlockError, FormError) as error:
                self._counters["block refused: form"] += 1
                self._watcher.bad_block(entry.data, self._envelope_of(parent, checked))
                return str(error)
            if entry.index > certified and not self._may_acknowledge(candidate):
                break
            checked.append(candidate)
            parent = Parent.of(candidate)
        if known + len(checked) < len(message.entries):
            if not known + len(checked):
                return None
            message = _head(message, known + len(checked))
        replaced, lock = self._replacement(message, checked)
        if not replaced:
            return None
        fault = self.step(message)
        # Raft may have had its own reasons not to take them.
        if checked and self.in_log(checked[0].header.height, checked[0].header.term):
            # Acks and certificates must not speak of blocks that have left the log.
            self._finality.truncate(checked[0].header.height)
            for block in checked:
                self._chain.keep(block)
                if block.election is not None:
                    self._elections.keep(block.election)
            self._locking.changed_over(lock, checked)
        return fault

    def _other_block(self, message: Message, candidate: Block) -> bool:
        """Whether a block is to take the place of another one of its height and term."""
        ours = self._chain.head(candidate.header.height)
        return candidate.block_hash != ours.block_hash and message.term > ours.term

    def _replacement(self, message: Message, checked: list[Block]) -> tuple[bool, Certificate | None]:
        """Whether the blocks of ours that these replace may go: only with what justifies it later.

        And the lock that this node has afterwards.
        """
        if not checked:
            return True, None
        first = checked[0].header.height
        election = self._leadership.byzantine_election(message.term)
        allowed, lock = self._locking.replacement(first, election, head_at(self._chain, first - 1, checked))
        heights = range(first, self._core.last_index + 1)
        lost = [self._chain.head(height) for height in heights if not self._electorate.is_byzantine_at(height)]
        # In place of one of the same height and term nobody has less than before.
        places = {(block.header.height, block.header.term) for block in checked}
        lost = [head for head in lost if (head.height, head.term) not in places]
        own = [block.election for block in checked if block.election is not None]
        if allowed and self._elections.justify(lost, own, message.term):
            return True, lock
        self._counters["append held: it replaces blocks without an election that justifies it"] += 1
        return False, None

    def _envelope_of(self, parent: Parent, checked: list[Block]) -> bytes | None:
        """The header envelope of the block before the one that is judged; None before the first."""
        if not parent.height:
            return None
        block = checked[-1] if checked else self._chain.block(parent.height)
        return block.header_envelope.encode()

    def _may_follow(self, message: Message, candidate: Block, parent: Parent) -> bool:
        """Whether a batch may continue our log behind `parent`, before the blocks themselves are judged.

        Raises:
            FormError: the sender takes back what the leader of its own term has sent.
        """
        height = parent.height + 1
        if height <= self._core.last_index and self._core.last_term == message.term:
            # Blocks of a term are added by its one leader and never replaced by it. Whoever
            # follows such an append acknowledges two blocks in one term.
            raise FormError(f"block {height}: replaces a block, but our log ends with this very term {message.term}")
        return candidate.header.parent == parent.block_hash

    def _ask_for_earlier(self, message: Message) -> str | None:
        """The leader has another block than we where its append begins, of the same height and term.

        Who led that term made two, and who of those that pass them on is the liar cannot be seen
        from here. Ours, if it is not final, gives way to that of a later leader, which sends more
        if it hears that what it takes for known here is not: as if the block were of another term.
        """
        self._counters["append refused: another block before it"] += 1
        if message.index <= self._core.commit or message.log_term >= message.term:
            return None
        return self.step(msgspec.structs.replace(message, log_term=message.log_term + 1, entries=()))

    def _two_blocks(self, message: Message, candidate: Block, ours: Parent) -> str | None:
        """One term, one height, two blocks: ours stays, unless a later leader passes on what it was told.

        Returns:
            Why the sender must be dropped: it made them, or cannot show who did; else None.
        """
        quorum = self._electorate.at(candidate.header.height)
        key = None if quorum is None else quorum.key_of(candidate.leader)
        signed = key is not None and candidate.header_envelope.verify(
            Header.KIND, self._machine.chain_id, key, self._verifier
        )
        if signed:
            self._watcher.header(candidate.header_envelope, candidate.header, candidate.block_hash)
            self._show_election(candidate, self._chain.head(ours.height - 1))
            self._counters["equivocation: two blocks of one term and height"] += 1
            # In one term, two leaders are the fault of who voted for both.
            if message.term > ours.term or candidate.leader != ours.leader:
                return None
        return (
            f"block {ours.height}: {candidate.block_hash.hex()} in place of {ours.block_hash.hex()}, "
            f"both of term {ours.term}"
        )

    def _show_election(self, candidate: Block, parent: Parent) -> None:
        """Two leaders of one term have a voter in common: who it is stands in their election certificates."""
        election, machine = candidate.election, self._machine
        if election is None or candidate.header.election != blocks.election_hash(election):
            return
        leader, term, chain_id = candidate.leader, candidate.header.term, machine.chain_id
        quorum = self._electorate.of(parent.next_validators)
        if quorum is not None and not check_election(election, leader, term, parent, quorum, chain_id, self._verifier):
            self._watcher.election(election)

    def _check_form(self, entry: Entry, candidate: Block, parent: Parent, quorum: QuorumConfig) -> None:
        if (candidate.header.height, candidate.header.term) != (entry.index, entry.term):
            raise FormError(f"block {candidate.header.height}: sent as entry {entry.index}")
        machine = self._machine
        blocks.check_form(candidate, parent, quorum, machine.genesis, machine.chain_id, self._verifier)

    def _may_acknowledge(self, block: Block) -> bool:
        """The gate of view, and whether the leader's state is ours."""
        head = block.header
        fault = self._machine.check_view(block)
        if fault is not None:
            self._counters[f"block refused: {fault.rsplit(': ', 1)[-1]}"] += 1
            return False
        ours = self._machine.state_hash(head.state_height)
        if ours is not None and ours != head.state_hash:
            # One leader's word does not stop us: if a quorum acknowledges the block, its
            # certificate will, when the block is executed; if not, the leader is wrong.
            self._counters["block refused: state hash"] += 1
            self.disputed = (
                f"state after height {head.state_height}: ours is {ours.hex()}, "
                f"the leader {block.leader.hex()} signed {head.state_hash.hex()}"
            )
            return False
        return True


def _head(message: Message, count: int) -> Message:
    """The append of the first `count` entries."""
    return msgspec.structs.replace(message, entries=message.entries[:count])


def _tail(message: Message, count: int) -> Message:
    """The append of what follows them."""
    last = message.entries[count - 1]
    return msgspec.structs.replace(message, index=last.index, log_term=last.term, entries=message.entries[count:])
