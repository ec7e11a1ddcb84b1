"""Node: the shell around one real validator - its ticks, its disk, its parcels, its crashes.

Does in virtual time what `meshnode.network.consensus` does with trio: hands parcels
out at once, writes one batch at a time, signs and sends when it is on disk, makes
a block at most so often. Ticks in which nothing can happen are run late, all together,
before the next thing that happens here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from random import Random
from typing import TYPE_CHECKING

import msgspec

from meshnode.ledger import validators
from meshnode.machine import Machine
from meshnode.mempool import Mempool
from meshnode.network.licence import FREE, Licence, Retired
from meshnode.network.validator import Validator
from meshnode.network.work import FinalBlock, Outgoing, Settings
from meshnode.store import Batch, StoreError
from protocols.block import SignedRecord
from protocols.raft import MessageKind, Role
from tests.protocols.keys import KeyPair
from tests.simulator.clock import NodeClock
from tests.simulator.disk import Disk
from tests.simulator.following import Following
from tests.simulator.idle import due_in, idle_ticks, skip
from tests.simulator.recalling import Recalling
from tests.simulator.seat import Seat

if TYPE_CHECKING:
    from tests.simulator.liars import Liar
    from tests.simulator.world import World

# The profile for SD cards: ticks of 100 ms, heartbeat 500 ms, election 5 to 10 s, a block a second at most.
SETTINGS = Settings(election_ticks=50, heartbeat_ticks=5)
BLOCK_INTERVAL_MS = 1000
# A supervisor starts a process again that ended by itself.
RESTART_MS = 5000
# It takes a node so long at most to be connected; parcels of the others arrive meanwhile.
CONNECTED_MS = 2000


# After enough of the first kind or one of the second a node may ask for votes.
_MAY_CAMPAIGN = (MessageKind.PRE_VOTE_RESP, MessageKind.TIMEOUT_NOW)


class Moment(Enum):
    """When the power fails."""

    IDLE = "with nothing being written"
    WRITING = "while a batch is being written"
    WRITTEN = "with a batch on disk that the validator does not know of"
    SIGNED = "with everything signed and nothing sent"


class Node(Seat):
    """One device of one home.

    Attributes:
        name: of the node; that of its home, but for a second device with the same key.
        validator: None while the node is off or follows; following: None while it is off or votes.
        write_ms: least and most time of one write.
        doom: the moment at which its power will fail next, if one is set.
        liar: what makes it lie, None for an honest node.
        lost: why it cannot be started any more, if so.
    """

    def __init__(self, world: World, name: str, home: str, key: KeyPair) -> None:
        self.name = name
        self.home = home
        self.key = key
        self.disk = Disk(world.village.chain_id, key.key_id)
        self.clock = NodeClock()
        self.write_ms = (2, 30)
        self.doom: Moment | None = None
        self.liar: Liar | None = None
        self.lost: str | None = None
        super().__init__()
        self._world = world
        self._timeline = world.timeline
        self._chance = Random(f"{world.plan.seed} node {name}")
        self._recalling: Recalling | None = None
        self._life = 0
        self._writing = False
        self._ticks = 0
        self._tick_ms = 0
        self._booted_ms = 0
        self._woken_for = -1
        self._last_block_ms = -BLOCK_INTERVAL_MS

    def now_s(self) -> int:
        """UTC seconds by this node's clock."""
        return self.clock.utc_s(self._timeline.now_ms)

    # --- on and off

    def start(self) -> None:
        """Power on: check the disk, execute the ledger, take up where the log stands."""
        world = self._world
        assert not self.up
        if self.lost is not None:
            return
        try:
            self.disk.open()
            machine = world.replay(self.disk)
            self.doom = None
            # A liar asks nobody; each of two twins would find out that there is the other one.
            recalling = Recalling(world, self, machine, SETTINGS.election_ticks) if self.liar is None else None
            if recalling is not None and isinstance(recalling.decision, Retired):
                self._retire(recalling.decision)
                return
            self._recalling = recalling
            self._begin(machine, Mempool(machine))
        except StoreError as error:
            world.witness.refused_to_start(self, error)
            self.lost = str(error)
            return
        if recalling is not None:
            recalling.begin(self._chance.randrange(CONNECTED_MS), self._tick_ms)

    def _begin(self, machine: Machine, pool: Mempool, *, may_vote: bool = True) -> None:
        """Vote or follow, as the ledger says."""
        world, validator = self._world, None
        if may_vote and validators.votes(machine.state, machine.height, self.key.public):
            validator = Validator(
                machine,
                self.disk,
                pool if self.liar is None else self.liar.proposals(pool),
                self.key.public,
                self.signer,
                world.keyring.verifier,
                self.now_s,
                Random(self._chance.random()),
                msgspec.structs.replace(SETTINGS, max_append_bytes=world.plan.append_bytes),
                FREE if self._recalling is None else self._recalling.licence,
            )
        self.pool, self.validator = pool, validator
        self._life += 1
        self._writing = False
        self._ticks = 0
        self._tick_ms = self.clock.tick_ms()
        self._booted_ms = self._timeline.now_ms
        self._woken_for = -1
        self._sit_down(SETTINGS.election_ticks)
        world.witness.started(self)
        if validator is None:
            self.following = Following(world, self, machine, Random(self._chance.random()))
            self.guarded(self.following.begin)
        else:
            self._work()

    def permit(self, decision: Licence | Retired) -> None:
        """What the others say has led to this."""
        if isinstance(decision, Retired):
            self.disk.power_off(self._chance)
            self._end()
            self._retire(decision)
        elif self.validator is not None:
            self.validator.permit(decision)
            self._schedule()

    def _retire(self, decision: Retired) -> None:
        self.lost = decision.reason
        self._world.images.retired(self, decision.reason)

    def power_off(self) -> None:
        """What is not on the disk is gone."""
        if self.up:
            self._world.note("power off", self.name, self.disk.power_off(self._chance))
            self.disk.slots.boots()
            self._end()

    def process_ends(self, reason: str) -> None:
        """The disk failed: the process ends, and is started again."""
        self._world.note("process ends", self.name, reason)
        self.disk.power_off(self._chance)
        self._end()
        self._timeline.after(RESTART_MS, self.restart)

    def restart(self) -> None:
        """Start, if the node is off."""
        if not self.up and not self._world.kept_off(self):
            self.start()

    def _end(self) -> None:
        self._part()
        self.pool = self.doom = None
        self._writing = False
        self._life += 1
        if self._recalling is not None:
            self._recalling.over, self._recalling = True, None
        self._world.witness.ended(self)

    def signer(self, message: bytes) -> bytes:
        """Sign with this node's key; the witness sees it."""
        signature = self.key.sign(message)
        self._world.witness.signs(self, message, signature)
        return signature

    # --- what comes in

    def receive(self, sender: str, number: int, data: bytes) -> None:
        """A parcel arrives from the node with this number."""
        if self.validator is None or self._closing:
            return
        if self._world.plan.learners and self.validator.number_of(self._world.device_of(number).public) is None:
            # A stream of somebody who votes no more as far as this node knows, or does not yet.
            self._world.counts["parcels of no validator"] += 1
            return
        self._pass_time()
        fault = self._world.read_parcel(data)
        if not isinstance(fault, str):
            if self.liar is not None:
                self._world.post_lies(self, self.liar.heard(number, fault))
            elif fault.message is not None and fault.message.kind in _MAY_CAMPAIGN:
                self._world.witness.may_campaign(self, number, fault.message)
            try:
                fault = self.validator.receive(number, fault)
            except StoreError as error:
                self.process_ends(str(error))
                return
        if fault is not None:
            self._world.drop(self, sender, fault)
        self._work()

    def add(self, record: SignedRecord) -> str | None:
        """A record reaches the mempool; why it was refused, or None."""
        if self.pool is None:
            return "the node is off"
        refusal = self.pool.add(record, self.now_s())
        if refusal is None:
            self._work()
        return None if refusal is None else refusal.reason

    def pool_ids(self) -> frozenset[bytes]:
        """Ids of the records that wait here."""
        return frozenset(self.pool.ids()) if self.pool is not None else frozenset()

    def waiting(self, record_id: bytes) -> SignedRecord | None:
        """A record that waits here."""
        return None if self.pool is None else self.pool.get(record_id)

    def campaign(self) -> None:
        """Try to become leader now."""
        if self.validator is not None and not self._closing:
            self._pass_time()
            self.validator.campaign()
            self._work()

    def transfer(self, number: int) -> None:
        """Hand leadership to another validator."""
        if self.validator is not None and not self._closing:
            self._pass_time()
            self.validator.transfer(number)
            self._work()

    def unreachable(self, number: int) -> None:
        """The stream to this validator broke."""
        if self.validator is not None:
            self.validator.unreachable(number)

    # --- time

    def _pass_time(self) -> None:
        """Run the ticks that are due."""
        validator = self.validator
        assert validator is not None
        due = (self._timeline.now_ms - self._booted_ms) // self._tick_ms
        while self._ticks < due:
            idle = min(due - self._ticks, idle_ticks(validator, self._absence))
            if idle:
                skip(validator, idle)
            else:
                validator.tick()
            self._ticks += idle or 1
            self._heed(validator)

    def _wake(self, life: int, tick: int) -> None:
        if life == self._life and tick == self._woken_for and not self._closing:
            self._woken_for = -1
            self._pass_time()
            self._work()

    def _schedule(self) -> None:
        """Come back at the next tick in which something can happen."""
        validator = self.validator
        assert validator is not None
        soon = self._writing or not validator.takes_part
        tick = self._ticks + (1 if soon else max(1, due_in(validator)))
        if tick != self._woken_for:
            self._woken_for = tick
            self._timeline.at(self._booted_ms + tick * self._tick_ms, self._wake, self._life, tick)

    # --- what goes out

    def _work(self) -> None:
        """Do all that can be done now: blocks, writes, parcels, what became final."""
        # While the last batch of a part is being written, the validator hears and does nothing any more.
        if self.validator is not None and not self._closing:
            self.guarded(self._drive)

    def guarded(self, action: Callable[[], object]) -> None:
        """Do something that reads or writes the disk."""
        try:
            action()
        except StoreError as error:
            self.process_ends(str(error))

    def _drive(self) -> None:
        validator, now = self.validator, self._timeline.now_ms
        assert validator is not None
        if self._writing:
            self._post(validator.urgent())
        elif self._leaving:
            self._closing = True
            self.write(validator.closing())
            return
        else:
            if validator.role is Role.LEADER and now - self._last_block_ms >= BLOCK_INTERVAL_MS and validator.propose():
                self._last_block_ms = now
            while (work := validator.poll()) is not None:
                self._post(work.now)
                if work.batch is not None:
                    if not self.write(work.batch):
                        return
                    break
                self._post(validator.persisted())
        self._notice(validator)
        self._schedule()

    def write(self, batch: Batch) -> bool:
        """Begin to write a batch; False if the power fails meanwhile."""
        self.disk.begin(batch)
        self._world.witness.writes(self, batch)
        self._world.images.writes(self)
        if self.doom is Moment.WRITING:
            self.power_off()
            return False
        self._writing = True
        delay = self._chance.randrange(self.write_ms[0], self.write_ms[1] + 1)
        self._timeline.after(delay, self._written, self._life)
        return True

    def _written(self, life: int) -> None:
        if life != self._life:
            return
        validator = self.validator
        if validator is not None and not self._closing:
            self._pass_time()
        if self.disk.failing:
            self.process_ends("fsync failed: nobody knows what the disk holds")
            return
        self.disk.finish()
        self._world.witness.written(self)
        self._writing = False
        if self.doom is Moment.WRITTEN:
            self.power_off()
            return
        if validator is None or self._closing:
            self._follow_up()
            return
        try:
            after = validator.persisted()
        except StoreError as error:
            self.process_ends(str(error))
            return
        if self.doom is Moment.SIGNED:
            self.power_off()
            return
        self._post(after)
        self._announce()
        self._work()

    def _follow_up(self) -> None:
        """What a learner fetched is on the disk, or what a validator had still to write."""
        if self.doom is Moment.SIGNED:
            self.power_off()
        elif self.following is not None:
            self.guarded(self.following.written)
        else:
            assert self.validator is not None
            self.executed(self.validator.take_final())
            self.guarded(self.goes_on)

    def _post(self, outgoing: Iterable[Outgoing]) -> None:
        for item in outgoing:
            if self.liar is None:
                self._world.post(self, item.to, item.parcel)
            else:
                self._world.post_lies(self, self.liar.outgoing(item.to, item.parcel))

    def _notice(self, validator: Validator) -> None:
        world = self._world
        world.witness.looks_at(self)
        for number, reason in validator.take_faults():
            world.drop(self, world.home_of(number), reason)
        self.executed(validator.take_final())

    def executed(self, final: list[FinalBlock]) -> None:
        """Blocks became final here."""
        world = self._world
        if final:
            assert self.pool is not None
            for done in final:
                self.pool.final([record.record_id for record in done.block.records])
            if self.liar is not None:
                self.liar.executed(final)
            world.witness.executed(self, final)
            world.members.final(self, final)
