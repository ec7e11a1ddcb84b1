"""Sync: final blocks from node to node, for those that do not vote and for all that were away.

Every node runs a `BlockServer`, which serves ranges of final blocks from its store, a
little at a time, so that heartbeats keep their latency; on a validator it also announces the
newest certificate. A node that does not vote runs a `Follower`: it hears announcements,
asks any peer for what it lacks, believes nobody, and goes on with another peer at the
byte where the last one stopped.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING

import trio

from meshnode.machine import Machine
from meshnode.network import ranges
from meshnode.network.bucket import Bucket
from meshnode.network.budgets import Budgets
from meshnode.network.chain import StoredLog
from meshnode.network.framed import Framed
from meshnode.network.gossip import BLOCKS, THREAD_RECORDS, Thread, prefix, topic, verify_all
from meshnode.network.learner import Learner, RangeFault
from meshnode.network.ranges import NoProof, ServedLog
from meshnode.network.transport import (
    DialError,
    GossipMessage,
    Misbehaved,
    PeerId,
    Stream,
    StreamClosed,
    StreamReset,
    Transport,
)
from meshnode.network.watcher import Watcher
from meshnode.network.work import FinalBlock
from meshnode.store import Batch, StoreError
from protocols import sync
from protocols.cose import Verifier
from protocols.records import Certificate, RecordError, read_as
from protocols.sync import BlocksRequest, Credit, Receiving, Sending, SyncError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

# So many peers may catch up here at once, each with a range in memory; another waits or
# finds another peer.
MAX_SERVING = 4
# One ledger is fetched range after range, from one peer at a time.
STREAMS_PER_PEER = 1
# All catching up together: on a Raspberry Pi's wireless link this leaves half of it to heartbeats.
SERVE_BYTES_PER_S = 2 * 1024 * 1024
# Two chunks at once: a heartbeat waits behind them for no longer than they take on the wire.
SERVE_BURST_BYTES = 2 * sync.CHUNK_BYTES
# The longest range takes two seconds at the served rate; who needs ten times that for one message is gone.
MESSAGE_DEADLINE_S = 20.0
# A node that has caught up asks now and then; one that has not asks for range after range.
REQUESTS_PER_S = 10.0
REQUESTS_BURST = 50.0
# How often a validator looks for a newer certificate to announce, and how long after the
# last announcement it repeats it for those who missed it.
ANNOUNCE_INTERVAL_S = 0.25
REPEAT_S = 10.0
# A certificate of ten validators has about a kilobyte.
MAX_HEAD_BYTES = 4096
# Only the newest head counts, and it is repeated: what does not fit is no loss.
HEADS_CAPACITY = 64
# Heads are verified at most so often per author: three signatures each.
HEADS_PER_S = 8.0
HEADS_BURST = 32.0
# Without any announcement a follower asks all the same.
POLL_S = 5.0
# After a round in which no peer could help.
RETRY_S = 1.0


log = logging.getLogger(__name__)


def protocol(chain_id: bytes) -> str:
    """The stream protocol of catch-up in a microgrid."""
    return f"{prefix(chain_id)}/blocks/1"


class BlockServer:
    """Serves final blocks to members, and announces them on validators."""

    def __init__(
        self,
        transport: Transport,
        store: ServedLog,
        chain_id: bytes,
        *,
        announce: bool = False,
        provable_until: Callable[[int], int | None] = lambda _: None,
        in_thread: Thread = trio.to_thread.run_sync,
    ) -> None:
        """Args:
        announce: whether to publish the newest certificate; for validators. `announces` changes it.
        provable_until: up to which height somebody who knows the ledger up to the given one can check
            certificates, as the validators change; None if to the end.
        """
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._store = store
        self._chain_id = chain_id
        self.announces = announce
        self._provable_until = provable_until
        self._in_thread = in_thread
        self._budgets = Budgets(REQUESTS_PER_S, REQUESTS_BURST, trio.current_time)
        self._rate = Bucket(SERVE_BYTES_PER_S, SERVE_BURST_BYTES, trio.current_time)
        self._serving = trio.Semaphore(MAX_SERVING)

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        self._transport.handle(protocol(self._chain_id), self._serve, max_streams_per_peer=STREAMS_PER_PEER)
        task_status.started()
        said, said_at = 0, trio.current_time()
        while True:
            await trio.sleep(ANNOUNCE_INTERVAL_S)
            if not self.announces:
                continue
            repeat = said > 0 and trio.current_time() - said_at >= REPEAT_S
            if repeat or self._store.final_height() > said:
                found = await self._in_thread(self._store.certificate_below, self._store.final_height())
                # The newest certificate may be of a lower height than the newest final block.
                if found is not None and (repeat or found[0] > said):
                    await self._transport.publish(topic(self._chain_id, BLOCKS), found[1])
                    self.counters["heads announced"] += 1
                    said, said_at = found[0], trio.current_time()

    async def _serve(self, stream: Stream) -> None:
        link = Framed(stream, sync.MAX_MESSAGE_BYTES)
        sending: Sending | None = None
        while True:
            message = await self._request(link)
            if message is None:
                return
            if isinstance(message, Credit):
                # Sent when the range was complete here, but not yet there.
                _confirm(link, sending, message)
                continue
            if not self._budgets.take(stream.peer, 1.0):
                self.counters["blocks: too many requests"] += 1
                await stream.reset()
                return
            async with self._serving:
                sending = await self._answer(link, message)

    async def _answer(self, link: Framed, request: BlocksRequest) -> Sending | None:
        final = self._store.final_height()
        until = self._provable_until(request.from_height - 1)
        try:
            found = await self._in_thread(ranges.find, self._store, request, final, until)
        except (StoreError, LookupError) as error:
            # Our disk is at fault, not the peer; it finds another.
            log.error("blocks from %d on cannot be served: %s", request.from_height, error)
            self.counters["blocks: cannot be read"] += 1
            found = None
        except NoProof as error:
            log.error("%s, and no certificate", error)
            self.counters["blocks: no certificate within a range"] += 1
            found = None
        if found is None:
            with trio.fail_after(MESSAGE_DEADLINE_S):
                await link.send(sync.RangeStart(from_height=request.from_height, final_height=final))
            return None
        body, certificate = found
        sending = Sending(request, body, certificate, final)
        with trio.fail_after(MESSAGE_DEADLINE_S):
            await link.send(sending.start)
        while not sending.done:
            message = sending.next_message()
            if message is None:
                await self._take_credit(link, sending)
                continue
            if isinstance(message, sync.Chunk):
                await trio.sleep(self._rate.take(len(message.data)))
            with trio.fail_after(MESSAGE_DEADLINE_S):
                await link.send(message)
        self.counters["blocks: served"] += certificate.height - request.from_height + 1
        return sending

    async def _take_credit(self, link: Framed, sending: Sending) -> None:
        message = await self._request(link)
        if message is None:
            raise StreamReset("the client left in the middle of a range")
        if not isinstance(message, Credit):
            raise Misbehaved("blocks: request in the middle of a range")
        _confirm(link, sending, message)

    async def _request(self, link: Framed) -> BlocksRequest | Credit | None:
        with trio.fail_after(MESSAGE_DEADLINE_S):
            payload = await link.receive()
        if payload is None:
            return None
        try:
            return sync.read_request(payload)
        except RecordError as error:
            log.info("peer %s: %s", link.stream.peer, error)
            raise Misbehaved("blocks: malformed message") from error


def _confirm(link: Framed, sending: Sending | None, credit: Credit) -> None:
    if sending is None:
        raise Misbehaved("blocks: credit without a request")
    try:
        sending.credit(credit)
    except SyncError as error:
        log.info("peer %s: %s", link.stream.peer, error)
        raise Misbehaved("blocks: credit for what was not sent") from error


class Follower:
    """Keeps the ledger of a node that does not vote up to date.

    The counterpart of `Validator` and `Consensus` together: final blocks, executed and on
    disk, come through `on_final`.
    """

    def __init__(
        self,
        machine: Machine,
        store: StoredLog,
        transport: Transport,
        persist: Callable[[Batch], Awaitable[None]],
        on_final: Callable[[list[FinalBlock]], Awaitable[None]],
        check: Verifier,
        random: Random,
        *,
        in_thread: Thread = trio.to_thread.run_sync,
    ) -> None:
        """Args:
        machine: executed up to the store's final height.
        persist: writes a batch with one fsync; what it raises ends the node.
        on_final: gets final blocks in order; must be quick.
        check: verifies from several threads and remembers; the machine's own.
        """
        self.learner = Learner(machine, store, check)
        self.counters = self.learner.counters
        self._chain_id = machine.chain_id
        self._transport = transport
        self._persist = persist
        self._on_final = on_final
        self._check = check
        self._random = random
        self._in_thread = in_thread
        self._budgets = Budgets(HEADS_PER_S, HEADS_BURST, trio.current_time)
        self._heard = trio.Event()
        self._head_height = 0
        self._head_author: PeerId | None = None
        self._receiving: Receiving | None = None

    @property
    def halted(self) -> str | None:
        """Why nothing more is taken; None while all is well."""
        return self.learner.halted

    @property
    def watcher(self) -> Watcher:
        """Remembers what validators signed, and who contradicted itself."""
        return self.learner.watcher

    @property
    def certificates_verified(self) -> int:
        """Since the start."""
        return self.learner.certificates_verified

    @property
    def final_height(self) -> int:
        """Height up to which blocks are final and on disk here."""
        return self.learner.final_height

    @property
    def newest_certificate(self) -> Certificate | None:
        """The highest certificate whose block is final here."""
        return self.learner.newest_certificate

    async def run(
        self,
        until: Callable[[], bool] = lambda: False,
        task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Follow until cancelled, until the disk fails, or until a round is over and `until` holds."""
        with self._transport.subscribe(topic(self._chain_id, BLOCKS), HEADS_CAPACITY) as heads:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear, heads)
                task_status.started()
                await self._follow(until)
                nursery.cancel_scope.cancel()

    async def is_more_known(self) -> bool:
        """Whether some peer has a range that follows what is final here, with a certificate that holds; takes none."""
        for peer in self._candidates():
            try:
                stream = await self._transport.open_stream(peer, protocol(self._chain_id))
            except DialError:
                continue
            try:
                receiving = Receiving(self.learner.final_height + 1)
                if await self._receive(Framed(stream, sync.MAX_MESSAGE_BYTES), receiving):
                    assert receiving.certificate is not None
                    # Not in a thread: the state may change meanwhile.
                    self.learner.prove(receiving.blocks, receiving.certificate)
                    return True
            except (
                StreamReset,
                StreamClosed,
                trio.TooSlowError,
                Misbehaved,
                SyncError,
                RangeFault,
                RecordError,
            ) as error:
                log.info("peer %s, asked for what follows: %s", peer, error)
            finally:
                with trio.CancelScope(shield=True):
                    await stream.reset()
        return False

    async def _hear(self, heads: trio.MemoryReceiveChannel[GossipMessage]) -> None:
        async for message in heads:
            if not self._budgets.take(message.author, 1.0):
                self.counters["heads over the rate of a peer"] += 1
                continue
            fault = self._take_head(message)
            if fault is not None:
                log.warning("head of %s: %s", message.author, fault)
                await self._transport.drop(message.author, "blocks: announced a head that does not hold")

    def _take_head(self, message: GossipMessage) -> str | None:
        if len(message.data) > MAX_HEAD_BYTES:
            return f"{len(message.data)} bytes, the limit is {MAX_HEAD_BYTES}"
        try:
            certificate = read_as(Certificate, message.data)
        except RecordError as error:
            return str(error)
        if certificate.height <= max(self._head_height, self.learner.final_height):
            return None
        try:
            if self.learner.check_head(certificate):
                self._head_height, self._head_author = certificate.height, message.author
                self._heard.set()
        except RangeFault as error:
            return str(error)
        return None

    async def _follow(self, until: Callable[[], bool]) -> None:
        while self.learner.halted is None:
            self._heard = trio.Event()
            is_behind = self._head_height > self.learner.final_height
            learned = None
            for peer in self._candidates():
                learned = await self._fetch(peer)
                # Where nobody said that there is more, one answer is enough.
                if learned or (learned is not None and not is_behind):
                    break
            if until():
                return
            if self._head_height > self.learner.final_height:
                await trio.sleep(0 if learned else RETRY_S)
                continue
            with trio.move_on_after(POLL_S):
                await self._heard.wait()
        log.error("following has stopped: %s", self.learner.halted)
        await trio.sleep_forever()

    def _candidates(self) -> list[PeerId]:
        """Peers to ask: who announced the newest head, then the others in random order."""
        peers = self._transport.peers()
        self._random.shuffle(peers)
        peers.sort(key=lambda peer: peer != self._head_author)
        return peers

    async def _fetch(self, peer: PeerId) -> int | None:
        """Fetch ranges from a peer until it has no more; how many, or None if it gave no answer."""
        ranges = 0
        try:
            stream = await self._transport.open_stream(peer, protocol(self._chain_id))
        except DialError:
            self.counters["blocks: no stream"] += 1
            return None
        done = False
        try:
            link = Framed(stream, sync.MAX_MESSAGE_BYTES)
            while self.learner.halted is None and await self._fetch_range(link):
                ranges += 1
            await stream.aclose()
            done = True
        except (StreamReset, StreamClosed, trio.TooSlowError):
            self.counters["blocks: broken off"] += 1
        except (Misbehaved, SyncError, RangeFault, RecordError) as error:
            log.warning("peer %s: %s", peer, error)
            await self._blame(peer, error)
        finally:
            if not done:
                with trio.CancelScope(shield=True):
                    await stream.reset()
        return ranges if done or ranges else None

    async def _blame(self, peer: PeerId, error: Exception) -> None:
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving.pieced_together:
            # The bytes of two peers, or more, do not fit: nobody knows whose are wrong.
            self.counters["blocks: pieces did not fit"] += 1
            return
        self.counters["blocks: peers dropped"] += 1
        reason = str(error) if isinstance(error, Misbehaved) else "blocks: served what does not hold"
        await self._transport.drop(peer, reason)

    async def _fetch_range(self, link: Framed) -> bool:
        """Fetch, execute and store one range; False if the peer has none."""
        receiving = self._receiving
        if receiving is None:
            receiving = self._receiving = Receiving(self.learner.final_height + 1)
        if not await self._receive(link, receiving):
            return False
        await self._take(receiving)
        return True

    async def _receive(self, link: Framed, receiving: Receiving) -> bool:
        """Receive one range; False if the peer has none."""
        with trio.fail_after(MESSAGE_DEADLINE_S):
            await link.send(receiving.request())
        while receiving.certificate is None:
            with trio.fail_after(MESSAGE_DEADLINE_S):
                payload = await link.receive()
            if payload is None:
                raise StreamReset("the server closed in the middle of a range")
            credit = receiving.receive(sync.read_answer(payload))
            if receiving.nothing:
                return False
            if credit is not None:
                with trio.fail_after(MESSAGE_DEADLINE_S):
                    await link.send(credit)
        return True

    async def _take(self, receiving: Receiving) -> None:
        assert receiving.certificate is not None
        learner = self.learner
        # Reading a range takes a small computer a few hundred milliseconds.
        await self._in_thread(learner.begin, receiving.blocks, receiving.certificate)
        self._receiving = None
        await self._verify(learner.to_verify())
        while learner.step():
            # Between two blocks others have their turn.
            await trio.lowlevel.checkpoint()
        batch = learner.batch()
        if batch is None:
            return
        await self._persist(batch)
        learner.persisted()
        self.counters["blocks: learned"] += len(batch.entries)
        await self._on_final(learner.take_final())

    async def _verify(self, work: list[tuple[bytes, bytes, bytes]]) -> None:
        async with trio.open_nursery() as nursery:
            for first in range(0, len(work), THREAD_RECORDS):
                part = work[first : first + THREAD_RECORDS]
                nursery.start_soon(self._in_thread, verify_all, self._check, part)
