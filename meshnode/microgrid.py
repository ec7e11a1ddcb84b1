"""Microgrid: everything one node does in one microgrid, from its ledger on disk to its page.

Opens the ledger, executes it up to where it stands, and runs gossip, consensus (or
following, for a node that does not vote) and the views. Implements the `Backend`
that pages and API ask.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from meshnode import ledger_tools
from meshnode.accuser import Accuser
from meshnode.clock import GridClock
from meshnode.collector import Collector, Sample
from meshnode.config import REPLACE_AFTER_S, Timing
from meshnode.declaring import declare_support
from meshnode.duty import Duty
from meshnode.keys import SignatureCheck, SigningKey
from meshnode.ledger import rows, validators
from meshnode.ledger.governance_rows import ADOPTED
from meshnode.ledger.proposals import BindingMoved
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine, RecordDone
from meshnode.market import Mechanisms
from meshnode.memos import Memos
from meshnode.mempool import Mempool
from meshnode.network.consensus import Consensus
from meshnode.network.freshness import Freshness
from meshnode.network.gossip import Gossip
from meshnode.network.participation import Participation
from meshnode.network.sightings import Sightings
from meshnode.network.sync import BlockServer
from meshnode.network.transport import PeerId, Transport, peer_id_of
from meshnode.network.validator import Validator
from meshnode.network.work import FinalBlock
from meshnode.news import News, percentiles
from meshnode.outbox import Outbox
from meshnode.room import when_there_is_room
from meshnode.roster import Roster, roster
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from meshnode.store import Store
from meshnode.submissions import Submissions
from meshnode.views import Views
from meshnode.vitals import process_age_s, rss_mb
from meshnode.web.backend import MeterHealth, NotFresh, Outcome, PowerNow, Refused, Status, Update
from meshnode.web.speaking import spoken
from protocols import block as blocks
from protocols.block import SignedRecord
from protocols.cose import EnvelopeError
from protocols.records import (
    Cancel,
    Certificate,
    Join,
    KeyChange,
    Leave,
    LivePower,
    Order,
    Reading,
    Record,
    RecordError,
    Spoken,
    meter_id_of,
    read_as,
)

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# Final blocks that may wait for the views. At the bound no further block is taken in until the
# views' disk has followed, so that a node that catches up does not hold the ledger in memory.
FINAL_QUEUE = 256
# How often a change of the node's health is looked for, to be told to open pages.
HEALTH_LOOK_S = 2.0
# The ledger would answer that the meter does not count in that period, which is true and no help.
NO_METER = (
    "the ledger knows no meter of this home, and orders are for metered energy; "
    "meters are named when their member founds or joins (--meter)"
)
_CHANGES_MEMBERS = frozenset({Join.KIND, Leave.KIND, KeyChange.KIND})
_CHANGES_BOOK = frozenset({Order.KIND, Cancel.KIND})


class Microgrid:
    """One node's part in one microgrid. Made by `open_microgrid`."""

    def __init__(
        self,
        name: str,
        store: Store,
        views: Views,
        outbox: Outbox,
        machine: Machine,
        check: SignatureCheck,
        transport: Transport,
        device: SigningKey,
        member: SigningKey,
        timing: Timing,
        mechanisms: Mechanisms,
        random: Random,
        on_members: Callable[[frozenset[PeerId]], None],
        reopen: Callable[[str], None],
        replace_after_s: int = REPLACE_AFTER_S,
    ) -> None:
        """Args:
        transport: of the whole node, opened with this microgrid's topics.
        device, member: keys of the node and of its owner.
        on_members: gets the peer ids of all members' devices, whenever they change.
        reopen: has the whole node begin anew in this process; gets the reason.
        replace_after_s: how long a validator is gone before somebody is proposed in its place.
        """
        self.name = name
        self.chain_id = machine.chain_id
        self.machine = machine
        self.views = views
        self.clock = GridClock(machine.genesis.clock)
        self.collectors: list[Collector] = []
        # Where newcomers knock, if this node lets any in; its counters are shown with the others.
        self.door: Transport | None = None
        self._store = store
        self._transport = transport
        self._device = device
        self._member = member
        self.memos = Memos(machine.chain_id, member)
        self._mechanisms = mechanisms
        self._on_members = on_members
        self._replace_after_s = replace_after_s
        self._startup_s = 0.0
        self._check = check
        self._random = random
        self._news = News()
        self._outbox = outbox
        self._submissions = Submissions(outbox, store, views, self._news, machine, self._prove)
        self.mempool = Mempool(machine)
        self.gossip = Gossip(
            transport,
            self.mempool,
            self.clock,
            self.chain_id,
            machine,
            check,
            on_live=self._news.heard,
            on_void=self._submissions.void,
            on_record=self._record_came,
            random=random,
        )
        self.duty = Duty(store, machine, device, transport, check, timing, reopen)
        self.part = Participation(
            machine,
            store,
            self.mempool,
            transport,
            device,
            check,
            self.clock.now_s,
            random,
            timing,
            self.duty,
            self._final,
        )
        self.duty.attach(self.part)
        self.accuser = Accuser(self, lambda: self.part.watcher, store, device, self._submissions, self.gossip)
        self.blocks = BlockServer(
            transport,
            store,
            self.chain_id,
            announce=self.validator is not None,
            provable_until=partial(validators.provable_until, machine.state),
        )
        self.freshness = Freshness(transport, machine, lambda: self.part.consensus, views.height, random)
        self.sightings = Sightings(transport, self.chain_id, lambda: self.part.newest_certificate)
        self._live_sequence = 0
        self._to_views, self._from_consensus = trio.open_memory_channel[FinalBlock](FINAL_QUEUE)

    # --- running

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled. A failing disk ends it with StoreError."""
        self._admit()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_views)
            await nursery.start(self.gossip.run)
            await nursery.start(self.blocks.run)
            await nursery.start(self.freshness.run)
            await nursery.start(self.part.run)
            await nursery.start(self.duty.run)
            await nursery.start(self._submissions.run, self.gossip)
            nursery.start_soon(self.sightings.run)
            nursery.start_soon(
                declare_support,
                *(self.machine, self._device, self._submissions, self.gossip),
                lambda: (self.nonce(), self.valid_until_s()),
                lambda: bool(self.duty.retired),
            )
            nursery.start_soon(self._watch_health)
            nursery.start_soon(self.accuser.run)
            self._startup_s = process_age_s()
            task_status.started()

    @property
    def validator(self) -> Validator | None:
        """What votes here; None on a node that follows."""
        return self.part.validator

    @property
    def consensus(self) -> Consensus | None:
        """What carries the validator's parcels; None on a node that follows."""
        return self.part.consensus

    async def _final(self, final: list[FinalBlock]) -> None:
        """Blocks became final: the mempool forgets their records, waiting clients hear of theirs."""
        members_changed = False
        for entry in final:
            self.mempool.final([record.record_id for record in entry.block.records])
            done = [event for event in entry.events if isinstance(event, RecordDone)]
            self._submissions.final(entry.block.header.height, entry.block.header.time_s, done)
            self.accuser.executed(entry.events)
            members_changed |= any(event.record.KIND in _CHANGES_MEMBERS for event in done)
            await self._to_views.send(entry)
        if members_changed:
            self._admit()
        self.blocks.announces = self.part.is_wanted()

    async def _watch_health(self) -> None:
        """Open pages are told when the node's role, its peers or its meters change."""
        told = None
        while True:
            meters = [(collector.health.state, collector.health.problem) for collector in self.collectors]
            role = None if self.validator is None else (self.validator.role, self.validator.leader)
            found_out = self.accuser.found_out()
            now = (role, self.part.halted, self.duty.notice, found_out, len(self._transport.peers()), meters)
            if now[1] is not None and (told is None or told[1] is None):
                log.error("this node has stopped taking part: %s", self._halted())
            if now != told:
                self._news.tell(Update("health", {}))
            told = now
            await trio.sleep(HEALTH_LOOK_S)

    def _record_came(self, signed: SignedRecord) -> None:
        """A leader need not wait for its next tick."""
        if self.consensus is not None:
            self.consensus.wake()

    async def _write_views(self) -> None:
        async for entry in self._from_consensus:
            await when_there_is_room("showing a block", partial(self.views.apply, entry.block, entry.events))
            self.freshness.rounds.reached(entry.block.header.height)
            await self._submissions.settled([record.record_id for record in entry.block.records])
            head = entry.block.header
            self._news.tell(Update("block", {"height": head.height, "records": head.tx_count, "time_s": head.time_s}))
            if any(record.record.KIND in _CHANGES_BOOK for record in entry.block.records):
                self._news.tell(Update("order", {"height": head.height}))
            for event in entry.events:
                if isinstance(event, PeriodClosed | PeriodCorrected):
                    self._news.tell(Update("period", {"period_start_s": event.start_s}))
                elif isinstance(event, BindingMoved):
                    self._news.tell(Update("binding", {"proposal": event.proposal.hex()}))
                    self._say_what_is_missing(event)

    def _say_what_is_missing(self, event: BindingMoved) -> None:
        missing = self.machine.lacks(event.row) if event.row.status == ADOPTED else ()
        if missing:
            log.warning("a binding is adopted that this node cannot carry out: it lacks %s", ", ".join(missing))

    def _admit(self) -> None:
        """The gate follows the ledger: devices of members, and nobody else."""
        keys = self.machine.state.keys
        devices = (key for _, key in keys.items() if key.purpose == rows.PURPOSE_DEVICE and not key.until_height)
        self._on_members(frozenset(peer_id_of(key.public_key) for key in devices) - {self._transport.peer_id})

    def dial(self, addresses: Sequence[str]) -> None:
        """Keep connections to these peers (multiaddresses that end in /p2p/ and the peer id)."""
        for address in addresses:
            peer = address.rpartition("/p2p/")[2]
            if peer != self._transport.peer_id:
                self._transport.add_address(peer, [address])

    # --- meters

    @property
    def first_period_s(self) -> int:
        """Start of the ledger's first settlement period."""
        length_s = self.machine.rules(self.machine.genesis.start_s).period.length_s
        return -(-self.machine.genesis.start_s // length_s) * length_s

    def wants(self, record: Reading) -> bool:
        """Whether the ledger knows the meter and counts from this reading on, or later."""
        meter = self.machine.state.meters.get(record.meter)
        return meter is not None and record.period_start_s >= meter.from_s - self.machine.rules().period.length_s

    async def reading(self, record: Reading, key: SigningKey, hold_periods: int) -> None:
        """Sign a reading, keep it on disk until it is final, and pass it on (later, in a rehearsal)."""
        signed = blocks.sign_record(record, self.chain_id, key.public, key.sign)
        await self._submissions.keep(signed)
        if hold_periods:
            length = self.machine.rules().period.length_s
            due = record.period_start_s + (1 + hold_periods) * length
            # Not quite at the boundary: the late reading shall find its period closed.
            await trio.sleep(self.clock.real_delay(due + length // 4))
        refusal = await self._submissions.publish(signed, self.gossip)
        if refusal is not None and refusal.lasting:
            self._submissions.void(signed, refusal)

    async def sample(self, sample: Sample, key: SigningKey) -> None:
        """A meter was read: show it here and to the neighbours."""
        meter = meter_id_of(key.public)
        known = self.machine.state.meters.get(meter)
        if sample.power_w is None or known is None:
            return
        self._live_sequence += 1
        live = LivePower(
            meter=meter,
            power_w=sample.power_w,
            sequence=self._live_sequence,
            measured_ms=time.time_ns() // 1_000_000,
        )
        await self.gossip.publish_live(live, key)
        self._news.heard(known.account, live, live.measured_ms)

    # --- what pages and API ask (see `Backend`)

    @property
    def account(self) -> bytes:
        """Account id of the member whose node this is."""
        key = self.machine.state.keys.get(self._member.key_id)
        return b"" if key is None else key.account

    def live(self) -> tuple[PowerNow, ...]:
        """The newest power of every meter that was heard of, by account."""
        return self._news.live()

    def nonce(self) -> int:
        """A number that this key has not used."""
        return int(spoken(self)["nonce"])

    def valid_until_s(self) -> int:
        """How long a record signed now is good."""
        return int(spoken(self)["valid_until_s"])

    async def submit(self, record: Record) -> bytes:
        """Sign with the member key and pass on, unless that was done before; the record id. Raises Refused."""
        if not self.account:
            raise Refused(
                "this node has not caught up with its own admission yet; try again in a moment", lasting=False
            )
        if isinstance(record, Order) and self._asks_for_a_meter(record) and not self._has_meter:
            raise Refused(NO_METER)
        if isinstance(record, Spoken) and (known := self._submissions.said(self._member.key_id, record.nonce)):
            return known
        try:
            signed = blocks.sign_record(record, self.chain_id, self._member.public, self._member.sign)
        except RecordError as error:
            raise Refused(str(error)) from error
        await self._submissions.hand_in(signed, self.gossip)
        return signed.record_id

    def _asks_for_a_meter(self, record: Order) -> bool:
        return not record.standing and self.machine.rules(record.period_start_s).book.open

    @property
    def _has_meter(self) -> bool:
        return any(True for _ in self.machine.state.meters.of_account(self.account))

    async def submit_envelope(self, envelope: bytes) -> bytes:
        """Take a record that was signed elsewhere, and give its id. Raises Refused."""
        try:
            signed = blocks.read_record(envelope, self.chain_id)
        except (EnvelopeError, RecordError) as error:
            raise Refused(f"not a record of this microgrid: {error}") from error
        await self._submissions.hand_in(signed, self.gossip)
        return signed.record_id

    async def outcome(self, record_id: bytes, wait_s: float, valid_until_s: int | None = None) -> Outcome:
        """What became of a record; waits up to `wait_s` real seconds for it to become final."""
        return await self._submissions.outcome(record_id, wait_s, valid_until_s)

    async def fresh(self, wait_s: float) -> int:
        """Wait until what is asked from now on misses nothing that is final anywhere; see `Backend`."""
        if halted := self._halted():
            raise NotFresh(f"this node has halted: {halted}")
        with trio.move_on_after(wait_s):
            return await self.freshness.rounds.until_fresh()
        raise NotFresh(f"no majority of the validators confirmed within {wait_s:g} s what is newest")

    async def _prove(self, record_id: bytes) -> bytes:
        """The receipt of a record of a final block whose certificate is on the disk."""
        work = (self._store.place, record_id, self._mechanisms, self.chain_id, validators.decisions(self.machine.state))
        return await trio.to_thread.run_sync(ledger_tools.receipt, *work)

    def block(self, height: int) -> dict[str, Any] | None:
        """A final block in JSON form; None if there is none."""
        if not 1 <= height <= self._store.final_height():
            return None
        found = self._store.certificate_from(height)
        certificate = None if found is None else read_as(Certificate, found[1])
        block = blocks.read(self._store.entry(height).data, self.chain_id)
        known = [self.views.verdict(record.record_id) for record in block.records]
        # A moment after the block is final its verdicts may not be in the views yet.
        verdicts = None if None in known else [Verdict(code) for code in known if code is not None]
        return ledger_tools.describe(self.machine, block, certificate, verdicts)

    def subscribe(self) -> trio.MemoryReceiveChannel[Update]:
        """News for one open page; bounded, the newest are dropped. Close it when the page goes."""
        return self._news.subscribe()

    def shown(self, update: Update) -> None:
        """A page got this update just now."""
        self._news.shown(update, self.account)

    def status(self) -> Status:
        """Where the node stands."""
        machine, validator = self.machine, self.validator
        state_hash = machine.state_hash()
        return Status(
            name=self.name,
            community=machine.genesis.community,
            chain_id=self.chain_id.hex(),
            peer_id=self._transport.peer_id,
            role="learner" if validator is None else validator.role.name.lower(),
            leader="" if self.part.leader is None else self._name_of(self.part.leader),
            term=0 if validator is None else validator.term,
            height=machine.height,
            state_hash="" if state_hash is None else state_hash.hex(),
            time_s=machine.time_s,
            next_period_s=machine.next_period_s,
            clock_s=self.clock.now_s(),
            demonstration=self.clock.is_demonstration,
            speed=self.clock.speed,
            validators=len(machine.quorum.voters),
            peers=len(self._transport.peers()),
            mempool=len(self.mempool),
            certificates_verified=self.part.certificates_verified,
            halted=self._halted(),
            notice=self.accuser.leader_named(self.duty.notice),
            rss_mb=rss_mb(),
            startup_s=round(self._startup_s, 2),
            commit_ms=percentiles(self._submissions.commit_ms),
            screen_ms=percentiles(self._news.screen_ms),
            counters=self._counters(),
            meters=tuple(self._health(collector) for collector in self.collectors),
            found_out=self.accuser.found_out(),
        )

    def roster(self) -> Roster:
        """Who validates and who could, as this node knows it, and what the autopilot proposes."""
        return roster(
            self.machine, self.sightings, self._device.public, self.account, self.part.leader, self._replace_after_s
        )

    def _halted(self) -> str:
        return self.accuser.in_words(self.part.halted)

    def _counters(self) -> dict[str, int]:
        found: Counter[str] = Counter()
        sources: Sequence[Iterable[tuple[str, int]]] = [
            self._transport.counters.items(),
            self.mempool.counters.items(),
            self.gossip.counters.items(),
            self.blocks.counters.items(),
            self.part.counts().items(),
            self.sightings.counters.items(),
            self.freshness.counters.items(),
            self._news.counters.items(),
            (("outbox: damaged record dropped", self._outbox.damaged),) if self._outbox.damaged else (),
            () if self.door is None else ((f"door: {name}", count) for name, count in self.door.counters.items()),
        ]
        for items in sources:
            found.update(dict(items))
        return dict(sorted(found.items()))

    def _name_of(self, device_key: bytes) -> str:
        for _, key in self.machine.state.keys.items():
            if key.public_key == device_key:
                return self.machine.state.accounts[key.account].name
        return device_key.hex()

    @staticmethod
    def _health(collector: Collector) -> MeterHealth:
        health = collector.health
        return MeterHealth(
            name=collector.section.metering_point,
            driver=collector.section.driver,
            state=health.state,
            problem=health.problem,
            last_telegram_s=health.last_telegram_s,
            telegrams=health.telegrams,
            errors=health.errors,
        )
