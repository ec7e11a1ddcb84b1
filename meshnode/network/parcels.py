"""Parcels: messages of the core on their way out, with the signatures, certificates and proofs that go with them."""

from __future__ import annotations

from meshnode.network.certificates import CertificateBook
from meshnode.network.chain import Chain
from meshnode.network.elections import ElectionBook
from meshnode.network.electorate import Electorate
from meshnode.network.finalizer import Finalizer
from meshnode.network.leadership import Leadership
from meshnode.network.locking import Locking
from meshnode.network.pledges import Pledge, Pledges
from meshnode.network.work import Outgoing
from protocols.parcel import Parcel, pack
from protocols.raft import NO_NODE, Message, MessageKind, RawNode, Role
from protocols.records import Ack, Certificate, Election


class Parcels:
    """Dresses what one validator sends; see `of`."""

    def __init__(
        self,
        core: RawNode,
        chain: Chain,
        electorate: Electorate,
        finalizer: Finalizer,
        certificates: CertificateBook,
        elections: ElectionBook,
        leadership: Leadership,
        locking: Locking,
        pledges: Pledges,
    ) -> None:
        self._core = core
        self._chain = chain
        self._electorate = electorate
        self._finalizer = finalizer
        self._certificates = certificates
        self._elections = elections
        self._leadership = leadership
        self._locking = locking
        self._pledges = pledges

    def of(self, message: Message) -> Outgoing:
        """A message that promises nothing, or nothing new."""
        ack = self._locking.committed() if message.kind is MessageKind.HEARTBEAT_RESP else None
        return self.of_pledge(Pledge(message, tip=self._before(message), ack=ack))

    def of_pledge(self, pledge: Pledge) -> Outgoing:
        """A message whose promise is on the disk: sign it."""
        message, ack = pledge.message, None if self._finalizer.halted else pledge.spoken
        certificates: tuple[Certificate, ...] = ()
        # Whoever would not vote for us, because another block is final there, must see what is final here: a fork.
        if message.kind in (MessageKind.APP, MessageKind.HEARTBEAT, MessageKind.PRE_VOTE):
            certificates = (*self._certificates.along(message), *self._locking.certificates_along(message))
        elections: tuple[Election, ...] = ()
        if message.entries and message.entries[-1].term < message.term:
            # The append ends before our branch shows why it may replace another one.
            elections = self._elections.later_than(message.entries[-1].term)
        parcel = Parcel(
            message=pack(message),
            tip=pledge.tip,
            vote=None if pledge.vote is None else self._pledges.sign_vote(pledge.vote),
            ack=ack,
            ack_signature=None if ack is None else self._pledges.sign_ack(ack),
            certificates=certificates,
            elections=elections,
            lock=self._locking.lock_along(message),
        )
        return Outgoing(message.to, self._leadership.dress(message, self._electorate.key_of, parcel))

    def of_commit(self, ack: Ack | None) -> tuple[Outgoing, ...]:
        """What we are locked on is on the disk: say so to the leader, or count it if that is us."""
        core = self._core
        if ack is None or self._finalizer.halted or ack.ack_term != core.term:
            return ()
        signature = self._pledges.sign_ack(ack)
        self._locking.signed(ack)
        if core.state is Role.LEADER:
            self._finalizer.count_ack(self._pledges.key_id, ack, signature)
        elif core.leader != NO_NODE:
            return (Outgoing(core.leader, Parcel(ack=ack, ack_signature=signature)),)
        return ()

    def _before(self, message: Message) -> bytes | None:
        """The block before an append's entries, or our last one: of a leader that lies, term and height name none."""
        before = message.kind is MessageKind.APP and message.index and message.term == self._core.term
        if before or (message.kind is MessageKind.PRE_VOTE and message.index == self._core.last_index):
            return self._chain.head(message.index).block_hash
        return None
