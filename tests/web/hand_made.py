"""Hand made: a backend for pages and API whose ledger is a `Street`, without network or consensus."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from meshnode.clock import GridClock
from meshnode.config import REPLACE_AFTER_S
from meshnode.keys import SigningKey
from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.machine import Machine, PeriodClosed, RecordDone
from meshnode.memos import Memos
from meshnode.roster import Roster, roster
from meshnode.views import Views
from meshnode.web.backend import FoundOut, MeterHealth, NotFresh, Outcome, PowerNow, Refused, Status, Update
from meshnode.web.history import now_ms
from meshnode.web.server import serve
from protocols import block as blocks
from protocols.block import SignedRecord
from protocols.cose import EnvelopeError
from protocols.records import CLOCK_DEMONSTRATION, Clock, Record, RecordError, Spoken
from tests.protocols.keys import key_pair, seed_of
from tests.protocols.village import device
from tests.web.street import Street

TOKEN = "a-token-of-the-tests"
# Updates that wait for one page, as in the node.
QUEUE = 16


class SetClock(GridClock):
    """A clock that stands at `now_s`, or goes on from it."""

    def __init__(self, now_s: int, speed: int = 1, *, going: bool = False) -> None:
        kind = CLOCK_DEMONSTRATION if speed > 1 else 0
        super().__init__(Clock(kind=kind, speed=speed))
        self._now_s, self._going, self._began = now_s, going, time.monotonic()

    def now(self) -> float:
        gone_s = (time.monotonic() - self._began) * self.speed if self._going else 0
        return self._now_s + gone_s


class HandMade:
    """One home's node. Records that are handed in stand in a block at once."""

    def __init__(self, street: Street, home: str, clock: GridClock) -> None:
        self.street = street
        self.home = home
        self.clock = clock
        self.powers: dict[str, PowerNow] = {}
        self.written: list[Update] = []
        self.said: list[SignedRecord] = []
        self.subscribed = 0
        self.halted = ""
        self.notice = ""
        # (seconds since it was seen, height it named) of nodes that are not simply there.
        self.away: dict[bytes, tuple[int, int]] = {}
        self.majority = True
        self.full = False
        self.found_out: tuple[FoundOut, ...] = ()
        self._pages: set[trio.MemorySendChannel[Update]] = set()
        self._outcomes: dict[bytes, tuple[int, Verdict]] = {}

    @property
    def chain_id(self) -> bytes:
        return self.street.village.chain_id

    @property
    def account(self) -> bytes:
        return self.street.account(self.home)

    @property
    def machine(self) -> Machine:
        return self.street.machine

    @property
    def memos(self) -> Memos:
        return Memos(self.chain_id, SigningKey(seed_of(self.home)))

    @property
    def views(self) -> Views:
        return self.street.views

    def status(self) -> Status:
        machine = self.machine
        state_hash = machine.state_hash()
        assert state_hash is not None
        return Status(
            name=self.home,
            community=machine.genesis.community,
            chain_id=self.chain_id.hex(),
            peer_id="12D3KooWHandMade",
            role="follower",
            leader="anna",
            term=1,
            height=machine.height,
            state_hash=state_hash.hex(),
            time_s=machine.time_s,
            next_period_s=machine.next_period_s,
            clock_s=self.clock.now_s(),
            demonstration=self.clock.is_demonstration,
            speed=self.clock.speed,
            validators=3,
            peers=len(self.street.homes) - 1,
            mempool=0,
            certificates_verified=machine.height,
            halted=self.halted,
            notice=self.notice,
            rss_mb=84,
            startup_s=1.4,
            commit_ms={"p50": 262, "p95": 488, "count": 31},
            screen_ms={"p50": 41, "p95": 160, "count": 520},
            counters={},
            meters=(MeterHealth("home", "dsmr", "reading", "", self.clock.now_s(), 5210, 0),),
            found_out=self.found_out,
        )

    def roster(self) -> Roster:
        leader = device("anna").public
        return roster(self.machine, self, device(self.home).public, self.account, leader, REPLACE_AFTER_S)

    def absent_s(self, device_key: bytes) -> int:
        """For how long a node has not been seen from here."""
        return self.away.get(device_key, (0, 0))[0]

    def height(self, device_key: bytes) -> int:
        """How far a node said that it is."""
        return self.away.get(device_key, (0, self.machine.height))[1]

    def live(self) -> tuple[PowerNow, ...]:
        return tuple(sorted(self.powers.values(), key=lambda now: (now.account, now.meter)))

    def hear(self, home: str, power_w: int, produced_w: int | None = None) -> None:
        """A telegram of a home arrives."""
        account, meter, arrived = self.street.account(home), self.street.meter(home), now_ms()
        self.powers[home] = PowerNow(account, meter, power_w, produced_w, arrived, arrived)
        data = {"account": account.hex(), "meter": meter.hex(), "power_w": power_w, "produced_w": produced_w}
        self.tell(Update("live", {**data, "arrived_ms": arrived}))

    async def submit(self, record: Record) -> bytes:
        for known in self.said:
            if isinstance(record, Spoken) and isinstance(known.record, Spoken) and known.record.nonce == record.nonce:
                return known.record_id
        if self.full:
            raise Refused("the mempool is full; try again later", lasting=False)
        try:
            signed = self.street.village.sign(record, key_pair(self.home))
        except RecordError as error:
            raise Refused(str(error)) from error
        return self._take(signed)

    async def submit_envelope(self, envelope: bytes) -> bytes:
        try:
            return self._take(blocks.read_record(envelope, self.chain_id))
        except (EnvelopeError, RecordError) as error:
            raise Refused(f"not a record of this microgrid: {error}") from error

    def _take(self, signed: SignedRecord) -> bytes:
        verdict = self.machine.check_record(signed, self.clock.now_s())
        if verdict != Verdict.ACCEPTED:
            raise Refused(SENTENCES[verdict])
        self.said.append(signed)
        self.final(max(self.machine.time_s, self.clock.now_s()), signed)
        return signed.record_id

    def final(self, time_s: int, *records: SignedRecord) -> None:
        """A block with these records is final."""
        events = self.street.block(time_s, *records)
        height = self.machine.height
        for event in events:
            if isinstance(event, RecordDone):
                self._outcomes[event.record_id] = height, event.verdict
            elif isinstance(event, PeriodClosed):
                self.tell(Update("period", {"period_start_s": event.start_s}))
        self.tell(Update("block", {"height": height, "records": len(records), "time_s": time_s}))

    async def outcome(self, record_id: bytes, wait_s: float, valid_until_s: int | None = None) -> Outcome:
        if record_id not in self._outcomes:
            await trio.sleep(wait_s)
            if valid_until_s is not None and valid_until_s < self.machine.time_s:
                return Outcome("never", record_id.hex(), 0, "EXPIRED", "no block carried it", b"")
            return Outcome("unknown", record_id.hex(), 0, "", "not in a final block yet; ask again", b"")
        height, verdict = self._outcomes[record_id]
        return Outcome("final", record_id.hex(), height, verdict.name, SENTENCES[verdict], b"receipt")

    async def fresh(self, wait_s: float) -> int:
        await trio.lowlevel.checkpoint()
        if not self.majority:
            raise NotFresh(f"nobody confirmed within {wait_s:g} s what is newest")
        return self.machine.height

    def block(self, height: int) -> dict[str, Any] | None:
        if not 1 <= height <= self.machine.height:
            return None
        return {"height": height, "records": [row.kind for row in self.views.records_of_block(height)]}

    def subscribe(self) -> trio.MemoryReceiveChannel[Update]:
        sender, receiver = trio.open_memory_channel[Update](QUEUE)
        self._pages.add(sender)
        self.subscribed += 1
        return receiver

    def shown(self, update: Update) -> None:
        self.written.append(update)

    def tell(self, update: Update) -> None:
        for page in list(self._pages):
            try:
                page.send_nowait(update)
            except trio.WouldBlock:
                continue
            except trio.BrokenResourceError:
                page.close()
                self._pages.discard(page)

    @property
    def pages(self) -> int:
        """Subscriptions that are still read."""
        self.tell(Update("health", {}))
        return len(self._pages)


@asynccontextmanager
async def serving(
    backend: HandMade, token: str | None = TOKEN, listen: str = "127.0.0.1:0", **options: Any
) -> AsyncIterator[str]:
    """Serve a backend on a port of its own; gives the address."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, backend, token, listen, **options))
        nursery.cancel_scope.cancel()
