"""Recollection: what the others hold of our signatures, put together after a start, without clock and network.

Contract for the owner:
1. Ask every node in `missing()` that can be reached, and hand what it says to `take`; all that
   are connected may be asked, also those that do not vote.
2. Call `tick()` as often as the validator's, from the start on.
3. Whenever one of them returns a decision, it is the one that counts from now on: a licence
   is given to the validator (`permit`), `Retired` ends it. Answers may still come after
   that, and may still be what retires the key.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from meshnode.network.licence import PATIENCE_TIMEOUTS, Known, Licence, Retired, decide, newer
from meshnode.store.reservation import Places
from meshnode.store.rows import SignState
from protocols import signatures
from protocols.certificate import QuorumConfig, check_acks
from protocols.cose import Verifier, key_id_of
from protocols.locks import of_config
from protocols.records import Certificate
from protocols.signatures import Signatures

# Answers are kept of so many that do not vote; each is one more witness, none is needed.
MAX_WITNESSES = 16


class Recollection:
    """What one validator is told after a start.

    Attributes:
        decision: what counts now.
    """

    def __init__(
        self,
        places: Places,
        term: int,
        device_key: bytes,
        quorum: Callable[[], QuorumConfig],
        chain_id: bytes,
        verifier: Verifier,
        election_ticks: int,
    ) -> None:
        """Args:
        places, term: as the disk had them at the start.
        quorum: gives that of the next height.
        """
        self._known = Known.of(places, term)
        self._key = device_key
        self._quorum = quorum
        self._chain_id = chain_id
        self._verifier = verifier
        self._patience = PATIENCE_TIMEOUTS * election_ticks
        self._ticks = 0
        self._answers: dict[bytes, Signatures] = {}
        self.decision: Licence | Retired = Licence(silent="has just started")
        self._decide()

    @property
    def key_id(self) -> bytes:
        """Of the device key that it is about."""
        return self._known.key_id

    @property
    def decided(self) -> bool:
        """Whether something may be signed, or never again."""
        return isinstance(self.decision, Retired) or not self.decision.silent

    @property
    def asks(self) -> bool:
        """Whether there is still somebody to be asked: until all have answered once, and something is decided."""
        return not self.decided or bool(self.missing())

    def missing(self) -> list[bytes]:
        """Device keys of the other validators that have not answered."""
        own = self._known.key_id
        return [key for key, _ in self._quorum().voters if key_id_of(key) != own and key not in self._answers]

    def wants(self, device_key: bytes) -> bool:
        """Whether an answer of this node would tell something."""
        if device_key in self._answers or device_key == self._key:
            return False
        return device_key in self.missing() or len(self._answers) < MAX_WITNESSES

    def take(
        self, device_key: bytes, answer: Signatures, now: tuple[SignState, int] | None = None
    ) -> tuple[str | None, Licence | Retired | None]:
        """An answer of the node with this device key.

        Args:
            now: what has been signed by now, when signing has begun again already.
        Returns:
            Why the node must be dropped, or None; and the decision, if it is another than before.
        """
        fault = signatures.fault(answer, self._key, self._chain_id, self._verifier)
        answer = self._with_known_lock(answer)
        fault = fault or self._fault_of_lock(answer.lock)
        if fault is not None:
            return fault, None
        self._answers[device_key] = answer
        if now is not None:
            self._known = msgspec.structs.replace(self._known, signed=now[0], term=now[1])
        if isinstance(self.decision, Licence) and self._is_whole(self.decision):
            # How far a log must reach was settled then; the logs of the others have grown since.
            found = newer(answer, self._known.signed, self._known.term)
            if found is None:
                return None, None
            self.decision = Retired(f"this disk is of an earlier time: {found}")
            return None, self.decision
        return None, self._decide()

    def tick(self) -> Licence | Retired | None:
        """One tick has passed; the decision, if it is another than before."""
        self._ticks += 1
        return self._decide() if self._ticks == self._patience and not self.decided else None

    def _with_known_lock(self, answer: Signatures) -> Signatures:
        """The answer; a lock counts only under the configuration of the next height."""
        lock = answer.lock
        if lock is None or of_config(lock, self._quorum()) is not None:
            return answer
        return msgspec.structs.replace(answer, lock=None)

    def _fault_of_lock(self, lock: Certificate | None) -> str | None:
        if lock is None:
            return None
        return check_acks(lock, lock.ack_term, self._quorum(), self._chain_id, self._verifier)

    @staticmethod
    def _is_whole(licence: Licence) -> bool:
        return not licence.silent and licence.above is None

    def _decide(self) -> Licence | Retired | None:
        before = self.decision
        waited_long = self._ticks >= self._patience
        self.decision = decide(self._known, self._quorum(), self._answers, waited_long=waited_long)
        return self.decision if self.decision != before else None
