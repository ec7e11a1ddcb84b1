"""Gossip: how signed records reach every node's mempool, and live power every screen.

Own records leave in batches; received batches are read, verified (large ones in
threads) and taken into the mempool. Whoever wrote a batch answers for it: the peer
that delivered it had no reason to look inside. What is lost comes back by exchange
with peers (`meshnode.network.exchange`), own records are published again until they
are final.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec
import trio

from meshnode.keys import SigningKey
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine
from meshnode.mempool import Mempool, Refusal
from meshnode.network.budgets import Budgets
from meshnode.network.exchange import Exchange
from meshnode.network.live import Live, OnLive
from meshnode.network.transport import DROP_COOLDOWN_S, GossipMessage, PeerId, Transport
from protocols import cose
from protocols.block import SignedRecord, read_record
from protocols.cose import EnvelopeError, Verifier
from protocols.gossip import BatchError, batch_id, batches, read_batch
from protocols.records import KINDS, LivePower, Reading, RecordError, kind_of

if TYPE_CHECKING:
    from trio_typing import TaskStatus

READINGS, RECORDS, LIVE, BLOCKS = "readings", "records", "live", "blocks"
TOPICS = (READINGS, RECORDS, LIVE, BLOCKS)

# At the end of a period the meters of a home report within this time: one message, not five.
BATCH_DELAY_S = 0.05
# Batches that wait to be looked at, per topic: four megabytes; what is dropped comes back by exchange.
RECEIVE_CAPACITY = 256
# A channel of live statements that is this far behind shows the past.
LIVE_CAPACITY = 256
# Verifying fewer in a thread costs more than it saves: a thread's turn is a few signatures long.
THREAD_FROM_RECORDS = 8
# What one thread verifies at a time: 10 ms on a Raspberry Pi, so that several share a batch.
THREAD_RECORDS = 32
# Records that one author may publish: a hundred times what a home produces, and at once
# what an account may have waiting, twice (a week of readings of three meters).
RECORDS_PER_S = 100.0
RECORDS_BURST = 2_000.0
# Own records are published again after this long: a period's grace is at least a minute.
REPUBLISH_S = 20.0
# How often own records are looked at.
OWN_INTERVAL_S = 5.0
# As many own records as the outbox holds.
MAX_OWN = 8_192
# Refused records are not asked for again for so long; a Join may have become final by then.
REFUSED_FOR_S = 60.0
MAX_REFUSED = 4_096
# Batches whose records are all settled, by id: what comes again costs one hash. A batch comes
# again within minutes or never; at one a second this is an hour of them.
MAX_SETTLED = 4_096
# Blame ends with `DROP_COOLDOWN_S`; so many authors at once would be a whole community.
MAX_BLAMED = 1_024

K = TypeVar("K")
V = TypeVar("V")

Thread = Callable[..., Awaitable[Any]]
"""Runs a function with its arguments outside the event loop, as `trio.to_thread.run_sync`."""

log = logging.getLogger(__name__)


class MicrogridClock(Protocol):
    """See `meshnode.clock.GridClock`."""

    def now_s(self) -> int:
        """UTC seconds of the microgrid."""


def prefix(chain_id: bytes) -> str:
    """What topics and stream protocols of a microgrid begin with."""
    return f"/meshnode/{chain_id.hex()[:16]}"


def topic(chain_id: bytes, name: str) -> str:
    """The full name of one of `TOPICS`."""
    return f"{prefix(chain_id)}/{name}"


class _Own(msgspec.Struct):
    """A record of this node on its way; None: not published yet."""

    signed: SignedRecord
    published_at: float | None


class Gossip:
    """The gossip of one node in one microgrid. The transport is opened with all of `TOPICS`."""

    def __init__(
        self,
        transport: Transport,
        mempool: Mempool,
        clock: MicrogridClock,
        chain_id: bytes,
        machine: Machine,
        check: Verifier,
        *,
        on_live: OnLive,
        random: Random,
        on_record: Callable[[SignedRecord], None] | None = None,
        on_void: Callable[[SignedRecord, Refusal], None] | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        in_thread: Thread = trio.to_thread.run_sync,
    ) -> None:
        """Args:
        check: verifies from several threads and remembers (`meshnode.keys.SignatureCheck`);
            the machine's own, so that nothing is verified twice.
        on_live: (account, statement, arrival in real UTC ms) for every statement of others.
        on_record: called for every record that is new in the mempool.
        on_void: called when an own record that was taken can never be final any more.
        now_ms: real UTC milliseconds.
        """
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._mempool = mempool
        self._clock = clock
        self._chain_id = chain_id
        self._check = check
        self._on_record = on_record
        self._on_void = on_void
        self._in_thread = in_thread
        self._own: dict[bytes, _Own] = {}
        self._posted: dict[str, list[bytes]] = {READINGS: [], RECORDS: []}
        self._something_posted = trio.Event()
        self._refused: dict[bytes, float] = {}
        self._settled: dict[bytes, None] = {}
        self._blamed: dict[PeerId, float] = {}
        self._budgets = Budgets(RECORDS_PER_S, RECORDS_BURST, trio.current_time)
        want = f"{prefix(chain_id)}/want/1"
        self.exchange = Exchange(transport, want, mempool, self._lacking, self._take, self.counters, random)
        self._live = Live(
            transport, topic(chain_id, LIVE), machine, on_live, now_ms, self._is_blamed, self._blame, self.counters
        )

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled."""
        channels = {
            name: self._transport.subscribe(topic(self._chain_id, name), capacity)
            for name, capacity in ((READINGS, RECEIVE_CAPACITY), (RECORDS, RECEIVE_CAPACITY), (LIVE, LIVE_CAPACITY))
        }
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, channels[READINGS])
            nursery.start_soon(self._receive, channels[RECORDS])
            nursery.start_soon(self._live.run, channels[LIVE])
            nursery.start_soon(self._publish)
            nursery.start_soon(self._look_after)
            await nursery.start(self.exchange.run)
            task_status.started()

    async def submit(self, signed: SignedRecord, *, promised: bool = False) -> Refusal | None:
        """Take in a record of this node and pass it on; None if it is on its way.

        A reading that cannot be taken yet (the mempool is full, this node has not caught
        up) is kept and tried again, because nobody could make it anew; so is what was taken
        before the last stop (`promised`), because its author was told so. Anything else is
        refused, and may be submitted again. The caller has it on disk already.
        """
        await trio.lowlevel.checkpoint()
        if signed.record_id in self._own:
            return None
        if len(self._own) >= MAX_OWN:
            return Refusal(None, f"{MAX_OWN} own records are on their way already", blame=False, lasting=False)
        refusal = self._add(signed)
        if refusal is None:
            self._own[signed.record_id] = own = _Own(signed, None)
            self._post(own)
        elif (promised or isinstance(signed.record, Reading)) and not refusal.lasting:
            self.counters["own record kept for later"] += 1
            self._own[signed.record_id] = _Own(signed, None)
            return None
        return refusal

    async def publish_live(self, live: LivePower, key: SigningKey) -> None:
        """Sign a live statement and send it to all screens; at most one a second and meter goes out.

        Raises:
            RecordError: a value outside its bounds.
        """
        await trio.lowlevel.checkpoint()
        self._live.publish(live, key)

    # --- going out

    def _post(self, own: _Own) -> None:
        own.published_at = trio.current_time()
        name = READINGS if isinstance(own.signed.record, Reading) else RECORDS
        self._posted[name].append(own.signed.envelope_bytes)
        self._something_posted.set()

    async def _publish(self) -> None:
        while True:
            await self._something_posted.wait()
            await trio.sleep(BATCH_DELAY_S)
            self._something_posted = trio.Event()
            posted, self._posted = self._posted, {name: [] for name in self._posted}
            for name, envelopes in posted.items():
                for batch in batches(dict.fromkeys(envelopes)):
                    await self._transport.publish(topic(self._chain_id, name), batch)
                    self.counters["batches published"] += 1

    async def _look_after(self) -> None:
        """Own records until they are final, and the mempool's waste."""
        while True:
            await trio.sleep(OWN_INTERVAL_S)
            self._mempool.prune(self._clock.now_s())
            for own in list(self._own.values()):
                self._look_after_own(own)

    def _look_after_own(self, own: _Own) -> None:
        record_id = own.signed.record_id
        if self._mempool.is_final(record_id):
            del self._own[record_id]
            return
        refusal = None if record_id in self._mempool else self._add(own.signed)
        if refusal is None:
            if own.published_at is None or trio.current_time() - own.published_at >= REPUBLISH_S:
                self.counters["own records published again"] += own.published_at is not None
                self._post(own)
        elif refusal.lasting:
            del self._own[record_id]
            # On the ledger already, from before the mempool remembers: that is what it was for.
            if refusal.verdict != Verdict.REPEATED:
                self.counters[f"own record void: {refusal.reason}"] += 1
                if self._on_void is not None:
                    self._on_void(own.signed, refusal)

    # --- coming in

    async def _receive(self, channel: trio.MemoryReceiveChannel[GossipMessage]) -> None:
        async for message in channel:
            if not self._is_blamed(message.author):
                await self._take(message.author, message.data)

    async def _take(self, author: PeerId, batch: bytes) -> None:
        """Take a batch that `author` answers for."""
        number = batch_id(batch)
        if number in self._settled:
            self.counters["batches repeated"] += 1
            return
        try:
            envelopes = read_batch(batch)
        except BatchError as error:
            log.info("batch of %s: %s", author, error)
            await self._blame(author, "gossip: undecodable batch")
            return
        if not self._budgets.take(author, len(envelopes)):
            self.counters["over the rate of a peer"] += 1
            return
        try:
            records = [signed for data in envelopes if (signed := self._read(data)) is not None]
        except (EnvelopeError, RecordError) as error:
            log.info("batch of %s: %s", author, error)
            await self._blame(author, "gossip: malformed record")
            return
        await self._verify(records)
        settled = len(records) == len(envelopes)
        for signed in records:
            refusal = self._add(signed)
            if refusal is not None and refusal.blame:
                await self._blame(author, f"gossip: {refusal.reason}")
                return
            settled &= refusal is None or refusal.lasting
        if settled:
            _remember(self._settled, number, None, MAX_SETTLED)

    def _read(self, data: bytes) -> SignedRecord | None:
        """A record; None if it is of a kind that only a later version knows."""
        try:
            return read_record(data, self._chain_id)
        except RecordError:
            if kind_of(cose.decode(data).payload) in KINDS:
                raise
            self.counters["records of an unknown kind"] += 1
            return None

    async def _verify(self, records: Sequence[SignedRecord]) -> None:
        """Verify a large batch on all cores; the verifier remembers what is good."""
        work = [item for signed in records if (item := self._mempool.to_verify(signed)) is not None]
        if len(work) < THREAD_FROM_RECORDS:
            return
        async with trio.open_nursery() as nursery:
            for first in range(0, len(work), THREAD_RECORDS):
                part = work[first : first + THREAD_RECORDS]
                nursery.start_soon(self._in_thread, verify_all, self._check, part)

    def _add(self, signed: SignedRecord) -> Refusal | None:
        is_new = not self._mempool.knows(signed.record_id)
        refusal = self._mempool.add(signed, self._clock.now_s())
        if refusal is not None:
            # A bad signature says nothing of the record whose id it borrows.
            if not refusal.blame:
                _remember(self._refused, signed.record_id, trio.current_time(), MAX_REFUSED)
        elif is_new:
            self.counters["records taken"] += 1
            self._refused.pop(signed.record_id, None)
            if self._on_record is not None:
                self._on_record(signed)
        return refusal

    def _lacking(self, ids: Iterable[bytes]) -> list[bytes]:
        """Which of these records are worth fetching: unknown here, and not refused just now."""
        before = trio.current_time() - REFUSED_FOR_S
        return [one for one in ids if not self._mempool.knows(one) and self._refused.get(one, before) <= before]

    # --- who is at fault

    async def _blame(self, peer: PeerId, reason: str) -> None:
        self.counters[f"blamed: {reason}"] += 1
        log.warning("peer %s: %s", peer, reason)
        _remember(self._blamed, peer, trio.current_time(), MAX_BLAMED)
        await self._transport.drop(peer, reason)

    def _is_blamed(self, peer: PeerId) -> bool:
        """Whether what a peer writes is ignored: others still pass it on while it is dropped here."""
        at = self._blamed.get(peer)
        if at is None or trio.current_time() - at > DROP_COOLDOWN_S:
            return False
        self.counters["ignored: its author was dropped"] += 1
        return True


def verify_all(check: Verifier, work: Sequence[tuple[bytes, bytes, bytes]]) -> None:
    """Verify (public key, message, signature) until one fails; for a thread."""
    for public_key, message, signature in work:
        if not check(public_key, message, signature):
            return


def _remember(known: dict[K, V], key: K, value: V, most: int) -> None:
    """Put an entry at the end of a bounded dict; the oldest makes room."""
    known.pop(key, None)
    known[key] = value
    if len(known) > most:
        del known[next(iter(known))]
