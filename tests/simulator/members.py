"""Members: what people and meters say, and the clients that wait for an answer.

A client signs a record, hands it to one node and keeps asking, elsewhere too, until
some node has it final or its time is over. What it was told must stay true.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import msgspec

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import RecordDone
from meshnode.network.work import FinalBlock
from protocols.block import SignedRecord
from protocols.records import SIDE_BUY, AssetIssue, OpenCounters, Order, QuorumChange, Transfer
from tests.protocols.village import START_S
from tests.simulator.electorate_load import follow_up
from tests.simulator.market_load import ASSETS, VALID_S, MarketLoad

if TYPE_CHECKING:
    from tests.simulator.node import Node
    from tests.simulator.world import World

PERIOD_S = 900
HOUR_MS = 3_600_000
# A client that has heard nothing hands its record to another node.
ASK_AGAIN_MS = 20_000
# Neighbours compare what they have waiting so often; what gossip lost comes this way.
COMPARE_MS = 5_000
ASSET_KIND_UTILITY = 2


class Request(msgspec.Struct):
    """A record on its way, and the node that its client asks. acknowledged: the height it was told, 0 for none."""

    signed: SignedRecord
    node: str
    until_s: int
    acknowledged: int = 0


class Members:
    """Everybody who speaks.

    Attributes:
        counts: records said, acknowledged, refused and expired.
        waiting: requests without an answer, by record id.
    """

    def __init__(self, world: World) -> None:
        self.counts: Counter[str] = Counter()
        self.waiting: dict[bytes, Request] = {}
        self.acknowledged: dict[bytes, int] = {}
        self._world = world
        self._chance = Random(f"{world.plan.seed} members")
        self._market = MarketLoad(self._chance)
        self._nonces: Counter[str] = Counter()
        self._counters: dict[str, tuple[int, int]] = dict.fromkeys(world.village.homes, (10_000, 0))

    def begin(self) -> None:
        """The first day."""
        timeline = self._world.timeline
        for asset in ASSETS:
            self._issue(asset)
        self._next()
        for home in self._world.village.homes:
            timeline.after(0, self._read_meter, home, -1)
        timeline.after(COMPARE_MS, self._compare)

    # --- speaking

    def speak(self) -> bytes:
        """Somebody orders, transfers or trades something; the record's id."""
        home = self._chance.choice(self._world.village.homes)
        return self._chance.choice((self._transfer, self._order, self._order, self._trade))(home)

    def speak_plainly(self) -> bytes:
        """An order that nothing speaks against; the record's id."""
        world, home = self._world, self._chance.choice(self._world.village.homes)
        period = (world.now_s - START_S) // PERIOD_S + 4
        order = Order(
            nonce=self._nonce(home),
            valid_until_s=world.now_s + 3600,
            side=SIDE_BUY,
            period_start_s=START_S + period * PERIOD_S,
            energy_wh=1,
            price_u_kwh=100_000,
        )
        return self._say(world.village.sign(order, world.keyring.pair(home)), order.valid_until_s)

    def decide(
        self,
        previous: bytes,
        action: int,
        device_key: bytes | None,
        mode: int | None,
        valid_s: int,
        node: Node | None = None,
    ) -> bytes:
        """The administrator changes who validates, or tries to, at a node of its choice; the record's id."""
        world, home = self._world, self._world.village.homes[0]
        change = QuorumChange(
            nonce=self._nonce(home),
            valid_until_s=world.now_s + valid_s,
            previous=previous,
            action=action,
            device_key=device_key,
            mode=mode,
        )
        signed = world.village.sign(change, world.keyring.pair(home))
        world.succession.said(signed.envelope_bytes, change)
        return self._say(signed, change.valid_until_s, node)

    def _next(self) -> None:
        mean_ms = HOUR_MS // self._world.plan.records_per_hour
        self._world.timeline.after(1 + int(self._chance.expovariate(1) * mean_ms), self._speak_and_go_on)

    def _speak_and_go_on(self) -> None:
        self.speak()
        self._next()

    def _order(self, home: str) -> bytes:
        chance, now_s = self._chance, self._world.now_s
        period = (now_s - START_S) // PERIOD_S + chance.randrange(1, 4)
        order = Order(
            nonce=self._nonce(home),
            valid_until_s=now_s + chance.choice((60, 600)),
            side=chance.randrange(1, 3),
            period_start_s=START_S + period * PERIOD_S,
            energy_wh=chance.randrange(1, 2_000),
            price_u_kwh=1000 * chance.randrange(80, 290),
        )
        return self._say(self._world.village.sign(order, self._world.keyring.pair(home)), order.valid_until_s)

    def _trade(self, home: str) -> bytes:
        world = self._world
        record = self._market.draw(self._nonce(home), world.now_s)
        signed = world.village.sign(record, world.keyring.pair(home))
        self._market.said(record, signed.record_id)
        return self._say(signed, world.now_s + VALID_S)

    def _transfer(self, home: str) -> bytes:
        world = self._world
        to = self._chance.choice([other for other in world.village.homes if other != home])
        transfer = Transfer(
            nonce=self._nonce(home),
            valid_until_s=world.now_s + 600,
            to=world.accounts[to],
            asset=self._chance.choice(ASSETS),
            amount=self._chance.randrange(1, 5_000),
        )
        return self._say(world.village.sign(transfer, world.keyring.pair(home)), transfer.valid_until_s)

    def _issue(self, asset: str) -> None:
        world, home = self._world, self._world.village.homes[0]
        issue = AssetIssue(
            nonce=self._nonce(home),
            valid_until_s=world.now_s + 3600,
            asset=asset,
            asset_kind=ASSET_KIND_UTILITY,
            cap=10**9,
            amount=10**6,
        )
        self._say(world.village.sign(issue, world.keyring.pair(home)), issue.valid_until_s)

    def _read_meter(self, home: str, period: int) -> None:
        """The home's registers at the end of a period; most come in time, some late or not at all."""
        chance, world = self._chance, self._world
        imported, exported = self._counters[home]
        self._counters[home] = (imported + chance.randrange(400), exported + chance.choice((0, chance.randrange(900))))
        start_s = START_S + period * PERIOD_S
        end_ms = (period + 2) * PERIOD_S * 1000
        world.timeline.at(end_ms + chance.randrange(2_000), self._read_meter, home, period + 1)
        if chance.randrange(20) == 0:
            return
        signed = world.village.reading(
            home, period_start_s=start_s, values=OpenCounters(import_wh=imported, export_wh=exported)
        )
        late_ms = chance.choice((0, 0, 0, 0, 200_000))
        world.timeline.after(late_ms, self._say, signed, start_s + 3 * PERIOD_S)

    def _nonce(self, home: str) -> int:
        self._nonces[home] += 1
        return self._nonces[home]

    # --- asking

    def _say(self, signed: SignedRecord, until_s: int, node: Node | None = None) -> bytes:
        self.counts["said"] += 1
        self.waiting[signed.record_id] = Request(signed, self._chance.choice(self._world.nodes).name, until_s)
        self._ask(signed.record_id, node)
        return signed.record_id

    def _ask(self, record_id: bytes, node: Node | None = None) -> None:
        request = self.waiting.get(record_id)
        if request is None:
            return
        world = self._world
        if request.until_s < world.now_s:
            self.counts["never answered"] += 1
            del self.waiting[record_id]
            return
        # A node that is off refuses the connection, and the client tries another at once.
        node = node or self._chance.choice([node for node in world.nodes if node.up] or world.nodes)
        request.node = node.name
        if node.up and record_id not in node.pool_ids() and node.add(request.signed) is None:
            self._spread(node, request.signed)
        world.timeline.after(ASK_AGAIN_MS, self._ask, record_id)

    def final(self, node: Node, final: list[FinalBlock]) -> None:
        """A node has executed blocks: its clients hear of it."""
        for done in final:
            for event in done.events:
                if not isinstance(event, RecordDone):
                    continue
                request = self.waiting.get(event.record_id)
                if request is None or request.node != node.name or not self._world.honest(node):
                    continue
                if event.verdict in (Verdict.REPEATED, Verdict.VERSION_CONFLICT):
                    continue  # it took effect before, and that is what the client is told
                del self.waiting[event.record_id]
                self.counts[f"{type(event.record).__name__}: {event.verdict.name}"] += 1
                if event.verdict == Verdict.ACCEPTED:
                    self.counts["acknowledged"] += 1
                    self.acknowledged[event.record_id] = done.block.header.height
                    self._world.witness.acknowledged(event.record_id, done.block.header.height)
                    if isinstance(event.record, QuorumChange):
                        follow_up(self._world, node, self._chance)
                else:
                    self.counts["refused"] += 1

    # --- gossip

    def _spread(self, node: Node, signed: SignedRecord) -> None:
        for other in self._world.nodes:
            if other is not node:
                self._world.network.send(node.home, other.home, _arrives, other, signed)

    def _compare(self) -> None:
        """Every node sends one other what that one lacks."""
        world = self._world
        world.timeline.after(COMPARE_MS, self._compare)
        for node in world.nodes:
            if node.pool:
                other = self._chance.choice(world.nodes)
                if other is not node and other.up and world.network.carries(other.home, node.home):
                    # In order: that of a set changes from one start of Python to the next.
                    for record_id in sorted(node.pool_ids() - other.pool_ids()):
                        signed = node.waiting(record_id)
                        if signed is not None:
                            world.network.send(node.home, other.home, _arrives, other, signed)


def _arrives(node: Node, signed: SignedRecord) -> None:
    if node.up:
        node.add(signed)
