"""Agents: the ledger orders for members who said two prices and how full their store should be.

They act after everything else in a block, on every node alike: no key has to sign, no node has to be up, and
whoever dies at whatever moment, there is never a second order for one need. An agent's order is an
order as any other, under the same guards; what its member orders itself goes first.
"""

from __future__ import annotations

import hashlib

import msgspec

from meshnode.execution.call import Call, Handlers, Ledger, Turn
from meshnode.execution.floor import Moment
from meshnode.execution.orders import band_of, fault_of_price, place, possible
from meshnode.ledger import rows, standing
from meshnode.ledger.balances import balance
from meshnode.ledger.order_rows import NOBODY, Standing
from meshnode.ledger.order_rows import Agent as AgentRow
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Side
from meshnode.market.agent import NO_LIMIT_WH, AgentError, Targets, Wish, act, still_wants
from protocols import cbor
from protocols.records import Agent, AgentOff, AgentSet, Order, StandingTerms

# A home has a battery or two, and a share in a common one; every block looks at each agent.
MAX_AGENTS_PER_ACCOUNT = 8
# Asset codes have far fewer bytes.
_AFTER_ALL = "\U0010ffff"


def act_all(ledger: Ledger, moment: Moment, position: int) -> None:
    """Every agent's turn, by account and asset.

    Args:
        position: the first one in the block after its records.
    """
    for number, ((account, asset), row) in enumerate(ledger.state.agents.items()):
        if account in ledger.state.frozen:
            continue
        turn = Turn(
            ledger=ledger,
            record_id=_order_id(account, asset, moment.height),
            account=account,
            height=moment.height,
            position=position + number,
            time_s=moment.time_s,
            events=moment.events,
        )
        if not _heed(turn, asset, row):
            _order(turn, asset, row)


def hindrance(ledger: Ledger, account: bytes, asset: str, time_s: int) -> Verdict | None:
    """Why an agent that wants to order does not; None if nothing hinders it, or it wants nothing. Changes nothing."""
    row, height = ledger.state.agents[account, asset], ledger.state.meta.row.height
    turn = Turn(ledger, _order_id(account, asset, height + 1), account, height + 1, 0, time_s, [])
    wish = wish_of(ledger.state, account, asset, row)
    if wish is None or row.order in ledger.state.standing:
        return None
    return _placeable(turn, asset, row, wish)[1] or None


def wish_of(state: State, account: bytes, asset: str, row: AgentRow) -> Wish | None:
    """The order that an agent would give now, if it can be paid for and is allowed."""
    most = _most(state, account, asset)
    free = balance(state, account, asset).free
    return act(_targets(row), free, _orders_itself(state, account, asset, NOBODY), most)


def leave(state: State, account: bytes) -> None:
    """A member has left: so have its agents. Their orders went with all others of the member."""
    for key, _ in state.agents.range((account, ""), (account, _AFTER_ALL)):
        state.agents.delete(key)


def check(state: State) -> None:
    """No order of an agent wants more than its member needs: no need is met twice.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    for (account, asset), row in state.agents.items():
        order = state.standing.get(row.order)
        if order is not None:
            assert (order.account, order.asset) == (account, asset), f"agent of {account.hex()}: an order of others"
            wanted = _still_wants(state, account, asset, row, order)
            assert order.open_wh <= wanted, f"agent of {account.hex()}: orders {order.open_wh}, needs {wanted} {asset}"


# --- records


def _agent(call: Call, record: Agent) -> Verdict:
    match record.step:
        case AgentSet() as step:
            return _set(call, step)
        case AgentOff() as step:
            row = call.state.agents.get((call.account, step.asset))
            if row is None:
                return Verdict.NO_AGENT
            _withdraw(call, row)
            call.state.agents.delete((call.account, step.asset))
            return Verdict.ACCEPTED


def _set(call: Call, step: AgentSet) -> Verdict:
    state, key = call.state, (call.account, step.asset)
    if any(code not in state.assets for code in (step.asset, step.paid_with)):
        return Verdict.UNKNOWN_ASSET
    if step.asset == step.paid_with:
        return Verdict.SAME_ASSET
    if step.paid_with in state.storages:
        return Verdict.STORED_PAYS
    band = band_of(call, step.asset, step.paid_with)
    for price in (step.buy_price_u_kwh, step.sell_price_u_kwh):
        if fault := fault_of_price(price, band):
            return fault
    row = AgentRow(step.paid_with, step.buy_price_u_kwh, step.sell_price_u_kwh, step.low, step.target, step.high)
    try:
        _targets(row)
    except AgentError:
        return Verdict.TARGETS_CONTRADICT
    storage = state.storages.get(step.asset)
    if storage is not None and step.high > storage.most_wh:
        return Verdict.TARGETS_CONTRADICT
    known = state.agents.get(key)
    others = state.agents.range((call.account, ""), (call.account, _AFTER_ALL))
    if known is None and len(list(others)) >= MAX_AGENTS_PER_ACCOUNT:
        return Verdict.TOO_MANY_AGENTS
    if known is not None:
        _withdraw(call, known)
    state.agents.put(key, row)
    return Verdict.ACCEPTED


def _withdraw(turn: Turn, row: AgentRow) -> None:
    if row.order in turn.state.standing:
        turn.ledger.floor.cancel(turn.moment, row.order)


# --- an agent's turn


def _heed(turn: Turn, asset: str, row: AgentRow) -> bool:
    """Make an order that rests no larger than the need; whether it rests on."""
    order = turn.state.standing.get(row.order)
    if order is None:
        return False
    wanted = _still_wants(turn.state, turn.account, asset, row, order)
    if not wanted:
        _withdraw(turn, row)
        return False
    if wanted < order.open_wh:
        # Less at the same price keeps its place.
        less = msgspec.structs.replace(order, open_wh=wanted, ready_wh=min(order.ready_wh, wanted))
        turn.ledger.floor.amend(turn.moment, row.order, less, order.filled_wh + wanted)
    return True


def _order(turn: Turn, asset: str, row: AgentRow) -> None:
    wish = wish_of(turn.state, turn.account, asset, row)
    if wish is None:
        return
    order, fault = _placeable(turn, asset, row, wish)
    if order is None or fault:
        return
    assert order.standing is not None
    if place(turn, order, order.standing) == Verdict.ACCEPTED:
        turn.state.agents.put((turn.account, asset), msgspec.structs.replace(row, order=turn.record_id))


def _placeable(turn: Turn, asset: str, row: AgentRow, wish: Wish) -> tuple[Order | None, Verdict]:
    """The order for a wish, as far as its member can back it; and what speaks against it."""
    order = Order(
        nonce=0,
        valid_until_s=turn.time_s,
        side=int(wish.side),
        period_start_s=0,
        energy_wh=wish.energy_wh,
        price_u_kwh=wish.price_u_kwh,
        standing=StandingTerms(asset=asset, paid_with=row.paid_with),
    )
    assert order.standing is not None
    backed_wh, fault = possible(turn, order, order.standing)
    if not backed_wh:
        return None, fault or Verdict.NOT_ENOUGH
    return msgspec.structs.replace(order, energy_wh=backed_wh), fault


def _still_wants(state: State, account: bytes, asset: str, row: AgentRow, order: Standing) -> int:
    held = state.holds[row.order].amount if order.side == Side.SELL else 0
    has = balance(state, account, asset).free + held
    others = _orders_itself(state, account, asset, row.order)
    return still_wants(_targets(row), Side(order.side), has, others, _most(state, account, asset, held))


def _orders_itself(state: State, account: bytes, asset: str, own: bytes) -> bool:
    """Whether the member has an order of the asset open, or an auction or a bid; `own` is the agent's."""
    for order_id, order in standing.of(state, account):
        if order_id != own and asset in (order.asset, order.paid_with):
            return True
    if any(row.account == account and asset in (row.asset, row.paid_with) for _, row in state.auctions.items()):
        return True
    bids = ((state.auctions[auction_id], bid) for (auction_id, _), bid in state.auction_bids.items())
    return any(bid.account == account and asset in (row.asset, row.paid_with) for row, bid in bids)


def _most(state: State, account: bytes, asset: str, own_held: int = 0) -> int:
    """The most that may be free: what the rules allow, less what is held for others."""
    storage = state.storages.get(asset)
    if storage is None:
        return NO_LIMIT_WH
    return max(0, storage.most_wh - (balance(state, account, asset).held - own_held))


def _targets(row: AgentRow) -> Targets:
    return Targets(row.buy_price_u_kwh, row.sell_price_u_kwh, row.low, row.target, row.high)


def _order_id(account: bytes, asset: str, height: int) -> bytes:
    """As long as a record id, and none: nobody signs these bytes."""
    return hashlib.sha256(cbor.encode(["agent", account, asset, height])).digest()


EXECUTED: Handlers = {Agent: (rows.PURPOSE_MEMBER, _agent)}
