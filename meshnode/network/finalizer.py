"""Finalizer: turns acks and certificates into final, executed blocks, or stops the node that finds a fork."""

from __future__ import annotations

from collections import Counter

from meshnode.machine import Lacking, Machine, StateMismatch
from meshnode.network.certificates import CertificateBook
from meshnode.network.chain import Chain
from meshnode.network.electorate import Electorate
from meshnode.network.heard import Heard
from meshnode.network.locking import Locking
from meshnode.network.watcher import COMPARED_BLOCKS, TWO_HISTORIES, Watcher
from meshnode.network.work import FinalBlock
from protocols.block import Block
from protocols.certificate import check_certificate
from protocols.cose import Verifier, key_id_of
from protocols.finality import Finality, Link
from protocols.histories import History
from protocols.parcel import Parcel
from protocols.raft import RawNode
from protocols.records import PHASE_PREPARE, QUORUM_BYZANTINE, Ack, Certificate, to_payload


class Finalizer:
    """The one way from the log into the machine.

    Attributes:
        unable: ticks since something was last final here, while a certificate is known of a later height.

    Invariant: unless halted, the machine stands at `finality.final_height`, and the
    block executed there is the one that the newest certificate names.
    """

    def __init__(
        self,
        core: RawNode,
        machine: Machine,
        chain: Chain,
        electorate: Electorate,
        finality: Finality,
        certificates: CertificateBook,
        locking: Locking,
        watcher: Watcher,
        heard: Heard,
        verifier: Verifier,
        counters: Counter[str],
    ) -> None:
        self._halted: str | None = None
        self._fork = False
        self.unable = 0
        self._unknown_height = 0
        self._core = core
        self._machine = machine
        self._chain = chain
        self._electorate = electorate
        self._finality = finality
        self._certificates = certificates
        self._locking = locking
        self._watcher = watcher
        self._heard = heard
        self._verifier = verifier
        self._counters = counters
        self._final: list[FinalBlock] = []

    @property
    def halted(self) -> str | None:
        """Why nothing is executed or acknowledged here any more, and who was found out; None while all is well."""
        if self._halted is None:
            return None
        return "; ".join([self._halted, *self._watcher.convictions(), *([TWO_HISTORIES] if self._fork else [])])

    def take_final(self) -> list[FinalBlock]:
        """Blocks executed since the last call, in order."""
        final, self._final = self._final, []
        return final

    @property
    def certified_height(self) -> int:
        """The highest height that is certified, as far as this node knows, whether or not it has the block."""
        return self._finality.certified_height

    @property
    def is_left_behind(self) -> bool:
        """Whether something later than what is final here is certified, as far as this node knows.

        Of that one the block may be missing, a certificate in between, or whoever signed it may not be known here yet.
        """
        return max(self._unknown_height, self._finality.certified_height) > self._finality.final_height

    def tick(self) -> None:
        """One unit of time has passed."""
        self.unable = self.unable + 1 if self.is_left_behind else 0

    def executed_unseen(self) -> list[FinalBlock]:
        """Blocks executed that `take_final` has not handed out yet."""
        return list(self._final)

    def link(self, block: Block) -> None:
        """A block is checked and on disk: it may be certified from now on. Call `advance` after the last one."""
        self._chain.keep(block)
        self._watcher.block(block)
        head = block.header
        quorum = self._electorate.at(head.height)
        assert quorum is not None, "a block is checked, and so written, only when its voters are known"
        certificate = self._finality.extend(Link(head.height, head.term, block.block_hash, quorum))
        if certificate is not None:
            self._certificates.add(certificate)
        self._locking.linked(head.height)

    def count_ack(self, key_id: bytes, ack: Ack, signature: bytes) -> None:
        """Count an ack that holds."""
        if ack.phase == PHASE_PREPARE:
            self._locking.take_ack(key_id, ack, signature)
            return
        certificate = self._finality.add_ack(key_id, ack, signature)
        if certificate is not None:
            self._heard.certificate(certificate)
            self._certificates.add(certificate)
            self.advance()

    def take_ack(self, sender_key: bytes, parcel: Parcel) -> str | None:
        """Count the ack in a peer's parcel; why its sender must be dropped, or None."""
        ack, signature = parcel.ack, parcel.ack_signature
        if ack is None or signature is None:
            return "ack without a signature"
        if ack.height <= self._finality.final_height and self._chain.head(ack.height).block_hash == ack.block:
            return None
        key_id, quorum = key_id_of(sender_key), self._electorate.of(ack.validators)
        if quorum is None:
            self._counters["ack of unknown validators"] += 1
            return None
        if not self._finality.verify_ack(key_id, ack, signature, quorum):
            return "ack whose signature does not hold"
        self._watcher.ack(key_id, ack, signature)
        self._heard.ack(key_id, ack, signature)
        self.count_ack(key_id, ack, signature)
        return None

    def take_certificate(self, certificate: Certificate) -> str | None:
        """Use a certificate of a peer; why its sender must be dropped, or None."""
        height, finality = certificate.height, self._finality
        if certificate.phase == PHASE_PREPARE:
            return self._locking.take_certificate(certificate)
        final = height <= finality.final_height
        if final and self._chain.head(height).block_hash == certificate.block:
            return None
        quorum = self._electorate.of(certificate.validators)
        if quorum is None:
            # Of a configuration that we have still to learn of, or of one that is over.
            self._counters["certificate of unknown validators"] += 1
            self._unknown_height = max(self._unknown_height, height)
            return None
        # Only a quorum's signatures make it worth keeping or halting for.
        chain_id, verifier = self._machine.chain_id, self._verifier
        if check_certificate(certificate, certificate.ack_term, quorum, chain_id, verifier) is not None:
            return f"certificate of height {height} does not hold"
        self._watcher.certificate(certificate)
        if final:
            self.halt(
                f"height {height}: a valid certificate names another block than the one that is final here", fork=True
            )
            return None
        if any(other.height == height and other.block != certificate.block for other in finality.pending()):
            self.halt(f"height {height}: two valid certificates name different blocks", fork=True)
            return None
        ours = self._chain.head(height) if height <= self._core.last_index else None
        if ours is not None and ours.block_hash != certificate.block:
            # A block of an earlier term has simply lost, and its leader's successor is about to
            # replace it. One of the same term or a later one cannot stand beside it; but in byzantine mode
            # it takes only a lying leader to give us another block than a quorum in one term.
            if ours.term >= certificate.ack_term + (quorum.mode == QUORUM_BYZANTINE):
                self.halt(f"height {height}: a valid certificate names another block than the one here", fork=True)
                return None
        elif finality.has(height):
            fault = finality.add_certificate(certificate)
            if fault is not None:
                return fault
            self._heard.certificate(certificate)
            self._certificates.add(certificate)
            self.advance()
            return None
        finality.add_certificate(certificate)
        return None

    def advance(self) -> None:
        """Execute what is final."""
        final = self._finality.final_height
        if self._halted or self._machine.height >= final:
            return
        newest = self._certificates.newest
        assert newest is not None and newest.height == final, "a height is final only by its certificate"
        if self._chain.head(final).block_hash != newest.block:
            self.halt(f"height {final}: certified is {newest.block.hex()}, our log has another block", fork=True)
            return
        while self._machine.height < final:
            block = self._chain.take(self._machine.height + 1)
            try:
                fault = self._machine.check_view(block)
                if fault is not None:
                    self.halt(f"a certified block fails our own check: {fault}")
                    return
                events = self._machine.apply(block)
            except (StateMismatch, Lacking) as error:
                self.halt(str(error))
                return
            self._final.append(FinalBlock(block, events))
        # Whoever gets on has not been left behind: nobody's unproved word is to make it look elsewhere.
        self.unable = self._unknown_height = 0
        self._core.commit_to(final)

    def halt(self, reason: str, *, fork: bool = False) -> None:
        """Execute and acknowledge nothing from here on; a person must look.

        Args:
            fork: two quorums have contradicted one another.
        """
        if self._halted is None:
            self._halted, self._fork = reason, fork
            self._counters["halted"] += 1
            self._watcher.compare([self._history()])

    def _history(self) -> History:
        """What this node has of late, for finding out who is to blame."""
        last = self._core.last_index
        first = max(1, min(self._machine.height, last) - COMPARED_BLOCKS)
        newest, pending = self._certificates.newest, self._finality.pending()
        return History(
            blocks=tuple(self._chain.block(height).encoded for height in range(first, last + 1)),
            certificates=tuple(to_payload(known) for known in (*pending, *([] if newest is None else [newest]))),
            statements=self._watcher.statements(),
        )
