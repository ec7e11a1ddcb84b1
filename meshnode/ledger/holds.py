"""Holds: amounts that their owners have committed, until a record takes them or their time has passed.

A hold moves an amount from free to held; whatever ends it moves all of it out of held again, so
that the held amounts of an account are always the sum of its open holds (invariant I3).
"""

from __future__ import annotations

import msgspec

from meshnode.ledger import rows
from meshnode.ledger.balances import balance, change
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict

# A household has a handful of offers open; what everybody together holds, every block must be able to let go.
MAX_HOLDS_PER_ACCOUNT = 64
# Two years: as far ahead as anybody plans, and short enough that what was forgotten comes back.
MAX_HOLD_S = 2 * 366 * 86_400


class HoldEnded(msgspec.Struct, frozen=True):
    """A hold's time has passed; what was left of it is its owner's again."""

    hold_id: bytes
    hold: rows.Hold


def place(state: State, hold_id: bytes, hold: rows.Hold, time_s: int) -> Verdict:
    """Commit an amount.

    Args:
        hold_id: id of the record that commits it; new.
        time_s: of the block.
    """
    if hold.until_s != rows.NO_TIMEOUT and not time_s < hold.until_s <= time_s + MAX_HOLD_S:
        return Verdict.END_NOT_AHEAD
    count = _count(state, hold.owner)
    if count >= MAX_HOLDS_PER_ACCOUNT:
        return Verdict.TOO_MANY_HOLDS
    if balance(state, hold.owner, hold.asset).free < hold.amount:
        return Verdict.NOT_ENOUGH
    assert hold.amount > 0 and hold_id not in state.holds, f"hold {hold_id.hex()} is placed twice, or of nothing"
    change(state, hold.owner, hold.asset, free=-hold.amount, held=hold.amount)
    state.holds.put(hold_id, hold)
    if hold.until_s != rows.NO_TIMEOUT:
        state.hold_ends.put((hold.until_s, hold_id), rows.HoldEnd(hold.owner))
    state.hold_counts.put(hold.owner, rows.HoldCount(count + 1))
    return Verdict.ACCEPTED


def find(state: State, hold_id: bytes, purpose: int) -> rows.Hold | None:
    """The open hold with this id, if it is for this purpose and a record may end it."""
    hold = state.holds.get(hold_id)
    if hold is None or hold.purpose != purpose or hold.release != rows.RELEASE_RECORD:
        return None
    return hold


def pay(state: State, hold_id: bytes, to: bytes, amount: int) -> None:
    """Part of a hold, or all of it, goes to an account; the hold ends with its last unit.

    The caller has checked that `to` is a member and that the hold has as much.
    """
    _take(state, hold_id, amount)
    change(state, to, state.holds[hold_id].asset, free=amount)
    _shrink(state, hold_id, amount)


def add(state: State, hold_id: bytes, amount: int) -> None:
    """More is committed to the same end. The caller has checked that the owner has as much free."""
    hold = state.holds[hold_id]
    assert amount > 0, f"hold {hold_id.hex()}: {amount} more"
    change(state, hold.owner, hold.asset, free=-amount, held=amount)
    state.holds.put(hold_id, msgspec.structs.replace(hold, amount=hold.amount + amount))


def has_room(state: State, owner: bytes) -> bool:
    """Whether an account may have one more hold."""
    return _count(state, owner) < MAX_HOLDS_PER_ACCOUNT


def burn(state: State, hold_id: bytes) -> None:
    """All of a hold is destroyed; the supply shrinks with it."""
    hold = state.holds[hold_id]
    _take(state, hold_id, hold.amount)
    asset = state.assets[hold.asset]
    state.assets.put(hold.asset, msgspec.structs.replace(asset, supply=asset.supply - hold.amount))
    _shrink(state, hold_id, hold.amount)


def release(state: State, hold_id: bytes) -> rows.Hold:
    """What is left of a hold is its owner's again; gives the hold as it was."""
    hold = state.holds[hold_id]
    pay(state, hold_id, hold.owner, hold.amount)
    return hold


def expire(state: State, time_s: int) -> list[HoldEnded]:
    """Release every hold whose time is past, in order of time and id."""
    over = [hold_id for (_, hold_id), _ in state.hold_ends.range((0, b""), (time_s, b""))]
    return [HoldEnded(hold_id, release(state, hold_id)) for hold_id in over]


def check(state: State) -> None:
    """Invariant I3: what is held of each asset by each account is the sum of its open holds.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    held: dict[tuple[bytes, str], int] = {}
    counts: dict[bytes, int] = {}
    ends = set()
    for hold_id, hold in state.holds.items():
        assert hold.amount > 0, f"hold {hold_id.hex()} of {hold.amount}"
        held[(hold.owner, hold.asset)] = held.get((hold.owner, hold.asset), 0) + hold.amount
        counts[hold.owner] = counts.get(hold.owner, 0) + 1
        if hold.until_s != rows.NO_TIMEOUT:
            ends.add((hold.until_s, hold_id))
    known = {key: row.held for key, row in state.balances.items() if row.held}
    assert known == held, "what is held is not the sum of the open holds"
    assert {key for key, _ in state.hold_ends.items()} == ends, "holds and their ends differ"
    assert {key: row.holds for key, row in state.hold_counts.items()} == counts, "holds are counted wrongly"


def _count(state: State, owner: bytes) -> int:
    row = state.hold_counts.get(owner)
    return 0 if row is None else row.holds


def _take(state: State, hold_id: bytes, amount: int) -> None:
    hold = state.holds[hold_id]
    assert 0 < amount <= hold.amount, f"hold {hold_id.hex()}: {amount} of {hold.amount}"
    change(state, hold.owner, hold.asset, held=-amount)


def _shrink(state: State, hold_id: bytes, amount: int) -> None:
    hold = state.holds[hold_id]
    if amount < hold.amount:
        state.holds.put(hold_id, msgspec.structs.replace(hold, amount=hold.amount - amount))
        return
    state.holds.delete(hold_id)
    if hold.until_s != rows.NO_TIMEOUT:
        state.hold_ends.delete((hold.until_s, hold_id))
    count = _count(state, hold.owner) - 1
    if count:
        state.hold_counts.put(hold.owner, rows.HoldCount(count))
    else:
        state.hold_counts.delete(hold.owner)
