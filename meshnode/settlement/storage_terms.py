"""Storage terms: what a binding charges for stored energy, asked for each member when it is due.

Storages that somebody's record has set up have their own fee, and nothing of this.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meshnode.amounts import value
from meshnode.effects import Facts
from meshnode.ledger.energy_rows import STORED
from meshnode.ledger.state import State
from meshnode.settlement import driven, parameters, period_effects
from meshnode.settlement.agreed import Agreed
from meshnode.settlement.levies import STORED as STORED_ENERGY
from meshnode.settlement.period import Tariff
from meshnode.settlement.storing import PerKwh, PerPeriod, no_fee
from zencode.catalogue import ids


def per_period(state: State, agreed: Agreed, fixed: Tariff, start_s: int) -> PerPeriod:
    """What members pay for what they have stored at the end of a period."""
    if not agreed.batteries:
        return lambda code, account: state.storages[code].fee_u_kwh
    common = _facts(state, agreed, fixed, start_s)

    def fee_u_kwh(code: str, account: bytes) -> int:
        name = _battery(state, agreed, code)
        if name is None:
            return state.storages[code].fee_u_kwh
        found: Any = agreed.battery(name, _of(state, start_s, common, account)).last(ids.STORAGE_FEE)
        return 0 if found is None else int(found[0])

    return fee_u_kwh


def per_kwh(state: State, agreed: Agreed, fixed: Tariff, start_s: int) -> PerKwh:
    """What members pay for what they charge and discharge in a period."""
    if not agreed.batteries:
        return no_fee
    common = _facts(state, agreed, fixed, start_s)

    def due_u(code: str, account: bytes, charged_wh: int, discharged_wh: int) -> int:
        name = _battery(state, agreed, code)
        if name is None:
            return 0
        facts = _of(state, start_s, common, account)
        moved = ((ids.BATTERY_STORES, charged_wh), (ids.BATTERY_DELIVERS, discharged_wh))
        fees = [(agreed.fees(agreed.blocks.at(event, facts, name)), wh) for event, wh in moved]
        return sum(value(fee.get(STORED_ENERGY, 0), wh) for fee, wh in fees)

    return due_u


def _facts(state: State, agreed: Agreed, fixed: Tariff, start_s: int) -> Facts:
    prices = driven.tariff(state, start_s, parameters.tariff(state, start_s, fixed))
    return Facts(
        time_s=start_s,
        grid_price_u_kwh=prices.grid_price_u_kwh,
        charge_ppm=period_effects.charges(state, agreed),
    )


def _of(state: State, start_s: int, common: Facts, account: bytes) -> Facts:
    has = period_effects.member_facts(state, start_s, account)
    return msgspec.structs.replace(
        common,
        roles=frozenset(state.accounts[account].roles),
        balance_u=has.balance_u,
        units=dict(has.units),
    )


def _battery(state: State, agreed: Agreed, code: str) -> str | None:
    """The battery whose energy an asset is by the binding's word; None if a record says otherwise."""
    for name, battery in agreed.batteries.items():
        row = state.introduced.get((STORED, name))
        if battery.asset == code and row is not None and not row.overridden:
            return name
    return None
