"""Standing: the orders of assets that rest, what is held for them, and the trades that they came to.

Which orders meet, and at which price, is the market's business; here is what that moves. An order's hold has
its record id, and holds exactly what its open part may cost or deliver, of an unbacked order its ready part.
Ready is what may trade now: what can be backed and, where stored energy is bought, has room.
"""

from __future__ import annotations

import hashlib

import msgspec

from meshnode.amounts import value
from meshnode.ledger import capacity, holds, pausing, rows
from meshnode.ledger.balances import balance
from meshnode.ledger.order_rows import NO_PRICE, Committed, Execution, Standing, StandingOf, TradingDay
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols import cbor
from protocols.records import SIDE_BUY

# A household has a handful of orders open; as many as in a period's book.
MAX_STANDING_PER_ACCOUNT = 32
# A step that no order followed is void after a week; until then a member has only so many.
MAX_COMMITTED_PER_ACCOUNT = 64
COMMITTED_S = 7 * 86_400
# Parts of an order cost whole units only if each unit of it does.
PRICE_TICK_U_KWH = 1000
DAY_S = 86_400
# Record ids have 32 bytes.
_AFTER_ALL = b"\xff" * 33
_AFTER_ALL_CODES = "\U0010ffff"


def unit_price_u(row: Standing) -> int:
    """The most that a unit of an order may cost, its partner's price included."""
    return max(row.price_u_kwh, row.partner_price_u_kwh) // PRICE_TICK_U_KWH


def given(row: Standing) -> str:
    """The asset that an order gives."""
    return row.paid_with if row.side == SIDE_BUY else row.asset


def need(row: Standing, energy_wh: int) -> int:
    """How much an order gives at most for so many units."""
    return energy_wh * unit_price_u(row) if row.side == SIDE_BUY else energy_wh


def affordable_wh(state: State, order_id: bytes, row: Standing) -> int:
    """How many of an order's units what is held for it and what its owner has free could back, at most all."""
    hold = state.holds.get(order_id)
    if hold is None and not holds.has_room(state, row.account):
        return 0
    means = balance(state, row.account, given(row)).free + (0 if hold is None else hold.amount)
    return min(row.open_wh, means // unit_price_u(row) if row.side == SIDE_BUY else means)


def tradable_wh(state: State, order_id: bytes, row: Standing) -> int:
    """How many of an order's units may trade now: those that can be backed, and for which there is room.

    None while matching is paused. Room is given to an account's purchases by sequence; those without it wait.
    """
    if pausing.is_paused(state):
        return 0
    backed = affordable_wh(state, order_id, row)
    space = capacity.room(state, row.asset, row.account) if row.side == SIDE_BUY else None
    if space is None or not backed:
        return backed
    for other_id, other in of(state, row.account):
        before = (other.height, other.position) < (row.height, row.position)
        if other_id != order_id and before and other.side == SIDE_BUY and other.asset == row.asset:
            space -= other.ready_wh
    return max(0, min(backed, space))


def backed_wh(row: Standing) -> int:
    """How many of an order's units are held for: all that it wants, of an unbacked order what may trade now."""
    return row.ready_wh if row.unbacked else row.open_wh


def fit_hold(state: State, order_id: bytes, row: Standing, time_s: int) -> None:
    """Hold exactly what an order needs; the caller has checked that it is there."""
    hold = state.holds.get(order_id)
    held, wanted = 0 if hold is None else hold.amount, need(row, backed_wh(row))
    if wanted == held:
        return
    if hold is None:
        fresh = rows.Hold(row.account, given(row), wanted, b"", rows.HOLD_ORDER, rows.NO_TIMEOUT)
        verdict = holds.place(state, order_id, fresh, time_s)
        assert verdict == Verdict.ACCEPTED, f"order {order_id.hex()}: {verdict.name} after it was checked"
    elif wanted > held:
        holds.add(state, order_id, wanted - held)
    else:
        holds.pay(state, order_id, row.account, held - wanted)


def put(state: State, order_id: bytes, row: Standing) -> None:
    """Enter an order that rests, or as it now stands."""
    state.standing.put(order_id, row)
    if (row.account, order_id) not in state.standing_of:
        state.standing_of.put((row.account, order_id), StandingOf(row.asset))


def drop(state: State, order_id: bytes) -> None:
    """An order is gone; what is still held for it is its owner's again."""
    if order_id in state.holds:
        holds.release(state, order_id)
    row = state.standing.get(order_id)
    if row is not None:
        state.standing.delete(order_id)
        state.standing_of.delete((row.account, order_id))


def of(state: State, account: bytes) -> list[tuple[bytes, Standing]]:
    """An account's standing orders by the sequence of their booking."""
    found = state.standing_of.range((account, b""), (account, _AFTER_ALL))
    mine = [(order_id, state.standing[order_id]) for (_, order_id), _ in found]
    return sorted(mine, key=lambda item: (item[1].height, item[1].position))


def of_agents(state: State, account: bytes, gives: str) -> list[bytes]:
    """The resting orders of an account's agents that give an asset: they make way for what the member orders itself."""
    rows_of = state.agents.range((account, ""), (account, _AFTER_ALL_CODES))
    found = ((row.order, state.standing.get(row.order)) for _, row in rows_of)
    return [order_id for order_id, order in found if order is not None and given(order) == gives]


def execute(state: State, key: tuple[int, int], trade: Execution) -> None:
    """Both legs of a trade, out of the two orders' holds."""
    holds.pay(state, trade.buy_order, trade.seller, trade.paid)
    holds.pay(state, trade.sell_order, trade.buyer, trade.energy_wh)
    state.executions.put(key, trade)


def fault_of_reversal(state: State, trade: Execution) -> Verdict:
    """Whether both parties have what is to go back, and the seller has room for it."""
    legs = ((trade.buyer, trade.asset, trade.energy_wh), (trade.seller, trade.paid_with, trade.paid))
    if any(balance(state, account, asset).free < amount for account, asset, amount in legs):
        return Verdict.NOT_ENOUGH
    return Verdict.ACCEPTED if capacity.has_room(state, trade.asset, trade.seller, trade.energy_wh) else Verdict.NO_ROOM


def commit(state: State, record_id: bytes, row: Committed) -> Verdict:
    """A member commits to a step of an order that it is going to give."""
    mine = sum(one.account == row.account for _, one in state.committed.items())
    if mine >= MAX_COMMITTED_PER_ACCOUNT:
        return Verdict.TOO_MANY_STEPS
    state.committed.put(record_id, row)
    return Verdict.ACCEPTED


def leave(state: State, account: bytes) -> None:
    """A member has left: no order will follow its steps."""
    for record_id, row in state.committed.items():
        if row.account == account:
            state.committed.delete(record_id)


def forget(state: State, time_s: int) -> None:
    """Drop steps that no order followed in time."""
    for record_id, row in state.committed.items():
        if row.until_s < time_s:
            state.committed.delete(record_id)


def settle(state: State, key: tuple[int, int], trade: Execution) -> None:
    """A trade enters the sum of its day, and goes."""
    day = trade.time_s - trade.time_s % DAY_S
    before = state.trading_days.get(day) or TradingDay(0, b"")
    said = cbor.encode([before.digest, *key, list(msgspec.structs.astuple(trade))])
    state.trading_days.put(day, TradingDay(before.trades + 1, hashlib.sha256(said).digest()))
    state.executions.delete(key)


def check(state: State) -> None:
    """What is held for each standing order is what its ready part needs, and nobody has too many.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    held = {order_id: hold.amount for order_id, hold in state.holds.items() if hold.purpose == rows.HOLD_ORDER}
    needed = {order_id: need(row, backed_wh(row)) for order_id, row in state.standing.items() if backed_wh(row)}
    assert held == needed, "what is held for standing orders is not what they need"
    assert {(row.account, order_id) for order_id, row in state.standing.items()} == {
        key for key, _ in state.standing_of.items()
    }, "standing orders and their owners differ"
    for order_id, row in state.standing.items():
        assert 0 <= row.ready_wh <= row.open_wh and row.open_wh, f"order {order_id.hex()}: {row}"
        assert row.partner_price_u_kwh == NO_PRICE or row.partner, f"order {order_id.hex()}: a price for nobody"
        assert value(row.price_u_kwh, 1) * PRICE_TICK_U_KWH == row.price_u_kwh, f"order {order_id.hex()}: off tick"
        possible = tradable_wh(state, order_id, row)
        assert row.ready_wh == possible, f"order {order_id.hex()}: {row.ready_wh} ready, {possible} could be"
        waits = pausing.is_paused(state) or (row.side == SIDE_BUY and row.asset in state.storages)
        assert row.unbacked or waits or row.ready_wh == row.open_wh, f"order {order_id.hex()} rests unbacked"
