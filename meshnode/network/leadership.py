"""Leadership: whom a validator may follow - who has proved to lead which term - and who may ask in a leader's name.

Raft believes whoever says that it leads. Here a leader sends the header and the election
certificate of its term's first block along until the receiver has that block; whoever has
shown neither is not followed, resets no timer and replaces nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from meshnode.network.chain import Chain
from meshnode.network.terms import LEADERS_WORD
from meshnode.network.watcher import Watcher
from protocols import cbor, cose, leadership
from protocols.block import Block
from protocols.certificate import QuorumConfig
from protocols.cose import Signer, Verifier, key_id_of
from protocols.parcel import Elected, Parcel
from protocols.raft import Message, MessageKind, RawNode
from protocols.raft.messages import TRANSFER_CONTEXT
from protocols.records import QUORUM_BYZANTINE, Election, Header, RecordError, to_payload

_WITH_PROOF = frozenset({MessageKind.APP, MessageKind.HEARTBEAT})


class Leadership:
    """What one validator has seen proved, and what it proves itself.

    Invariant: `_proved` names (term, leader) whose election certificate held under the
    configuration of the height that its first header names.

    Attributes:
        silence: ticks since the term's leader was heard.
    """

    def __init__(
        self,
        core: RawNode,
        chain: Chain,
        quorum_of: Callable[[bytes], QuorumConfig | None],
        chain_id: bytes,
        device_key: bytes,
        signer: Signer,
        verifier: Verifier,
        watcher: Watcher,
        counters: Counter[str],
    ) -> None:
        """Args:
        quorum_of: the configuration of a hash, if it is in force or about to be.
        """
        self.silence = 0
        self._core = core
        self._chain = chain
        self._quorum_of = quorum_of
        self._chain_id = chain_id
        self._key = device_key
        self._signer = signer
        self._verifier = verifier
        self._watcher = watcher
        self._counters = counters
        self._proved: tuple[int, bytes] = (0, b"")
        self._election: tuple[int, Election | None] = (0, None)
        # Our own term's first block: its height, and the proof that it is.
        self._own_height = 0
        self._own: tuple[int, Elected] | None = None
        self._handover: tuple[int, bytes] | None = None

    # --- as leader

    def made(self, first: Block) -> None:
        """This node has made the first block of a term."""
        assert first.election is not None, "only a term's first block proves who leads"
        self._own_height = first.header.height
        self._own = (first.header.term, Elected(first=first.header_envelope.encode(), election=first.election))

    def dress(self, message: Message, key_of: Callable[[int], bytes], parcel: Parcel) -> Parcel:
        """The parcel with what proves that its message may be said."""
        if message.kind in _WITH_PROOF:
            own, has_it = self._own, self._core.match_of(message.to) >= self._own_height
            if own is not None and own[0] == message.term and not has_it:
                return msgspec.structs.replace(parcel, elected=own[1])
        elif message.kind is MessageKind.TIMEOUT_NOW:
            successor = key_id_of(key_of(message.to))
            signature = leadership.sign_handover(message.term, successor, self._chain_id, self._key, self._signer)
            return msgspec.structs.replace(parcel, handover=signature)
        elif message.context == TRANSFER_CONTEXT and self._handover is not None:
            term, signature = self._handover
            if message.term == term + 1:
                return msgspec.structs.replace(parcel, handover=signature)
        return parcel

    # --- as everybody else

    def admits(self, message: Message, sender_key: bytes, parcel: Parcel) -> tuple[bool, str | None]:
        """Whether Raft may hear a message, as far as leadership goes, and why its sender must be dropped if it must.

        What comes of an earlier term may pass: nobody follows it.
        """
        if message.kind not in LEADERS_WORD or message.term < self._core.term:
            return True, None
        fault = None
        if not self._is_proved(message.term, sender_key) and parcel.elected is not None:
            fault = self._take(message.term, sender_key, parcel.elected)
        if not self._is_proved(message.term, sender_key):
            self._counters[f"leader not proved: {message.kind.name}"] += 1
            return False, fault
        self.silence = 0
        if message.kind is MessageKind.TIMEOUT_NOW and parcel.handover is not None:
            self._handover = (message.term, parcel.handover)
        return True, None

    @property
    def proved_term(self) -> int:
        """The newest term of which it is proved here that somebody led it."""
        return max(self._proved[0], self._chain.head(self._core.last_index).term)

    def byzantine_election(self, term: int) -> Election | None:
        """The election certificate of a byzantine quorum by which the leader of `term` has proved itself here."""
        return self._election[1] if self._election[0] == term else None

    def without_false_haste(
        self, message: Message, sender_key: bytes, leader_key: bytes | None, parcel: Parcel
    ) -> Message:
        """A vote request as it counts: only the successor that our leader chose need not wait for it to be silent.

        Where no leader is known there is none to speak for: whoever waits for what becomes of its vote goes on waiting.
        """
        if message.context != TRANSFER_CONTEXT:
            return message
        term, handover = self._core.term, parcel.handover
        chosen = (
            leader_key is not None
            and handover is not None
            and leadership.check_handover(
                handover, term, key_id_of(sender_key), self._chain_id, leader_key, self._verifier
            )
        )
        if chosen and message.kind is MessageKind.VOTE and message.term == term + 1:
            return message
        self._counters["campaign in the leader's name without its word"] += 1
        return msgspec.structs.replace(message, context=b"")

    def _is_proved(self, term: int, sender_key: bytes) -> bool:
        claimed = (term, key_id_of(sender_key))
        if claimed == self._proved:
            return True
        # A block of the term in our log came with its proof.
        last = self._chain.head(self._core.last_index)
        return (last.term, last.leader) == claimed

    def _take(self, term: int, sender_key: bytes, elected: Elected) -> str | None:
        """Check a claim; why whoever made it must be dropped, or None."""
        try:
            claim = leadership.read_claim(elected.first, elected.election)
        except RecordError as error:
            return str(error)
        quorum = self._quorum_of(claim.header.validators)
        if quorum is None:
            self._counters["leader of unknown validators"] += 1
            return None
        fault = leadership.check_claim(claim, sender_key, term, quorum, self._chain_id, self._verifier)
        if fault is None:
            self._proved = (term, key_id_of(sender_key))
            self._election = (term, claim.election if quorum.mode == QUORUM_BYZANTINE else None)
            signed = claim.envelope.to_be_signed(Header.KIND, self._chain_id)
            self._watcher.header(claim.envelope, claim.header, cose.record_id(signed))
            self._watcher.election(claim.election)
        else:
            self._watcher.bad_block(cbor.encode([elected.first, [], to_payload(elected.election)]), None)
        return fault
