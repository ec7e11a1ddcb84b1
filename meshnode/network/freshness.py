"""Freshness: how a node answers with nothing missing that was final anywhere when it was asked.

It learns a height that everything final until now lies below (a validator from its leader, a
node that does not vote from any validator), waits until its own ledger has that height, and reads
there. Such reads are linearizable through any node; see `protocols/raft/reads.py` and
SPEC.md, section 6.8.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING

import trio

from meshnode.machine import Machine
from meshnode.network.budgets import Budgets
from meshnode.network.consensus import Consensus
from meshnode.network.framed import Framed
from meshnode.network.gossip import prefix
from meshnode.network.transport import (
    DialError,
    Misbehaved,
    PeerId,
    Stream,
    StreamClosed,
    StreamReset,
    Transport,
    peer_id_of,
)
from protocols.freshness import MAX_MESSAGE_BYTES, HeightAnswer, HeightRequest
from protocols.records import RecordError, read_as

if TYPE_CHECKING:
    from trio_typing import TaskStatus

# A question is answered within a heartbeat's round trip, or its leader is gone: it is then put anew.
ATTEMPT_S = 1.0
# Between two questions when there is nobody to ask; an election takes one to two seconds.
RETRY_S = 0.1
# What a validator spends on one question of a learner: an election on a LAN and the certificate
# of the first block after it. One that is cut off must not hold the learner up for longer.
SERVE_S = 3.0
ANSWER_DEADLINE_S = 5.0
# A learner puts one question at a time, for all its readers together.
STREAMS_PER_PEER = 1
REQUESTS_PER_S = 20.0
REQUESTS_BURST = 40.0

Ask = Callable[[], Awaitable[int | None]]
"""One attempt to learn the height, asked after the call; None if nobody answered in time."""

log = logging.getLogger(__name__)


def protocol(chain_id: bytes) -> str:
    """The stream protocol of questions for the height, in a microgrid."""
    return f"{prefix(chain_id)}/height/1"


class Freshness:
    """The fresh reads of one node.

    Attributes:
        rounds: what `until_fresh` and `reached` are asked of.
        counters: by what happened.
    """

    def __init__(
        self,
        transport: Transport,
        machine: Machine,
        consensus: Callable[[], Consensus | None],
        height: int,
        random: Random,
    ) -> None:
        """Args:
        consensus: what runs while this node votes; None while it does not.
        height: up to which this node's answers reach now.
        """
        chain_id = machine.chain_id
        self._consensus = consensus
        self._asker = ValidatorAsker(
            transport, chain_id, lambda: [peer_id_of(key) for key, _ in machine.quorum.voters], random
        )
        self.rounds = Rounds(self._ask, height)
        self._server = HeightServer(transport, chain_id, self.rounds.confirmed, lambda: consensus() is not None)

    @property
    def counters(self) -> Counter[str]:
        """What was asked and answered."""
        return self._asker.counters + self._server.counters

    async def _ask(self) -> int | None:
        consensus = self._consensus()
        return await (self._asker() if consensus is None else consensus.read_index(ATTEMPT_S))

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask when somebody wants to know, and on a validator answer others, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.rounds.run)
            await nursery.start(self._server.run)
            task_status.started()


class Rounds:
    """The questions of one node: one at a time, for everybody who came before it was put."""

    def __init__(self, ask: Ask, height: int) -> None:
        """Args:
        ask: puts the question, to the leader or to a validator.
        height: up to which this node's answers reach now; see `reached`.
        """
        self._ask = ask
        self._height = height
        self._risen = trio.Event()
        self._wanted = trio.Event()
        self._next = _Round()

    async def run(self) -> None:
        """Put questions as long as somebody wants answers, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            # Who comes from now on may want to see what is not final yet: that takes another question.
            current, self._next = self._next, _Round()
            current.height = await self._ask()
            current.over.set()
            if current.height is None:
                await trio.sleep(RETRY_S)

    def reached(self, height: int) -> None:
        """Answers of this node reach up to this height now."""
        self._height = height
        self._risen.set()
        self._risen = trio.Event()

    async def confirmed(self) -> int:
        """A height that everything final before the call lies below. Waits for ever; the caller has the patience."""
        while True:
            asked = self._next
            self._wanted.set()
            await asked.over.wait()
            if asked.height is not None:
                return asked.height

    async def until_fresh(self) -> int:
        """Wait until this node's answers miss nothing that was final before the call; up to which height they reach.

        Waits for ever; the caller has the patience.
        """
        height = await self.confirmed()
        while self._height < height:
            await self._risen.wait()
        return self._height


class _Round:
    """One question, and everybody who came before it was put."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.height: int | None = None


class HeightServer:
    """Answers the questions of nodes that do not vote, on a validator."""

    def __init__(
        self,
        transport: Transport,
        chain_id: bytes,
        confirmed: Callable[[], Awaitable[int]],
        votes: Callable[[], bool] = lambda: True,
    ) -> None:
        """Args:
        confirmed: a height that everything final before the call lies below.
        votes: whether this node votes now; two that do not could ask one another for ever.
        """
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._protocol = protocol(chain_id)
        self._confirmed = confirmed
        self._votes = votes
        self._budgets = Budgets(REQUESTS_PER_S, REQUESTS_BURST, trio.current_time)

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        self._transport.handle(self._protocol, self._serve, max_streams_per_peer=STREAMS_PER_PEER)
        task_status.started()
        await trio.sleep_forever()

    async def _serve(self, stream: Stream) -> None:
        link = Framed(stream, MAX_MESSAGE_BYTES)
        while (payload := await link.receive()) is not None:
            if not self._votes():
                self.counters["height: asked one that does not vote"] += 1
                await stream.reset()
                return
            if not self._budgets.take(stream.peer, 1.0):
                self.counters["height: too many questions"] += 1
                await stream.reset()
                return
            try:
                request = read_as(HeightRequest, payload)
            except RecordError as error:
                log.info("peer %s: %s", stream.peer, error)
                raise Misbehaved("height: malformed message") from error
            height = 0
            with trio.move_on_after(SERVE_S):
                height = await self._confirmed()
            self.counters["height: answered" if height else "height: not known in time"] += 1
            await link.send(HeightAnswer(number=request.number, height=height))


class ValidatorAsker:
    """Puts the question to a validator, for a node that does not vote; call it as `Ask`.

    Keeps one stream open, to a validator that has answered. Which one comes next is drawn by
    lot: one that lies must not hold up every reader.
    """

    def __init__(
        self, transport: Transport, chain_id: bytes, validators: Callable[[], Sequence[PeerId]], random: Random
    ) -> None:
        """Args:
        validators: peer ids of those who vote now.
        """
        self.counters: Counter[str] = Counter()
        self._transport = transport
        self._protocol = protocol(chain_id)
        self._validators = validators
        self._random = random
        self._number = 0
        self._link: Framed | None = None

    async def __call__(self) -> int | None:
        """Ask the validator that answered last, then the others that are connected."""
        height = await self._question()
        if height is not None:
            return height
        connected = set(self._transport.peers())
        candidates = sorted(peer for peer in self._validators() if peer in connected)
        self._random.shuffle(candidates)
        for peer in candidates:
            try:
                self._link = Framed(await self._transport.open_stream(peer, self._protocol), MAX_MESSAGE_BYTES)
            except DialError:
                continue
            height = await self._question()
            if height is not None:
                return height
        return None

    async def _question(self) -> int | None:
        """Ask over the open stream, if there is one; a stream without a good answer is given up."""
        link = self._link
        if link is None:
            return None
        self._number += 1
        height = 0
        try:
            with trio.move_on_after(ANSWER_DEADLINE_S):
                await link.send(HeightRequest(number=self._number))
                height = await self._answer(link)
        except (StreamReset, StreamClosed):
            self.counters["height: stream broken"] += 1
        except (Misbehaved, RecordError) as error:
            log.warning("validator %s: %s", link.stream.peer, error)
            await self._transport.drop(link.stream.peer, "height: an answer that no honest validator gives")
        finally:
            if not height:
                self._link = None
                with trio.CancelScope(shield=True):
                    await link.stream.reset()
        return height or None

    async def _answer(self, link: Framed) -> int:
        payload = await link.receive()
        if payload is None:
            raise StreamReset("the validator closed the stream")
        answer = read_as(HeightAnswer, payload)
        if answer.number != self._number:
            raise Misbehaved(f"height: answer {answer.number} to question {self._number}")
        return answer.height
