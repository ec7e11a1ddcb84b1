"""Street: a small community on paper whose ledger really runs - records, blocks, machine and views.

What the homes use and what their roofs make is a made-up summer's day; every Wh and every
micro-unit that comes out of it is the ledger's own.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from meshnode.keys import SignatureCheck
from meshnode.ledger.state import State
from meshnode.machine import Event, Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.views import FILE, Views
from protocols.block import Block, Parent, SignedRecord
from protocols.records import SIDE_BUY, SIDE_SELL, Cancel, OpenCounters, Record, account_id_of, meter_id_of
from tests.protocols.keys import key_pair
from tests.protocols.village import Village, meter
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

PERIOD_S = 900
# Midnight of a summer's day, two hours ahead of UTC.
MIDNIGHT_S = 1_813_528_800


class Home(NamedTuple):
    """A home's power in W: at night, by day, in the evening, and what its roof gives at noon."""

    night_w: int
    day_w: int
    evening_w: int
    roof_w: int


HOMES = {
    "anna": Home(190, 320, 950, 3400),
    "bela": Home(260, 430, 1300, 0),
    "carla": Home(150, 260, 700, 4800),
    "dora": Home(210, 980, 1100, 0),
    "emil": Home(120, 240, 1700, 1900),
    "fritz": Home(300, 380, 800, 2600),
    "gina": Home(170, 340, 900, 0),
}


class Counted(NamedTuple):
    """What a home's meters count in one period, in Wh."""

    import_wh: int = 0
    export_wh: int = 0
    produced_wh: int = 0


NOTHING = Counted()
MARKET = preset("neighbour_market")


class Street:
    """The ledger of a few homes, followed by views in `directory`. Time is what the next block says."""

    def __init__(self, directory: Path, homes: int = 3, text: str = MARKET, **genesis: Any) -> None:
        """Args: text: of the binding; the rest is the genesis's."""
        fields = {
            "community": "Borgo Sole",
            "start_s": MIDNIGHT_S,
            "zone_changes": ((0, 7200),),
            "zone": "Europe/Rome",
            "binding": encode(read(text)),
            "binding_text": text.encode(),
        }
        self.village = Village(homes, **(fields | genesis))
        self.homes = self.village.homes
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.machine = self.new_machine()
        self.views = Views.open(directory, self.village.genesis)
        self.chain: list[tuple[Block, tuple[Event, ...]]] = []
        self.counters = dict.fromkeys(self.homes, Counted(4_000_000, 900_000, 2_000_000))
        self._parent = self.village.root
        self._nonce = 0

    def new_machine(self, state: State | None = None) -> Machine:
        """The ledger at height 0, or with the state of a snapshot."""
        return Machine(self.village.genesis, self.village.chain_id, installed_mechanisms(), SignatureCheck(), state)

    def copy_to(self, directory: Path) -> Street:
        """Another street that has come as far and goes its own way from here; this one's views are closed."""
        other = copy.copy(self)
        self.views.close()
        other.directory = directory
        directory.mkdir(exist_ok=True)
        shutil.copy(self.directory / FILE, directory)
        other.machine = self.new_machine(State.restore(self.machine.state.dump()))
        other.views = Views.open(directory, self.village.genesis)
        other.chain, other.counters = list(self.chain), dict(self.counters)
        return other

    def account(self, home: str) -> bytes:
        return account_id_of(key_pair(home).public)

    def block(self, time_s: int, *records: SignedRecord) -> tuple[Event, ...]:
        """The next block is final: the machine executes it and the views enter it."""
        block = self.next_block(time_s, *records)
        events = self.machine.apply(block)
        self.views.apply(block, events)
        self.chain.append((block, events))
        self._parent = Parent.of(block)
        return events

    def next_block(self, time_s: int, *records: SignedRecord) -> Block:
        machine = self.machine
        head = {"time_s": time_s, "state_height": machine.height, "state_hash": machine.state_hash()}
        return self.village.block(self._parent, records=records, head=head)

    def say(self, home: str, make: type[Record], **fields: Any) -> SignedRecord:
        """A record signed by a home's member."""
        self._nonce += 1
        spoken = {"nonce": self._nonce, "valid_until_s": self.machine.time_s + 86400}
        return self.village.sign(make(**spoken, **fields), key_pair(home))

    def order(self, home: str, side: str, start_s: int, energy_wh: int, price_u_kwh: int) -> SignedRecord:
        self._nonce += 1
        return self.village.order(
            home,
            self._nonce,
            valid_until_s=self.machine.time_s + 86400,
            side={"buy": SIDE_BUY, "sell": SIDE_SELL}[side],
            period_start_s=start_s,
            energy_wh=energy_wh,
            price_u_kwh=price_u_kwh,
        )

    def cancel(self, home: str, order: SignedRecord) -> SignedRecord:
        return self.say(home, Cancel, order=order.record_id)

    def reading(self, home: str, start_s: int, counted: Counted = NOTHING, **fields: Any) -> SignedRecord:
        """The registers of a home at the end of a period in which it counted that."""
        self.counters[home] = Counted(*map(sum, zip(self.counters[home], counted, strict=True)))
        values = OpenCounters(**self.counters[home]._asdict(), power_w=4 * (counted.import_wh - counted.export_wh))
        return self.village.reading(home, period_start_s=start_s, values=values, **fields)

    def begin(self) -> None:
        """The registers that the first period counts from."""
        start_s = MIDNIGHT_S - PERIOD_S
        self.block(MIDNIGHT_S, *(self.reading(home, start_s) for home in self.homes))

    def settle(self, start_s: int, counted: dict[str, Counted], *orders: SignedRecord) -> tuple[Event, ...]:
        """A period goes by: orders come while it runs, readings at its end."""
        if orders:
            self.block(start_s + 60, *orders)
        end_s = start_s + PERIOD_S
        return self.block(end_s, *(self.reading(home, start_s, energy) for home, energy in counted.items()))

    def live_through(self, periods: int, seed: int = 1) -> int:
        """Midnight and so many periods of an ordinary day; gives the start of the period that runs then."""
        random = Random(seed)
        self.begin()
        for number in range(periods):
            start_s = MIDNIGHT_S + number * PERIOD_S
            counted = {home: energy_of(HOMES[home], number, random) for home in self.homes}
            self.settle(start_s, counted, *self._wishes(start_s, counted))
        return MIDNIGHT_S + periods * PERIOD_S

    def _wishes(self, start_s: int, counted: dict[str, Counted]) -> Sequence[SignedRecord]:
        """Two homes bid for about what they will need, one offers half of what it will have over."""
        bids = [
            self.order(home, "buy", start_s, counted[home].import_wh * 3 // 4, price)
            for home, price in (("bela", 240_000), ("dora", 225_000))
            if home in counted and counted[home].import_wh >= 40
        ]
        spare_wh = counted.get("carla", NOTHING).export_wh // 2
        return [*bids, self.order("carla", "sell", start_s, spare_wh, 130_000)] if spare_wh else bids

    def meter(self, home: str) -> bytes:
        return meter_id_of(meter(home).public)


def energy_of(home: Home, number: int, random: Random) -> Counted:
    """What a home counts in the day's period `number`."""
    hour = number / 4
    base_w = home.night_w if hour < 6 else home.evening_w if 17.5 < hour < 22.5 else home.day_w
    used_wh = base_w * random.randint(70, 140) // 400
    height = max(0.0, 1 - ((hour - 13) / 6.5) ** 2)
    produced_wh = int(home.roof_w * height * random.randint(78, 100)) // 400
    return Counted(max(0, used_wh - produced_wh), max(0, produced_wh - used_wh), produced_wh)
