"""Submissions: this node's own records, from the signature to the block that makes them final.

A record goes to the disk before anybody hears of it and stays there until it is final
or can never be; who waits for it is told. What became of other members' records is
known here too, for a while.

Whoever asks gets one of the answers of `meshnode.web.backend.Outcome`, and every answer but
"unknown" is for good. The clock decides nothing: only the ledger's own time, which no
later block can go behind, turns "unknown" into "never".
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Protocol

import trio

from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.machine import Machine, RecordDone
from meshnode.mempool import Refusal
from meshnode.news import News
from meshnode.outbox import Outbox
from meshnode.room import when_there_is_room
from meshnode.store import Store
from meshnode.views import Views
from meshnode.web.backend import Outcome, Refused, Update
from protocols.block import SignedRecord
from protocols.records import Reading, Record, Spoken

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# Times of own records to their finality that the figures are made of.
TIMES_KEPT = 1024
# A person who speaks is told soon that there is no room for it; a reading waits.
ROOM_WAIT_S = 3.0
# How long what became of a record is remembered without asking the disk.
OUTCOMES_KEPT = 4096
# Refusals stand on no disk: after so many more, or a restart, the record is unknown again until its validity ends.
REFUSALS_KEPT = 4096
# How long an answer waits for the certificate of its block, and how often it looks: one fsync of
# a slow card, with room. Without it the receipt is of no use to whoever checks it.
CERTIFICATE_WAIT_S = 5.0
CERTIFICATE_LOOK_S = 0.02
_WAITS = "not in a final block yet; ask again"
_UNCERTIFIED = "in a block whose certificate has not reached this node's disk yet; ask again"
_NEVER = "no block carried it before its validity ended, and none can any more"


Prove = Callable[[bytes], Awaitable[bytes]]


class Publisher(Protocol):
    """See `meshnode.network.gossip.Gossip`."""

    async def submit(self, signed: SignedRecord, *, promised: bool = False) -> Refusal | None:
        """Take an own record into the mempool and pass it on."""


class Submissions:
    """See the module text.

    Attributes:
        commit_ms: from handing in to finality here, of the newest own records.
    """

    def __init__(self, outbox: Outbox, store: Store, views: Views, news: News, machine: Machine, prove: Prove) -> None:
        """Args:
        machine: executed up to the store's final height, and the views with it.
        prove: gives the receipt of a record of a final block whose certificate is on the disk.
        """
        self._prove = prove
        self.commit_ms: deque[int] = deque(maxlen=TIMES_KEPT)
        self._outbox = outbox
        self._store = store
        self._views = views
        self._news = news
        self._machine = machine
        # Of the newest block whose records are in `_outcomes` or on the disk.
        self._time_s = machine.time_s
        self._outcomes: dict[bytes, tuple[int, Verdict]] = {}
        self._refusals: dict[bytes, Refusal] = {}
        self._waiting: dict[bytes, trio.Event] = {}
        self._began: dict[bytes, float] = {}
        # What the outbox holds, and of it what somebody was told is on its way.
        self._kept: dict[bytes, SignedRecord] = {}
        self._promised: set[bytes] = set()
        # One at a time: of two that hand in the same record neither may forget what the other was promised.
        self._handing_in = trio.Lock()
        self._void_ids: list[bytes] = []
        self._something_void = trio.Event()

    async def run(self, publisher: Publisher, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own records that were not final at the last stop go out again; later, void ones leave the outbox.

        Nothing may be handed in before it has started: until then nobody knows what was promised.
        """
        pending = await trio.to_thread.run_sync(self._outbox.pending)
        self._kept.update((signed.record_id, signed) for signed in pending)
        self._promised.update(self._kept)
        task_status.started()
        for signed in pending:
            if self._store.find_record(signed.record_id) is not None:
                await self.settled([signed.record_id])
                continue
            refusal = await publisher.submit(signed, promised=True)
            if refusal is not None and refusal.lasting:
                self.void(signed, refusal)
        while True:
            await self._something_void.wait()
            self._something_void = trio.Event()
            ids, self._void_ids = self._void_ids, []
            await self.settled(ids)

    async def keep(self, signed: SignedRecord) -> None:
        """An own record goes to the disk before anybody hears of it."""
        for record_id in await when_there_is_room("an own record", lambda: self._outbox.add(signed)):
            log.warning("the outbox is full: record %s is not kept any longer", record_id.hex())
            self._forget(record_id)
        self._kept[signed.record_id] = signed

    async def publish(self, signed: SignedRecord, publisher: Publisher) -> Refusal | None:
        """Pass a kept record on; None if it waits for its block now."""
        began = time.monotonic()
        refusal = await publisher.submit(signed)
        if refusal is None:
            self._promised.add(signed.record_id)
            # A neighbour may have brought the same record into a block meanwhile.
            if signed.record_id not in self._outcomes:
                self._began.setdefault(signed.record_id, began)
        return refusal

    async def hand_in(self, signed: SignedRecord, publisher: Publisher) -> None:
        """Keep a record and pass it on, unless it is final already.

        Raises:
            Refused: it is not passed on, and was not promised before.
        """
        async with self._handing_in:
            if self._place(signed.record_id) is not None:
                return
            with trio.move_on_after(ROOM_WAIT_S) as waiting:
                await self.keep(signed)
            if waiting.cancelled_caught:
                raise Refused("the disk of this node is full; make room, and say it again")
            refusal = await self.publish(signed, publisher)
            repeated = refusal is not None and refusal.verdict == Verdict.REPEATED
            if repeated or signed.record_id in self._outcomes:
                # On the ledger, and perhaps not in the views yet: that is what it was for.
                await self.settled([signed.record_id])
                return
            if refusal is None:
                return
            if refusal.lasting:
                self._refuse(signed.record_id, refusal)
            elif signed.record_id in self._promised:
                # Taken before, and on its way as far as its author knows; that goes on.
                return
            await self.settled([signed.record_id])
            raise Refused(sentence(refusal), lasting=refusal.lasting)

    def said(self, key_id: bytes, nonce: int) -> bytes | None:
        """Id of the record that this key has made with this nonce, on the ledger or on its way; None without one."""
        used = self._machine.state.nonces.get((key_id, nonce))
        if used is not None:
            return used.record_id
        for signed in self._kept.values():
            if signed.key_id == key_id and isinstance(signed.record, Spoken) and signed.record.nonce == nonce:
                return signed.record_id
        return None

    def void(self, signed: SignedRecord, refusal: Refusal) -> None:
        """An own record can never be final any more: its author is told, and it is kept no longer."""
        kind, why = type(signed.record).__name__, sentence(refusal)
        log.warning("%s %s is void: %s", kind, signed.record_id.hex(), why)
        self._news.tell(Update("void", {"record_id": signed.record_id.hex(), "kind": kind, "why": why}))
        self._refuse(signed.record_id, refusal)
        self._wake(signed.record_id)
        self._began.pop(signed.record_id, None)
        self._void_ids.append(signed.record_id)
        self._something_void.set()

    def final(self, height: int, time_s: int, done: Iterable[RecordDone]) -> None:
        """These are all records of the next final block; whoever waits for them goes on."""
        now = time.monotonic()
        for event in done:
            self._outcomes[event.record_id] = (height, event.verdict)
            began = self._began.pop(event.record_id, None)
            if began is not None:
                self.commit_ms.append(round((now - began) * 1000))
            self._wake(event.record_id)
        while len(self._outcomes) > OUTCOMES_KEPT:
            del self._outcomes[next(iter(self._outcomes))]
        self._time_s = time_s

    async def settled(self, record_ids: list[bytes]) -> None:
        """The outbox need not keep these any longer."""
        for record_id in record_ids:
            self._forget(record_id)
        await when_there_is_room("tidying up the outbox", lambda: self._outbox.final(record_ids))

    async def outcome(self, record_id: bytes, wait_s: float, valid_until_s: int | None = None) -> Outcome:
        """What became of a record; see `meshnode.web.backend.Backend.outcome`."""
        place = await self.wait(record_id, wait_s)
        if place is None:
            return self._open(record_id, valid_until_s)
        height, verdict = place
        # The certificate reaches the disk with the next batch, a moment after the block is final.
        with trio.move_on_after(CERTIFICATE_WAIT_S):
            while self._store.certificate_from(height) is None:
                await trio.sleep(CERTIFICATE_LOOK_S)
        if self._store.certificate_from(height) is None:
            return Outcome("unknown", record_id.hex(), 0, "", _UNCERTIFIED, b"")
        proof = await self._prove(record_id)
        return Outcome("final", record_id.hex(), height, verdict.name, SENTENCES[verdict], proof)

    async def wait(self, record_id: bytes, wait_s: float) -> tuple[int, Verdict] | None:
        """Height and verdict of a record, waiting for it if need be; None if it is in no final block yet."""
        place = self._place(record_id)
        if place is None and wait_s > 0:
            event = self._waiting.setdefault(record_id, trio.Event())
            try:
                with trio.move_on_after(wait_s):
                    await event.wait()
            finally:
                if not event.is_set() and not event.statistics().tasks_waiting:
                    # Anybody may ask for any id and go away; what nobody waits for is forgotten.
                    self._waiting.pop(record_id, None)
            place = self._place(record_id)
        return place

    def _place(self, record_id: bytes) -> tuple[int, Verdict] | None:
        """None until height and verdict are both known (a block is on disk before it is executed)."""
        place = self._outcomes.get(record_id)
        if place is None:
            found = self._store.find_record(record_id)
            known = None if found is None else self._views.verdict(record_id)
            if found is not None and known is not None:
                place = (found[0], Verdict(known))
        return place

    def _open(self, record_id: bytes, valid_until_s: int | None) -> Outcome:
        """What is to be said of a record that is in no final block."""
        refusal = self._refusals.get(record_id)
        signed = self._kept.get(record_id)
        last_s = valid_until_s if signed is None else self._last_s(signed.record)
        if refusal is not None and refusal.verdict not in _LATE:
            name = "" if refusal.verdict is None else refusal.verdict.name
            return Outcome("refused", record_id.hex(), 0, name, sentence(refusal), b"")
        is_late = refusal is not None or (last_s is not None and last_s < self._time_s)
        # Its block may be on the disk, and not in the views yet.
        if is_late and self._store.find_record(record_id) is None:
            return Outcome("never", record_id.hex(), 0, Verdict.EXPIRED.name, _NEVER, b"")
        return Outcome("unknown", record_id.hex(), 0, "", _WAITS, b"")

    def _last_s(self, record: Record) -> int | None:
        """The last block time at which a record can take effect."""
        if isinstance(record, Spoken):
            return record.valid_until_s
        if isinstance(record, Reading):
            rules = self._machine.rules(record.period_start_s).period
            return record.period_start_s + rules.length_s + rules.correction_s
        return None

    def _refuse(self, record_id: bytes, refusal: Refusal) -> None:
        # A bad signature says nothing of the record whose id it borrows.
        if not refusal.blame:
            self._refusals[record_id] = refusal
            if len(self._refusals) > REFUSALS_KEPT:
                del self._refusals[next(iter(self._refusals))]

    def _forget(self, record_id: bytes) -> None:
        self._kept.pop(record_id, None)
        self._promised.discard(record_id)

    def _wake(self, record_id: bytes) -> None:
        waiting = self._waiting.pop(record_id, None)
        if waiting is not None:
            waiting.set()


# Too late by the ledger's own time.
_LATE = frozenset({Verdict.EXPIRED, Verdict.CORRECTION_TOO_LATE})


def sentence(refusal: Refusal) -> str:
    """Why a record was refused, for its author."""
    return refusal.reason if refusal.verdict is None else SENTENCES[refusal.verdict]
