"""Keeping: whose energy a storage charges and discharges, from what the settlement left over.

What a member would give to the grid is charged for it, as far as it may store; what it would take from the
grid is discharged for it, as far as it has something stored. What the storage then really
moved is divided in these proportions, so every Wh of its registers is somebody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from meshnode.amounts import PPM, split
from meshnode.ledger import capacity, delivery_rows
from meshnode.ledger.balances import balance
from meshnode.ledger.state import State
from meshnode.settlement import points
from protocols.records.delivery import MAX_STORED_PARTS

# Each may stand among those who have less and among those who have more.
MAX_CORRECTED: Final = MAX_STORED_PARTS // 2

Parts = dict[bytes, tuple[int, int]]
"""(charged, discharged) in Wh by account; accounts without either are left out."""


def chargeable_wh(state: State, code: str, account: bytes) -> int:
    """What may be charged for a member at most, before losses, without more than its bound being minted."""
    storage = state.storages[code]
    if not points.is_member(state, account):
        return 0
    if storage.access and not balance(state, account, storage.access).free:
        return 0
    room = capacity.room(state, code, account)
    keep = state.keeps.get((code, account)) or delivery_rows.Keep()
    return ((room + 1) * PPM - 1 - keep.rest) // storage.efficiency_ppm if room else 0


def plan(
    state: State, code: str, left: Iterable[tuple[bytes, int, int]], due: Mapping[bytes, tuple[int, int]]
) -> Parts:
    """What the storage should move for each member after a period.

    Args:
        left: (account, Wh given to the grid, Wh taken from it) of the period, each account once.
        due: moved for members before, and not reported yet.
    """
    found: Parts = {}
    for account, given_wh, taken_wh in sorted(left):
        waits_in, waits_out = due.get(account, (0, 0))
        into_wh = min(given_wh, max(0, chargeable_wh(state, code, account) - waits_in))
        out_wh = min(taken_wh, max(0, balance(state, account, code).free - waits_out))
        if into_wh or out_wh:
            found[account] = (into_wh, out_wh)
    return found


def moved(planned: Mapping[bytes, tuple[int, int]], charged_wh: int, discharged_wh: int) -> Parts:
    """Divide what a storage really moved as it was planned; the parts add up to it."""
    into = split(charged_wh, [(account, part[0]) for account, part in planned.items()]) if charged_wh else {}
    out = split(discharged_wh, [(account, part[1]) for account, part in planned.items()]) if discharged_wh else {}
    both = {account: (into.get(account, 0), out.get(account, 0)) for account in planned}
    return {account: part for account, part in both.items() if any(part)}


def add(one: Mapping[bytes, tuple[int, int]], other: Mapping[bytes, tuple[int, int]], sign: int = 1) -> Parts:
    """The sum of two, or with sign -1 their difference."""
    found = dict(one)
    for account, (into_wh, out_wh) in other.items():
        before = found.get(account, (0, 0))
        found[account] = (before[0] + sign * into_wh, before[1] + sign * out_wh)
    return {account: part for account, part in sorted(found.items()) if any(part)}


def reportable(state: State, code: str, due: Mapping[bytes, tuple[int, int]]) -> Parts:
    """Of what is due, what the ledger would take in one record now; the rest waits for room, access or the next one."""
    storage, asset = state.storages[code], state.assets[code]
    left_units = asset.cap - asset.supply
    found: Parts = {}
    for account, (into_wh, out_wh) in sorted(due.items()):
        if len(found) == MAX_STORED_PARTS or not points.is_member(state, account):
            continue
        # One more than its energy, for what was left of a unit before.
        fits_wh = max(0, left_units - 1) * PPM // storage.efficiency_ppm
        part = (min(into_wh, chargeable_wh(state, code, account), fits_wh), out_wh)
        if any(part):
            found[account] = part
            left_units -= part[0] * storage.efficiency_ppm // PPM + 1
    return found


def replan(
    state: State,
    code: str,
    before: Mapping[bytes, tuple[int, int]],
    after: Mapping[bytes, tuple[int, int]],
    planned: Mapping[bytes, tuple[int, int]],
) -> Parts:
    """The plan of a period after its readings were corrected.

    Who gave and took what it did before keeps its plan. Others may get what they should have got, as far as they
    have room and energy now besides.

    Args:
        before, after: (Wh given to the grid, Wh taken from it) by account, as it was planned with and as it is.
        planned: the plan so far.
    """
    found: Parts = {}
    for account in sorted(before.keys() | after.keys() | planned.keys()):
        part = planned.get(account, (0, 0))
        given_wh, taken_wh = after.get(account, (0, 0))
        if before.get(account, (0, 0)) != (given_wh, taken_wh):
            into_wh = min(given_wh, part[0] + chargeable_wh(state, code, account))
            part = into_wh, min(taken_wh, part[1] + balance(state, account, code).free)
        if any(part):
            found[account] = part
    return found


def divided(planned: Mapping[bytes, tuple[int, int]], did: tuple[int, int], keeper: bytes) -> Parts:
    """Divide what a storage moved by a plan that may be less than that: what is nobody's is its keeper's."""
    most = tuple(sum(part[side] for part in planned.values()) for side in (0, 1))
    found = moved(planned, min(did[0], most[0]), min(did[1], most[1]))
    rest = did[0] - min(did[0], most[0]), did[1] - min(did[1], most[1])
    return add(found, {keeper: rest}) if any(rest) else found


def shifted(due: Mapping[bytes, tuple[int, int]], old: Parts, new: Parts) -> tuple[Parts, Parts]:
    """What is still to be reported after whose it was has changed, and what the ledger must put right besides.

    Whatever was not reported is just reported otherwise; only what was cannot be. Both sums of `due` stay as they
    are, and those of the corrections are zero.

    Args:
        old, new: of one period, with equal sums.
    Returns:
        (due, corrections).
    """
    change = add(new, old, -1)
    wanted = add(due, change)
    lacking = tuple(sum(-min(0, part[side]) for part in wanted.values()) for side in (0, 1))
    gains = [
        split(lacking[side], [(one, part[side]) for one, part in change.items() if part[side] > 0])
        if lacking[side]
        else {}
        for side in (0, 1)
    ]
    corrections: Parts = {}
    for account, part in wanted.items():
        into_wh, out_wh = (gains[side].get(account, 0) + min(0, part[side]) for side in (0, 1))
        if into_wh or out_wh:
            corrections[account] = into_wh, out_wh
    return add(wanted, corrections, -1), corrections


def portion(corrections: Parts) -> Parts:
    """Of corrections what the ledger takes in one record: of few enough members, and with sums of zero as well."""
    found: Parts = {}
    for side in (0, 1):
        losers = [(one, -part[side]) for one, part in corrections.items() if part[side] < 0]
        gainers = [(one, part[side]) for one, part in corrections.items() if part[side] > 0]
        while losers and gainers:
            (loser, less_wh), (gainer, more_wh) = losers.pop(), gainers.pop()
            if len(found.keys() | {loser, gainer}) > MAX_CORRECTED:
                return found
            wh = min(less_wh, more_wh)
            change = {loser: (-wh, 0), gainer: (wh, 0)} if side == 0 else {loser: (0, -wh), gainer: (0, wh)}
            found = add(found, change)
            losers += [(loser, less_wh - wh)] if less_wh > wh else []
            gainers += [(gainer, more_wh - wh)] if more_wh > wh else []
    return found
