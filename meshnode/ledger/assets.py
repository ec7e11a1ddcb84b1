"""Assets: tokens that an issuer creates and members pass on. Nothing is ever negative."""

from __future__ import annotations

from meshnode.ledger import rows
from meshnode.ledger.members import is_administrator
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import AssetIssue, Transfer

_NONE = rows.Balance(0, 0)


def balance(state: State, account: bytes, asset: str) -> rows.Balance:
    """What an account has of an asset."""
    return state.balances.get((account, asset)) or _NONE


def issue(state: State, record: AssetIssue, account: bytes) -> Verdict:
    """Create an asset, or mint more of one's own.

    Invariant: the free and held amounts of an asset sum to its supply, which never
    exceeds its cap.
    """
    known = state.assets.get(record.asset)
    if known is None:
        if not is_administrator(state, account):
            return Verdict.NOT_ADMINISTRATOR
        known = rows.Asset(account, record.asset_kind, record.cap, 0)
    elif (known.issuer, known.kind, known.cap) != (account, record.asset_kind, record.cap):
        return Verdict.NOT_ISSUER
    if known.supply + record.amount > known.cap:
        return Verdict.OVER_CAP
    state.assets.put(record.asset, rows.Asset(known.issuer, known.kind, known.cap, known.supply + record.amount))
    if record.amount:
        _add_free(state, account, record.asset, record.amount)
    return Verdict.ACCEPTED


def transfer(state: State, record: Transfer, account: bytes) -> Verdict:
    """Move free units of an asset to another member."""
    receiver = state.accounts.get(record.to)
    if receiver is None or receiver.left_s:
        return Verdict.UNKNOWN_ACCOUNT
    if record.to == account:
        return Verdict.SAME_ACCOUNT
    if record.asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    if balance(state, account, record.asset).free < record.amount:
        return Verdict.NOT_ENOUGH
    _add_free(state, account, record.asset, -record.amount)
    _add_free(state, record.to, record.asset, record.amount)
    return Verdict.ACCEPTED


def check_conservation(state: State) -> None:
    """Invariants I1 and I2: per asset, balances sum to the supply; nothing is negative.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    totals: dict[str, int] = {}
    for (_, asset), row in state.balances.items():
        assert row.free >= 0 and row.held >= 0, f"negative balance of {asset}"
        totals[asset] = totals.get(asset, 0) + row.free + row.held
    for asset, info in state.assets.items():
        assert totals.pop(asset, 0) == info.supply <= info.cap, f"{asset} does not add up to its supply"
    assert not totals, f"balances of unknown assets {sorted(totals)}"


def _add_free(state: State, account: bytes, asset: str, amount: int) -> None:
    row = balance(state, account, asset)
    changed = rows.Balance(row.free + amount, row.held)
    if changed == _NONE:
        state.balances.delete((account, asset))
    else:
        state.balances.put((account, asset), changed)
