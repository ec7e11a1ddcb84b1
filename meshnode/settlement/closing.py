"""Closing: a settlement period of the ledger is cleared, settled and posted; later readings correct it.

Here the pure functions of market and settlement meet the state: registers become
metered energy, the book becomes trades, postings become claims. Every settlement
is checked for conservation before anything is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import msgspec

from meshnode.ledger import book, contracts, pausing, readings, rows
from meshnode.ledger.state import State
from meshnode.market import Band, Mechanism, Order, Side, Terms, Trade
from meshnode.market.partners import Preference, pair
from meshnode.settlement import driven, dues, origins, pairs, parameters, period_effects, priced
from meshnode.settlement.agreed import Agreed
from meshnode.settlement.correction import correct
from meshnode.settlement.invariants import check_settlement
from meshnode.settlement.metered import Metered, Quality, estimate
from meshnode.settlement.origins import Origins
from meshnode.settlement.pairs import PairWritten
from meshnode.settlement.period import PeriodInputs, Settlement, Tariff, settle
from meshnode.settlement.posting import Posting

DAY_S = 86400
# Without a similar day on the ledger (a young community), the home's own last hour is
# the nearest thing to it.
RECENT_PERIODS = 4


class PeriodRules(msgspec.Struct, frozen=True):
    """What binding and genesis say of settlement periods.

    Attributes:
        length_s: of a period.
        grace_s: how long after its end readings are waited for.
        correction_s: how long after its end readings still correct it.
        currency: code of the currency of all claims.
        tariff: prices and fees.
        mechanism: what clears orders; None: no orders are taken.
        estimate_days: how many similar days an estimate looks at, at most.
        agreed: what the binding says of energy beyond that, at times or for some.
        billing_months, billing_s: a billing period is so many months, or so many seconds; one of the two is 0.
    """

    length_s: int
    grace_s: int
    correction_s: int
    currency: str
    tariff: Tariff
    mechanism: Mechanism | None
    estimate_days: int
    agreed: Agreed
    billing_months: int = 1
    billing_s: int = 0


class PeriodClosed(msgspec.Struct, frozen=True):
    """A period was settled for the first time. trades: in the order in which they were delivered."""

    start_s: int
    length_s: int
    settlement: Settlement
    metered: tuple[Metered, ...]
    trades: tuple[Trade, ...]
    fills: tuple[tuple[bytes, int, int], ...]
    price_u_kwh: int | None
    pairs: tuple[PairWritten, ...] = ()


class PeriodCorrected(msgspec.Struct, frozen=True):
    """A closed period was settled again; `postings` are what changed, `metered_before` is what it was settled with."""

    start_s: int
    settlement: Settlement
    metered: tuple[Metered, ...]
    postings: tuple[Posting, ...]
    pairs: tuple[PairWritten, ...] = ()
    metered_before: tuple[Metered, ...] = ()


class PeriodFinal(msgspec.Struct, frozen=True):
    """A period's time for corrections has passed. origin: where its energy came from, for good."""

    start_s: int
    origin: Origins | None = None


def is_complete(state: State, start_s: int) -> bool:
    """Whether every meter that counts in the period has reported its end."""
    return all(
        (meter_id, start_s) in state.registers
        for meter_id, meter in state.meters.items()
        if readings.counts(meter, start_s)
    )


def close(
    state: State, start_s: int, rules: PeriodRules, binding: bytes, rules_of: Callable[[bytes], PeriodRules]
) -> PeriodClosed:
    """Clear, settle and post one period.

    Args:
        rules, binding: in force in the period; everything but the clearing of older orders goes by them.
        rules_of: what another binding says, under which an order was made.
    Raises:
        SettlementBroken: the result would make or lose energy or money; our bug.
    """
    energies = tuple(
        _measured(state, account, meters, start_s, rules.length_s) or _estimated(state, account, start_s, rules)
        for account, meters in sorted(_meters(state, start_s, rules.agreed).items())
    )
    known = {entry.account for entry in energies}
    orders = [
        Order(
            order_id=row.record_id,
            account=row.account,
            side=Side(row.side),
            period=start_s // rules.length_s,
            energy_wh=row.energy_wh,
            price_u_kwh=row.price_u_kwh,
            sequence=(height, position),
        )
        for (_, height, position), row in book.of_period(state, start_s)
        # A member whose meter ended after it ordered has nothing to settle against.
        if row.account in known
    ]
    matched = _is_matched(state, start_s)
    trades, price = _clear(state, start_s, orders, binding, rules_of) if matched else ((), None)
    traded: Counter[bytes] = Counter()
    for trade in trades:
        traded.update({trade.buy_order: trade.energy_wh, trade.sell_order: trade.energy_wh})
    fills = tuple((order.order_id, order.energy_wh, traded[order.order_id]) for order in orders)
    book.close(state, start_s)
    # Where a seller exports less than it sold, its customers are served by the priorities that it agreed on.
    trades = tuple(contracts.in_turn(state, start_s, trades, lambda trade: (trade.seller, trade.buyer)))
    period_effects.note(state, start_s, rules.length_s, rules.agreed, sorted(known))
    settlement = _settle(state, start_s, rules, energies, trades)
    posted = settlement.postings if settlement.moves else ()
    dues.post(state, posted)
    for number, trade in enumerate(trades):
        state.trades.put((start_s, number), rows.PeriodTrade(*msgspec.structs.astuple(trade)))
    _store_metered(state, start_s, energies)
    state.periods.put(
        start_s,
        rows.Period(rules.length_s, rows.PERIOD_PROVISIONAL, settlement.completeness_ppm, 0, binding, int(matched)),
    )
    written = pairs.write(state, start_s, posted, energies)
    return PeriodClosed(start_s, rules.length_s, settlement, energies, trades, fills, price, written)


def _clear(
    state: State, start_s: int, orders: list[Order], binding: bytes, rules_of: Callable[[bytes], PeriodRules]
) -> tuple[tuple[Trade, ...], int | None]:
    """The trades of a period, and the one price of its own binding's if there is one.

    Orders meet by the mechanism, and within the prices outside, of the binding that they were made under. Those
    of several bindings meet together where these say the same of it, else each among its own.
    """
    allowed = driven.within(state, start_s, orders)
    # Partners trade before, and the mechanism never sees it.
    paired = pair(allowed, _preferences(state, start_s, allowed))
    trades, price = paired.trades, None
    made_under = {row.record_id: row.binding for _, row in book.of_period(state, start_s)}
    ways = {one: _way(state, start_s, rules_of(one)) for one in {binding, *made_under.values()}}
    groups: dict[_Way, list[Order]] = {}
    for order in paired.orders:
        groups.setdefault(ways[made_under[order.order_id]], []).append(order)
    for way, group in groups.items():
        mechanism = rules_of(made_under[group[0].order_id]).mechanism
        assert mechanism is not None, "orders are taken only where a mechanism clears them"
        clearing = mechanism.clear(group, way.limits)
        trades += clearing.trades
        if way == ways[binding]:
            price = clearing.price_u_kwh
    return trades, price


class _Way(msgspec.Struct, frozen=True):
    """How orders meet: by which mechanism, within which prices outside."""

    mechanism: tuple[str, int] | None
    limits: Terms


def _way(state: State, start_s: int, rules: PeriodRules) -> _Way:
    tariff, mechanism = tariff_of(state, start_s, rules), rules.mechanism
    name = None if mechanism is None else (mechanism.name, mechanism.version)
    return _Way(name, Terms(tariff.grid_price_u_kwh, tariff.feed_in_price_u_kwh))


def _is_matched(state: State, start_s: int) -> bool:
    """Whether orders meet in a period that is closing, or met in one that has closed."""
    row = state.periods.get(start_s)
    return not pausing.is_paused(state) if row is None else bool(row.matched)


def _preferences(state: State, start_s: int, orders: list[Order]) -> list[Preference]:
    """Whom these orders serve first, at the limits that were given, as far as the prices that came since allow it.

    Beyond the lowest cap a buyer pays that cap, and a seller prefers nobody; below the floor a seller gets the
    floor, and a buyer prefers nobody.
    """
    floor_u_kwh, lawful_u_kwh = parameters.caps(state, start_s)
    caps = (driven.cap(state, start_s), lawful_u_kwh)
    allowed = Band(floor_u_kwh, min((one for one in caps if one is not None), default=None))
    partners = {row.record_id: row for _, row in book.of_period(state, start_s) if row.partner}
    found = []
    for order in orders:
        row = partners.get(order.order_id)
        limit = None if row is None else allowed.bring(order.side, row.partner_price_u_kwh)
        if row is not None and limit is not None:
            found.append(Preference(order.order_id, row.partner, limit))
    return found


def correct_period(state: State, start_s: int, account: bytes, rules: PeriodRules) -> PeriodCorrected | None:
    """Settle a closed period again after a reading of `account` came; None if nothing changes."""
    stored = state.metered.get((start_s, account))
    period = state.periods.get(start_s)
    if stored is None or period is None:
        return None
    own = state.meters.of_account(account)
    meters = [meter_id for meter_id, meter in own if _counts(meter_id, meter, start_s, rules.agreed)]
    measured = _measured(state, account, meters, start_s, rules.length_s) if meters else None
    if measured is None:
        return None
    otherwise = period_effects.stored_otherwise(state, start_s, rules.length_s, rules.agreed, account)
    if _row(measured) == stored and not otherwise:
        return None
    before = metered(state, start_s)
    after = tuple(measured if entry.account == account else entry for entry in before)
    trades = _trades(state, start_s)
    old = _settle(state, start_s, rules, before, trades)
    period_effects.note_stored(state, start_s, rules.length_s, rules.agreed, (account,))
    new = _settle(state, start_s, rules, after, trades)
    postings = correct(old, new)
    posted = postings if new.moves else ()
    dues.post(state, posted)
    state.metered.put((start_s, account), _row(measured))
    state.periods.put(
        start_s,
        msgspec.structs.replace(period, completeness_ppm=new.completeness_ppm, corrections=period.corrections + 1),
    )
    written = pairs.write(state, start_s, posted, after, before)
    return PeriodCorrected(start_s, new, after, postings, written, before)


def settled(state: State, start_s: int, rules: PeriodRules) -> tuple[Settlement, tuple[Metered, ...]]:
    """A closed period that may still be corrected, as it stands now; and what it is settled with."""
    energies = metered(state, start_s)
    # What it is settled with was checked for conservation when it was written.
    return settle(_inputs(state, start_s, rules, energies, _trades(state, start_s))), energies


def metered(state: State, start_s: int) -> tuple[Metered, ...]:
    """What a closed period is settled with, by account."""
    found = state.metered.range((start_s, b""), (start_s + 1, b""))
    return tuple(_from_row(member, row) for (_, member), row in found)


def finish(state: State, start_s: int, rules: PeriodRules) -> PeriodFinal:
    """The time for corrections has passed: where the energy came from is entered, trades are no longer needed."""
    period = state.periods[start_s]
    origin = origins.finish(state, start_s, rules.length_s, *settled(state, start_s, rules))
    state.periods.put(start_s, msgspec.structs.replace(period, status=rows.PERIOD_FINAL))
    for key, _ in state.trades.range((start_s, 0), (start_s + 1, 0)):
        state.trades.delete(key)
    pairs.finish(state, start_s)
    driven.finish(state, start_s)
    period_effects.finish(state, start_s)
    return PeriodFinal(start_s, origin)


def forget(state: State, before_s: int, length_s: int) -> None:
    """Drop final periods that no estimate can look back to any more; the views keep them."""
    for start, row in state.periods.items():
        if start >= before_s or row.status != rows.PERIOD_FINAL:
            break
        for key, _ in state.metered.range((start, b""), (start + 1, b"")):
            state.metered.delete(key)
        state.periods.delete(start)
    readings.prune(state, before_s, length_s)


def tariff_of(state: State, start_s: int, rules: PeriodRules) -> Tariff:
    """What holds in a period: what a feed says of a price comes before what an administrator has set, and that before
    the binding.
    """
    found = driven.tariff(state, start_s, parameters.tariff(state, start_s, rules.tariff))
    if found.compensation and found.sharing in period_effects.OWN_SURPLUS:
        found = msgspec.structs.replace(found, sharing=period_effects.OWN_SURPLUS[found.sharing])
    return found


def check_claims(state: State) -> None:
    """All claims, the grid's among them, sum to zero.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    total = sum(row.amount_u for _, row in state.claims.items())
    assert total == 0, f"claims sum to {total} u"


def _meters(state: State, start_s: int, agreed: Agreed) -> dict[bytes, list[bytes]]:
    """The meters that count in a period, by account."""
    found: dict[bytes, list[bytes]] = {}
    for meter_id, meter in state.meters.items():
        if _counts(meter_id, meter, start_s, agreed):
            found.setdefault(meter.account, []).append(meter_id)
    return found


def _counts(meter_id: bytes, meter: rows.Meter, start_s: int, agreed: Agreed) -> bool:
    """Whether a meter counts for its owner; what flows through a feeder is counted where it is used."""
    return readings.counts(meter, start_s) and meter_id not in agreed.feeder_meters


def _measured(state: State, account: bytes, meters: list[bytes], start_s: int, length_s: int) -> Metered | None:
    """The sum over an account's meters, or None if one of them cannot tell."""
    parts = []
    for meter_id in meters:
        part = readings.energy(state, meter_id, start_s, length_s)
        if part is None:
            return None
        parts.append(part)
    produced = [part.produced_wh for part in parts if part.produced_wh != readings.NOT_METERED]
    return Metered(
        account=account,
        import_wh=sum(part.import_wh for part in parts),
        export_wh=sum(part.export_wh for part in parts),
        produced_wh=sum(produced) if produced else None,
        quality=Quality(min(part.quality for part in parts)),
    )


def _estimated(state: State, account: bytes, start_s: int, rules: PeriodRules) -> Metered:
    slot = start_s // rules.length_s
    days = period_effects.estimate_days(state, start_s, rules.agreed, account)
    similar = _history(state, account, start_s, DAY_S, days, rules.length_s)
    if similar:
        return estimate(account, slot, similar, max(1, DAY_S // rules.length_s), days)
    recent = _history(state, account, start_s, rules.length_s, RECENT_PERIODS, rules.length_s)
    return estimate(account, slot, recent, 1, RECENT_PERIODS)


def _history(
    state: State, account: bytes, start_s: int, step_s: int, count: int, length_s: int
) -> list[tuple[int, Metered]]:
    found = []
    for number in range(1, count + 1):
        past = start_s - number * step_s
        row = state.metered.get((past, account))
        if row is not None and row.quality != Quality.ESTIMATED:
            found.append((past // length_s, _from_row(account, row)))
    return found


def _settle(
    state: State, start_s: int, rules: PeriodRules, metered: tuple[Metered, ...], trades: tuple[Trade, ...]
) -> Settlement:
    """A period's settlement, checked."""
    inputs = _inputs(state, start_s, rules, metered, trades)
    settlement = settle(inputs)
    check_settlement(inputs, settlement)
    return settlement


def _inputs(
    state: State, start_s: int, rules: PeriodRules, metered: tuple[Metered, ...], trades: tuple[Trade, ...]
) -> PeriodInputs:
    fixed, period, agreed = tariff_of(state, start_s, rules), start_s // rules.length_s, rules.agreed
    at_set_prices: tuple[Trade, ...] = ()
    if rules.mechanism is not None and _is_matched(state, start_s):
        limits = Terms(fixed.grid_price_u_kwh, fixed.feed_in_price_u_kwh)
        orders = priced.orders(period, metered, trades, parameters.prices(state, start_s))
        at_set_prices = priced.trade(rules.mechanism, limits, driven.within(state, start_s, orders))
    tariff = period_effects.tariff(state, start_s, rules.length_s, fixed, agreed, metered)
    stored = period_effects.stored_wh(state, start_s)
    inputs = PeriodInputs(period, rules.currency.encode(), metered, trades, tariff, at_set_prices, stored)
    if agreed.asks_shared:
        # Energy is shared before anybody can ask how much of it was.
        shared_ppm = period_effects.shared_ppm(settle(inputs))
        shared = msgspec.structs.replace(tariff, solidarity=fixed.solidarity)
        charged = period_effects.money(state, start_s, shared, agreed, metered, shared_ppm)
        inputs = msgspec.structs.replace(inputs, tariff=charged)
    return inputs


def _trades(state: State, start_s: int) -> tuple[Trade, ...]:
    """The trades of a closed period that may still be corrected, in the order in which they are delivered."""
    found = state.trades.range((start_s, 0), (start_s + 1, 0))
    return tuple(Trade(*msgspec.structs.astuple(row)) for _, row in found)


def _store_metered(state: State, start_s: int, metered: tuple[Metered, ...]) -> None:
    for entry in metered:
        state.metered.put((start_s, entry.account), _row(entry))


def _row(metered: Metered) -> rows.PeriodEnergy:
    produced = readings.NOT_METERED if metered.produced_wh is None else metered.produced_wh
    return rows.PeriodEnergy(metered.import_wh, metered.export_wh, produced, int(metered.quality))


def _from_row(account: bytes, row: rows.PeriodEnergy) -> Metered:
    produced = None if row.produced_wh == readings.NOT_METERED else row.produced_wh
    return Metered(account, row.import_wh, row.export_wh, produced, Quality(row.quality))
