"""Minting: what meters mint, from measured energy alone - a log of it, or a coin for so much of it."""

from __future__ import annotations

import hashlib

from meshnode.ledger import assets, rows
from meshnode.ledger.balances import balance
from meshnode.ledger.state import State
from protocols import cbor
from protocols.records import MEASURE_EXPORT, MEASURE_IMPORT, MEASURE_PRODUCED, POLICY_METER

Energies = tuple[int, int, int]
"""Measured (imported, exported, produced) Wh of one account; differences may be below zero."""

_PLACES = {MEASURE_IMPORT: 0, MEASURE_EXPORT: 1, MEASURE_PRODUCED: 2}


def counting(state: State, start_s: int) -> list[str]:
    """The assets that meters mint for a period that begins then, in order of their codes."""
    return [code for code, rule in state.asset_rules.items() if rule.policy == POLICY_METER and rule.from_s <= start_s]


def settling(state: State, start_s: int) -> str | None:
    """The asset with which claims are paid at the end of a period that begins then."""
    return next((code for code, rule in state.asset_rules.items() if rule.settles and rule.from_s <= start_s), None)


def mint(state: State, code: str, account: bytes, energies: Energies) -> int:
    """Mint whole units for what was measured and what was left of earlier measurements; gives how many.

    A correction may take units back, and then gives how many below zero; what the account no longer
    has of them is taken from what it is minted next.
    """
    rule = assets.rules(state, code)
    energy_wh = energies[_PLACES[rule.measure]]
    carry = state.carries.get((code, account)) or rows.Carry(0, 0)
    total_wh = carry.wh + energy_wh
    asset = state.assets[code]
    units = min(total_wh // rule.unit_wh, asset.cap - asset.supply)
    units = max(units, -balance(state, account, code).free)
    if energy_wh or units:
        state.carries.put((code, account), rows.Carry(total_wh - units * rule.unit_wh, carry.minted + units))
    if units:
        assets.mint(state, code, account, units)
    return units


def pair_id(start_s: int, account: bytes, entry: int) -> bytes:
    """The one id of a measurement and its payment."""
    return hashlib.sha256(b"meshnode pair\0" + cbor.encode([start_s, account, entry])).digest()


def check(state: State) -> None:
    """Invariant I4: of what meters mint there is never more than they measured.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    minted: dict[str, int] = {}
    for (code, account), row in state.carries.items():
        assert row.minted >= 0, f"{account.hex()} was minted {row.minted} of {code}"
        minted[code] = minted.get(code, 0) + row.minted
    for code, rule in state.asset_rules.items():
        if rule.policy == POLICY_METER:
            supply = state.assets[code].supply
            assert supply <= minted.get(code, 0), f"{code}: {supply} exist, meters minted {minted.get(code, 0)}"
