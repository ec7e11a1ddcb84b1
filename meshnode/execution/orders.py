"""Orders of assets: booked with a hold, confirmed by their record, traded at once; changed, taken out, undone.

Steps 1 to 3 of the life cycle happen in one block: the market's binding agrees for the other side. Who wants
to say beforehand what it is going to order commits to steps 1 and 2 by their hashes, and the order names
the second of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from meshnode.execution.call import Call, Handlers, Turn
from meshnode.execution.floor import Pair
from meshnode.ledger import (
    assets,
    capacity,
    contracts,
    credit,
    holds,
    installations,
    minting,
    preferences,
    rows,
    standing,
)
from meshnode.ledger.balances import balance
from meshnode.ledger.book import BookRules
from meshnode.ledger.order_rows import NO_EXPIRY, NO_PRICE, NOBODY, Committed, Standing
from meshnode.ledger.state import State as Tables
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Band, Side, TimeInForce, lifecycle
from meshnode.market.lifecycle import Event, Guard, State
from meshnode.market.standing import FREE
from meshnode.origin import SOURCES, Kind
from meshnode.settlement import parameters
from protocols import cbor
from protocols.records import (
    GOOD_MARKET,
    GOOD_TILL_CANCELLED,
    GOOD_WHOLE_AT_ONCE,
    SIDE_BUY,
    SIDE_SELL,
    Amend,
    Order,
    OrderBooked,
    OrderPrepared,
    OrderStep,
    StandingTerms,
    TradeReversed,
)
from protocols.records.schema import encode_fields

ENERGY_KIND = 1
HOUR_S = 3600


def place(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    """Take an order of an asset through steps 1 to 3, and trade what can be traded (step 4)."""
    terms = _with_partner(call, record, terms)
    state = State.PRE_EXECUTION
    for step, event in _STEPS:
        if fault := _fault_of(step, call, record, terms):
            return fault
        # The signature was checked before, and the block gives the sequence.
        state = lifecycle.move(
            state, event, {guard for guard, _ in step} | {Guard.IDENTITY, Guard.SIGNED, Guard.IN_SEQUENCE}
        )
    if not terms.unbacked:
        _make_way(call, _as_it_would_rest(call, record, terms, state))
    row = _as_it_would_rest(call, record, terms, state)
    good = TimeInForce.IOC if terms.good == GOOD_MARKET else TimeInForce(terms.good)
    effects = call.ledger.floor.place(call.moment, call.record_id, row, good)
    if not (effects.trades or effects.resting):
        return Verdict.NOT_FILLED
    if terms.booked is not None:
        # An order follows once from its steps.
        call.state.committed.delete(terms.booked)
    return Verdict.ACCEPTED


def possible(turn: Turn, record: Order, terms: StandingTerms) -> tuple[int, Verdict]:
    """How many of an order's units its owner could back and has room for, and what speaks against an order of those.

    Changes nothing; the assets are known, and the prices on the tick.
    """
    terms = _with_partner(turn, record, terms)
    wh = _as_it_would_rest(turn, record, terms, State.PRE_EXECUTION).ready_wh
    if not wh:
        return 0, Verdict.NOT_ENOUGH if holds.has_room(turn.state, turn.account) else Verdict.TOO_MANY_HOLDS
    less = msgspec.structs.replace(record, energy_wh=wh)
    faults = (_fault_of(step, turn, less, terms) for step, _ in _STEPS)
    return wh, next((fault for fault in faults if fault), Verdict.ACCEPTED)


def cancel(call: Call, order_id: bytes) -> Verdict:
    """Take a standing order out; what is held for it goes back."""
    if call.state.standing[order_id].account != call.account:
        return Verdict.UNKNOWN_ORDER
    call.ledger.floor.cancel(call.moment, order_id)
    return Verdict.ACCEPTED


def take_back(call: Call, step_id: bytes) -> Verdict:
    """A member is not going to give the order that it has committed to."""
    step = call.state.committed[step_id]
    if step.account != call.account:
        return Verdict.UNKNOWN_ORDER
    lifecycle.move(State(step.state), Event.CANCEL)
    call.state.committed.delete(step_id)
    return Verdict.ACCEPTED


def attributes_hash(said: Mapping[str, str]) -> bytes:
    """What step 1 of an order commits to: all attributes that its documents state, in their order."""
    return hashlib.sha256(cbor.encode([[name, said[name]] for name in lifecycle.ATTRIBUTES if name in said])).digest()


def terms_hash(record: Order) -> bytes:
    """What step 2 of an order commits to: what it says, but for what names the commitment itself."""
    assert record.standing is not None, "an order of a period has no steps to commit to"
    said = encode_fields(msgspec.structs.replace(record.standing, booked=None), "standing")
    return hashlib.sha256(cbor.encode([record.side, record.energy_wh, record.price_u_kwh, said])).digest()


# --- guards of step 1, pre-execution


def _fault_of_attributes(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    if record.period_start_s or (terms.partner is None) != (terms.partner_price_u_kwh is None):
        return Verdict.TERMS_CONTRADICT
    if terms.expires_s is not None and terms.good != GOOD_TILL_CANCELLED:
        return Verdict.TERMS_CONTRADICT
    if any(code not in call.state.assets for code in (terms.asset, terms.paid_with)):
        return Verdict.UNKNOWN_ASSET
    if terms.asset == terms.paid_with:
        return Verdict.SAME_ASSET
    if terms.paid_with in call.state.storages:
        return Verdict.STORED_PAYS
    if terms.expires_s is not None and not call.time_s < terms.expires_s <= call.time_s + holds.MAX_HOLD_S:
        return Verdict.END_NOT_AHEAD
    if terms.partner is not None:
        return assets.fault_of_receiver(call.state, terms.partner, call.account)
    return Verdict.ACCEPTED


def _fault_of_prices(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    band = band_of(call, terms.asset, terms.paid_with)
    limit = band.protect(Side(record.side), record.price_u_kwh) if terms.good == GOOD_MARKET else record.price_u_kwh
    for price in (limit, limit if terms.partner_price_u_kwh is None else terms.partner_price_u_kwh):
        if fault := fault_of_price(price, band):
            return fault
    return Verdict.ACCEPTED


def _fault_of_contract(call: Turn, _record: Order, terms: StandingTerms) -> Verdict:
    """A contract that the order names is signed, holds now, and is with its partner if it names one."""
    if terms.contract is None:
        return Verdict.ACCEPTED
    row = call.state.contracts.get(terms.contract)
    if row is None or call.account not in (row.offered_by, row.to):
        return Verdict.NOT_UNDER_CONTRACT
    other = row.to if row.offered_by == call.account else row.offered_by
    holds_now = row.status == rows.CONTRACT_SIGNED and row.from_s <= call.time_s < row.until_s
    return Verdict.ACCEPTED if holds_now and terms.partner in (None, other) else Verdict.NOT_UNDER_CONTRACT


def _fault_of_service(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    """What the named contract promises allows the order, and what the member's suppliers set for it does."""
    limit = max(record.price_u_kwh, terms.partner_price_u_kwh or 0)
    giver = call.account if record.side == SIDE_SELL else terms.partner
    return _fault_of_levels(call, _Wish(limit, record.energy_wh, giver), terms.contract)


def fault_of_supply(call: Call, record: Order) -> Verdict:
    """What the member's suppliers set for it allows an order of a period."""
    giver = call.account if record.side == SIDE_SELL else None
    ahead_s = max(0, record.period_start_s - call.time_s)
    return _fault_of_levels(call, _Wish(record.price_u_kwh, record.energy_wh, giver, ahead_s), None)


def _fault_of_levels(call: Turn, wish: _Wish, named: bytes | None) -> Verdict:
    for contract_id, row in contracts.of(call.state, call.account):
        now = row.status == rows.CONTRACT_SIGNED and row.from_s <= call.time_s < row.until_s
        supplied = contracts.supplies(row, call.account, call.time_s)
        if (supplied or (now and contract_id == named)) and not _allows(call, row, wish):
            return Verdict.BEYOND_SERVICE_LEVEL
    return Verdict.ACCEPTED


def _fault_of_exposure(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    """A backed order commits no more than there is."""
    row = _as_it_would_rest(call, record, terms, State.BOOKING)
    if terms.unbacked or standing.affordable_wh(call.state, call.record_id, row) == row.open_wh:
        return Verdict.ACCEPTED
    others = standing.of_agents(call.state, call.account, standing.given(row))
    means = balance(call.state, call.account, standing.given(row)).free
    means += sum(call.state.holds[order_id].amount for order_id in others)
    if others and standing.need(row, row.open_wh) <= means:
        return Verdict.ACCEPTED
    # Without room for a hold nothing can be backed, whatever there is.
    return Verdict.NOT_ENOUGH if holds.has_room(call.state, call.account) else Verdict.TOO_MANY_HOLDS


def _fault_of_credit(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    """What an order may cost beyond what is held for it is a promise, where it is paid with what settles."""
    return fault_of_promise(call, _as_it_would_rest(call, record, terms, State.BOOKING), 0)


def _fault_of_storage(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    """A purchase of stored energy waits for room if it may rest; else there is room now, for all that it must trade."""
    if record.side != SIDE_BUY or terms.good == GOOD_TILL_CANCELLED:
        return Verdict.ACCEPTED
    least_wh = record.energy_wh if terms.good == GOOD_WHOLE_AT_ONCE else 1
    return Verdict.ACCEPTED if capacity.has_room(call.state, terms.asset, call.account, least_wh) else Verdict.NO_ROOM


# --- guards of steps 2 and 3, booking and confirmation


def _fault_of_agreement(call: Turn, record: Order, terms: StandingTerms) -> Verdict:
    """Where a booking was committed to, the order says what it was; else the market's binding agrees."""
    if terms.booked is None:
        return Verdict.ACCEPTED
    booked = call.state.committed.get(terms.booked)
    if booked is None or booked.account != call.account or booked.state != State.BOOKING:
        return Verdict.UNKNOWN_STEP
    return Verdict.ACCEPTED if booked.said == terms_hash(record) else Verdict.OTHER_TERMS


def _fault_of_room(call: Turn, _record: Order, terms: StandingTerms) -> Verdict:
    full = call.ledger.floor.is_full((terms.asset, terms.paid_with))
    rests = terms.good == GOOD_TILL_CANCELLED
    if full or (rests and len(standing.of(call.state, call.account)) >= standing.MAX_STANDING_PER_ACCOUNT):
        return Verdict.TOO_MANY_STANDING
    return Verdict.ACCEPTED


_Guards = tuple[tuple[Guard, Callable[[Turn, Order, StandingTerms], Verdict]], ...]
_GUARDS_OF_BOOKING: _Guards = (
    (Guard.ATTRIBUTES, _fault_of_attributes),
    (Guard.ATTRIBUTES, _fault_of_prices),
    (Guard.CONTRACT, _fault_of_contract),
    (Guard.SERVICE_LEVEL, _fault_of_service),
    # What is metered stands on the ledger as minted units: who has them free has them metered.
    (Guard.METERED, _fault_of_exposure),
    (Guard.EXPOSURE, _fault_of_exposure),
    (Guard.EXPOSURE, _fault_of_credit),
    (Guard.EXPOSURE, _fault_of_storage),
)
_GUARDS_OF_CONFIRMATION: _Guards = ((Guard.AGREED, _fault_of_agreement), (Guard.HELD, _fault_of_room))
_STEPS = ((_GUARDS_OF_BOOKING, Event.BOOK), (_GUARDS_OF_CONFIRMATION, Event.CONFIRM))


def _fault_of(guards: _Guards, turn: Turn, record: Order, terms: StandingTerms) -> Verdict:
    """The first of these guards that does not hold."""
    faults = (fault_of(turn, record, terms) for _, fault_of in guards)
    return next((fault for fault in faults if fault), Verdict.ACCEPTED)


# --- amendments and other steps


def amend(call: Call, record: Amend) -> Verdict:
    """Change a standing order."""
    row = call.state.standing.get(record.order)
    if row is None or row.account != call.account:
        return Verdict.UNKNOWN_ORDER
    if fault := fault_of_price(record.price_u_kwh, band_of(call, row.asset, row.paid_with)):
        return fault
    giver = call.account if row.side != SIDE_BUY else row.partner or None
    wish = _Wish(max(record.price_u_kwh, row.partner_price_u_kwh), record.energy_wh, giver)
    if fault := _fault_of_levels(call, wish, None):
        return fault
    open_wh = record.energy_wh - row.filled_wh
    changed = msgspec.structs.replace(
        row,
        open_wh=max(open_wh, 0),
        price_u_kwh=record.price_u_kwh,
        height=call.height,
        position=call.position,
    )
    if not row.unbacked and standing.affordable_wh(call.state, record.order, changed) < changed.open_wh:
        return Verdict.NOT_ENOUGH
    changed = msgspec.structs.replace(changed, ready_wh=standing.tradable_wh(call.state, record.order, changed))
    if fault := fault_of_promise(call, changed, standing.need(row, row.open_wh)):
        return fault
    call.ledger.floor.amend(call.moment, record.order, changed, record.energy_wh)
    return Verdict.ACCEPTED


def _step(call: Call, record: OrderStep) -> Verdict:
    match record.step:
        case OrderPrepared() as step:
            return _commit(call, State.PRE_EXECUTION, step.attributes, NOBODY)
        case OrderBooked() as step:
            before = call.state.committed.get(step.prepared)
            if before is None or before.account != call.account or before.state != State.PRE_EXECUTION:
                return Verdict.UNKNOWN_STEP
            # What the guards of this step ask is asked of the order itself, when it is given.
            state = lifecycle.move(State(before.state), Event.BOOK, lifecycle.guards(State(before.state), Event.BOOK))
            call.state.committed.delete(step.prepared)
            return _commit(call, state, step.terms, step.prepared)
        case TradeReversed() as step:
            return _reverse(call, (step.height, step.number))


def _commit(call: Call, state: State, said: bytes, before: bytes) -> Verdict:
    until_s = call.time_s + standing.COMMITTED_S
    return standing.commit(call.state, call.record_id, Committed(call.account, int(state), said, before, until_s))


def _make_way(turn: Turn, row: Standing) -> None:
    """What a member orders itself goes before its agents' orders: they go until it can be held for.

    They come again at the end of the block, in a later place, also where the order then found nobody at once.
    """
    for order_id in standing.of_agents(turn.state, turn.account, standing.given(row)):
        if standing.affordable_wh(turn.state, turn.record_id, row) == row.open_wh:
            break
        turn.ledger.floor.cancel(turn.moment, order_id)


def _reverse(call: Call, key: tuple[int, int]) -> Verdict:
    trade = call.state.executions.get(key)
    if trade is None or call.account not in (trade.buyer, trade.seller):
        return Verdict.UNKNOWN_TRADE
    if (State(trade.state), Event.REVERSE) not in lifecycle.MOVES:
        return Verdict.UNKNOWN_TRADE
    if trade.undo == call.account:
        return Verdict.REVERSAL_ASKED
    if trade.undo == NOBODY:
        call.state.executions.put(key, msgspec.structs.replace(trade, undo=call.account))
        return Verdict.ACCEPTED
    if fault := standing.fault_of_reversal(call.state, trade):
        return fault
    call.ledger.floor.reverse(call.moment, key)
    return Verdict.ACCEPTED


# --- what an order comes to


def _with_partner(turn: Turn, record: Order, terms: StandingTerms) -> StandingTerms:
    """The terms with the partner whom the member prefers, unless they name one, or a contract, which has its own."""
    if (terms.partner, terms.partner_price_u_kwh, terms.contract) != (None, None, None):
        return terms
    wish = preferences.find(turn.state, turn.account, record.side, terms.asset, terms.paid_with)
    # Where the rules have changed since, a limit that is not allowed any more does not count.
    if wish is None or fault_of_price(wish.price_u_kwh, band_of(turn, terms.asset, terms.paid_with)):
        return terms
    return msgspec.structs.replace(terms, partner=wish.partner, partner_price_u_kwh=wish.price_u_kwh)


def _as_it_would_rest(call: Turn, record: Order, terms: StandingTerms, state: State) -> Standing:
    """The row of a new order, with as much ready as its owner can back and has room for now."""
    band = band_of(call, terms.asset, terms.paid_with)
    row = Standing(
        account=call.account,
        side=record.side,
        asset=terms.asset,
        paid_with=terms.paid_with,
        open_wh=record.energy_wh,
        ready_wh=0,
        filled_wh=0,
        price_u_kwh=(
            band.protect(Side(record.side), record.price_u_kwh) if terms.good == GOOD_MARKET else record.price_u_kwh
        ),
        height=call.height,
        position=call.position,
        expires_s=NO_EXPIRY if terms.expires_s is None else terms.expires_s,
        partner=terms.partner or NOBODY,
        partner_price_u_kwh=NO_PRICE if terms.partner_price_u_kwh is None else terms.partner_price_u_kwh,
        unbacked=terms.unbacked,
        state=int(state),
        terms=terms_hash(record),
        contract=terms.contract or NOBODY,
    )
    ready_wh = standing.tradable_wh(call.state, call.record_id, row)
    return msgspec.structs.replace(row, ready_wh=ready_wh)


def band_of(call: Turn, asset: str, paid_with: str) -> Band:
    """The prices that binding and law allow now."""
    return band(call.state, call.ledger.rules().book, call.time_s, (asset, paid_with))


def band(state: Tables, rules: BookRules, time_s: int, pair: Pair) -> Band:
    """The prices that binding and law allow: those of energy, in the asset that pays for settled periods.

    A unit of energy is a Wh unless the asset that meters mint says otherwise.

    Args:
        rules: what the binding in force says of orders.
        pair: an asset, and the asset that pays for it.
    """
    asset, paid_with = pair
    if state.assets[asset].kind != ENERGY_KIND or not assets.rules(state, paid_with).settles:
        return FREE
    book, unit_wh = parameters.book(state, time_s, rules), assets.rules(state, asset).unit_wh or 1
    return Band(*(None if one is None else one * unit_wh for one in (book.floor_u_kwh, book.cap_u_kwh)))


def fault_of_price(price_u_kwh: int, band: Band) -> Verdict:
    """What is wrong with a price of an asset: its tick, or the binding's bounds."""
    if price_u_kwh % standing.PRICE_TICK_U_KWH or price_u_kwh < standing.PRICE_TICK_U_KWH:
        return Verdict.PRICE_OFF_TICK
    if band.floor_u_kwh is not None and price_u_kwh < band.floor_u_kwh:
        return Verdict.PRICE_BELOW_FLOOR
    if band.cap_u_kwh is not None and price_u_kwh > band.cap_u_kwh:
        return Verdict.PRICE_ABOVE_CAP
    return Verdict.ACCEPTED


def fault_of_promise(call: Turn, row: Standing, already_u: int) -> Verdict:
    """Whether the member's credit allows what an order that buys may cost: held or promised, it is gone.

    Args:
        already_u: of that was held or promised before.
    """
    if row.side != SIDE_BUY or row.paid_with != minting.settling(call.state, call.time_s):
        return Verdict.ACCEPTED
    more_u = max(0, standing.need(row, row.open_wh) - already_u)
    return credit.fault_of_promise(call.state, call.account, more_u, call.time_s, call.on_top_u_kwh)


class _Wish(msgspec.Struct, frozen=True):
    """Of an order what service levels are about.

    giver: whose energy it is, if that is known. ahead_s: until its energy flows; None: it is not for a period.
    """

    limit_u_kwh: int
    energy_wh: int
    giver: bytes | None
    ahead_s: int | None = None


def _allows(call: Turn, row: rows.Contract, wish: _Wish) -> bool:
    """Whether a service level allows an order.

    No dearer; no more power over one settlement period; energy of a period no sooner than the response takes; and
    of whoever gives the energy, if that is known, a confirmed plant of the source that was agreed - if the ledger
    knows the source by its word. Whom a supplier serves first when energy is scarce is no property of an order: see
    `meshnode.ledger.contracts.in_turn`.
    """
    if row.price_cap_u_kwh != contracts.NOT_AGREED and wish.limit_u_kwh > row.price_cap_u_kwh:
        return False
    power_w = wish.energy_wh * HOUR_S // call.ledger.rules().period.length_s
    if row.maximum_power_w != contracts.NOT_AGREED and power_w > row.maximum_power_w:
        return False
    if wish.ahead_s is not None and wish.ahead_s < row.response_time_s:
        return False
    return wish.giver is None or row.source not in SOURCES or _makes(call, wish.giver, row.source)


def _makes(call: Turn, account: bytes, source: str) -> bool:
    """Whether a confirmed plant of an account makes energy from a source now."""
    now_s = call.time_s - call.time_s % call.ledger.rules().period.length_s
    plants = (row for _, row in installations.counting(call.state, now_s) if row.account == account)
    return any(row.kind == Kind.PRODUCTION and row.source == SOURCES[source] for row in plants)


EXECUTED: Handlers = {
    OrderStep: (rows.PURPOSE_MEMBER, _step),
}
