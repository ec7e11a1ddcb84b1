"""Submissions: this node's own records, from the signature to the block that makes them final.

A record goes to the disk before anybody hears of it and stays there until it is final
or can never be; who waits for it is told. What became of other members' records is
known here too, for a while.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import trio

from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.machine import RecordDone
from meshnode.mempool import Refusal
from meshnode.news import News
from meshnode.outbox import Outbox
from meshnode.room import when_there_is_room
from meshnode.store import Store
from meshnode.views import Views
from meshnode.web.backend import Refused, Update
from protocols.block import SignedRecord

log = logging.getLogger(__name__)

# Times of own records to their finality that the figures are made of.
TIMES_KEPT = 1024
# A person who speaks is told soon that there is no room for it; a reading waits.
ROOM_WAIT_S = 3.0
# How long what became of a record is remembered without asking the disk.
OUTCOMES_KEPT = 4096


class Publisher(Protocol):
    """See `meshnode.network.gossip.Gossip`."""

    async def submit(self, signed: SignedRecord) -> Refusal | None:
        """Take an own record into the mempool and pass it on."""


class Submissions:
    """See the module text.

    Attributes:
        commit_ms: from handing in to finality here, of the newest own records.
    """

    def __init__(self, outbox: Outbox, store: Store, views: Views, news: News) -> None:
        self.commit_ms: deque[int] = deque(maxlen=TIMES_KEPT)
        self._outbox = outbox
        self._store = store
        self._views = views
        self._news = news
        self._outcomes: dict[bytes, tuple[int, Verdict]] = {}
        self._waiting: dict[bytes, trio.Event] = {}
        self._began: dict[bytes, float] = {}
        self._void_ids: list[bytes] = []
        self._something_void = trio.Event()

    async def run(self, publisher: Publisher) -> None:
        """Own records that were not final at the last stop go out again; later, void ones leave the outbox."""
        for signed in await trio.to_thread.run_sync(self._outbox.pending):
            if self._store.find_record(signed.record_id) is not None:
                await self.settled([signed.record_id])
                continue
            refusal = await publisher.submit(signed)
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

    async def publish(self, signed: SignedRecord, publisher: Publisher) -> Refusal | None:
        """Pass a kept record on; None if it waits for its block now."""
        began = time.monotonic()
        refusal = await publisher.submit(signed)
        # A neighbour may have brought the same record into a block meanwhile.
        if refusal is None and signed.record_id not in self._outcomes:
            self._began.setdefault(signed.record_id, began)
        return refusal

    async def hand_in(self, signed: SignedRecord, publisher: Publisher) -> None:
        """Keep a record and pass it on, unless it is final already. Raises Refused."""
        if self._place(signed.record_id) is not None:
            return
        with trio.move_on_after(ROOM_WAIT_S) as waiting:
            await self.keep(signed)
        if waiting.cancelled_caught:
            raise Refused("the disk of this node is full; make room, and say it again")
        refusal = await self.publish(signed, publisher)
        if refusal is not None:
            await self.settled([signed.record_id])
            raise Refused(sentence(refusal))

    def void(self, signed: SignedRecord, refusal: Refusal) -> None:
        """An own record can never be final any more: its author is told, and it is kept no longer."""
        kind, why = type(signed.record).__name__, sentence(refusal)
        log.warning("%s %s is void: %s", kind, signed.record_id.hex(), why)
        self._news.tell(Update("void", {"record_id": signed.record_id.hex(), "kind": kind, "why": why}))
        self._began.pop(signed.record_id, None)
        self._void_ids.append(signed.record_id)
        self._something_void.set()

    def final(self, height: int, done: Iterable[RecordDone]) -> None:
        """These records are in a final block; whoever waits for them goes on."""
        now = time.monotonic()
        for event in done:
            self._outcomes[event.record_id] = (height, event.verdict)
            began = self._began.pop(event.record_id, None)
            if began is not None:
                self.commit_ms.append(round((now - began) * 1000))
            waiting = self._waiting.pop(event.record_id, None)
            if waiting is not None:
                waiting.set()
        while len(self._outcomes) > OUTCOMES_KEPT:
            del self._outcomes[next(iter(self._outcomes))]

    async def settled(self, record_ids: list[bytes]) -> None:
        """The outbox need not keep these any longer."""
        await when_there_is_room("tidying up the outbox", lambda: self._outbox.final(record_ids))

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


def sentence(refusal: Refusal) -> str:
    """Why a record was refused, for its author."""
    return refusal.reason if refusal.verdict is None else SENTENCES[refusal.verdict]
