"""Locks: what a byzantine quorum binds a validator to, and which certificates free it.

With n = 3f + 1 validators of which f may lie, q = ceil((n + f + 1) / 2) make a quorum. A block
becomes final in two phases. A validator that has checked a block and has it on disk signs a
*prepare* ack; q of them are a prepare certificate. Whoever has verified one for a block of its
log, in its own term, writes its **lock** - this certificate - to the disk and signs a *commit*
ack; q of those are the commit certificate, which alone makes a block and all before it final.
A certificate's place is (term, height); of two locks the one at the later place is the higher.

Rules of an honest validator v:

 R1. All acks of v in one term are for blocks of one chain, each block being of that very term.
 R2. v signs a commit ack only for its lock, or for a block of the same term before it, with the lock
     on disk, and nothing of a term that is older than its newest vote.
 R3. v's vote names v's lock, and v's lock is always a block of v's log.
 R4. An election certificate carries the certificate of a lock at least as high as every lock that
     its votes name; a term's first block has that lock's block before it. v takes no block into its log
     without having checked this for the first block of every term before it.
 R5. v raises its lock to any certificate for a block of its log. v lowers it only when its log
     changes over to the branch of a leader whose election certificate it has verified, down to the
     lock which that certificate carries and whose block is on the branch.

Why there is one history:

 C1. Two quorums have an honest validator in common: 2q - n >= f + 1.
 C2. In one term, blocks with prepare certificates are on one chain: of two of them somebody honest
     has acknowledged both (C1), so R1 holds for both.
 C3. Let a commit certificate exist for block B at (t, h). Then in every term t' > t
     (a) an election certificate carries a lock at (t, h) or later, and its block is B or follows from B;
     (b) a block with a prepare certificate follows from B.
     By induction over t'. (a): q voted and q committed B, so an honest v did both (C1), the ack
     first (R2), when its lock was at (t, h) or later. If v has lowered its lock since, then for
     an election of a term between, whose lock was no lower than (t, h) by (a). So v's vote names a lock at
     (t, h) or later, and the certificate carries one as high (R4). If that is of term t, its
     block follows from B by C2; if of a later term, by (b). (b): somebody honest has acknowledged
     it, hence checked that the first block of t' has the lock of its election before it (R4), which is B or
     follows from B by (a).
 C4. So of two blocks with commit certificates one follows from the other: C2 in one term, C3 (b)
     in two, as a commit certificate holds the ack of somebody honest who has verified the prepare certificate.

What a lock does not do is stop the microgrid: whoever holds the highest lock among the honest
gets their votes, since lengths of logs are not compared (they can be forged, and a lying
leader could give one validator the highest lock and another the longest log). A lock that a
liar invents has no certificate and is not counted. Nor can a liar's genuine lock of an
earlier term, kept back until now, do harm: that is an election like any other, C3.

Where the mode changes: a block whose header announces a byzantine configuration is final by
the rules of those before it. Locks begin with the first block after it. So C4 speaks of blocks
above it, once it stands in the log of every honest validator: until then a lying minority of
a majority configuration may still make those who lack it believe in another one in its place. A
microgrid that is founded in this mode has no such moment. On the way back, the last
byzantine block becomes final in two phases, and the tips of logs count again after it. With the first
block that is final by a majority, a validator's lock is gone: what it protected is final too, and nobody
could show it to the validators of a later byzantine configuration. So nobody is asked any more
(OLDER_TIP) for a lock of validators after whom others were decided.
"""

from __future__ import annotations

import msgspec

from protocols.certificate import QuorumConfig
from protocols.finality import MAX_AHEAD, Link
from protocols.records import PHASE_COMMIT, PHASE_PREPARE, Ack, Certificate, Tip

Place = tuple[int, int]
"""(term, height) of a lock."""
NOWHERE: Place = (0, 0)
"""The place of no lock: lower than all others."""


def place_of(lock: Certificate | None) -> Place:
    """Where a lock stands among others; a commit certificate shows that there was a prepare certificate."""
    return NOWHERE if lock is None else (lock.ack_term, lock.height)


def tip_of(lock: Certificate | None) -> Tip | None:
    """A lock as votes name it."""
    return None if lock is None else Tip(term=lock.ack_term, height=lock.height, block=lock.block)


def place_of_tip(lock: Tip | None) -> Place:
    """Where a lock that a vote names stands among others."""
    return NOWHERE if lock is None else (lock.term, lock.height)


class Prepares:
    """Prepare acks of one term's leader, until a quorum is together.

    Invariant: only acks of the newest term are kept, and of each validator the newest one for a height.
    """

    def __init__(self) -> None:
        self._term = 0
        self._acks: dict[int, dict[bytes, tuple[Ack, bytes]]] = {}

    def add(self, key_id: bytes, ack: Ack, signature: bytes, final_height: int) -> None:
        """Keep an ack whose signature the caller has verified or made."""
        assert ack.phase == PHASE_PREPARE, "an ack of the commit phase counts by itself"
        if ack.ack_term > self._term:
            self._term = ack.ack_term
            self._acks.clear()
        if ack.ack_term == self._term and final_height < ack.height <= final_height + MAX_AHEAD:
            self._acks.setdefault(ack.height, {})[key_id] = (ack, signature)
        for stale in [height for height in self._acks if height <= final_height]:
            del self._acks[stale]

    def certify(self, link: Link) -> Certificate | None:
        """The prepare certificate of a block of our log, if a quorum has acknowledged it."""
        ack = prepare_ack(link)
        given = self._acks.get(link.height, {})
        signatures = {
            key_id: signature
            for key_id, (known, signature) in given.items()
            if known == ack and link.quorum.key_of(key_id) is not None
        }
        if not link.quorum.is_quorum(signatures):
            return None
        return Certificate(
            validators=ack.validators,
            ack_term=ack.ack_term,
            height=ack.height,
            block=ack.block,
            signatures=tuple(sorted(signatures.items())),
            phase=PHASE_PREPARE,
        )


def prepare_ack(link: Link) -> Ack:
    """What a validator signs of a block in the first phase."""
    return Ack(
        validators=link.quorum.config_hash(),
        ack_term=link.term,
        height=link.height,
        block=link.block_hash,
        phase=PHASE_PREPARE,
    )


def commit_ack(lock: Certificate) -> Ack:
    """What a validator signs of its lock's block in the second phase."""
    return msgspec.structs.replace(lock.ack(), phase=PHASE_COMMIT)


def of_config(lock: Certificate | None, quorum: QuorumConfig) -> Certificate | None:
    """A lock where it counts: under the very configuration that it was given by."""
    return lock if lock is not None and lock.validators == quorum.config_hash() else None
