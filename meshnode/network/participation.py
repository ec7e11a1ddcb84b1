"""Participation: a node's part in agreeing - it votes while the ledger says so, and follows otherwise.

A learner whose device is decided to be a validator begins to vote, a validator that is
removed goes on as learner, and one that hears no leader for long asks whether the others
have gone on without it: then it follows until it has caught up, and votes again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Protocol

import trio

from meshnode.config import Timing
from meshnode.keys import SignatureCheck, SigningKey
from meshnode.ledger import validators
from meshnode.machine import Machine
from meshnode.network.absence import Absence, Advice
from meshnode.network.consensus import STREAMS_PER_PEER, Consensus
from meshnode.network.gossip import prefix
from meshnode.network.learner import Learner
from meshnode.network.licence import Licence
from meshnode.network.sync import Follower
from meshnode.network.transport import Stream, Transport
from meshnode.network.validator import Validator
from meshnode.network.watcher import Watcher
from meshnode.network.work import FinalBlock, Proposals, Settings
from meshnode.store import Batch, Store
from meshnode.store.place import mark_as_validator
from protocols.records import Certificate

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)


class Duty(Protocol):
    """Whether this node may vote, whatever the ledger says; `meshnode.duty.Duty` has it."""

    @property
    def may_vote(self) -> bool: ...
    @property
    def is_full(self) -> bool: ...
    @property
    def licence(self) -> Licence: ...
    async def persist(self, batch: Batch) -> None: ...


class Participation:
    """Runs a validator or a follower, whichever the ledger asks for.

    Attributes:
        validator, consensus: while this node votes, else None.
        follower: while it does not, else None.
    """

    def __init__(
        self,
        machine: Machine,
        store: Store,
        proposals: Proposals,
        transport: Transport,
        device: SigningKey,
        check: SignatureCheck,
        clock: Callable[[], int],
        random: Random,
        timing: Timing,
        duty: Duty,
        on_final: Callable[[list[FinalBlock]], Awaitable[None]],
    ) -> None:
        """Args:
        machine: executed up to the store's final height.
        clock: UTC seconds of the microgrid's clock.
        duty: writes batches with one fsync (what it raises ends the node), and says what may be signed.
        on_final: gets final blocks in order; must be quick.
        """
        self.counters: Counter[str] = Counter()
        self.validator: Validator | None = None
        self.consensus: Consensus | None = None
        self.follower: Follower | None = None
        self._machine = machine
        self._store = store
        self._proposals = proposals
        self._transport = transport
        self._device = device
        self._check = check
        self._clock = clock
        self._random = random
        self._timing = timing
        self._duty = duty
        self._persist = duty.persist
        self._on_final = on_final
        if self.is_wanted():
            self._begin_voting()
        else:
            self._begin_following()

    def is_wanted(self) -> bool:
        """Whether the ledger, as executed here, has this node vote now or soon, and nothing here forbids it."""
        return self._duty.may_vote and validators.votes(self._machine.state, self._machine.height, self._device.public)

    @property
    def leader(self) -> bytes | None:
        """Device key of the leader; None if it is not known, as it is not to a follower."""
        return None if self.validator is None else self.validator.leader

    @property
    def halted(self) -> str | None:
        """Why this node takes part no more; None if it does."""
        return self._source.halted

    @property
    def certificates_verified(self) -> int:
        """How many certificates were made or verified since this part began."""
        return self._source.certificates_verified

    @property
    def newest_certificate(self) -> Certificate | None:
        """The highest certificate known here."""
        return self._source.newest_certificate

    @property
    def watcher(self) -> Watcher:
        """What compares the signatures that come in here."""
        return self._source.watcher

    @property
    def signer(self) -> Validator | Learner:
        """The part that knows what was signed, here and by others."""
        source = self._source
        return source if isinstance(source, Validator) else source.learner

    def counts(self) -> Counter[str]:
        """What this node has counted since the start, in all its parts."""
        parts = (self.validator, self.consensus, self.follower)
        return sum((part.counters for part in parts if part is not None), Counter(self.counters))

    @property
    def _source(self) -> Validator | Follower:
        source = self.validator or self.follower
        assert source is not None, "a node either votes or follows"
        return source

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled, or until the disk fails."""
        protocol = f"{prefix(self._machine.chain_id)}/consensus/1"
        self._transport.handle(protocol, self._serve, max_streams_per_peer=STREAMS_PER_PEER)
        task_status.started()
        while True:
            if self.consensus is not None:
                await self._vote(self.consensus)
                self._begin_following()
            elif self.follower is not None:
                await self.follower.run(until=self.is_wanted)
                self._begin_voting()

    def _begin_voting(self) -> None:
        mark_as_validator(self._store.place)
        self._keep_counts(self.follower)
        timing, before, self.follower = self._timing, self.follower, None
        self.validator = Validator(
            self._machine,
            self._store,
            self._proposals,
            self._device.public,
            self._device.sign,
            self._check,
            self._clock,
            self._random,
            Settings(election_ticks=timing.election_ticks, heartbeat_ticks=timing.heartbeat_ticks),
            self._duty.licence,
        )
        if before is not None:
            self.validator.watcher.take_over(before.watcher)
        self.consensus = Consensus(
            self.validator,
            self._transport,
            f"{prefix(self._machine.chain_id)}/consensus/1",
            self._persist,
            self._on_final,
            tick_s=timing.tick_s,
            block_interval_s=timing.block_interval_s,
        )

    def _begin_following(self) -> None:
        self._keep_counts(self.validator, self.consensus)
        before, self.validator, self.consensus = self.validator, None, None
        self.follower = self._new_follower()
        if before is not None:
            self.follower.watcher.take_over(before.watcher)

    def _new_follower(self) -> Follower:
        return Follower(
            self._machine,
            self._store,
            self._transport,
            self._persist,
            self._on_final,
            self._check,
            self._random,
        )

    def _keep_counts(self, *over: Validator | Consensus | Follower | None) -> None:
        for part in over:
            if part is not None:
                self.counters += part.counters

    async def _vote(self, consensus: Consensus) -> None:
        """Vote until the ledger wants no more, or until something was missed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_over, consensus)
            await consensus.run()
            nursery.cancel_scope.cancel()
        await self._persist(consensus.validator.closing())
        final = consensus.validator.take_final()
        if final:
            await self._on_final(final)

    async def _stop_when_over(self, consensus: Consensus) -> None:
        await self._until_over(consensus.validator)
        consensus.stop()

    async def _until_over(self, validator: Validator) -> None:
        absence = Absence(self._timing.election_ticks)
        while True:
            await trio.sleep(self._timing.tick_s)
            advice = absence.advise(validator, self._duty.is_full)
            if advice is Advice.FOLLOW:
                log.info("this node is no validator any more; it goes on as learner")
                return
            if advice is Advice.ASK and await self._new_follower().is_more_known():
                log.info("the others have gone on without this node; it catches up")
                return

    async def _serve(self, stream: Stream) -> None:
        if self.consensus is None:
            # Of one that does not know yet that we vote no more, or knows before us that we shall.
            self.counters["consensus stream while following"] += 1
            await stream.reset()
            return
        await self.consensus.serve(stream)
