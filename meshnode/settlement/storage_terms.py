"""Storage terms: what a binding charges for stored energy, asked for each member when it is due.

Storages that somebody's record has set up have their own fee, and nothing of this.
"""

from __future__ import annotations

from typing import Any

from meshnode.amounts import value
from meshnode.effects import Facts
from meshnode.ledger import knowledge
from meshnode.ledger.energy_rows import STORED
from meshnode.ledger.knowledge import members
from meshnode.ledger.state import State
from meshnode.settlement import driven, parameters, period_effects
from meshnode.settlement.agreed import Agreed
from meshnode.settlement.closing import PeriodRules
from meshnode.settlement.levies import STORED as STORED_ENERGY
from meshnode.settlement.storing import Fees
from zencode.catalogue import ids


def fees(state: State, rules: PeriodRules, start_s: int) -> Fees:
    """What members pay for stored energy in a period."""
    agreed = rules.agreed
    if not agreed.batteries:
        return Fees(rules.currency, start_s)
    prices = driven.tariff(state, start_s, parameters.tariff(state, start_s, rules.tariff))
    known = {"grid_price_u_kwh": prices.grid_price_u_kwh, "charge_ppm": period_effects.charges(state, agreed)}

    def per_period(code: str, account: bytes) -> int:
        name = battery_of(state, agreed, code)
        if name is None:
            return state.storages[code].fee_u_kwh
        facts = knowledge.facts_of(state, account, start_s, **known)
        found: Any = agreed.battery(name, facts).last(ids.STORAGE_FEE)
        return 0 if found is None else int(found[0])

    def per_kwh(code: str, account: bytes, charged_wh: int, discharged_wh: int) -> int:
        name = battery_of(state, agreed, code)
        if name is None:
            return 0
        facts = knowledge.facts_of(state, account, start_s, **known)
        moved = ((ids.BATTERY_STORES, charged_wh), (ids.BATTERY_DELIVERS, discharged_wh))
        charged = [(agreed.fees(agreed.blocks.at(event, facts, name)), wh) for event, wh in moved]
        return sum(value(fee.get(STORED_ENERGY, 0), wh) for fee, wh in charged)

    return Fees(rules.currency, start_s, per_period, per_kwh)


def first_served(state: State, agreed: Agreed, code: str, start_s: int) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Whose energy a battery takes in, and to whom it delivers, before the others."""
    name = battery_of(state, agreed, code)
    if name is None:
        return frozenset(), frozenset()
    facts = Facts(time_s=start_s, charge_ppm=period_effects.charges(state, agreed))
    found = []
    for event in ids.BATTERY_EVENTS:
        roles = {str(one.slots[0]) for one in agreed.blocks.at(event, facts, name).of(ids.SERVE_FIRST)}
        found.append(frozenset(account for account in members(state) if roles & set(state.accounts[account].roles)))
    delivers, stores = found
    return stores, delivers


def power_w(state: State, agreed: Agreed, code: str, asked_w: int) -> int:
    """What a storage moves at most: what it is told to, as far as the binding gives its battery as much."""
    name = battery_of(state, agreed, code)
    return asked_w if name is None else min(asked_w, agreed.batteries[name].power_w)


def battery_of(state: State, agreed: Agreed, code: str) -> str | None:
    """The battery whose energy an asset is by the binding's word; None if a record says otherwise."""
    for name, battery in agreed.batteries.items():
        row = state.introduced.get((STORED, name))
        if battery.asset == code and row is not None and not row.overridden:
            return name
    return None
