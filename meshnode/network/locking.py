"""Locking: the two phases of one validator in byzantine mode - what it is locked on, and what may free it.

`protocols.locks` has the rules (R1 to R5) and why they are enough. In majority mode
nothing here does anything: no lock, no prepare certificate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from meshnode.network.certificates import CertificateBook
from meshnode.network.chain import Chain
from meshnode.network.elections import ElectionBook
from meshnode.network.electorate import Electorate
from meshnode.network.heard import Heard
from meshnode.network.pledges import Pledges
from meshnode.network.work import Outgoing
from protocols.block import Block
from protocols.certificate import QuorumConfig, check_acks, check_lock_before
from protocols.cose import Verifier
from protocols.finality import Finality
from protocols.locks import NOWHERE, Place, Prepares, commit_ack, place_of, place_of_tip, tip_of
from protocols.parcel import Parcel
from protocols.raft import NO_NODE, Message, MessageKind, RawNode, Role
from protocols.raft.messages import VOTE_REQUESTS
from protocols.records import (
    PHASE_PREPARE,
    QUORUM_BYZANTINE,
    Ack,
    Certificate,
    Election,
    Tip,
    read_as,
    to_payload,
)
from protocols.records.agreement import VoteRow

_ANSWERS = (MessageKind.VOTE_RESP, MessageKind.PRE_VOTE_RESP)


class Locking:
    """The lock of one validator.

    Invariant: the lock's block is in the log, final or not, and is on disk before anything is signed for it.

    Attributes:
        newest: the highest prepare certificate made or verified here, whether or not its block is in our log.
    """

    def __init__(
        self,
        core: RawNode,
        chain: Chain,
        electorate: Electorate,
        finality: Finality,
        certificates: CertificateBook,
        elections: ElectionBook,
        pledges: Pledges,
        heard: Heard,
        stored: bytes,
        chain_id: bytes,
        verifier: Verifier,
        halt: Callable[[str], None],
        counters: Counter[str],
    ) -> None:
        """Args:
        stored: the encoded lock that is on the disk.
        """
        self.newest: Certificate | None = None
        self._core = core
        self._chain = chain
        self._electorate = electorate
        self._finality = finality
        self._certificates = certificates
        self._elections = elections
        self._pledges = pledges
        self._heard = heard
        self._chain_id = chain_id
        self._verifier = verifier
        self._halt = halt
        self._counters = counters
        self._prepares = Prepares()
        # The lock on the disk; certificates are equal just when their encodings are.
        self._stored = read_as(Certificate, stored) if stored else None
        self._own: Certificate | None = None
        self._promised: Place = NOWHERE
        self._signed: Ack | None = None
        self._told: Place = NOWHERE
        self._shown: dict[int, Place] = {}
        # As a learner this node may have fetched other blocks than it was locked on: certified ones, C3.
        if self._stored is not None and self._is_here(self._stored):
            self._own = self.newest = self._stored

    # --- the lock

    @property
    def is_on(self) -> bool:
        """Whether the block after our log's last becomes final in two phases."""
        return self._electorate.is_byzantine_at(self._core.last_index + 1)

    @property
    def lock(self) -> Certificate | None:
        """What this validator is locked on; a block that became final here counts like one that was prepared.

        Once others have decided, the time of its validators is over: what the last one bound us to is final as well.
        """
        final = self._certificates.newest
        if final is not None and place_of(final) > place_of(self._own):
            return final if self._byzantine(final.validators) else None
        return self._own

    def of_vote(self) -> Tip | None:
        """The lock as our votes name it."""
        return tip_of(self._binding())

    @property
    def is_behind(self) -> bool:
        """Whether this node may have forgotten a lock of its own, and its log does not have a lock as high."""
        # Asked with every tick: mostly there is nothing that we may have lost.
        others = self._others_lock()
        return others is not None and place_of(others) > place_of(self.lock)

    def of_election(self, height: int) -> Certificate | None:
        """The lock that our election certificate carries, for a block at this height."""
        return self.lock if self._electorate.is_byzantine_at(height) else None

    def take_unwritten(self) -> bytes | None:
        """What the next batch must carry; None if it is on the disk already."""
        if self._own == self._stored:
            return None
        self._stored = self._own
        return b"" if self._own is None else to_payload(self._own)

    def has_work(self) -> bool:
        """Whether something is to be written or said for the lock alone."""
        return self._own != self._stored or self.to_commit() is not None or self._untold() is not None

    def to_commit(self) -> Ack | None:
        """The commit ack that is to be promised with the next batch; None if nothing new is."""
        lock = self._own
        if lock is None or not self._is_current(lock) or place_of(lock) == self._promised:
            return None
        return commit_ack(lock)

    def promise(self, ack: Ack) -> None:
        """This commit ack is signed once the batch is on the disk."""
        self._promised = (ack.ack_term, ack.height)

    def signed(self, ack: Ack) -> None:
        """The batch is on the disk: this commit ack may be said, as often as it is of use."""
        self._signed = ack

    def committed(self) -> Ack | None:
        """The commit ack that was signed and has made nothing final yet: it may have got lost."""
        lock = self._own
        if lock is None or self._signed != commit_ack(lock) or not self._is_current(lock):
            return None
        return self._signed

    # --- prepare acks and their certificates

    def take_ack(self, key_id: bytes, ack: Ack, signature: bytes) -> None:
        """Count a prepare ack whose signature holds."""
        self._prepares.add(key_id, ack, signature, self._finality.final_height)
        self.linked(ack.height)

    def linked(self, height: int) -> None:
        """Our log has a block there, checked and on disk, or another prepare ack for it."""
        link = self._finality.link(height)
        if link is None or link.quorum.mode != QUORUM_BYZANTINE:
            return
        certificate = self._prepares.certify(link)
        if certificate is not None and place_of(certificate) > place_of(self.newest):
            self.newest = certificate
        self.settle()

    def take_certificate(self, certificate: Certificate) -> str | None:
        """Use a prepare certificate of a peer; why its sender must be dropped, or None."""
        if certificate.height <= self._finality.final_height or certificate == self.newest:
            return None
        place, known = place_of(certificate), place_of(self.newest)
        if place < known or (place == known and self.newest is not None and self.newest.block == certificate.block):
            return None
        quorum = self._electorate.of(certificate.validators)
        if quorum is None:
            self._counters["certificate of unknown validators"] += 1
            return None
        fault = self._fault(certificate, quorum)
        if fault is not None:
            return fault
        self._heard.certificate(certificate)
        if place == known:
            self._contradicts(certificate)
            return None
        self.newest = certificate
        self.settle()
        return None

    def tell(self, numbers: Iterable[int]) -> list[Outgoing]:
        """As leader: parcels for these validators with a prepare certificate that is new."""
        untold = self._untold()
        if untold is None:
            return []
        self._told = place_of(untold)
        return [Outgoing(number, Parcel(certificates=(untold,))) for number in numbers]

    def certificates_along(self, message: Message) -> tuple[Certificate, ...]:
        """What goes with a heartbeat: the prepare certificate that may not have arrived."""
        current = self._to_tell() if message.kind is MessageKind.HEARTBEAT else None
        return () if current is None else (current,)

    def settle(self) -> None:
        """Lock what can be locked now: the highest prepare certificate, if its block is in our log and on disk."""
        newest = self.newest
        if newest is None or place_of(newest) <= place_of(self.lock) or newest.ack_term > self._core.term:
            return
        link = self._finality.link(newest.height)
        if link is None or link.block_hash != newest.block:
            return
        core = self._core
        if core.leader == NO_NODE and core.vote not in (NO_NODE, core.id):
            # A vote that is given again must be the same.
            return
        self._own = newest

    # --- elections

    def lock_along(self, message: Message) -> Certificate | None:
        """The lock that goes with a request for votes, or with a refusal."""
        asks = message.kind in VOTE_REQUESTS
        refuses = message.kind in _ANSWERS and message.reject
        return self.lock if asks or refuses else None

    def hear(self, message: Message, parcel: Parcel) -> str | None:
        """Take the lock that came with a request for votes or a refusal; why its sender must be dropped, or None."""
        shown = parcel.lock
        if message.kind in VOTE_REQUESTS:
            self._shown[message.sender] = NOWHERE
        elif message.kind not in _ANSWERS:
            return None
        if shown is None:
            return None
        quorum = self._electorate.of(shown.validators)
        if quorum is None:
            self._counters["lock of unknown validators"] += 1
            return None
        known = self.lock
        if shown != known:
            fault = self._fault(shown, quorum)
            if fault is not None:
                return fault
            if known is not None and place_of(shown) == place_of(known) and shown.block != known.block:
                self._contradicts(shown)
                return None
        if message.kind in VOTE_REQUESTS:
            self._shown[message.sender] = place_of(shown)
        if shown.phase == PHASE_PREPARE and place_of(shown) > place_of(self.newest):
            self.newest = shown
            self.settle()
        return None

    def may_elect(self, message: Message, up_to_date: bool) -> bool:
        """Whether a candidate has enough: in majority mode the longer log, else a lock as high as ours."""
        if not self.is_on:
            return up_to_date
        own = place_of(self._binding())
        if own != NOWHERE:
            return self._shown.get(message.sender, NOWHERE) >= own
        return (message.log_term, message.index) >= self._begin()

    def outranked_by(self, row: VoteRow | None) -> bool:
        """Whether a vote cannot stand in our election certificate, as its lock is no lower than ours and another.

        It may be invented, so this is nobody's fault; and somebody else may be elected with it.
        """
        if row is None or row[2] is None or not self.is_on:
            return False
        named, own = Tip.of_row(row[2]), self.lock
        place = place_of(own)
        other = own is not None and place_of_tip(named) == place and named.block != own.block
        if place_of_tip(named) <= place and not other:
            return False
        self._counters["vote not counted: a higher lock"] += 1
        return True

    # --- blocks that leave the log

    def check_first(self, block: Block, hash_at: Callable[[int], bytes | None]) -> str | None:
        """Why the first block of a term must not be taken: the lock of its election is not before it."""
        if block.election is None or not self._byzantine(block.header.validators):
            return None
        return check_lock_before(block.election, hash_at)

    def replacement(
        self, first_lost: int, election: Election | None, hash_at: Callable[[int], bytes | None]
    ) -> tuple[bool, Certificate | None]:
        """Whether our blocks from a height on may go, and what this validator is locked on afterwards.

        Args:
            election: of the leader that wants it, by a byzantine quorum; None if there is none.
            hash_at: (height) -> hash of the block there once they are replaced.
        """
        lock = self.lock
        if lock is None or lock.height < first_lost:
            return True, self._own
        higher = [known for known in (self.newest, *self._finality.pending()) if known is not None]
        for known in higher:
            if place_of(known) > place_of(lock) and hash_at(known.height) == known.block:
                # The mode may be another one after it: then what we were locked on is what we still say.
                return True, known if self._byzantine(known.validators) else self._own
        if election is None:
            return False, self._own
        if election.lock is not None and hash_at(election.lock.height) != election.lock.block:
            return False, self._own
        self._elections.keep(election)
        return True, election.lock

    def changed_over(self, lock: Certificate | None, blocks: Sequence[Block]) -> None:
        """The log has taken these blocks, with what `replacement` said."""
        self._own = lock
        for block in blocks:
            if block.election is not None and self._byzantine(block.header.validators):
                shown = block.election.lock
                if place_of(shown) > place_of(self.lock):
                    self._own = shown

    # --- its parts

    def _binding(self) -> Certificate | None:
        """What binds our votes: the lock, or a higher one of the others that stands for one that we may have lost."""
        return max(self.lock, self._others_lock(), key=place_of)

    def _others_lock(self) -> Certificate | None:
        licence, final = self._pledges.licence, self._certificates.newest
        over = 0 < licence.until <= self._finality.final_height
        # Whatever a lock stood for is decided once something as late is final, with locks or without.
        return None if over or place_of(final) >= place_of(licence.lock) else licence.lock

    def _is_current(self, lock: Certificate) -> bool:
        """Whether a commit ack of this lock can still make something final."""
        core = self._core
        leads = core.state is Role.LEADER or core.leader != NO_NODE
        return (
            leads
            and lock.phase == PHASE_PREPARE
            and lock.ack_term == core.term
            and lock.height > self._finality.final_height
        )

    def _untold(self) -> Certificate | None:
        current = self._to_tell()
        return current if place_of(current) != self._told else None

    def _to_tell(self) -> Certificate | None:
        """As leader: the newest prepare certificate of our term, until its block is final."""
        newest, core = self.newest, self._core
        if newest is None or core.state is not Role.LEADER or newest.ack_term != core.term:
            return None
        return newest if newest.height > self._finality.final_height else None

    def _is_here(self, lock: Certificate) -> bool:
        return lock.height <= self._core.last_index and self._chain.head(lock.height).block_hash == lock.block

    def _byzantine(self, config_hash: bytes) -> bool:
        quorum = self._electorate.of(config_hash)
        return quorum is not None and quorum.mode == QUORUM_BYZANTINE

    def _begin(self) -> Place:
        """(term, height) of the last block before the byzantine ones in our log."""
        height = self._core.last_index
        config = self._chain.head(height).next_validators
        while height > 0 and self._chain.head(height - 1).next_validators == config:
            height -= 1
        return self._chain.head(height).term, height

    def _fault(self, certificate: Certificate, quorum: QuorumConfig) -> str | None:
        place = f"lock of height {certificate.height}"
        if quorum.mode != QUORUM_BYZANTINE:
            return f"{place}: of validators that do not lock"
        fault = check_acks(certificate, certificate.ack_term, quorum, self._chain_id, self._verifier)
        return None if fault is None else f"{place} does not hold"

    def _contradicts(self, certificate: Certificate) -> None:
        self._halt(
            f"height {certificate.height}: two blocks were prepared in term {certificate.ack_term}; "
            "more validators lie than this microgrid can bear"
        )


def head_at(chain: Chain, until: int, blocks: Sequence[Block]) -> Callable[[int], bytes | None]:
    """(height) -> hash of the block there, in a log that is ours up to `until` and then consists of `blocks`."""
    new = {block.header.height: block.block_hash for block in blocks}

    def hash_at(height: int) -> bytes | None:
        return chain.head(height).block_hash if height <= until else new.get(height)

    return hash_at
