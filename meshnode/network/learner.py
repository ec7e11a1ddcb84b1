"""Learner: the ledger of a node that does not vote, without disk, clock or network.

Ranges of final blocks come in, are checked as a validator checks them (form,
certificate, view, state hash) and executed block by block; what must be written comes
out as a `Batch`, what became final as `FinalBlock`s, as from a `Validator`.

Contract for the owner:
1. `begin` takes a range; then `step` until it returns False; nothing else in between.
2. Write `batch()` with one fsync, then call `persisted()`; a failed write ends the process.
3. `take_final()` gives the blocks that became final, executed, in order, once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from meshnode.ledger import members
from meshnode.machine import Lacking, Machine, StateMismatch
from meshnode.network.chain import StoredLog
from meshnode.network.heard import Heard
from meshnode.network.watcher import COMPARED_BLOCKS, TWO_HISTORIES, Watcher
from meshnode.network.work import FinalBlock
from meshnode.store import Batch, Entry, HardState
from protocols import block as blocks
from protocols.block import Block, BlockError, FormError, MismatchError, Parent
from protocols.certificate import check_certificate
from protocols.cose import Verifier
from protocols.histories import History
from protocols.records import Certificate, read_as, to_payload


class RangeFault(Exception):
    """A range that no honest peer serves."""


class Learner:
    """See the module text.

    Attributes:
        halted: why nothing more is taken; None while all is well.
        certificates_verified: since the start.
    """

    def __init__(self, machine: Machine, log: StoredLog, verifier: Verifier) -> None:
        """Take up where the log stands.

        Args:
            machine: executed up to the log's final height.
        """
        self.machine = machine
        self.counters: Counter[str] = Counter()
        self.heard = Heard(log, machine.chain_id)
        self.halted: str | None = None
        self.certificates_verified = 0
        self.final_height = log.final_height()
        self.newest_certificate: Certificate | None = None
        below = log.certificate_below(self.final_height)
        if below is not None:
            self.newest_certificate = read_as(Certificate, below[1])
        self._log = log
        self._verifier = verifier
        self.watcher = Watcher(lambda: machine.roll, verifier)
        self._hard = log.hard_state()
        self._parent = Parent.of_genesis(machine.genesis, machine.chain_id)
        if self.final_height:
            self._parent = Parent.of(blocks.read(log.entry(self.final_height).data, machine.chain_id))
        self._range: list[Block] = []
        self._certificate: Certificate | None = None
        self._executed: list[FinalBlock] = []
        self._final: list[FinalBlock] = []

    @property
    def term(self) -> int:
        """The newest term that this node knows."""
        return self._hard.term

    @property
    def lock(self) -> Certificate | None:
        """What binds whoever votes after this node's blocks: the certificate of the last one."""
        return self.newest_certificate

    def tip(self) -> tuple[int, int]:
        """(term, height) of the last block in the log."""
        return self._parent.term, self.final_height

    def check_head(self, certificate: Certificate) -> bool:
        """Whether there is a final block at the height of an announced certificate.

        One that names other validators than ours says nothing: we may be behind.

        Raises:
            RangeFault: it does not hold.
        """
        quorum = self.machine.quorum_of(certificate.validators)
        if quorum is None:
            self.counters["head of other validators"] += 1
            return False
        fault = check_certificate(certificate, certificate.ack_term, quorum, self.machine.chain_id, self._verifier)
        if fault is not None:
            raise RangeFault(fault)
        self.certificates_verified += 1
        self.watcher.certificate(certificate)
        return True

    def begin(self, encoded: Sequence[bytes], certificate: Certificate) -> None:
        """Take a range of blocks that follows the final height, and the certificate of its last.

        Raises:
            RangeFault: it does not prove itself, or parts of a block were exchanged; whoever
                served it is at fault. What a quorum certified but this node cannot follow
                is no fault of the server: then this learner halts, here or in `step`.
        """
        assert not self._range, "a range is being executed already"
        try:
            found = [blocks.read(data, self.machine.chain_id) for data in encoded]
        except BlockError as error:
            raise RangeFault(str(error)) from error
        self._check_proof(found, certificate)
        self.certificates_verified += 1
        first, parent = found[0].header, self._parent
        if first.parent != parent.block_hash:
            # Proved by hashes and a certificate, whoever served it: two certified histories.
            self._compare(encoded, certificate)
            self._halt(
                f"block {first.height}: its certified parent is {first.parent.hex()}, "
                f"ours is {parent.block_hash.hex()}; {TWO_HISTORIES}"
            )
            return
        for block in found:
            self._check_belonging(block, parent)
            parent = Parent.of(block)
        self._range, self._certificate = found, certificate

    def prove(self, encoded: Sequence[bytes], certificate: Certificate) -> None:
        """Whether a range follows the final height and its certificate holds; nothing is taken.

        Raises:
            RangeFault: it does not.
        """
        try:
            found = [blocks.read(data, self.machine.chain_id) for data in encoded]
        except BlockError as error:
            raise RangeFault(str(error)) from error
        self._check_proof(found, certificate)

    def to_verify(self) -> list[tuple[bytes, bytes, bytes]]:
        """Signatures of the range's records: (public key, message, signature), for threads."""
        state, chain = self.machine.state, self.machine.chain_id
        work = []
        for block in self._range:
            for signed in block.records:
                key = members.signer(state, signed.key_id, self.machine.height)
                if key is not None:
                    message = signed.envelope.to_be_signed(signed.record.KIND, chain)
                    work.append((key.public_key, message, signed.envelope.signature))
        return work

    def step(self) -> bool:
        """Check and execute the next block of the range; False if there is none."""
        if self.halted or len(self._executed) == len(self._range):
            return False
        machine, block = self.machine, self._range[len(self._executed)]
        try:
            blocks.check_form(block, self._parent, machine.quorum, machine.genesis, machine.chain_id, self._verifier)
            fault = machine.check_view(block)
            if fault is not None:
                raise FormError(fault)
            events = machine.apply(block)
        except FormError as error:
            self._halt(f"a certified block fails our own check: {error}")
            return False
        except (StateMismatch, Lacking) as error:
            self._halt(str(error))
            return False
        self._parent = Parent.of(block)
        self._executed.append(FinalBlock(block, events))
        return True

    def batch(self) -> Batch | None:
        """What is to be written of the range; None if it was not executed to its end."""
        if not self._range or self.halted or len(self._executed) < len(self._range):
            return None
        assert self._certificate is not None
        last = self._range[-1].header
        # Should this node vote one day, its log begins where it learned to; what it once
        # voted for stays.
        term = max(self._hard.term, last.term)
        vote = self._hard.vote if term == self._hard.term else 0
        self._hard = HardState(term, vote, last.height)
        entries = [
            Entry(block.header.height, block.header.term, 0, block.encoded, block.block_hash) for block in self._range
        ]
        # A node that voted may have acknowledged what comes after these: only what another block replaces may go.
        while entries and self._has(entries[0]):
            entries.pop(0)
        return Batch(
            entries=tuple(entries),
            hard_state=self._hard,
            certificates=((self._certificate.height, to_payload(self._certificate)),),
            final_height=last.height,
        )

    def _has(self, entry: Entry) -> bool:
        return entry.index <= self._log.last_index() and self._log.entry(entry.index).block_hash == entry.block_hash

    def persisted(self) -> None:
        """The batch is on disk: its blocks are final here."""
        assert self._range and self._certificate is not None, "persisted() without a batch"
        self.final_height = self._range[-1].header.height
        self.newest_certificate = self._certificate
        self._final += self._executed
        for block in self._range:
            self.heard.block(block)
        self.heard.certificate(self._certificate)
        self._range, self._executed, self._certificate = [], [], None

    def take_final(self) -> list[FinalBlock]:
        """Blocks that became final since the last call, executed, in order."""
        final, self._final = self._final, []
        return final

    def _check_proof(self, found: Sequence[Block], certificate: Certificate) -> None:
        """That the certificate holds for the last block, and every block names the one before it by its hash."""
        if not found:
            raise RangeFault("a range without blocks")
        last = found[-1]
        if (certificate.height, certificate.block) != (last.header.height, last.block_hash):
            raise RangeFault(f"certificate of height {certificate.height} is for another block")
        quorum = self.machine.quorum_of(certificate.validators)
        if quorum is None or certificate.validators != last.header.validators:
            raise RangeFault(f"certificate of height {certificate.height} names validators that nobody here knows of")
        fault = check_certificate(certificate, last.header.term, quorum, self.machine.chain_id, self._verifier)
        if fault is not None:
            raise RangeFault(fault)
        for height, block in enumerate(found, self.final_height + 1):
            if block.header.height != height:
                raise RangeFault(f"block {block.header.height}, expected {height}")
        for before, after in pairwise(found):
            if after.header.parent != before.block_hash:
                raise RangeFault(f"block {after.header.height} does not follow the one before it")

    def _check_belonging(self, block: Block, parent: Parent) -> None:
        quorum = self.machine.quorum_of(parent.next_validators)
        if quorum is None:
            raise RangeFault(f"block {block.header.height} is of validators that nobody here knows of")
        try:
            blocks.check_belonging(block, parent, quorum, self.machine.chain_id, self._verifier)
        except MismatchError as error:
            raise RangeFault(str(error)) from error

    def _compare(self, encoded: Sequence[bytes], certificate: Certificate) -> None:
        """Who is to blame that a certified range does not follow from what is final here?"""
        first = max(self._log.first_index(), self.final_height - COMPARED_BLOCKS)
        newest = self.newest_certificate
        ours = History(
            blocks=tuple(self._log.entry(height).data for height in range(first, self.final_height + 1)),
            certificates=() if newest is None else (to_payload(newest),),
        )
        theirs = History(blocks=tuple(encoded), certificates=(to_payload(certificate),))
        self.watcher.compare([ours, theirs])

    def _halt(self, reason: str) -> None:
        self.halted = "; ".join([reason, *self.watcher.convictions()])
        self.counters["halted"] += 1
