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
from protocols import block as blocks
from protocols.block import Block, BlockError, FormError, Parent
from protocols.cose import Verifier
from protocols.finality import Finality
from protocols.raft import BadMessage, Message, RawNode

# Appends that wait for their turn; the leader sends again what is dropped beyond that.
MAX_PARKED = 64


class Intake:
    """The one way of a peer's blocks into the log."""

    def __init__(
        self,
        core: RawNode,
        machine: Machine,
        chain: Chain,
        finality: Finality,
        verifier: Verifier,
        clock: Callable[[], int],
        counters: Counter[str],
        halt: Callable[[str], None],
    ) -> None:
        self._core = core
        self._machine = machine
        self._chain = chain
        self._finality = finality
        self._verifier = verifier
        self._clock = clock
        self._counters = counters
        self._halt = halt
        self._parked: deque[Message] = deque()
        self._faults: list[tuple[int, str]] = []

    def take(self, message: Message) -> str | None:
        """Take an append with blocks, now or when its turn comes.

        Returns:
            Why its sender must be dropped, or None.
        """
        if self._parked or not self._can_check(message):
            if len(self._parked) >= MAX_PARKED:
                self._counters["append dropped: too many wait"] += 1
                return None
            self._parked.append(message)
            self.drain()
            return None
        return self._check_and_step(message)

    def drain(self) -> None:
        """Something changed that waiting appends may have waited for."""
        while self._parked:
            message = self._parked[0]
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
                self._parked.appendleft(rest)
                message = msgspec.structs.replace(message, entries=message.entries[:ready])
            fault = self._check_and_step(message)
            if fault is not None:
                self._faults.append((message.sender, fault))

    def _can_check(self, message: Message) -> bool:
        return not self._follows(message) or self._checkable(message) == len(message.entries)

    def in_log(self, height: int, term: int) -> bool:
        """Whether our log has an entry of this term at this height."""
        return (height, term) == (0, 0) or (0 < height <= self._core.last_index and self._core.term_of(height) == term)

    def _follows(self, message: Message) -> bool:
        """Whether the entry before the batch is in our log (else Raft refuses it without looking at blocks)."""
        return message.term >= self._core.term and self.in_log(message.index, message.log_term)

    def _checkable(self, message: Message) -> int:
        """How many of the entries can be judged now: certified, or their state is applied and their time has come."""
        certified = self._certified_until(message)
        for count, entry in enumerate(message.entries):
            if entry.index <= certified or self.in_log(entry.index, entry.term):
                continue
            try:
                head = self._chain.read(entry).header
            except BlockError:
                return count + 1  # it will be refused with its reason
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

    def _check_and_step(self, message: Message) -> str | None:
        """The gates, then Raft. A block that fails the gate of form ends the leader's connection."""
        checked: list[Block] = []
        if self._follows(message):
            certified = self._certified_until(message)
            parent = self._chain.head(message.index)
            for entry in message.entries:
                if not checked and self.in_log(entry.index, entry.term):
                    parent = self._chain.head(entry.index)
                    continue
                try:
                    candidate = self._chain.read(entry)
                    if (candidate.header.height, candidate.header.term) != (entry.index, entry.term):
                        raise FormError(f"block {candidate.header.height}: sent as entry {entry.index}")
                    blocks.check_form(
                        candidate,
                        parent,
                        self._machine.quorum,
                        self._machine.genesis,
                        self._machine.chain_id,
                        self._verifier,
                    )
                except (BlockError, FormError) as error:
                    self._counters["block refused: form"] += 1
                    return str(error)
                if entry.index > certified and not self._may_acknowledge(candidate):
                    return None
                checked.append(candidate)
                parent = Parent.of(candidate)
        fault = self.step(message)
        for block in checked:
            # Raft may have had its own reasons not to take them.
            if self.in_log(block.header.height, block.header.term):
                self._chain.keep(block)
        return fault

    def _may_acknowledge(self, block: Block) -> bool:
        """The gate of view, and whether the leader's state is ours."""
        head = block.header
        fault = self._machine.check_view(block)
        if fault is not None:
            self._counters[f"block refused: {fault.rsplit(': ', 1)[-1]}"] += 1
            return False
        ours = self._machine.state_hash(head.state_height)
        if ours is not None and ours != head.state_hash:
            self._halt(
                f"state after height {head.state_height}: ours is {ours.hex()}, "
                f"the leader signed {head.state_hash.hex()}"
            )
            return False
        return True

    def step(self, message: Message) -> str | None:
        """Give a message to Raft; why its sender must be dropped, or None."""
        refusal = self._core.step(message)
        if isinstance(refusal, BadMessage):
            self._counters[f"message refused: {refusal.fault.value}"] += 1
            return str(refusal) if refusal.fault.blame else None
        return None

    def take_faults(self) -> list[tuple[int, str]]:
        """Numbers of validators to be dropped for appends that had to wait before they were judged."""
        faults, self._faults = self._faults, []
        return faults
