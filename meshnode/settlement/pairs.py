"""Pairs: measurement and payment of one account in one period, under one id, exactly once.

Where the community has assets that meters mint, or one that settles, closing a period writes for every
account what was measured and what was posted for it; a correction adds a pair with the differences.
Meters' assets are minted from what was measured, never from an estimate. With the asset that settles
claims between members are paid as far as their owners can; what is left stays a claim, in arrears.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from meshnode.amounts import split
from meshnode.ledger import assets, rows
from meshnode.ledger.balances import balance, change
from meshnode.ledger.state import State
from meshnode.settlement.metered import Metered, Quality
from meshnode.settlement.posting import Posting, changes_by_account
from protocols import cbor
from protocols.records import MEASURE_EXPORT, MEASURE_IMPORT, MEASURE_PRODUCED, POLICY_METER

_NOTHING = (0, 0, 0)
_COLUMN = {MEASURE_IMPORT: 0, MEASURE_EXPORT: 1, MEASURE_PRODUCED: 2}


class Minted(msgspec.Struct, frozen=True):
    """Units of an asset that a measurement minted; below zero: that a correction took back."""

    asset: str
    units: int


class PairWritten(msgspec.Struct, frozen=True):
    """A pair as it was written. settling: the asset that claims were paid with, if any."""

    account: bytes
    entry: int
    pair: rows.Pair
    minted: tuple[Minted, ...]
    settling: str


def write(
    state: State,
    start_s: int,
    postings: Sequence[Posting],
    after: Sequence[Metered],
    before: Sequence[Metered] = (),
) -> tuple[PairWritten, ...]:
    """Pay claims, and write the pairs of a period that was closed or corrected.

    Args:
        postings: that were just made for it; its claims are written already.
        after: what the period is settled with now.
        before: what it was settled with until now; empty at its closing.
    """
    kept = [(code, rule) for code, rule in state.asset_rules.items() if _counts(rule, start_s)]
    if not kept:
        return ()
    minting = [(code, rule) for code, rule in kept if rule.policy == POLICY_METER]
    settling = next((code for code, rule in kept if rule.settles), None)
    paid = {} if settling is None else _pay(state, settling)
    changes = changes_by_account(postings)
    new = {entry.account: _verified(entry) for entry in after}
    old = {entry.account: _verified(entry) for entry in before}
    written = []
    for account in sorted(new.keys() | paid.keys()):
        energies = tuple(
            now - was for now, was in zip(new.get(account, _NOTHING), old.get(account, _NOTHING), strict=True)
        )
        number = len(list(state.pairs.range((start_s, account, 0), (start_s, account + b"\0", 0))))
        assert account not in new or bool(number) == bool(before), f"{start_s}: pair {number} of {account.hex()}"
        amounts = changes.get(account, 0), paid.get(account, 0)
        if number and energies == _NOTHING and amounts == (0, 0):
            continue
        imported, exported, produced = energies
        pair = rows.Pair(pair_id(start_s, account, number), imported, exported, produced, *amounts)
        state.pairs.put((start_s, account, number), pair)
        units = [(code, _mint(state, code, rule, account, energies[_COLUMN[rule.measure]])) for code, rule in minting]
        moved = tuple(Minted(code, count) for code, count in units if count)
        written.append(PairWritten(account, number, pair, moved, settling or ""))
    return tuple(written)


def finish(state: State, start_s: int) -> None:
    """No correction can follow: the period's pairs leave the state, the views keep them."""
    for key, _ in state.pairs.range((start_s, b"", 0), (start_s + 1, b"", 0)):
        state.pairs.delete(key)


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


def _verified(metered: Metered) -> tuple[int, ...]:
    if metered.quality == Quality.ESTIMATED:
        return _NOTHING
    return metered.import_wh, metered.export_wh, metered.produced_wh or 0


def _mint(state: State, code: str, rule: rows.AssetRules, account: bytes, energy_wh: int) -> int:
    """Whole units for an energy and what was left of earlier ones; gives how many.

    What a correction takes back and the account no longer has is taken from what it is minted next.
    """
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


def _counts(rule: rows.AssetRules, start_s: int) -> bool:
    return bool(rule.policy == POLICY_METER or rule.settles) and rule.from_s <= start_s


def _pay(state: State, code: str) -> dict[bytes, int]:
    """Pay claims between members with the asset that settles; what each one received, or gave (below zero)."""
    due: dict[bytes, int] = {}
    able: dict[bytes, int] = {}
    for account, claim in state.claims.items():
        member = state.accounts.get(account)
        if member is None or member.left_s:
            continue
        if claim.amount_u > 0:
            due[account] = claim.amount_u
        elif free := balance(state, account, code).free:
            able[account] = min(-claim.amount_u, free)
    pot = min(sum(due.values()), sum(able.values()))
    if not pot:
        return {}
    moved = split(pot, due.items()) | {account: -part for account, part in split(pot, able.items()).items()}
    for account, amount in sorted(moved.items()):
        if amount:
            change(state, account, code, free=amount)
            _reduce_claim(state, account, amount)
    return moved


def _reduce_claim(state: State, account: bytes, amount: int) -> None:
    left = state.claims[account].amount_u - amount
    if left:
        state.claims.put(account, rows.Claim(left))
    else:
        state.claims.delete(account)
