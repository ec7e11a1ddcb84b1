"""Pairs: measurement and payment of one account in one period, under one id, exactly once.

Where the community has assets that meters mint, or one that settles, closing a period writes for every
account what was measured and what was posted for it; a correction adds a pair with the differences.
Meters' assets are minted from what was measured, never from an estimate. With the asset that settles
claims between members are paid as far as their owners can; what is left stays a claim, in arrears.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meshnode.amounts import split
from meshnode.ledger import minting, rows
from meshnode.ledger.balances import balance, change
from meshnode.ledger.state import State
from meshnode.settlement.metered import Metered, Quality
from meshnode.settlement.posting import Posting, changes_by_account

_NOTHING = (0, 0, 0)


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
    counting, settling = minting.counting(state, start_s), minting.settling(state, start_s)
    if not counting and settling is None:
        return ()
    paid = {} if settling is None else _pay(state, settling)
    changes = changes_by_account(postings)
    new = {entry.account: _verified(entry) for entry in after}
    old = {entry.account: _verified(entry) for entry in before}
    written = []
    for account in sorted(new.keys() | paid.keys()):
        now, was = new.get(account, _NOTHING), old.get(account, _NOTHING)
        energies = (now[0] - was[0], now[1] - was[1], now[2] - was[2])
        number = 0
        while (start_s, account, number) in state.pairs:
            number += 1
        assert account not in new or bool(number) == bool(before), f"{start_s}: pair {number} of {account.hex()}"
        amounts = changes.get(account, 0), paid.get(account, 0)
        if number and energies == _NOTHING and amounts == (0, 0):
            continue
        pair = rows.Pair(minting.pair_id(start_s, account, number), *energies, *amounts)
        state.pairs.put((start_s, account, number), pair)
        units = [(code, minting.mint(state, code, account, energies)) for code in counting]
        moved = tuple(Minted(code, count) for code, count in units if count)
        written.append(PairWritten(account, number, pair, moved, settling or ""))
    return tuple(written)


def finish(state: State, start_s: int) -> None:
    """No correction can follow: the period's pairs leave the state, the views keep them."""
    for key, _ in state.pairs.range((start_s, b"", 0), (start_s + 1, b"", 0)):
        state.pairs.delete(key)


def pay_from(state: State, code: str, account: bytes, most: int) -> dict[bytes, int]:
    """Pay what an account owes on its claim with the asset that settles, from at most so many of its free units.

    Returns:
        What each account received, or (below zero) gave.
    """
    claim = state.claims.get(account)
    owed = 0 if claim is None else max(0, -claim.amount_u)
    return _move(state, code, _due(state), {account: min(owed, most, balance(state, account, code).free)})


def _verified(metered: Metered) -> minting.Energies:
    if metered.quality == Quality.ESTIMATED:
        return _NOTHING
    return metered.import_wh, metered.export_wh, metered.produced_wh or 0


def _pay(state: State, code: str) -> dict[bytes, int]:
    """Pay claims between members with the asset that settles; what each one received, or gave (below zero)."""
    able = {}
    for account, claim in state.claims.items():
        if claim.amount_u < 0 and _is_member(state, account) and (free := balance(state, account, code).free):
            able[account] = min(-claim.amount_u, free)
    return _move(state, code, _due(state), able)


def _due(state: State) -> dict[bytes, int]:
    """What members are owed."""
    return {
        account: claim.amount_u
        for account, claim in state.claims.items()
        if claim.amount_u > 0 and _is_member(state, account)
    }


def _move(state: State, code: str, due: dict[bytes, int], able: dict[bytes, int]) -> dict[bytes, int]:
    """Pay as much as is due and can be paid, both sides in proportion."""
    pot = min(sum(due.values()), sum(able.values()))
    if not pot:
        return {}
    moved = split(pot, due.items()) | {account: -part for account, part in split(pot, able.items()).items()}
    for account, amount in sorted(moved.items()):
        if amount:
            change(state, account, code, free=amount)
            _reduce_claim(state, account, amount)
    return moved


def _is_member(state: State, account: bytes) -> bool:
    """Whether an account is a member's who has not left; the grid and the funds are none."""
    row = state.accounts.get(account)
    return row is not None and not row.left_s


def _reduce_claim(state: State, account: bytes, amount: int) -> None:
    left = state.claims[account].amount_u - amount
    if left:
        state.claims.put(account, rows.Claim(left))
    else:
        state.claims.delete(account)
