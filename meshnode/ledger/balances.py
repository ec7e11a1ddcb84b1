"""Balances: how much of each asset an account has, free and held; the one place that writes them."""

from __future__ import annotations

from meshnode.ledger import rows
from meshnode.ledger.state import State

_NONE = rows.Balance(0, 0)


def balance(state: State, account: bytes, asset: str) -> rows.Balance:
    """What an account has of an asset."""
    return state.balances.get((account, asset)) or _NONE


def change(state: State, account: bytes, asset: str, *, free: int = 0, held: int = 0) -> None:
    """Add to what is free and held; an empty balance has no row.

    Invariant I2: neither is ever below zero.
    """
    row = balance(state, account, asset)
    changed = rows.Balance(row.free + free, row.held + held)
    assert changed.free >= 0 and changed.held >= 0, f"{account.hex()} would have {changed} of {asset}"
    if changed != _NONE:
        state.balances.put((account, asset), changed)
    elif row != _NONE:
        state.balances.delete((account, asset))
