"""Restoring: what a corrected reading changes of what was stored for whom, and of what was drawn.

A storage moved what it moved; only whose energy that was is put right, by differences that come to nothing together.
What somebody got and should not have burns, and is given to who should have got it. Where it was passed on before,
it is owed: it is taken from what is stored next for who owes it, and goes to those to whom it is due.
"""

from __future__ import annotations

import msgspec

from meshnode.amounts import PPM, split
from meshnode.ledger import assets, capacity, delivery_rows
from meshnode.ledger.balances import balance
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import points
from meshnode.settlement.delivering import put_keep
from protocols.records import Stored


class Taken(msgspec.Struct, frozen=True):
    """A member consumed stored energy. burned_wh: of its own; grid_wh: it had no more, the rest was grid energy."""

    asset: str
    account: bytes
    burned_wh: int
    grid_wh: int


def fault(state: State, record: Stored) -> Verdict:
    """What speaks against the corrections of a record; ACCEPTED if nothing does, or it has none."""
    corrections = _corrections(record)
    if not corrections:
        return Verdict.ACCEPTED if record.of_s is None else Verdict.NOT_CORRECTED
    period = None if record.of_s is None else state.periods.get(record.of_s)
    if record.parts or period is None or not period.corrections:
        return Verdict.NOT_CORRECTED
    if sum(part[1] for part in corrections) or sum(part[2] for part in corrections):
        return Verdict.NOT_WHAT_COUNTED
    for account, charged_wh, discharged_wh in corrections:
        found = _fault_of_part(state, record.asset, account, charged_wh, discharged_wh)
        if found:
            return found
    asset = state.assets[record.asset]
    back_wh = sum(-part[2] for part in corrections if part[2] < 0)
    return Verdict.OVER_CAP if asset.supply + back_wh > asset.cap else Verdict.ACCEPTED


def restore(state: State, record: Stored) -> list[Taken | Moved]:
    """Carry out the corrections of a record that nothing speaks against."""
    events: list[Taken | Moved] = []
    corrections = _corrections(record)
    freed = 0
    for account, charged_wh, _ in corrections:
        units = _of_charge(state, record.asset, account, charged_wh)
        keep = _keep(state, record.asset, account)
        if units < 0:
            burned = min(-units, balance(state, account, record.asset).free)
            events += _mint(state, record.asset, account, -burned)
            freed += burned
            keep = msgspec.structs.replace(keep, owed_wh=keep.owed_wh - units - burned)
        else:
            settled = min(units, keep.owed_wh)
            keep = msgspec.structs.replace(keep, owed_wh=keep.owed_wh - settled, due_wh=keep.due_wh + units - settled)
        put_keep(state, record.asset, account, keep)
    given = pay_due(state, record.asset, freed)
    change_minted(state, record.asset, sum(one.amount for one in given) - freed)
    events += given
    for account, _, discharged_wh in corrections:
        if discharged_wh < 0:
            events += _give_back(state, record.asset, account, -discharged_wh)
    for account, _, discharged_wh in corrections:
        if discharged_wh > 0:
            events += take(state, record.asset, account, discharged_wh, What.RESTORED)
    return events


def take(state: State, code: str, account: bytes, consumed_wh: int, why: What) -> list[Taken | Moved]:
    """A member consumed so much; what it does not have was grid energy."""
    burned = min(balance(state, account, code).free, consumed_wh)
    keep = _keep(state, code, account)
    short_wh = keep.short_wh + consumed_wh - burned
    put_keep(state, code, account, msgspec.structs.replace(keep, burned_wh=keep.burned_wh + burned, short_wh=short_wh))
    return [Taken(code, account, burned, consumed_wh - burned), *_mint(state, code, account, -burned, why)]


def pay_due(state: State, code: str, units: int) -> list[Moved]:
    """Mint at most so many units for those to whom some are due, in proportion; gives what was minted."""
    due = {
        account: row.due_wh
        for (_, account), row in state.keeps.range((code, b""), (code + "\0", b""))
        if row.due_wh and points.is_member(state, account)
    }
    events: list[Moved] = []
    pot = min(units, sum(due.values()))
    for account, part in split(pot, due.items()).items() if pot else ():
        keep = _keep(state, code, account)
        put_keep(state, code, account, msgspec.structs.replace(keep, due_wh=keep.due_wh - part))
        events += _mint(state, code, account, part)
    return events


def change_minted(state: State, code: str, units: int) -> None:
    """Count what was minted, or taken back (below zero), for the storage."""
    storage = state.storages[code]
    state.storages.put(code, msgspec.structs.replace(storage, minted=storage.minted + units))


def _corrections(record: Stored) -> list[tuple[bytes, int, int]]:
    """(account, charged, discharged) that was more, or (below zero) less; by account."""
    found: dict[bytes, tuple[int, int]] = {}
    for sign, parts in ((-1, record.less), (1, record.more)):
        for account, charged_wh, discharged_wh in parts:
            known = found.get(account, (0, 0))
            found[account] = known[0] + sign * charged_wh, known[1] + sign * discharged_wh
    return [(account, *found[account]) for account in sorted(found)]


def _fault_of_part(state: State, code: str, account: bytes, charged_wh: int, discharged_wh: int) -> Verdict:
    if account not in state.accounts:
        return Verdict.UNKNOWN_ACCOUNT
    keep = _keep(state, code, account)
    if keep.charged_wh + charged_wh < 0 or keep.burned_wh + keep.short_wh + discharged_wh < 0:
        return Verdict.NOT_WHAT_COUNTED
    if charged_wh <= 0:
        return Verdict.ACCEPTED
    storage = state.storages[code]
    if not points.is_member(state, account):
        return Verdict.UNKNOWN_ACCOUNT
    if storage.access and not balance(state, account, storage.access).free:
        return Verdict.NO_ACCESS
    units = (keep.rest + charged_wh * storage.efficiency_ppm) // PPM - keep.owed_wh
    return Verdict.ACCEPTED if units <= 0 or capacity.has_room(state, code, account, units) else Verdict.NO_ROOM


def _of_charge(state: State, code: str, account: bytes, charged_wh: int) -> int:
    """Units for so much more charged, below zero for less; what is left of one is kept in mind."""
    keep = _keep(state, code, account)
    units, rest = divmod(keep.rest + charged_wh * state.storages[code].efficiency_ppm, PPM)
    charged = keep.charged_wh + charged_wh
    put_keep(state, code, account, msgspec.structs.replace(keep, rest=rest, charged_wh=charged))
    return units


def _give_back(state: State, code: str, account: bytes, not_consumed_wh: int) -> list[Moved]:
    """A member consumed so much less: first of what was grid energy, the rest of what burned is its own again."""
    keep = _keep(state, code, account)
    not_short_wh = min(keep.short_wh, not_consumed_wh)
    back = not_consumed_wh - not_short_wh
    changed = msgspec.structs.replace(keep, short_wh=keep.short_wh - not_short_wh, burned_wh=keep.burned_wh - back)
    put_keep(state, code, account, changed)
    return _mint(state, code, account, back)


def _mint(state: State, code: str, account: bytes, units: int, why: What = What.RESTORED) -> list[Moved]:
    """Units are made for an account, or (below zero) burned."""
    if not units:
        return []
    assets.mint(state, code, account, units)
    giver, taker = (b"", account) if units > 0 else (account, b"")
    return [Moved(why, giver, taker, code, abs(units))]


def _keep(state: State, code: str, account: bytes) -> delivery_rows.Keep:
    return state.keeps.get((code, account)) or delivery_rows.Keep()
