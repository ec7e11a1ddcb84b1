"""Closing: a settlement period of the ledger is cleared, settled and posted; later readings correct it.

Here the pure functions of market and settlement meet the state: registers become
metered energy, the book becomes trades, postings become claims. Every settlement
is checked for conservation before anything is written.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from meshnode.amounts import PPM
from meshnode.ledger import book, contracts, readings, rows
from meshnode.ledger.state import State
from meshnode.market import Band, Mechanism, Order, Side, Terms, Trade
from meshnode.market.partners import Preference, pair
from meshnode.settlement import driven, origins, pairs, parameters, priced
from meshnode.settlement.correction import correct
from meshnode.settlement.invariants import check_settlement
from meshnode.settlement.metered import Metered, Quality, estimate
from meshnode.settlement.origins import Origins
from meshnode.settlement.pairs import PairWritten
from meshnode.settlement.period import PeriodInputs, Settlement, Tariff, settle
from meshnode.settlement.posting import GRID_ACCOUNT, Posting, changes_by_account

DAY_S = 86400
# Without a similar day on the ledger (a young community), the home's own last hour is
# the nearest thing to it.
RECENT_PERIODS = 4
# Where surplus is compensated it is the member's own: what a fixed share exceeds its use is not the plant's.
_OWN_SURPLUS = {"static": "es-static"}


class PeriodRules(msgspec.Struct, frozen=True):
    """What binding and genesis say of settlement periods.

    Attributes:
        length_s: of a period.
        grace_s: how long after its end readings are waited for.
        correction_s: how long after its end readings still correct it.
        currency: code of the currency of all claims.
        tariff: prices and fees.
        mechanism: what clears orders; None: no orders are taken.
        estimate_days: how many similar days an estimate looks at.
        shares: (name of a member, share in ppm) where the tariff shares by them; together a million.
        billing_months, billing_s: a billing period is so many months, or so many seconds; one of the two is 0.
    """

    length_s: int
    grace_s: int
    correction_s: int
    currency: str
    tariff: Tariff
    mechanism: Mechanism | None
    estimate_days: int
    shares: tuple[tuple[str, int], ...] = ()
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


def close(state: State, start_s: int, rules: PeriodRules, binding: bytes) -> PeriodClosed:
    """Clear, settle and post one period.

    Raises:
        SettlementBroken: the result would make or lose energy or money; our bug.
    """
    energies = tuple(
        _measured(state, account, meters, start_s, rules.length_s) or _estimated(state, account, start_s, rules)
        for account, meters in sorted(_meters(state, start_s).items())
    )
    tariff = tariff_of(state, start_s, rules)
    trades: tuple[Trade, ...] = ()
    fills: tuple[tuple[bytes, int, int], ...] = ()
    price = None
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
    if rules.mechanism is not None and orders:
        allowed = driven.within(state, start_s, orders)
        # Partners trade before, and the mechanism never sees it.
        paired = pair(allowed, _preferences(state, start_s, allowed))
        trades = paired.trades
        traded: Counter[bytes] = Counter()
        for trade in trades:
            traded.update({trade.buy_order: trade.energy_wh, trade.sell_order: trade.energy_wh})
        if paired.orders:
            clearing = rules.mechanism.clear(paired.orders, Terms(tariff.grid_price_u_kwh, tariff.feed_in_price_u_kwh))
            trades, price = trades + clearing.trades, clearing.price_u_kwh
            traded.update({fill.order_id: fill.traded_wh for fill in clearing.fills})
        fills = tuple((order.order_id, order.energy_wh, traded[order.order_id]) for order in orders)
    book.close(state, start_s)
    # Where a seller exports less than it sold, its customers are served by the priorities that it agreed on.
    trades = tuple(contracts.in_turn(state, start_s, trades, lambda trade: (trade.seller, trade.buyer)))
    settlement = _settle(state, start_s, rules, energies, trades)
    post(state, settlement.postings)
    for number, trade in enumerate(trades):
        state.trades.put((start_s, number), rows.PeriodTrade(*msgspec.structs.astuple(trade)))
    _store_metered(state, start_s, energies)
    state.periods.put(
        start_s,
        rows.Period(rules.length_s, rows.PERIOD_PROVISIONAL, settlement.completeness_ppm, 0, binding),
    )
    written = pairs.write(state, start_s, settlement.postings, energies)
    return PeriodClosed(start_s, rules.length_s, settlement, energies, trades, fills, price, written)


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
    meters = [meter_id for meter_id, meter in state.meters.of_account(account) if readings.counts(meter, start_s)]
    measured = _measured(state, account, meters, start_s, rules.length_s) if meters else None
    if measured is None or _row(measured) == stored:
        return None
    before = metered(state, start_s)
    after = tuple(measured if entry.account == account else entry for entry in before)
    trades = _trades(state, start_s)
    old = _settle(state, start_s, rules, before, trades)
    new = _settle(state, start_s, rules, after, trades)
    postings = correct(old, new)
    post(state, postings)
    state.metered.put((start_s, account), _row(measured))
    state.periods.put(
        start_s,
        msgspec.structs.replace(period, completeness_ppm=new.completeness_ppm, corrections=period.corrections + 1),
    )
    written = pairs.write(state, start_s, postings, after, before)
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
    if found.compensation and found.sharing in _OWN_SURPLUS:
        found = msgspec.structs.replace(found, sharing=_OWN_SURPLUS[found.sharing])
    return found


def post(state: State, postings: tuple[Posting, ...]) -> None:
    """Enter postings in the claims of their accounts."""
    for account, change in changes_by_account(postings).items():
        known = state.claims.get(account)
        amount = change + (known.amount_u if known else 0)
        if amount:
            state.claims.put(account, rows.Claim(amount))
        elif known:
            state.claims.delete(account)


def check_claims(state: State) -> None:
    """All claims, the grid's among them, sum to zero.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    total = sum(row.amount_u for _, row in state.claims.items())
    assert total == 0, f"claims sum to {total} u"


def _meters(state: State, start_s: int) -> dict[bytes, list[bytes]]:
    """The meters that count in a period, by account."""
    found: dict[bytes, list[bytes]] = {}
    for meter_id, meter in state.meters.items():
        if readings.counts(meter, start_s):
            found.setdefault(meter.account, []).append(meter_id)
    return found


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
    similar = _history(state, account, start_s, DAY_S, rules.estimate_days, rules.length_s)
    if similar:
        return estimate(account, slot, similar, max(1, DAY_S // rules.length_s), rules.estimate_days)
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
    inputs = _inputs(state, start_s, rules, metered, trades)
    settlement = settle(inputs)
    check_settlement(inputs, settlement)
    return settlement


def _inputs(
    state: State, start_s: int, rules: PeriodRules, metered: tuple[Metered, ...], trades: tuple[Trade, ...]
) -> PeriodInputs:
    tariff, period = tariff_of(state, start_s, rules), start_s // rules.length_s
    if rules.shares:
        tariff = msgspec.structs.replace(tariff, weights=_weights(state, rules.shares, metered))
    at_set_prices: tuple[Trade, ...] = ()
    if rules.mechanism is not None:
        limits = Terms(tariff.grid_price_u_kwh, tariff.feed_in_price_u_kwh)
        orders = priced.orders(period, metered, trades, parameters.prices(state, start_s))
        at_set_prices = priced.trade(rules.mechanism, limits, driven.within(state, start_s, orders))
    return PeriodInputs(period, rules.currency.encode(), metered, trades, tariff, at_set_prices)


def _trades(state: State, start_s: int) -> tuple[Trade, ...]:
    """The trades of a closed period that may still be corrected, in the order in which they are delivered."""
    found = state.trades.range((start_s, 0), (start_s + 1, 0))
    return tuple(Trade(*msgspec.structs.astuple(row)) for _, row in found)


def _weights(
    state: State, shares: tuple[tuple[str, int], ...], metered: tuple[Metered, ...]
) -> tuple[tuple[bytes, int], ...]:
    """The binding's shares, by account of those who are metered in the period.

    What belongs to anybody else - not a member yet, without a meter, gone - goes to the grid as one
    share. So a correction finds the shares that the first settlement found, whoever joined since.
    """
    by_name = dict(shares)
    found = [(entry.account, by_name.get(state.accounts[entry.account].name, 0)) for entry in metered]
    absent = PPM - sum(share for _, share in found)
    return (*found, (GRID_ACCOUNT, absent)) if absent else tuple(found)


def _store_metered(state: State, start_s: int, metered: tuple[Metered, ...]) -> None:
    for entry in metered:
        state.metered.put((start_s, entry.account), _row(entry))


def _row(metered: Metered) -> rows.PeriodEnergy:
    produced = readings.NOT_METERED if metered.produced_wh is None else metered.produced_wh
    return rows.PeriodEnergy(metered.import_wh, metered.export_wh, produced, int(metered.quality))


def _from_row(account: bytes, row: rows.PeriodEnergy) -> Metered:
    produced = None if row.produced_wh == readings.NOT_METERED else row.produced_wh
    return Metered(account, row.import_wh, row.export_wh, produced, Quality(row.quality))
