"""Delivering: sessions and redemptions on the ledger - reserved, counted by ticks, settled, refunded.

The pure machine of `meshnode.market.delivery` meets holds and balances here. A reservation holds the
whole price; whatever ends it divides the hold at once, in the same block: paid, burned, given back.
A meter that falls silent ends it too, by the time of a block and by nobody's word.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshnode.amounts import PPM, split
from meshnode.ledger import delivery_rows, holds, rows
from meshnode.ledger.balances import balance
from meshnode.ledger.delivery_rows import POINT_COINS, POINT_STATION
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.market import delivery, redemption, session
from meshnode.market.delivery import Delivery, Phase, Refusal, Sign
from meshnode.settlement import points
from protocols.cose import Verifier
from protocols.records import ROUTE_COMMON, ROUTE_OWN, CoinRedeem, DeliveryCancel, SessionReserve, Tick

MAX_RESERVED_S: Final = 2 * 3_600
"""A parking place is not kept free for longer by whoever does not come."""
KEPT_S: Final = 86_400
"""What became of a delivery can be asked for a day; the views know its payments for ever."""

_VERDICTS: Final = {
    Refusal.NOT_BEGUN: Verdict.NOT_BEGUN,
    Refusal.BEGUN: Verdict.BEGUN_ALREADY,
    Refusal.OVER: Verdict.DELIVERY_OVER,
    Refusal.COUNTER_BACK: Verdict.COUNTER_BACK,
    Refusal.OLD: Verdict.OLD_TICK,
    Refusal.TOO_SOON: Verdict.TICK_TOO_SOON,
}
_PURPOSES: Final = {POINT_STATION: rows.HOLD_SESSION, POINT_COINS: rows.HOLD_REDEMPTION}


class DeliveryEnded(msgspec.Struct, frozen=True):
    """A session or a redemption is over; the row says what was delivered and paid."""

    delivery_id: bytes
    delivery: delivery_rows.Delivery


Happened = DeliveryEnded | Moved


def reserve(
    state: State,
    step: SessionReserve,
    record_id: bytes,
    account: bytes,
    time_s: int,
    chain_id: bytes,
    verifier: Verifier,
    events: list[Happened],
) -> Verdict:
    """A session is paid for in full; its point waits for it.

    Args:
        events: what happened to whom it comes before is added.
    """
    point = state.points.get(step.point)
    waiting = _gives_way(state, point, account)
    fault = Verdict.ACCEPTED if waiting is not None else _fault_of_point(point)
    if point is None or fault:
        return fault
    asked = (step.price_u_kwh, step.fee_u_kwh, step.flat_u)
    if point.kind != POINT_STATION or asked != (point.price_u_kwh, point.fee_u_kwh, point.flat_u):
        return Verdict.OTHER_POINT_TERMS
    if point.most_wh and step.cap_wh > point.most_wh:
        return Verdict.SESSION_TOO_LARGE
    escrow_u = session.escrow_u(session.Tariff(*asked), step.cap_wh)
    payer = points.payer(state, step, account, escrow_u, chain_id, verifier)
    if isinstance(payer, Verdict):
        return payer
    row = _row(step.point, point, payer, escrow_u, step.cap_wh, step.until_s, guest=step.guest or b"")
    if waiting is not None:
        # Whoever cannot reserve after all takes nobody's place.
        fault = _fault_of_place(state, row, time_s)
        if fault:
            return fault
        before = state.deliveries[waiting]
        called_off = delivery.cancel(_machine(before))
        assert not isinstance(called_off, Refusal), f"{waiting.hex()} has begun"
        events += _advance(state, waiting, before, called_off, time_s)
    verdict = _place(state, record_id, row, time_s)
    if verdict == Verdict.ACCEPTED and step.credential is not None:
        known = state.credentials[step.credential]
        state.credentials.put(step.credential, msgspec.structs.replace(known, number=max(known.number, step.number)))
    return verdict


def redeem(state: State, step: CoinRedeem, record_id: bytes, account: bytes, time_s: int) -> Verdict:
    """Coins are sent to a point, which delivers their energy and no more."""
    point = state.points.get(step.point)
    fault = _fault_of_point(point)
    if point is None or fault:
        return fault
    if point.kind != POINT_COINS or step.unit_wh != point.unit_wh:
        return Verdict.OTHER_POINT_TERMS
    fault = _fault_of_route(state, point, account)
    if fault:
        return fault
    keep = state.keeps.get((point.asset, account)) or delivery_rows.Keep()
    purchased_wh = redemption.purchased_wh(step.coins, point.unit_wh, keep.unpaid_wh)
    if purchased_wh <= 0:
        return Verdict.NOTHING_RELEASED
    row = _row(step.point, point, account, step.coins, purchased_wh, step.until_s, carried_wh=keep.unpaid_wh)
    verdict = _place(state, record_id, row, time_s)
    if verdict == Verdict.ACCEPTED and keep.unpaid_wh:
        # These coins pay for it: another redemption meanwhile must not pay again.
        put_keep(state, point.asset, account, msgspec.structs.replace(keep, unpaid_wh=0))
    return verdict


def cancel(state: State, step: DeliveryCancel, account: bytes, time_s: int) -> tuple[Verdict, list[Happened]]:
    """What has not begun is called off, by who pays or by the point; everything comes back."""
    row = state.deliveries.get(step.delivery)
    if row is None:
        return Verdict.UNKNOWN_DELIVERY, []
    if account not in (row.payer, row.station):
        return Verdict.NOT_FOR_YOU, []
    found = delivery.cancel(_machine(row))
    if isinstance(found, Refusal):
        return _VERDICTS[found], []
    return Verdict.ACCEPTED, _advance(state, step.delivery, row, found, time_s)


def tick(state: State, record: Tick, meter: bytes, time_s: int) -> tuple[Verdict, list[Happened]]:
    """A point's meter says what it has counted; that may end the delivery."""
    row = state.deliveries.get(record.delivery)
    if row is None:
        return Verdict.UNKNOWN_DELIVERY, []
    if row.point != meter:
        return Verdict.WRONG_KEY, []
    found = delivery.hear(_machine(row), delivery.Tick(Sign(record.sign), record.counter_wh, record.time_s), time_s)
    if isinstance(found, Refusal):
        return _VERDICTS[found], []
    return Verdict.ACCEPTED, _advance(state, record.delivery, row, found, time_s)


def lapse(state: State, time_s: int) -> list[Happened]:
    """End what has not begun in time and what has fallen silent, in order of time and id; forget what is long over."""
    events: list[Happened] = []
    for (when_s, delivery_id), _ in state.delivery_ends.range((0, b""), (time_s, b"")):
        row = state.deliveries[delivery_id]
        before = _machine(row)
        if before.over:
            state.delivery_ends.delete((when_s, delivery_id))
            state.deliveries.delete(delivery_id)
            continue
        after = delivery.lapse(before, time_s)
        assert after.over, f"delivery {delivery_id.hex()} is past its deadline and goes on"
        events += _advance(state, delivery_id, row, after, time_s)
    return events


def check(state: State) -> None:
    """Every open delivery holds its amount and keeps its point; nothing else does.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    open_ = {key: row for key, row in state.deliveries.items() if not _machine(row).over}
    held = {key: hold for key, hold in state.holds.items() if hold.purpose in _PURPOSES.values()}
    assert held.keys() == {key for key, row in open_.items() if row.amount}, "escrows are not those of open deliveries"
    for key, hold in held.items():
        row = open_[key]
        assert (hold.owner, hold.asset, hold.amount) == (row.payer, row.asset, row.amount), f"escrow of {key.hex()}"
    busy = {point.busy: meter for meter, point in state.points.items() if point.busy}
    assert busy == {key: row.point for key, row in open_.items()}, "points wait for other deliveries than are open"
    ends = {key: when_s for (when_s, key), _ in state.delivery_ends.items()}
    assert ends == {key: row.deadline_s for key, row in state.deliveries.items()}, "deliveries and their ends differ"
    for key, row in state.deliveries.items():
        assert 0 <= row.paid + row.fee <= row.amount, f"{key.hex()} paid more than was held"


def put_keep(state: State, code: str, account: bytes, keep: delivery_rows.Keep) -> None:
    """Write what is open between an account and an asset; nothing open has no row."""
    if keep != delivery_rows.Keep():
        state.keeps.put((code, account), keep)
    elif (code, account) in state.keeps:
        state.keeps.delete((code, account))


def _fault_of_point(point: delivery_rows.Point | None) -> Verdict:
    if point is None or point.closed:
        return Verdict.UNKNOWN_POINT
    return Verdict.POINT_BUSY if point.busy else Verdict.ACCEPTED


def _gives_way(state: State, point: delivery_rows.Point | None, account: bytes) -> bytes | None:
    """The reservation that gives way to a member whom the point serves first: one of somebody else, not begun."""
    if point is None or point.closed or not point.busy or not set(point.first) & set(state.accounts[account].roles):
        return None
    row = state.deliveries[point.busy]
    before = state.accounts.get(row.payer)
    is_first = before is not None and bool(set(point.first) & set(before.roles))
    return None if is_first or row.phase != Phase.RESERVED else point.busy


def _fault_of_route(state: State, point: delivery_rows.Point, account: bytes) -> Verdict:
    """Who may draw from where: from the own battery its owner, from the common one who has access to it."""
    if point.route == ROUTE_OWN and point.owner != account:
        return Verdict.NOT_OWN_BATTERY
    if point.route == ROUTE_COMMON:
        storage = state.storages.get(point.asset)
        if storage is None:
            return Verdict.NOT_STORED
        if storage.access and not balance(state, account, storage.access).free:
            return Verdict.NO_ACCESS
    return Verdict.ACCEPTED


def _row(
    meter: bytes,
    point: delivery_rows.Point,
    payer: bytes,
    amount: int,
    purchased_wh: int,
    until_s: int,
    *,
    guest: bytes = b"",
    carried_wh: int = 0,
) -> delivery_rows.Delivery:
    fresh = delivery.reserve(purchased_wh, point.silence_s, until_s)
    return delivery_rows.Delivery(
        point=meter,
        payer=payer,
        guest=guest,
        kind=point.kind,
        asset=point.asset,
        amount=amount,
        carried_wh=carried_wh,
        price_u_kwh=point.price_u_kwh,
        fee_u_kwh=point.fee_u_kwh,
        flat_u=point.flat_u,
        energy_to=point.energy_to,
        station=point.owner,
        unit_wh=point.unit_wh,
        fee_split=point.fee_split,
        **_fields(fresh),
    )


def _fault_of_place(state: State, row: delivery_rows.Delivery, time_s: int) -> Verdict:
    """Whether a delivery can be reserved, as far as its payer and its end are concerned."""
    if not time_s < row.deadline_s <= time_s + MAX_RESERVED_S:
        return Verdict.END_NOT_AHEAD
    if row.amount and not holds.has_room(state, row.payer):
        return Verdict.TOO_MANY_HOLDS
    return Verdict.ACCEPTED if balance(state, row.payer, row.asset).free >= row.amount else Verdict.NOT_ENOUGH


def _place(state: State, record_id: bytes, row: delivery_rows.Delivery, time_s: int) -> Verdict:
    if not time_s < row.deadline_s <= time_s + MAX_RESERVED_S:
        return Verdict.END_NOT_AHEAD
    if row.amount:
        hold = rows.Hold(row.payer, row.asset, row.amount, row.station, _PURPOSES[row.kind], rows.NO_TIMEOUT)
        verdict = holds.place(state, record_id, hold, time_s)
        if verdict != Verdict.ACCEPTED:
            return verdict
    state.deliveries.put(record_id, row)
    state.delivery_ends.put((row.deadline_s, record_id), delivery_rows.DeliveryEnd(row.point))
    state.points.put(row.point, msgspec.structs.replace(state.points[row.point], busy=record_id))
    return Verdict.ACCEPTED


def _advance(
    state: State, delivery_id: bytes, row: delivery_rows.Delivery, after: Delivery, time_s: int
) -> list[Happened]:
    """Write the next state of a delivery; settle it if it is over."""
    state.delivery_ends.delete((row.deadline_s, delivery_id))
    events: list[Happened] = []
    if after.over:
        after = msgspec.structs.replace(after, deadline_s=time_s + KEPT_S)
    row = msgspec.structs.replace(row, **_fields(after))
    if after.over:
        settle = _settle_session if row.kind == POINT_STATION else _settle_redemption
        row, events = settle(state, delivery_id, row, after.delivered_wh)
        state.points.put(row.point, msgspec.structs.replace(state.points[row.point], busy=b""))
        events.append(DeliveryEnded(delivery_id, row))
    state.deliveries.put(delivery_id, row)
    state.delivery_ends.put((row.deadline_s, delivery_id), delivery_rows.DeliveryEnd(row.point))
    return events


def _settle_session(
    state: State, delivery_id: bytes, row: delivery_rows.Delivery, delivered_wh: int
) -> tuple[delivery_rows.Delivery, list[Happened]]:
    """The energy is paid, the station gets its fee, the rest goes back."""
    tariff = session.Tariff(row.price_u_kwh, row.fee_u_kwh, row.flat_u)
    bill = session.settle(tariff, row.purchased_wh, delivered_wh)
    events: list[Happened] = []
    fees = split(bill.fee_u, row.fee_split or ((row.station, PPM),))
    for what, to, amount in (
        (What.CHARGED, row.energy_to, bill.energy_u),
        *((What.STATION_FEE, to, part_u) for to, part_u in sorted(fees.items())),
    ):
        if amount:
            holds.pay(state, delivery_id, to, amount)
            events.append(Moved(what, row.payer, to, row.asset, amount))
    if bill.refund_u:
        holds.release(state, delivery_id)
    return msgspec.structs.replace(row, paid=bill.energy_u, fee=bill.fee_u), events


def _settle_redemption(
    state: State, delivery_id: bytes, row: delivery_rows.Delivery, delivered_wh: int
) -> tuple[delivery_rows.Delivery, list[Happened]]:
    """Coins burn for what was delivered, the others come back; what is less than a coin is kept in mind."""
    done = redemption.settle(row.amount, row.unit_wh, row.carried_wh, delivered_wh)
    if done.returned:
        holds.pay(state, delivery_id, row.payer, done.returned)
    events: list[Happened] = []
    if done.burned:
        holds.burn(state, delivery_id)
        events.append(Moved(What.REDEEMED, row.payer, b"", row.asset, done.burned))
    keep = state.keeps.get((row.asset, row.payer)) or delivery_rows.Keep()
    # What burned here burns no second time when the common battery reports that it was discharged.
    redeemed_wh = keep.redeemed_wh + (done.burned if row.asset in state.storages else 0)
    unpaid_wh = keep.unpaid_wh + done.carried_wh
    kept = msgspec.structs.replace(keep, unpaid_wh=unpaid_wh, redeemed_wh=redeemed_wh)
    put_keep(state, row.asset, row.payer, kept)
    return msgspec.structs.replace(row, paid=done.burned), events


def _machine(row: delivery_rows.Delivery) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__struct_fields__} | {"phase": Phase(row.phase)})


def _fields(machine: Delivery) -> dict[str, int]:
    return msgspec.structs.asdict(machine) | {"phase": int(machine.phase)}
