"""Exchange: anti-entropy with one peer at a time, over a stream of its own.

Gossip may lose anything; what a round of `protocols.gossip` finds missing is fetched
and given. A round follows every connection and, every few seconds, with one random peer.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, TypeVar

import trio

from meshnode.mempool import Mempool
from meshnode.network.budgets import Budgets
from meshnode.network.framed import Framed
from meshnode.network.transport import (
    DialError,
    Misbehaved,
    PeerId,
    Stream,
    StreamClosed,
    StreamReset,
    Transport,
)
from protocols import gossip
from protocols.gossip import Delivery, Digest, Offer, Reply, Want
from protocols.records import Record, RecordError
from protocols.records.statements import RECORD_ID_BYTES

if TYPE_CHECKING:
    from trio_typing import TaskStatus

# A lost batch is back within a few seconds, long before a period's grace ends; two
# kilobytes each time, where nothing is missing.
INTERVAL_S = 3.0
# So that the nodes of a village do not all begin at once.
JITTER_S = 1.0
# A round is at most half a megabyte both ways; longer takes only a peer that has stopped.
ROUND_DEADLINE_S = 15.0
# Each node has one round at a time, and one more may begin while the last still ends.
STREAMS_PER_PEER = 2
# What answering a peer may cost: a round in the time in which an honest node begins one
# with anybody, and several at once after a reconnection.
ROUNDS_PER_S = 1.0
ROUNDS_BURST = 10.0
# The largest message is a delivery of one record that fills it; 64 bytes frame the batch.
MAX_FRAME_BYTES = gossip.MAX_SINGLE_BYTES + 64
# What a peer may deliver in a round: `MAX_DELIVERY_BYTES`, overrun by one record at most.
MAX_DELIVERED_BYTES = gossip.MAX_DELIVERY_BYTES + gossip.MAX_SINGLE_BYTES

M = TypeVar("M", bound=Record)

log = logging.getLogger(__name__)


class Exchange:
    """The rounds of one node in one microgrid."""

    def __init__(
        self,
        transport: Transport,
        protocol: str,
        mempool: Mempool,
        lacking: Callable[[Iterable[bytes]], list[bytes]],
        take: Callable[[PeerId, bytes], Awaitable[None]],
        counters: Counter[str],
        random: Random,
    ) -> None:
        """Args:
        lacking: which of these record ids are worth fetching.
        take: gets every delivered batch, with the peer that answers for it.
        """
        self._transport = transport
        self._protocol = protocol
        self._mempool = mempool
        self._lacking = lacking
        self._take = take
        self._counters = counters
        self._random = random
        self._budgets = Budgets(ROUNDS_PER_S, ROUNDS_BURST, trio.current_time)

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer and begin rounds until cancelled."""
        self._transport.handle(self._protocol, self._serve, max_streams_per_peer=STREAMS_PER_PEER)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._greet)
            task_status.started()
            while True:
                await trio.sleep(INTERVAL_S + self._random.random() * JITTER_S)
                peers = self._transport.peers()
                if peers:
                    await self.round(self._random.choice(peers))

    async def round(self, peer: PeerId) -> None:
        """One round with a connected peer; whatever goes wrong is counted, and a peer at fault dropped."""
        try:
            stream = await self._transport.open_stream(peer, self._protocol)
        except DialError:
            self._counters["exchange: no stream"] += 1
            return
        done = False
        try:
            with trio.fail_after(ROUND_DEADLINE_S):
                await self._ask(Framed(stream, MAX_FRAME_BYTES))
                await stream.aclose()
            done = True
            self._counters["exchange: rounds"] += 1
        except (StreamReset, StreamClosed, trio.TooSlowError):
            self._counters["exchange: broken off"] += 1
        except Misbehaved as error:
            log.warning("peer %s: %s", peer, error)
            await self._transport.drop(peer, str(error))
        finally:
            if not done:
                with trio.CancelScope(shield=True):
                    await stream.reset()

    async def _greet(self) -> None:
        """A round with everybody who comes: what was missed meanwhile comes at once."""
        with self._transport.watch() as events:
            async for event in events:
                if event.joined:
                    await self.round(event.peer)

    async def _ask(self, link: Framed) -> None:
        asked = gossip.digest(self._mempool.ids(), self._random.randbytes(RECORD_ID_BYTES))
        await link.send(asked)
        theirs = await _expect(link, Offer)
        answer = gossip.reply(asked, theirs, self._mempool.ids(), self._lacking(theirs.ids))
        await link.send(answer)
        delivered = 0
        while isinstance(message := await _expect(link, Delivery, Want), Delivery):
            delivered = await self._delivered(link, message, delivered)
        assert isinstance(message, Want)
        await link.send(*self._deliveries(message.ids))

    async def _serve(self, stream: Stream) -> None:
        if not self._budgets.take(stream.peer, 1.0):
            self._counters["exchange: too many rounds"] += 1
            await stream.reset()
            return
        with trio.fail_after(ROUND_DEADLINE_S):
            link = Framed(stream, MAX_FRAME_BYTES)
            offered = gossip.offer(await _expect(link, Digest), self._mempool.ids())
            await link.send(offered)
            answer = await _expect(link, Reply)
            await link.send(*self._deliveries(answer.want), gossip.want(self._lacking(answer.offer)))
            delivered = 0
            while (payload := await link.receive()) is not None:
                delivered = await self._delivered(link, _read(link, payload, Delivery), delivered)

    def _deliveries(self, ids: Iterable[bytes]) -> list[Delivery]:
        waiting = (self._mempool.get(one) for one in ids)
        return gossip.deliveries([signed.envelope_bytes for signed in waiting if signed is not None])

    async def _delivered(self, link: Framed, delivery: Delivery, before: int) -> int:
        total = before + len(delivery.batch)
        if total > MAX_DELIVERED_BYTES:
            raise Misbehaved(f"{link.stream.protocol}: delivered more than a round may hold")
        await self._take(link.stream.peer, delivery.batch)
        return total


async def _expect(link: Framed, *kinds: type[M]) -> M:
    payload = await link.receive()
    if payload is None:
        raise Misbehaved(f"{link.stream.protocol}: ended before the round was over")
    return _read(link, payload, *kinds)


def _read(link: Framed, payload: bytes, *kinds: type[M]) -> M:
    try:
        message = gossip.read_message(payload)
    except RecordError as error:
        log.info("peer %s: %s", link.stream.peer, error)
        raise Misbehaved(f"{link.stream.protocol}: malformed message") from error
    if not isinstance(message, kinds):
        raise Misbehaved(f"{link.stream.protocol}: message out of its turn")
    return message
