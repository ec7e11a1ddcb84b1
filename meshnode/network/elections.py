"""Elections: the election certificates a validator knows, and which of them justify that its log loses a block.

A block that was acknowledged may be replaced as long as nothing certifies it. Whoever
later votes without it is asked why (`protocols.evidence`, OLDER_TIP), and answers with an
election that was held after the block's term and without the block. So a block leaves
the log only together with such a certificate entering the disk: of the new branch's own
blocks, or one that the leader sent along because its branch is longer than the append.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from meshnode.network.chain import StoredLog
from meshnode.network.electorate import Electorate
from protocols.block import Parent
from protocols.certificate import QuorumConfig, check_election
from protocols.cose import Verifier
from protocols.parcel import MAX_ELECTIONS
from protocols.records import Election, read_as, to_payload

# Newest election certificates in memory, at a kilobyte each; older ones are on the disk.
KEPT_IN_MEMORY = 64


class ElectionBook:
    """The election certificates of one validator; every one of them holds."""

    def __init__(
        self, log: StoredLog, electorate: Electorate, chain_id: bytes, verifier: Verifier, counters: Counter[str]
    ) -> None:
        self._log = log
        self._electorate = electorate
        self._chain_id = chain_id
        self._verifier = verifier
        self._counters = counters
        # By their encoding; those that are written (or will be, with the next batch), newest last.
        self._kept: dict[bytes, Election] = {}
        self._unwritten: list[bytes] = []
        # What peers sent along; it is worth writing only if it justifies something.
        self._heard: dict[bytes, Election] = {}

    def keep(self, election: Election) -> None:
        """An election that holds, of a block that enters the log or as a justification: it is written for good."""
        data = to_payload(election)
        if data in self._kept:
            return
        self._kept[data] = election
        self._unwritten.append(data)
        while len(self._kept) > KEPT_IN_MEMORY:
            del self._kept[next(iter(self._kept))]

    def take_unwritten(self) -> tuple[bytes, ...]:
        """What the next batch must carry, in the order it came."""
        unwritten, self._unwritten = tuple(self._unwritten), []
        return unwritten

    def hear(self, elections: Iterable[Election]) -> str | None:
        """Take what a leader sent along; why it must be dropped for it, or None."""
        for election in elections:
            height = election.candidate_tip.height + 1
            faults = [self._fault(election, quorum) for quorum in self._electorate.possible_at(height)]
            if None not in faults:
                if self._electorate.is_settled(height):
                    return faults[0]
                # Perhaps of validators that are decided in a block which is not executed here.
                self._counters["election that cannot be checked"] += 1
                continue
            self._heard[to_payload(election)] = election
            while len(self._heard) > KEPT_IN_MEMORY:
                del self._heard[next(iter(self._heard))]
        return None

    def later_than(self, term: int) -> tuple[Election, ...]:
        """Certificates of the first terms after `term`, to be sent along."""
        stored = [read_as(Election, data) for data in self._log.elections_after(term, MAX_ELECTIONS)]
        known = {election.term: election for election in self._kept.values() if election.term > term}
        known |= {election.term: election for election in stored}
        return tuple(known[later] for later in sorted(known)[:MAX_ELECTIONS])

    def justify(self, lost: Iterable[Parent], own: Iterable[Election], until: int) -> bool:
        """Whether blocks may leave the log; the certificates that justify it are kept from now on.

        Args:
            lost: heads of the blocks, ascending.
            own: certificates in the blocks that come in their place.
            until: term of the leader that wants it.
        """
        lowest: dict[int, int] = {}
        for head in lost:
            lowest.setdefault(head.term, head.height)
        pool = [*own, *self._kept.values(), *self._heard.values()]
        reasons = []
        for term, height in lowest.items():
            reason = self._reason(term, height, pool, until) or self._reason(term, height, self._stored(term), until)
            if reason is None:
                return False
            reasons.append(reason)
        for reason in reasons:
            self.keep(reason)
        return True

    def _fault(self, election: Election, quorum: QuorumConfig) -> str | None:
        tip = election.candidate_tip
        head = Parent(tip.height, tip.term, tip.block, 0, 0, b"", b"")
        candidate, term = election.candidate, election.term
        return check_election(election, candidate, term, head, quorum, self._chain_id, self._verifier)

    def _stored(self, term: int) -> list[Election]:
        return [read_as(Election, data) for data in self._log.elections_after(term, KEPT_IN_MEMORY)]

    @staticmethod
    def _reason(term: int, height: int, pool: Iterable[Election], until: int) -> Election | None:
        for election in pool:
            tip = election.candidate_tip
            if term < election.term <= until and (tip.term, tip.height) < (term, height):
                return election
        return None
