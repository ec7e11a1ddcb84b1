"""Things: what the sentences of a binding say of each battery, asset, plant, point, band and price, gathered.

A part of making `zencode.terms`: facts come in any order of the tree, so records are put
together by name and made at the end.
"""

from __future__ import annotations

from typing import Any

from zencode import facts
from zencode import sentences as s
from zencode.binding import Statement
from zencode.mechanisms import BY_RANK

#: Events at which what a block says without a condition holds for the thing that they name.
THING_EVENTS = (s.CAR_CHARGES, s.BATTERY_DELIVERS, s.BATTERY_STORES, s.INJECTED, s.REDEEMED)

_NAMED = "name"
#: Given -> the table of the thing that it is about and the field of each slot; "name" is the thing's.
_THINGS: dict[int, tuple[str, tuple[str, ...]]] = {
    s.PLANT: ("plants", (_NAMED, "power_w", "owner")),
    s.BATTERY: ("batteries", (_NAMED, "capacity_wh", "power_w", "owner")),
    s.CHARGING_POINT: ("points", (_NAMED, "power_w", "owner")),
    s.ASSET_IS: ("assets", (_NAMED, "sort", "most")),
    s.ISSUER: ("assets", ("issuer", _NAMED)),
    s.CASHIER: ("assets", ("cashier", _NAMED)),
    s.ISSUER_BURNS: ("assets", (_NAMED,)),
    s.STORED_ENERGY: ("batteries", ("asset", _NAMED)),
    s.EFFICIENCY: ("batteries", (_NAMED, "efficiency_ppm")),
    s.STORAGE_PRICE: ("batteries", (_NAMED, "storage_u_kwh", "most_cost_u")),
    s.STORAGE_ACCESS: ("batteries", (_NAMED, "access")),
}
#: Action at a car's charging, or at a battery -> the field of the point or battery.
_AT_POINTS = {
    s.SESSION_PRICE: "price_u_kwh",
    s.SESSION_FEE: "flat_u",
    s.SESSION_ENERGY: "most_wh",
    s.SESSION_SILENCE: "silence_s",
    s.LIMIT_CHARGING: "limit_w",
}
_AT_BATTERIES = {s.STORAGE_FEE: "fee_u_kwh", s.MAX_STORED: "most_wh"}
#: Action about an asset -> its field.
_OF_ASSETS = {s.MINT: "mint_wh", s.BURN: "burn_wh"}
#: Given with a price and a band or a day -> the steps that it is one of.
_STEPS = {
    s.GRID_PRICE_IN_BAND: ("grid", "band"),
    s.GRID_PRICE_FROM: ("grid", "from_day"),
    s.FEED_IN_IN_BAND: ("feed_in", "band"),
    s.FEED_IN_FROM: ("feed_in", "from_day"),
    s.LEGAL_CAP_FROM: ("legal_caps", "from_day"),
}
#: Given with one number -> its field of the prices.
_PRICES = {
    s.LEGAL_CAP: "legal_cap_u_kwh",
    s.LEGAL_FLOOR: "legal_floor_u_kwh",
    s.SHARED_PRICE: "shared_u_kwh",
    s.INCENTIVE: "incentive_u_kwh",
}
#: Given that is one entry of a list -> that list.
_ENTRIES = {
    s.FEEDER: "feeders",
    s.CRITICAL: "critical_meters",
    s.RANK: "ranks",
    s.VAT_RATE: "vat_rates",
    s.VAT_CATEGORY: "vat_categories",
}

_Table = dict[str, dict[str, Any]]


class Things:
    """Fields of things by name, as they are found; `ranked` is the mode that shares by rank, "" without one."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {"plants": {}, "batteries": {}, "points": {}, "assets": {}}
        self._meters: dict[str, str] = {}
        self._contributions: dict[str, list[tuple[str, int]]] = {}
        self._connections: dict[str, dict[int, str]] = {}
        self._fees: dict[int, int] = {}
        self._band_shares: list[tuple[str, str, int]] = []
        self._bands: list[facts.Band] = []
        self._steps: dict[str, list[facts.PriceStep]] = {"grid": [], "feed_in": [], "legal_caps": []}
        self._prices: dict[str, Any] = {}
        self.ranked = ""
        self._entries: dict[str, list[Any]] = {field: [] for field in _ENTRIES.values()}

    def take_fact(self, fact: Statement) -> None:
        """Put a given into its field, if it has one."""
        slots: Any = fact.slots
        if fact.id in _THINGS:
            table, fields = _THINGS[fact.id]
            found = dict(zip(fields, slots, strict=True))
            if fact.id == s.ISSUER_BURNS:
                found["issuer_burns"] = True
            self._put(table, **found)
        elif fact.id in _STEPS:
            steps, when = _STEPS[fact.id]
            self._steps[steps].append(facts.PriceStep(u_kwh=slots[0], **{when: slots[1]}))
        elif fact.id in _PRICES:
            self._prices[_PRICES[fact.id]] = slots[0]
        elif fact.id in _ENTRIES:
            self._entries[_ENTRIES[fact.id]].append(slots if len(slots) > 1 else slots[0])
        elif fact.id in (s.BAND, s.BAND_ON):
            self._bands.append(facts.Band(*slots))
        elif fact.id == s.BAND_SHARE:
            member, share, band = slots
            self._band_shares.append((band, member, share))
        elif fact.id == s.DEVICE_METER:
            self._meters[slots[0]] = slots[1]
        elif fact.id == s.CONTRIBUTION:
            owner, amount, battery = slots
            self._contributions.setdefault(battery, []).append((owner, amount))
        elif fact.id == s.CONNECTION:
            member, element, level = slots
            self._connections.setdefault(member, {})[level] = element
        elif fact.id == s.GRID_FEE:
            self._fees[slots[0]] = slots[1]

    def take_action(self, event: Statement, action: Statement) -> None:
        """Put an action that holds always into the field of its thing, if it has one."""
        slots: Any = action.slots
        if event.id == s.CAR_CHARGES and action.id in _AT_POINTS:
            self._put("points", name=event.slots[0], **{_AT_POINTS[action.id]: slots[0]})
        elif action.id in _AT_BATTERIES:
            self._put("batteries", name=event.slots[0], **{_AT_BATTERIES[action.id]: slots[0]})
        elif action.id in _OF_ASSETS:
            self._put("assets", name=slots[0], **{_OF_ASSETS[action.id]: slots[1]})
        elif action.id == s.ROUTE:
            self._put("assets", name=event.slots[0], source=slots[0])
        elif action.id == s.BY_RANK:
            self.ranked = BY_RANK
        elif action.id == s.PAY_WITH:
            self._put("assets", name=slots[0], pays=True)

    def fields(self) -> dict[str, Any]:
        """Fields of the terms."""
        steps: dict[str, Any] = {field: tuple(found) for field, found in self._steps.items()}
        return {
            "bands": tuple(self._bands),
            "plants": tuple(facts.Plant(**found, **self._of_device(name)) for name, found in self._made("plants")),
            "batteries": tuple(
                facts.Battery(**found, **self._of_device(name), **self._of_battery(name))
                for name, found in self._made("batteries")
            ),
            "points": tuple(
                facts.ChargingPoint(**found, **self._of_device(name)) for name, found in self._made("points")
            ),
            "assets": tuple(facts.Asset(**found) for _, found in self._made("assets")),
            "feeders": tuple(self._entries["feeders"]),
            "critical_meters": tuple(self._entries["critical_meters"]),
            "shares": facts.Shares(tuple(sorted(self._band_shares)), tuple(self._entries["ranks"]), self.ranked),
            "prices": facts.Prices(
                **self._prices,
                **steps,
                grid_fees_u_kwh=tuple(self._fees[levels] for levels in sorted(self._fees)),
                connections=tuple(
                    (member, tuple(at[level] for level in sorted(at)))
                    for member, at in sorted(self._connections.items())
                ),
                vat_rates=tuple(self._entries["vat_rates"]),
                vat_categories=tuple(self._entries["vat_categories"]),
            ),
        }

    def _put(self, table: str, name: Any, **found: Any) -> None:
        self._tables[table].setdefault(name, {"name": name}).update(found)

    def _made(self, table: str) -> list[tuple[str, dict[str, Any]]]:
        return sorted(self._tables[table].items())

    def _of_device(self, name: str) -> dict[str, Any]:
        return {"meter": self._meters[name]} if name in self._meters else {}

    def _of_battery(self, name: str) -> dict[str, Any]:
        return {"contributions_u": tuple(self._contributions[name])} if name in self._contributions else {}
