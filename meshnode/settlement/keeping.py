"""Keeping: whose energy a storage charges and discharges, from what the settlement left over.

What a member would give to the grid is charged for it, as far as it may store; what it would take from the
grid is discharged for it, as far as it has something stored. What the storage then really
moved is divided in these proportions, so every Wh of its registers is somebody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshnode.amounts import PPM, split
from meshnode.ledger import capacity, delivery_rows
from meshnode.ledger.balances import balance
from meshnode.ledger.state import State
from meshnode.settlement import points
from protocols.records.delivery import MAX_STORED_PARTS

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


def moved(
    planned: Mapping[bytes, tuple[int, int]],
    charged_wh: int,
    discharged_wh: int,
    first: tuple[frozenset[bytes], frozenset[bytes]] = (frozenset(), frozenset()),
) -> Parts:
    """Divide what a storage really moved as it was planned; the parts add up to it.

    Args:
        first: whose plan is carried out whole before the others', charging and discharging.
    """
    into = _divided(charged_wh, {account: part[0] for account, part in planned.items()}, first[0])
    out = _divided(discharged_wh, {account: part[1] for account, part in planned.items()}, first[1])
    both = {account: (into.get(account, 0), out.get(account, 0)) for account in planned}
    return {account: part for account, part in both.items() if any(part)}


def _divided(moved_wh: int, planned_wh: Mapping[bytes, int], first: frozenset[bytes]) -> dict[bytes, int]:
    if not moved_wh:
        return {}
    before = {account: wh for account, wh in planned_wh.items() if account in first}
    after = {account: wh for account, wh in planned_wh.items() if account not in first}
    served_wh = min(moved_wh, sum(before.values())) if any(after.values()) else moved_wh
    parts = split(served_wh, before.items()) if served_wh else {}
    return parts | (split(moved_wh - served_wh, after.items()) if moved_wh > served_wh else {})


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
