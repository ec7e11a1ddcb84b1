"""Agreed: what a binding says of energy - who shares how, and who receives what is charged for it.

Pure; one for each binding, resolved once. What holds in a period and for whom is asked event by event, see
`meshnode.settlement.period_effects`. Names of members stay names here: who has one is known to the ledger alone.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshnode.amounts import PPM
from meshnode.effects import Blocks, Calendar, Facts, Outcome
from meshnode.settlement.levies import CONSUMED, GRID, INJECTED, NEIGHBOURS, SOLAR, STORED
from meshnode.settlement.posting import COMMUNITY_FUND
from meshnode.settlement.sharing import RANK_MAX
from zencode.binding import Binding, Statement
from zencode.catalogue import ids

BASES: Final = {
    "traded energy": NEIGHBOURS,
    "stored energy": STORED,
    "solar energy": SOLAR,
    "grid energy": GRID,
    "consumed energy": CONSUMED,
    "injected energy": INJECTED,
}
"""What a fee or a levy is on, by the words of the catalogue."""

_KEYS: Final = {
    ids.MID_MARKET: "mid-market-rate",
    ids.FIXED_SHARES: "static",
    ids.BY_USE: "pro-rata",
    ids.EQUAL_PARTS: "equal",
    ids.BY_RANK: "priority",
    ids.ROUNDS: "waterfill",
    ids.EQUAL_ROUNDS: "equal-waterfill",
}
# What a way to share becomes when unused shares are offered again; ways that leave nothing unused stay.
_REOFFERED: Final = {"static": "static-reoffered"}

_PERSONAL: Final = frozenset(
    {
        ids.HAS_ROLE,
        ids.BALANCE_ABOVE,
        ids.BALANCE_BELOW,
        ids.HOLDS_MORE,
        ids.HOLDS_LESS,
    }
)
_MONEY: Final = frozenset(_PERSONAL - {ids.HAS_ROLE})
_CHARGE: Final = frozenset({ids.CHARGED_ABOVE, ids.CHARGED_BELOW})
_SHARED: Final = frozenset({ids.SHARED_ABOVE, ids.SHARED_BELOW})

HEX: Final = "0123456789abcdef"

Split = tuple[tuple[str, int], ...]
"""(recipient, share in ppm), together a million."""


class Plant(msgspec.Struct, frozen=True):
    """A plant as the binding gives it."""

    owner: str
    power_w: int


class Station(msgspec.Struct, frozen=True):
    """A charging point as the binding gives it."""

    owner: str
    power_w: int


class Battery(msgspec.Struct, frozen=True):
    """A battery as the binding gives it.

    contributions: (name, amount in micro-units), the owner's alone if unsaid. asset: that is energy in it; empty
    without one. storage_u_kwh, cost_u: what storage costs, and each member at most; 0 if unsaid. access: the asset
    without which nobody stores; empty: everybody may.
    """

    owner: str
    capacity_wh: int
    power_w: int
    contributions: tuple[tuple[str, int], ...]
    efficiency_ppm: int = PPM
    asset: str = ""
    storage_u_kwh: int = 0
    cost_u: int = 0
    access: str = ""


class Agreed:
    """A binding's word on energy.

    Attributes:
        blocks: what it says of events.
        incentive_u_kwh: what the authority pays for a shared kWh.
        shared_price_u_kwh: what a shared kWh costs where the way to share makes no price.
        plants, batteries, stations: by name. has_devices: whether there is any.
        meters: which meter counts a plant, battery or charging point, by its name.
        critical: meters of critical loads.
        feeders: the meter at the head of a feeder, by the feeder's name; feeder_meters: all of them, which measure
            nobody's energy.
        connected: the members at an element of the grid, by its name.
        most_estimate_days: how far back any estimate looks.
        feed: what tells whether the grid is there; empty without one.
        asks_shared, asks_money, asks_stored, asks_charge, personal: whether closing a period needs to know what was
            shared, what members have, what they took out of storages, what is in batteries, or who each member is.
    """

    def __init__(self, binding: Binding, blocks: Blocks, calendar: Calendar) -> None:
        self.blocks = blocks
        self._calendar = calendar
        self._shares = {str(name): share for name, share in _givens(binding, ids.ALLOCATION)}
        self._band_shares = [(str(name), share, str(band)) for name, share, band in _givens(binding, ids.BAND_SHARE)]
        self._ranks = {str(name): rank for name, rank in _givens(binding, ids.RANK)}
        self.incentive_u_kwh = _only(binding, ids.INCENTIVE)
        self.shared_price_u_kwh = _only(binding, ids.SHARED_PRICE)
        contributed: dict[str, list[tuple[str, int]]] = {}
        for owner, amount_u, battery in _givens(binding, ids.CONTRIBUTION):
            contributed.setdefault(battery, []).append((owner, amount_u))
        efficiency = dict(_givens(binding, ids.EFFICIENCY))
        asset = {battery: code for code, battery in _givens(binding, ids.STORED_ENERGY)}
        price = {battery: (u_kwh, cost_u) for battery, u_kwh, cost_u in _givens(binding, ids.STORAGE_PRICE)}
        access = dict(_givens(binding, ids.STORAGE_ACCESS))
        self.batteries = {
            str(name): Battery(
                owner=owner,
                capacity_wh=capacity_wh,
                power_w=power_w,
                contributions=tuple(contributed.get(name, [(owner, 1)])),
                efficiency_ppm=efficiency.get(name, PPM),
                asset=asset.get(name, ""),
                storage_u_kwh=price.get(name, (0, 0))[0],
                cost_u=price.get(name, (0, 0))[1],
                access=access.get(name, ""),
            )
            for name, capacity_wh, power_w, owner in _givens(binding, ids.BATTERY)
        }
        self.plants = {str(name): Plant(owner, power_w) for name, power_w, owner in _givens(binding, ids.PLANT)}
        self.stations = {
            str(name): Station(owner, power_w) for name, power_w, owner in _givens(binding, ids.CHARGING_POINT)
        }
        self.has_devices = bool(self.plants or self.batteries or self.stations)
        self._silences: list[Any] = [event.slots[0] for event in blocks.events(ids.METER_SILENT)]
        self.most_estimate_days = max((days for (days,) in _said(binding, ids.ESTIMATE)), default=0)
        # A meter's id is written in hexadecimal; one that is none is nobody's.
        self.meters = {str(device): _meter(meter) for device, meter in _givens(binding, ids.DEVICE_METER)}
        self.critical = frozenset(_meter(meter) for (meter,) in _givens(binding, ids.CRITICAL))
        self.feeders = {str(feeder): _meter(meter) for feeder, meter in _givens(binding, ids.FEEDER)}
        self.feeder_meters = frozenset(self.feeders.values())
        connected: dict[str, set[str]] = {}
        for member, element, _ in _givens(binding, ids.CONNECTION):
            connected.setdefault(element, set()).add(member)
        self.connected = {element: frozenset(members) for element, members in connected.items()}
        feed = _givens(binding, ids.GRID_FEED)
        self.feed = str(feed[0][0]) if feed else ""
        # A fee is split in one way, whatever the event that says so.
        self._splits: dict[str, Split] = {}
        asked: set[int] = set()
        stored = False
        for block in binding.blocks:
            if block.event.id == ids.PERIOD_CLOSES:
                asked |= {condition.id for condition in block.conditions}
                charged = [one for one in block.actions if one.id in (ids.FEE_PER_KWH, ids.LEVY)]
                stored |= any(one.slots[1] == "stored energy" for one in charged)
            if not block.conditions:
                self._splits |= _splits(block.actions)
        self.asks_shared = bool(asked & _SHARED)
        self.asks_money = bool(asked & _MONEY)
        self.asks_stored = stored
        self.asks_charge = bool(asked & _CHARGE)
        self.personal = bool(asked & _PERSONAL)

    def closing(self, facts: Facts) -> Outcome:
        """What the closing of a settlement period comes to."""
        return self.blocks.at(ids.PERIOD_CLOSES, facts)

    def battery(self, name: str, facts: Facts) -> Outcome:
        """What holds of a battery, whether it stores or delivers."""
        found = [self.blocks.at(event, facts, name) for event in ids.BATTERY_EVENTS]
        return Outcome(tuple(action for one in found for action in one.actions))

    def charging(self, name: str, facts: Facts) -> Outcome:
        """What holds when a car charges at a point."""
        return self.blocks.at(ids.CAR_CHARGES, facts, name)

    def fees(self, outcome: Outcome) -> dict[int, int]:
        """Fees per kWh by the base of the energy; of two on the same energy the last one holds."""
        found: dict[int, int] = {}
        for action in outcome.of(ids.FEE_PER_KWH):
            slots: Any = action.slots
            found[BASES[slots[1]]] = slots[0]
        return found

    def sharing(self, outcome: Outcome) -> str | None:
        """The name of the way to share; the last one that is said holds."""
        found = outcome.of(*_KEYS, ids.NAMED_KEY)
        if not found:
            return None
        key = str(found[-1].slots[0]) if found[-1].id == ids.NAMED_KEY else _KEYS[found[-1].id]
        return _REOFFERED.get(key, key) if outcome.of(ids.REOFFER) else key

    def shares(self, start_s: int) -> dict[str, int]:
        """Members' shares of a period in ppm, by name: in a band its own, if there is one."""
        found = dict(self._shares)
        for name, share, band in self._band_shares:
            if self._calendar.in_band(band, start_s):
                found[name] = share
        return found

    def rank(self, name: str) -> int:
        """When a member is served; who has no rank comes last."""
        found: int = self._ranks.get(name, RANK_MAX)
        return found

    def estimate_days(self, facts: Facts) -> int:
        """From how many similar days a meter's missing reading is estimated; 0: nothing is said."""
        silences = [self.blocks.at(ids.METER_SILENT, facts, silent_s) for silent_s in self._silences]
        for outcome in (*silences, self.blocks.at(ids.IMPLAUSIBLE, facts)):
            days: Any = outcome.last(ids.ESTIMATE)
            if days is not None:
                return int(days[0])
        return 0

    def split(self, fee: str, outcome: Outcome) -> Split:
        """Who receives a fee: as the event says, else as is said anywhere without a condition."""
        return _splits(outcome.actions).get(fee) or self._splits.get(fee, ((COMMUNITY_FUND, PPM),))


def _splits(actions: tuple[Statement, ...]) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for action in actions:
        if action.id == ids.SPLIT:
            slots: Any = action.slots
            found[slots[0]] = tuple((recipient, ppm) for ppm, recipient in slots[1])
    return found


def _givens(binding: Binding, id: int) -> list[Any]:
    return [given.slots for given in binding.givens if given.id == id]


def _meter(text: str) -> bytes:
    digits = text.lower()
    return bytes.fromhex(digits) if len(digits) % 2 == 0 and not digits.strip(HEX) else b""


def _said(binding: Binding, id: int) -> list[Any]:
    return [action.slots for block in binding.blocks for action in block.actions if action.id == id]


def _only(binding: Binding, id: int) -> int:
    """The number of a given that stands once; 0 without it."""
    found = _givens(binding, id)
    return int(found[0][0]) if found else 0
