"""Mempool: records that are signed and checked, but not in a final block yet.

Every node keeps them, so that whoever leads can put them into a block. Bounded in
number and per signer: at the bound the newest is refused, because what came first
has been promised a place.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine
from protocols.block import SignedRecord
from protocols.records import Reading

# A day of quarter-hours of 200 homes, with room: about 20 MB at 300 bytes and their objects.
MAX_RECORDS = 20_000
# A meter that was away for a week delivers 672 readings at once.
MAX_PER_KEY = 1_000
# Final records are remembered this long, so that a late copy is not gossiped again.
FINAL_REMEMBERED = 20_000


class Refusal(msgspec.Struct, frozen=True):
    """Why a record was not taken.

    Attributes:
        blame: whether no honest node would have passed it on.
    """

    verdict: Verdict | None
    reason: str
    blame: bool


_BLAME = frozenset({Verdict.BAD_SIGNATURE, Verdict.WRONG_KEY, Verdict.VALID_TOO_LONG, Verdict.NOT_EXECUTED})


class Mempool:
    """See the module text. Time is always given by the caller."""

    def __init__(self, machine: Machine) -> None:
        self.counters: Counter[str] = Counter()
        self._machine = machine
        self._records: dict[bytes, SignedRecord] = {}
        self._per_key: Counter[bytes] = Counter()
        self._final: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, record_id: bytes) -> bool:
        return record_id in self._records

    def knows(self, record_id: bytes) -> bool:
        """Whether the record is here or was, not long ago, put into a final block."""
        return record_id in self._records or record_id in self._final

    def get(self, record_id: bytes) -> SignedRecord | None:
        """A waiting record."""
        return self._records.get(record_id)

    def ids(self) -> list[bytes]:
        """Ids of the waiting records, oldest first."""
        return list(self._records)

    def add(self, signed: SignedRecord, time_s: int) -> Refusal | None:
        """Take a record; None if it waits here now, or did already.

        Args:
            time_s: the microgrid's time at this node.
        """
        if self.knows(signed.record_id):
            return None
        verdict = self._machine.check_record(signed, time_s)
        if verdict != Verdict.ACCEPTED:
            self.counters[f"refused: {verdict.name}"] += 1
            return Refusal(verdict, verdict.name, verdict in _BLAME)
        if len(self._records) >= MAX_RECORDS:
            self.counters["refused: mempool full"] += 1
            return Refusal(None, f"{MAX_RECORDS} records are waiting already; try again later", False)
        if self._per_key[signed.key_id] >= MAX_PER_KEY:
            self.counters["refused: too many of one key"] += 1
            return Refusal(None, f"{MAX_PER_KEY} records of this key are waiting already", False)
        self._records[signed.record_id] = signed
        self._per_key[signed.key_id] += 1
        return None

    def select(self, time_s: int, max_bytes: int, max_records: int, exclude: frozenset[bytes]) -> list[SignedRecord]:
        """Records for a block with this time, oldest first; those that can never be carried any more are dropped."""
        chosen: list[SignedRecord] = []
        size = 0
        for record_id, signed in list(self._records.items()):
            if record_id in exclude:
                continue
            verdict = self._machine.check_record(signed, time_s, verified=True)
            if verdict != Verdict.ACCEPTED:
                self.counters[f"dropped: {verdict.name}"] += 1
                self._remove(record_id)
                continue
            if self._too_early(signed, time_s):
                continue
            # Three bytes of CBOR head before each envelope.
            size += len(signed.envelope_bytes) + 3
            if size > max_bytes or len(chosen) >= max_records:
                break
            chosen.append(signed)
        return chosen

    def final(self, record_ids: list[bytes]) -> None:
        """These records are in a final block now."""
        for record_id in record_ids:
            if record_id in self._records:
                self._remove(record_id)
            self._final[record_id] = None
        while len(self._final) > FINAL_REMEMBERED:
            del self._final[next(iter(self._final))]

    def _too_early(self, signed: SignedRecord, time_s: int) -> bool:
        """A reading signed by a clock ahead of the leader's waits instead of failing."""
        record = signed.record
        if not isinstance(record, Reading):
            return False
        return record.period_start_s + self._machine.rules(record.period_start_s).period.length_s > time_s

    def _remove(self, record_id: bytes) -> None:
        signed = self._records.pop(record_id)
        self._per_key[signed.key_id] -= 1
        if not self._per_key[signed.key_id]:
            del self._per_key[signed.key_id]
