"""Recall: asks the others what they hold of our signatures, and answers when they ask.

Every node answers; one that may have to sign asks whoever is connected, validators and
others, until all validators have answered once. What follows from the answers is
`meshnode.network.recollection`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from meshnode.network.budgets import Budgets
from meshnode.network.framed import Framed
from meshnode.network.gossip import prefix
from meshnode.network.licence import Licence, Retired
from meshnode.network.recollection import Recollection
from meshnode.network.transport import (
    DialError,
    Misbehaved,
    PeerId,
    Stream,
    StreamClosed,
    StreamReset,
    Transport,
    public_key_of,
)
from meshnode.store import SignState
from protocols import signatures
from protocols.records import RecordError
from protocols.signatures import Signatures, SignaturesRequest

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# A question and its answer are one round trip and two kilobytes.
DEADLINE_S = 5.0
# Who has just connected is asked at once; nobody waits for us but we.
LOOK_S = 0.1
# After a stream that broke, or a node that is not ready to answer.
RETRY_S = 0.5
# A node asks once a start, and again where a stream broke.
REQUESTS_PER_S = 1.0
REQUESTS_BURST = 20.0
STREAMS_PER_PEER = 2

Now = Callable[[], tuple[SignState, int] | None]
"""What this node has signed by now and its term; None while it has not signed since the start."""


def protocol(chain_id: bytes) -> str:
    """The stream protocol of these questions in a microgrid."""
    return f"{prefix(chain_id)}/signatures/1"


class Recall:
    """One node's questions and answers in one microgrid."""

    def __init__(
        self,
        transport: Transport,
        chain_id: bytes,
        answer: Callable[[bytes], Signatures],
        recollection: Recollection | None,
        on_decision: Callable[[Licence | Retired], None],
        now: Now,
        tick_s: float,
    ) -> None:
        """Args:
        answer: what this node holds of a device key id.
        recollection: gets the answers of others; None for a node that does not vote.
        """
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._protocol = protocol(chain_id)
        self._answer = answer
        self._recollection = recollection
        self._on_decision = on_decision
        self._now = now
        self._tick_s = tick_s
        self._asking: set[PeerId] = set()
        self._budgets = Budgets(REQUESTS_PER_S, REQUESTS_BURST, trio.current_time)

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer, and ask, until cancelled."""
        self._transport.handle(self._protocol, self._serve, max_streams_per_peer=STREAMS_PER_PEER)
        task_status.started()
        recollection = self._recollection
        if recollection is not None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tick, recollection)
                while recollection.asks:
                    for peer in self._transport.peers():
                        if peer not in self._asking and recollection.wants(public_key_of(peer)):
                            self._asking.add(peer)
                            nursery.start_soon(self._ask, peer, recollection)
                    await trio.sleep(LOOK_S)
        await trio.sleep_forever()

    async def _tick(self, recollection: Recollection) -> None:
        while not recollection.decided:
            await trio.sleep(self._tick_s)
            self._decided(recollection.tick())

    async def _ask(self, peer: PeerId, recollection: Recollection) -> None:
        try:
            with trio.fail_after(DEADLINE_S):
                stream = await self._transport.open_stream(peer, self._protocol)
                try:
                    link = Framed(stream, signatures.MAX_MESSAGE_BYTES)
                    await link.send(SignaturesRequest(key_id=recollection.key_id))
                    payload = await link.receive()
                    await stream.aclose()
                except BaseException:
                    with trio.CancelScope(shield=True):
                        await stream.reset()
                    raise
            answer = signatures.read_answer(payload or b"")
            fault, decision = recollection.take(public_key_of(peer), answer, self._now())
            if fault is not None:
                raise Misbehaved(fault)
            self.counters["recall: answers"] += 1
            self._decided(decision)
        except (DialError, StreamReset, StreamClosed, trio.TooSlowError):
            self.counters["recall: no answer"] += 1
            await trio.sleep(RETRY_S)
        except (Misbehaved, RecordError) as error:
            log.warning("peer %s: %s", peer, error)
            await self._transport.drop(peer, "recall: an answer that does not hold")
        finally:
            self._asking.discard(peer)

    def _decided(self, decision: Licence | Retired | None) -> None:
        if decision is not None:
            self._on_decision(decision)

    async def _serve(self, stream: Stream) -> None:
        if not self._budgets.take(stream.peer, 1.0):
            self.counters["recall: asked too often"] += 1
            await stream.reset()
            return
        with trio.fail_after(DEADLINE_S):
            link = Framed(stream, signatures.MAX_MESSAGE_BYTES)
            payload = await link.receive()
            if payload is None:
                return
            try:
                request = signatures.read_request(payload)
            except RecordError as error:
                log.info("peer %s: %s", stream.peer, error)
                raise Misbehaved("recall: malformed question") from error
            await link.send(self._answer(request.key_id))
