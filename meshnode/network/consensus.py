"""Consensus service: carries a validator's parcels over streams and its batches to the disk.

One long-lived outbound stream per peer, frames of deterministic CBOR, a bounded
outbox each. The disk works in a thread; meanwhile parcels are taken in and
heartbeats go out. What becomes final is handed on through `on_final`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

from meshnode.network.framed import READ_BYTES
from meshnode.network.transport import (
    DialError,
    PeerId,
    Stream,
    StreamClosed,
    StreamReset,
    Transport,
    peer_id_of,
    public_key_of,
)
from meshnode.network.validator import Validator
from meshnode.network.work import FinalBlock, Outgoing
from meshnode.store import Batch
from protocols.frames import MAX_FRAME_BYTES, FrameError, FrameReader, frame
from protocols.parcel import Parcel
from protocols.raft import MessageKind
from protocols.records import RecordError, read_as, to_payload

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# Appends wait here while a peer is slow, at most the 16 that Raft has under way; the rest is room
# for votes, answers and certificates. Raft sends again what is dropped.
OUTBOX_PARCELS = 64
# Between two attempts to open a stream to a validator that does not answer.
REOPEN_DELAY_S = 0.5
# A second stream replaces a broken one before the first is noticed to be dead.
STREAMS_PER_PEER = 2
# Names a process among all that ever ask a leader: eight bytes of chance never meet again.
SESSION_BYTES = 8

_REPLACED_BY_NEWER = (MessageKind.HEARTBEAT, MessageKind.HEARTBEAT_RESP)


class Consensus:
    """Runs one validator over a transport."""

    def __init__(
        self,
        validator: Validator,
        transport: Transport,
        protocol: str,
        persist: Callable[[Batch], Awaitable[None]],
        on_final: Callable[[list[FinalBlock]], Awaitable[None]],
        *,
        tick_s: float,
        block_interval_s: float,
    ) -> None:
        """Args:
        protocol: id of the stream protocol; holds the chain id.
        persist: writes a batch with one fsync; what it raises ends the node.
        on_final: gets final blocks in order; called from the work loop, so it must be quick.
        tick_s: length of a tick of the validator, in real seconds.
        block_interval_s: a leader waits this long between two blocks, to fill them.
        """
        self.validator = validator
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._protocol = protocol
        self._persist = persist
        self._on_final = on_final
        self._tick_s = tick_s
        self._block_interval_s = block_interval_s
        self._wake = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._stopping = False
        self._outboxes: dict[int, _Outbox] = {}
        self._session = validator.number.to_bytes(4, "big") + os.urandom(SESSION_BYTES)
        self._questions = 0
        self._reads: dict[bytes, _Read] = {}

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled, or until the disk fails. Whoever runs this gives the peers' streams to `serve`."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._follow_peers()
                nursery.start_soon(self._tick_loop)
                nursery.start_soon(self._work_loop)
                task_status.started()
        finally:
            self._nursery = None

    def wake(self) -> None:
        """There may be something to propose."""
        self._wake.set()

    def stop(self) -> None:
        """End `run` once the work under way is done and handed on."""
        self._stopping = True
        self._wake.set()

    def _follow_peers(self) -> None:
        """Open an outbox to every other validator, and close those to devices that vote no more."""
        peers = {number: key for key, number in self.validator.peers()}
        for number in [known for known in self._outboxes if known not in peers]:
            self._outboxes.pop(number).close()
        assert self._nursery is not None, "peers are followed while the service runs"
        for number, key in peers.items():
            if number not in self._outboxes:
                outbox = self._outboxes[number] = _Outbox()
                self._nursery.start_soon(self._send_loop, number, peer_id_of(key), outbox)

    async def read_index(self, wait_s: float) -> int | None:
        """A height that everything final before the call lies below; None if no leader told it in time."""
        self._questions += 1
        context = self._session + self._questions.to_bytes(8, "big")
        if not self.validator.read_index(context):
            return None
        read = self._reads[context] = _Read()
        self._wake.set()
        try:
            with trio.move_on_after(wait_s):
                await read.answered.wait()
        finally:
            del self._reads[context]
        return read.height

    async def _tick_loop(self) -> None:
        while True:
            await trio.sleep(self._tick_s)
            self.validator.tick()
            for outgoing in self.validator.urgent():
                self._post(outgoing)
            self._wake.set()

    async def _work_loop(self) -> None:
        last_block = trio.current_time() - self._block_interval_s
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            if self._stopping:
                assert self._nursery is not None
                self._nursery.cancel_scope.cancel()
                return
            if trio.current_time() - last_block >= self._block_interval_s and self.validator.propose():
                last_block = trio.current_time()
            while (work := self.validator.poll()) is not None:
                for outgoing in work.now:
                    self._post(outgoing)
                if work.batch is not None:
                    await self._persist(work.batch)
                for outgoing in self.validator.persisted():
                    self._post(outgoing)
            for answer in self.validator.take_reads():
                # Nobody waits any more for one that comes late.
                if answer.context in self._reads:
                    self._reads[answer.context].answer(answer.index)
            await self._drop_faulty()
            final = self.validator.take_final()
            if final:
                self._follow_peers()
                await self._on_final(final)
                self._wake.set()

    async def _drop_faulty(self) -> None:
        for number, reason in self.validator.take_faults():
            await self._drop(peer_id_of(self.validator.key_of(number)), reason)

    async def _drop(self, peer: PeerId, found: str) -> None:
        """Drop a validator at fault. What was found goes to the log; counters have fixed names."""
        log.warning("validator %s dropped: %s", peer, found)
        await self._transport.drop(peer, "consensus: a parcel that no honest validator sends")

    def _post(self, outgoing: Outgoing) -> None:
        outbox = self._outboxes.get(outgoing.to)
        if outbox is None:
            return
        if not outbox.put(outgoing.parcel):
            self.counters["parcel dropped: outbox full"] += 1
            self.validator.unreachable(outgoing.to)

    async def _send_loop(self, number: int, peer: PeerId, outbox: _Outbox) -> None:
        """Keep a stream to a validator open and write what is in its outbox."""
        while not outbox.closed:
            stream: Stream | None = None
            try:
                await outbox.wait()
                stream = await self._transport.open_stream(peer, self._protocol)
                while not outbox.closed:
                    await stream.send_all(b"".join(outbox.take()))
                    await outbox.wait()
                await stream.aclose()
            except (DialError, StreamReset, StreamClosed):
                self.counters["consensus stream broken"] += 1
                outbox.clear()
                self.validator.unreachable(number)
                if stream is not None:
                    await stream.reset()
                await trio.sleep(REOPEN_DELAY_S)

    async def serve(self, stream: Stream) -> None:
        """Read the parcels of one validator; anything malformed gets it dropped."""
        device = public_key_of(stream.peer)
        number = self.validator.number_of(device)
        if number is None:
            # A member all the same, or it would not be connected: one that votes no more and has
            # not heard of it, or one that is to vote and we have not.
            self.counters["consensus stream of no validator"] += 1
            await stream.reset()
            return
        reader = FrameReader(MAX_FRAME_BYTES)
        while data := await stream.receive_some(READ_BYTES):
            if self._nursery is None or self.validator.number_of(device) is None:
                await stream.reset()
                return
            try:
                for payload in reader.feed(data):
                    fault = self.validator.receive(number, read_as(Parcel, payload))
                    if fault is not None:
                        await self._drop(stream.peer, fault)
                        return
            except (FrameError, RecordError) as error:
                await self._drop(stream.peer, str(error))
                return
            self._wake.set()


class _Read:
    """A question to the leader."""

    def __init__(self) -> None:
        self.answered = trio.Event()
        self.height: int | None = None

    def answer(self, height: int) -> None:
        self.height = height
        self.answered.set()


class _Outbox:
    """Parcels for one peer: bounded, and a newer heartbeat replaces an older one."""

    def __init__(self) -> None:
        self.closed = False
        self._parcels: deque[Parcel] = deque()
        self._filled = trio.Event()

    def close(self) -> None:
        """Nothing more is sent; who waits goes on."""
        self.closed = True
        self._filled.set()

    def put(self, parcel: Parcel) -> bool:
        """Queue a parcel; False if there is no room."""
        kind = None if parcel.message is None else parcel.message.kind
        if kind in _REPLACED_BY_NEWER and self._parcels:
            for place, known in enumerate(self._parcels):
                if known.message is not None and known.message.kind == kind and not known.message.context:
                    self._parcels[place] = parcel
                    return True
        if len(self._parcels) >= OUTBOX_PARCELS:
            return False
        self._parcels.append(parcel)
        self._filled.set()
        return True

    async def wait(self) -> None:
        """Until there is something to send."""
        await self._filled.wait()

    def take(self) -> list[bytes]:
        """Everything queued, as frames; written in one go."""
        frames = [frame(to_payload(parcel)) for parcel in self._parcels]
        self.clear()
        return frames

    def clear(self) -> None:
        """Forget what is queued."""
        self._parcels.clear()
        self._filled = trio.Event()
