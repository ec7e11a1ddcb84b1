"""Assets: tokens that an issuer or meters create, and members pass on and destroy. Nothing is ever negative."""

from __future__ import annotations

import msgspec

from meshnode.ledger import holds, rows
from meshnode.ledger.balances import balance, change
from meshnode.ledger.members import is_administrator
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import (
    BURNING_ISSUER,
    POLICY_ISSUER,
    POLICY_METER,
    POLICY_ONCE,
    AssetIssue,
    Burn,
    Transfer,
)

# A community has a dozen; every closing of a period looks through those that meters mint.
MAX_ASSETS = 256
_USUAL = rows.AssetRules()


def rules(state: State, asset: str) -> rows.AssetRules:
    """What an asset allows."""
    return state.asset_rules.get(asset) or _USUAL


def issue(state: State, record: AssetIssue, account: bytes, time_s: int) -> Verdict:
    """Create an asset, mint more of one's own, or name another cashier for it.

    Invariant: the free and held amounts of an asset sum to its supply, which never
    exceeds its cap.
    """
    known = state.assets.get(record.asset)
    fault = _fault_of_rules(state, record) or (
        _fault_of_new(state, record, account) if known is None else _fault_of_more(state, record, known, account)
    )
    if fault:
        return fault
    asset = known or rows.Asset(account, record.asset_kind, record.cap, 0)
    if asset.supply + record.amount > asset.cap:
        return Verdict.OVER_CAP
    kept = rules(state, record.asset)
    counts = record.policy == POLICY_METER or record.settles
    from_s = time_s if known is None and counts else kept.from_s
    wanted = _rules_of(record, record.cashier or kept.cashier, from_s)
    if wanted != kept:
        state.asset_rules.put(record.asset, wanted)
    mint(state, record.asset, account, record.amount, asset)
    return Verdict.ACCEPTED


def mint(state: State, code: str, account: bytes, amount: int, asset: rows.Asset | None = None) -> None:
    """Create units of an asset in an account, or destroy free ones (an amount below zero).

    The caller has checked the cap, or that so many are free.
    """
    asset = asset or state.assets[code]
    state.assets.put(code, msgspec.structs.replace(asset, supply=asset.supply + amount))
    if amount:
        change(state, account, code, free=amount)


def transfer(state: State, record: Transfer, account: bytes) -> Verdict:
    """Move free units of an asset to another member."""
    fault = fault_of_receiver(state, record.to, account)
    if fault:
        return fault
    if record.asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    if balance(state, account, record.asset).free < record.amount:
        return Verdict.NOT_ENOUGH
    change(state, account, record.asset, free=-record.amount)
    change(state, record.to, record.asset, free=record.amount)
    return Verdict.ACCEPTED


def burn(state: State, record: Burn, account: bytes) -> Verdict:
    """Destroy free units of one's own; the supply shrinks with them."""
    asset = state.assets.get(record.asset)
    if asset is None:
        return Verdict.UNKNOWN_ASSET
    if rules(state, record.asset).burning == BURNING_ISSUER and asset.issuer != account:
        return Verdict.NOT_BURNABLE
    if balance(state, account, record.asset).free < record.amount:
        return Verdict.NOT_ENOUGH
    mint(state, record.asset, account, -record.amount)
    return Verdict.ACCEPTED


def fault_of_receiver(state: State, receiver: bytes, giver: bytes) -> Verdict:
    """Whether `receiver` is another member who can be given something; ACCEPTED if so."""
    row = state.accounts.get(receiver)
    if row is None or row.left_s:
        return Verdict.UNKNOWN_ACCOUNT
    return Verdict.SAME_ACCOUNT if receiver == giver else Verdict.ACCEPTED


def check_conservation(state: State) -> None:
    """Invariants I1 to I3: per asset, balances sum to the supply; nothing is negative; what is held has its hold.

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
    holds.check(state)


def _fault_of_rules(state: State, record: AssetIssue) -> Verdict:
    """What is wrong with the rules that a record states, whatever is known of the asset."""
    metered = record.policy == POLICY_METER
    if (record.measure is not None, record.unit_wh is not None) != (metered, metered):
        return Verdict.RULES_CONTRADICT
    if metered and (record.settles or record.cashier is not None):
        return Verdict.RULES_CONTRADICT
    if metered and record.amount:
        return Verdict.METER_MINTS
    if record.cashier is not None:
        cashier = state.accounts.get(record.cashier)
        if record.policy != POLICY_ISSUER:
            return Verdict.RULES_CONTRADICT
        if cashier is None or cashier.left_s:
            return Verdict.UNKNOWN_ACCOUNT
    return Verdict.ACCEPTED


def _fault_of_new(state: State, record: AssetIssue, account: bytes) -> Verdict:
    if not is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    if record.settles and any(rule.settles for _, rule in state.asset_rules.items()):
        return Verdict.SETTLES_ALREADY
    return Verdict.TOO_MANY_ASSETS if len(state.assets) >= MAX_ASSETS else Verdict.ACCEPTED


def _fault_of_more(state: State, record: AssetIssue, known: rows.Asset, account: bytes) -> Verdict:
    if (known.issuer, known.kind, known.cap) != (account, record.asset_kind, record.cap):
        return Verdict.NOT_ISSUER
    if record.asset in state.storages and record.amount:
        return Verdict.METER_MINTS
    kept = rules(state, record.asset)
    if _rules_of(record, kept.cashier, kept.from_s) != kept:
        return Verdict.OTHER_RULES
    return Verdict.MINTED_ONCE if kept.policy == POLICY_ONCE else Verdict.ACCEPTED


def _rules_of(record: AssetIssue, cashier: bytes, from_s: int) -> rows.AssetRules:
    return rows.AssetRules(
        policy=record.policy,
        burning=record.burning,
        measure=record.measure or 0,
        unit_wh=record.unit_wh or 0,
        settles=record.settles,
        cashier=cashier,
        from_s=from_s,
    )
