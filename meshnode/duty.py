"""Duty: whether this node votes in a microgrid now, and if not, why not and what becomes of it.

A validator's disk may be of an earlier time, and then its device key must never sign
again. This is judged at every start (`meshnode.network.licence`), with the word of the others
(`meshnode.network.recall`); until it is, the validator keeps silent. A disk that has lost final
blocks is filled again from the neighbours, and rows rot also while nobody reads them: all
of them are looked at again and again, slowly (`meshnode.store.scrubber`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from meshnode.config import Timing
from meshnode.keys import SigningKey
from meshnode.machine import Machine
from meshnode.network.licence import Licence, Retired
from meshnode.network.participation import Participation
from meshnode.network.recall import Recall
from meshnode.network.recollection import Recollection
from meshnode.network.transport import Transport
from meshnode.network.validator import Validator
from meshnode.room import LOOK_S, Room
from meshnode.store import Batch, DiskFull, SignState, Store
from meshnode.store.scrubber import STEP_EVERY_S, Scrubber
from protocols.cose import Verifier
from protocols.raft import Role
from protocols.signatures import Signatures

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# A leader whose disk is full asks another to lead. Whoever takes over has done so within this many
# election timeouts; else the leader just falls silent, and the others find one.
HAND_OVER_TIMEOUTS = 2

# A person wants to know where; of a thousand, the first few say it.
SHOWN_HEIGHTS = 5


class Duty:
    """One node's duty in one microgrid.

    Attributes:
        retired: why this node's device key never signs again; empty while it may.
    """

    def __init__(
        self,
        store: Store,
        machine: Machine,
        device: SigningKey,
        transport: Transport,
        check: Verifier,
        timing: Timing,
        reopen: Callable[[str], None],
    ) -> None:
        """Args:
        store: just opened.
        reopen: has the whole node begin anew in this process; gets the reason.
        """
        self.retired = ""
        self._store = store
        self._machine = machine
        self._device = device
        self._transport = transport
        self._timing = timing
        self._reopen = reopen
        self._room = Room(store.place)
        self._part: Participation | None = None
        # What a leader signed of another state than ours, and the height at which that was seen.
        self._dispute = ("", 0)
        # While anything is lost, this node only follows; when nothing is any more, it begins anew.
        self._refilling = bool(store.lost)
        if self._refilling:
            log.error("%s", self._lost())
        # Also one that only follows may be decided to vote, and may have done so before.
        self._recollection = Recollection(
            store.places(device.key_id),
            store.hard_state().term,
            device.public,
            lambda: machine.quorum,
            machine.chain_id,
            check,
            timing.election_ticks,
        )
        self._judge(self._recollection.decision)

    @property
    def may_vote(self) -> bool:
        """Whether this node can be a validator; one that may have to keep silent."""
        return not self.retired and not self._refilling

    @property
    def is_full(self) -> bool:
        """Whether the disk has no room for anything new."""
        return self._room.is_full

    @property
    def licence(self) -> Licence:
        """What a validator may sign for now."""
        decision = self._recollection.decision
        if isinstance(decision, Retired):
            return Licence(silent=decision.reason)
        return Licence(silent=self._room.sentence) if self._room.is_full else decision

    @property
    def notice(self) -> str:
        """What a person should know of a node that does not do its duty; empty if there is nothing."""
        if self.retired:
            return (
                f"the device key {self._device.key_id.hex()} never signs again ({self.retired}); "
                "this node follows without voting, and gets a new device key by itself; an administrator may then "
                "have the new key vote (meshnode validators add) and the old one not (meshnode validators remove)"
            )
        if self._refilling:
            return self._lost()
        if self._room.is_full:
            return self._room.sentence
        validator = self._validator
        if validator is not None and validator.licence.silent:
            return f"not voting yet: {validator.licence.silent}"
        return self._disputed(validator)

    def _disputed(self, validator: Validator | None) -> str:
        """That this node and the leader disagree on the state; empty once a block was final on which they agree."""
        found = "" if validator is None or validator.disputed is None else validator.disputed
        if found != self._dispute[0]:
            self._dispute = (found, self._machine.height)
            if found:
                log.error("a leader's block is not acknowledged: %s", found)
        if not found or self._machine.height > self._dispute[1]:
            return ""
        return (
            f"the leader's blocks are not acknowledged: {found}; if enough nodes agree with this one, they replace the "
            "leader by themselves; if enough agree with the leader, this one stops"
        )

    async def persist(self, batch: Batch) -> None:
        """Write with one fsync, in a thread so that nothing else waits.

        Waits for room where there is none; a validator is silent meanwhile. Raises StoreError.
        """
        if self._validator is None:
            # Nobody waits for a learner, so it does not touch the last megabytes.
            await self._room.wait()
        while True:
            try:
                await trio.to_thread.run_sync(self._store.persist, batch)
                break
            except DiskFull as full:
                log.error("%s", full)
                self._room.refused()
                self._permit()
                await self._room.wait()
                self._permit()
        if self._refilling and not self._store.lost:
            self._reopen("what the disk had lost is there again")

    def attach(self, part: Participation) -> None:
        """What this node does now."""
        self._part = part

    @property
    def _validator(self) -> Validator | None:
        return None if self._part is None else self._part.validator

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask and answer until cancelled."""
        recall = Recall(
            self._transport,
            self._machine.chain_id,
            self._answer,
            self._recollection if not self.retired else None,
            self._judge,
            self._signed,
            self._timing.tick_s,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(recall.run)
            nursery.start_soon(self._scrub)
            nursery.start_soon(self._watch_room)
            task_status.started()

    async def _watch_room(self) -> None:
        """Stop acknowledging before the disk is full, and go on when there is room."""
        if self._room.is_full:
            log.error("%s", self._room.sentence)
        while True:
            await trio.sleep(LOOK_S)
            if not self._room.look():
                continue
            log.log(logging.ERROR if self._room.is_full else logging.WARNING, "%s", self._room.sentence)
            validator = self._validator
            if self._room.is_full and validator is not None and validator.hand_over():
                with trio.move_on_after(HAND_OVER_TIMEOUTS * self._timing.election_ticks * self._timing.tick_s):
                    while validator.role is Role.LEADER:
                        await trio.sleep(self._timing.tick_s)
            self._permit()

    def _permit(self) -> None:
        if self._validator is not None:
            self._validator.permit(self.licence)

    async def _scrub(self) -> None:
        """Look at all rows again and again; what is not as it was written is mended at a new beginning."""
        scrubber = Scrubber(self._store.place, self._store.chain_id)
        try:
            while True:
                await trio.sleep(STEP_EVERY_S)
                found = await trio.to_thread.run_sync(scrubber.step)
                if not self._refilling:
                    await trio.to_thread.run_sync(self._store.repaid, self._machine.height)
                if found.index:
                    log.warning(
                        "%d rows of the index of records were missing or wrong, and are made again", len(found.index)
                    )
                    await trio.to_thread.run_sync(self._store.reindex, found.index)
                if found.damage and not self._refilling:
                    self._reopen(f"the disk gives back something else than was written: {found.damage}")
                    return
        finally:
            scrubber.close()

    def _lost(self) -> str:
        lost = self._store.lost
        shown = ", ".join(map(str, lost[:SHOWN_HEIGHTS])) + (" …" if len(lost) > SHOWN_HEIGHTS else "")
        return (
            f"the disk has lost {len(lost)} of the final blocks (height {shown}); this node fetches them from its "
            "neighbours, and does not vote before they are there again; a card that loses data should be replaced"
        )

    def _judge(self, decision: Licence | Retired) -> None:
        """Act on what the two places and the others say."""
        if isinstance(decision, Licence):
            self._permit()
            return
        self.retired = decision.reason
        # On disk before anything else: whatever a later start finds, this key is not used again.
        self._store.retire(decision.reason)
        log.error("%s", self.notice)
        if self._part is not None:
            self._permit()
            self._reopen(self.notice)

    def _answer(self, key_id: bytes) -> Signatures:
        assert self._part is not None
        source = self._part.signer
        return source.heard.of(key_id, source.term, source.tip(), source.lock)

    def _signed(self) -> tuple[SignState, int] | None:
        if self._recollection.decided and self._validator is not None:
            return self._validator.signed()
        return (self._store.sign_state(), self._store.hard_state().term) if self._recollection.decided else None
