"""Mempool: records that are signed and checked, but not in a final block yet.

Every node keeps them, so that whoever leads can put them into a block. Bounded in
number, in bytes and per account: at the bound the newest is refused, because what
came first has been promised a place.

Beside what the machine asks of every record, the mempool refuses what could only
fill blocks: what stands on the ledger already, and what is too late or too early.
That is this node's own choice, never a reason to refuse somebody else's block.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from meshnode.ledger import findings, members
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine
from protocols.block import SignedRecord
from protocols.records import Evidence, Reading, Spoken

# A day of quarter-hours of 200 homes, with room: about 20 MB at 300 bytes and their objects.
MAX_RECORDS = 20_000
# The same in bytes, for records that are larger than readings.
MAX_BYTES = 8 * 1024 * 1024
# A meter that was away for a week delivers 672 readings at once. By account and not by
# key: a home with many meters must not crowd out the others.
MAX_PER_ACCOUNT = 1_000
# Final records are remembered this long, so that a late copy is not gossiped again.
FINAL_REMEMBERED = 20_000
# CBOR head of an envelope in a block: three bytes up to 64 KiB, five above.
_HEAD_BYTES = 5


class Refusal(msgspec.Struct, frozen=True):
    """Why a record was not taken.

    Attributes:
        blame: whether no honest node would have passed it on.
        lasting: whether the same record will never be taken, here or anywhere; else it may be later, or elsewhere.
    """

    verdict: Verdict | None
    reason: str
    blame: bool
    lasting: bool


# What an honest node cannot have accepted, whatever it has seen of the ledger: the key
# is known here, and a key id never changes its key or its purpose. A clock that differs
# (EXPIRED, VALID_TOO_LONG) or a newer version (NOT_EXECUTED) is nobody's fault.
_BLAME = frozenset({Verdict.BAD_SIGNATURE, Verdict.WRONG_KEY})
# What may change by itself: a Join that is not final here yet, a clock that goes on, a change of the validators that
# this node has not executed and another one has.
_PASSING = frozenset(
    {
        Verdict.UNKNOWN_KEY,
        Verdict.PERIOD_NOT_OVER,
        Verdict.VALID_TOO_LONG,
        Verdict.OTHER_QUORUM,
        Verdict.NOT_PROVED,
    }
)
# What our clock says too early, if it is ahead: only the ledger's own time makes it last.
_BY_THE_CLOCK = frozenset({Verdict.EXPIRED, Verdict.CORRECTION_TOO_LATE})


class _Waiting(msgspec.Struct, frozen=True):
    signed: SignedRecord
    account: bytes


class Mempool:
    """See the module text. Time is always given by the caller.

    Invariant: `_bytes` and `_per_account` are the sums over `_records`.
    """

    def __init__(self, machine: Machine) -> None:
        self.counters: Counter[str] = Counter()
        self._machine = machine
        self._records: dict[bytes, _Waiting] = {}
        self._bytes = 0
        self._per_account: Counter[bytes] = Counter()
        self._final: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, record_id: bytes) -> bool:
        return record_id in self._records

    def knows(self, record_id: bytes) -> bool:
        """Whether the record is here or was, not long ago, put into a final block."""
        return record_id in self._records or record_id in self._final

    def is_final(self, record_id: bytes) -> bool:
        """Whether the record was, not long ago, put into a final block."""
        return record_id in self._final

    def get(self, record_id: bytes) -> SignedRecord | None:
        """A waiting record."""
        waiting = self._records.get(record_id)
        return None if waiting is None else waiting.signed

    def ids(self) -> list[bytes]:
        """Ids of the waiting records, oldest first."""
        return list(self._records)

    def to_verify(self, signed: SignedRecord) -> tuple[bytes, bytes, bytes] | None:
        """What `add` will have to verify: (public key, message, signature); None if nothing.

        For verification in another thread before: a verifier that remembers makes `add` cheap.
        """
        if self.knows(signed.record_id):
            return None
        key = members.signer(self._machine.state, signed.key_id, self._machine.height)
        if key is None:
            return None
        message = signed.envelope.to_be_signed(signed.record.KIND, self._machine.chain_id)
        return key.public_key, message, signed.envelope.signature

    def add(self, signed: SignedRecord, time_s: int) -> Refusal | None:
        """Take a record; None if it waits here now, did already, or is final.

        Args:
            time_s: the microgrid's time at this node.
        """
        if self.knows(signed.record_id):
            return None
        # The bounds first: they cost nothing, a signature costs a Raspberry Pi half a millisecond.
        key = members.signer(self._machine.state, signed.key_id, self._machine.height)
        refusal = None if key is None else self._no_room(signed, key.account)
        if refusal is None:
            refusal = self._refusal(signed, time_s)
        if refusal is not None:
            name = refusal.reason if refusal.verdict is None else refusal.verdict.name
            self.counters[f"refused: {name}"] += 1
            return refusal
        assert key is not None, "a record of an unknown key was accepted"
        self._records[signed.record_id] = _Waiting(signed, key.account)
        self._per_account[key.account] += 1
        self._bytes += len(signed.envelope_bytes)
        return None

    def select(self, time_s: int, max_bytes: int, max_records: int, exclude: frozenset[bytes]) -> list[SignedRecord]:
        """Records for a block with this time, oldest first; those that can never be carried any more are dropped."""
        chosen: list[SignedRecord] = []
        size = 0
        for record_id, waiting in list(self._records.items()):
            signed = waiting.signed
            if record_id in exclude or self._too_early(signed, time_s):
                continue
            verdict = self._verdict(signed, time_s, verified=True)
            if verdict != Verdict.ACCEPTED:
                self._drop(record_id, verdict.name)
                continue
            cost = len(signed.envelope_bytes) + _HEAD_BYTES
            if cost > max_bytes:
                # It would stand before all the others for ever.
                self._drop(record_id, "larger than a block")
                continue
            if size + cost > max_bytes or len(chosen) >= max_records:
                break
            size += cost
            chosen.append(signed)
        return chosen

    def prune(self, time_s: int) -> int:
        """Drop what no block can carry any more; returns how many.

        Only a leader selects: on all other nodes this is what makes room again.
        """
        before = len(self._records)
        for record_id, waiting in list(self._records.items()):
            verdict = self._verdict(waiting.signed, time_s, verified=True)
            if verdict != Verdict.ACCEPTED:
                self._drop(record_id, verdict.name)
        return before - len(self._records)

    def final(self, record_ids: list[bytes]) -> None:
        """These records are in a final block now."""
        for record_id in record_ids:
            if record_id in self._records:
                self._remove(record_id)
            # Anew at the end: what became final again is remembered from now on.
            self._final.pop(record_id, None)
            self._final[record_id] = None
        while len(self._final) > FINAL_REMEMBERED:
            del self._final[next(iter(self._final))]

    def _no_room(self, signed: SignedRecord, account: bytes) -> Refusal | None:
        if len(self._records) >= MAX_RECORDS or self._bytes + len(signed.envelope_bytes) > MAX_BYTES:
            return Refusal(None, "the mempool is full; try again later", blame=False, lasting=False)
        if self._per_account[account] >= MAX_PER_ACCOUNT:
            reason = f"{MAX_PER_ACCOUNT} records of this account are waiting already; try again later"
            return Refusal(None, reason, blame=False, lasting=False)
        return None

    def _refusal(self, signed: SignedRecord, time_s: int) -> Refusal | None:
        verdict = self._verdict(signed, time_s, verified=False)
        if verdict == Verdict.ACCEPTED and self._too_early(signed, time_s + self._machine.genesis.max_drift_s):
            # Of a clock that is far ahead; what is a little early waits for its time in `select`.
            verdict = Verdict.PERIOD_NOT_OVER
        if verdict == Verdict.ACCEPTED:
            return None
        lasting = verdict not in _PASSING
        if verdict in _BY_THE_CLOCK:
            # A block of an earlier time may still carry it: of a leader whose clock is behind ours, or under way.
            lasting = self._verdict(signed, self._machine.time_s, verified=True) == verdict
        return Refusal(verdict, verdict.name, blame=verdict in _BLAME, lasting=lasting)

    def _verdict(self, signed: SignedRecord, time_s: int, *, verified: bool) -> Verdict:
        """What speaks against a record: to the machine, then on the ledger as it stands here."""
        verdict = self._machine.check_record(signed, time_s, verified=verified)
        if verdict == Verdict.EXPIRED and self._is_on_ledger(signed):
            return Verdict.REPEATED
        if verdict != Verdict.ACCEPTED:
            return verdict
        if isinstance(signed.record, Reading):
            return self._reading(signed.record, signed.record_id, time_s)
        if isinstance(signed.record, Evidence):
            # What proves nothing, or what somebody else has proved meanwhile, is not passed on.
            case = self._machine.hear(signed.record)
            if case is None:
                return Verdict.NOT_PROVED
            if not findings.news(self._machine.state, case):
                return Verdict.KNOWN_EVIDENCE
        if isinstance(signed.record, Spoken):
            used = self._machine.state.nonces.get((signed.key_id, signed.record.nonce))
            if used is not None:
                return Verdict.REPEATED if used.record_id == signed.record_id else Verdict.NONCE_TAKEN
        return Verdict.ACCEPTED

    def _is_on_ledger(self, signed: SignedRecord) -> bool:
        """Whether a statement with a nonce is on the ledger, as long as the ledger remembers it."""
        assert isinstance(signed.record, Spoken), "only those expire"
        used = self._machine.state.nonces.get((signed.key_id, signed.record.nonce))
        return used is not None and used.record_id == signed.record_id

    def _reading(self, reading: Reading, record_id: bytes, time_s: int) -> Verdict:
        rules = self._machine.rules(reading.period_start_s).period
        if reading.period_start_s + rules.length_s + rules.correction_s < time_s:
            return Verdict.CORRECTION_TOO_LATE
        known = self._machine.state.registers.get((reading.meter, reading.period_start_s))
        if known is not None and known.version >= reading.version:
            return Verdict.REPEATED if known.record_id == record_id else Verdict.VERSION_CONFLICT
        return Verdict.ACCEPTED

    def _too_early(self, signed: SignedRecord, time_s: int) -> bool:
        """Whether a reading is of a period that is not over: its signer's clock is ahead."""
        record = signed.record
        if not isinstance(record, Reading):
            return False
        return record.period_start_s + self._machine.rules(record.period_start_s).period.length_s > time_s

    def _drop(self, record_id: bytes, why: str) -> None:
        self.counters[f"record dropped: {why}"] += 1
        self._remove(record_id)

    def _remove(self, record_id: bytes) -> None:
        waiting = self._records.pop(record_id)
        self._bytes -= len(waiting.signed.envelope_bytes)
        self._per_account[waiting.account] -= 1
        if not self._per_account[waiting.account]:
            del self._per_account[waiting.account]
