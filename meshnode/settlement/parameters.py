"""Parameters: prices, levies, grid fees and caps that are set on the ledger, each from a settlement period on.

Nothing ever takes effect in a period that has begun, so that everybody knows a price before consuming at it, and
a correction settles a period with exactly what was in force in it. What the binding says holds until something
is set, and again where the newest setting says nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from meshnode.ledger.book import BookRules
from meshnode.ledger.members import is_administrator
from meshnode.ledger.parameter_rows import (
    COMMUNITY_PRICES,
    COMPENSATION,
    GRID_FEES,
    INCENTIVE,
    LEVY,
    LOCATION,
    NOT_SET,
    PRICE_CAPS,
    SOLIDARITY,
    Prices,
)
from meshnode.ledger.parameter_rows import Parameter as Row
from meshnode.ledger.state import State
from meshnode.ledger.tables import Table
from meshnode.ledger.verdicts import Verdict
from meshnode.market.grid_fees import GridFees, Location
from meshnode.settlement.compensation import Incentive
from meshnode.settlement.levies import LEVY_BASES, Levy, Solidarity
from meshnode.settlement.period import Tariff
from meshnode.settlement.posting import fund_account
from protocols.records import (
    CapSet,
    CompensationSet,
    GridFeesSet,
    IncentiveSet,
    LevySet,
    LocationSet,
    PriceCommunity,
    PriceMine,
    SolidaritySet,
)
from protocols.records.parameters import MAX_SHARE_PPM, ParameterStep

# A year: tariffs are announced for one.
MAX_AHEAD_S = 366 * 86_400
# A price for every quarter of an hour of a day; who changes more often lets the settings before them pass first.
MAX_CHANGES = 96
# A community has a handful of levies; each is a posting of every member in every period.
MAX_LEVIES = 8
# What changes the cost of a kWh.
_CHARGING = (COMMUNITY_PRICES, LEVY, GRID_FEES)
# No (what, whom, when) is beyond these.
_NEVER_S = 1 << 60


def fault_of_start(time_s: int, length_s: int, from_s: int | None) -> tuple[Verdict, int]:
    """Whether something may take effect then; and when that is, which is the next period if nothing is said.

    Args:
        time_s: of the block that carries it.
        length_s: of a settlement period.
    """
    next_s = (time_s // length_s + 1) * length_s
    if from_s is None:
        return Verdict.ACCEPTED, next_s
    if from_s % length_s:
        return Verdict.PERIOD_OFF_GRID, from_s
    if from_s < next_s:
        return Verdict.BACKWARDS, from_s
    return (Verdict.PERIOD_TOO_FAR if from_s > time_s + MAX_AHEAD_S else Verdict.ACCEPTED), from_s


# --- what is set


def set_mine(
    state: State, step: PriceMine, account: bytes, from_s: int, record_id: bytes, place: tuple[int, int], time_s: int
) -> Verdict:
    """A member sets what it sells and buys at.

    Args:
        place: (height, position) of the record.
    """
    key = (account, from_s)
    if key not in state.prices and _ahead(state.prices, (account, time_s), (account, _NEVER_S)) >= MAX_CHANGES:
        return Verdict.TOO_MANY_CHANGES
    sell, buy = (NOT_SET if one is None else one for one in (step.sell_u_kwh, step.buy_u_kwh))
    state.prices.put(key, Prices(sell, buy, record_id, *place))
    return Verdict.ACCEPTED


def set_outside(state: State, step: PriceCommunity, account: bytes, from_s: int, time_s: int) -> Verdict:
    """An administrator sets the prices of the grid."""
    if not is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    values = tuple(() if one is None else (one,) for one in (step.grid_u_kwh, step.feed_in_u_kwh))
    return _put(state, (COMMUNITY_PRICES, b""), from_s, values, time_s)


def set_parameter(
    state: State,
    step: ParameterStep,
    account: bytes,
    from_s: int,
    time_s: int,
) -> Verdict:
    """An administrator sets one of the community's other parameters."""
    if not is_administrator(state, account):
        return Verdict.NOT_ADMINISTRATOR
    match step:
        case LevySet():
            if step.base not in LEVY_BASES:
                return Verdict.PARAMETER_CONTRADICTS
            subject = step.name.encode()
            known = {name for name, _ in _all_at(state, LEVY, _NEVER_S)}
            if subject not in known and len(known) >= MAX_LEVIES:
                return Verdict.TOO_MANY_CHANGES
            return _put(state, (LEVY, subject), from_s, (step.base, step.levy_u_kwh), time_s)
        case SolidaritySet():
            if bool(step.share_ppm) != bool(step.helped):
                return Verdict.PARAMETER_CONTRADICTS
            if any(one not in state.accounts or state.accounts[one].left_s for one, _ in step.helped):
                return Verdict.UNKNOWN_ACCOUNT
            return _put(state, (SOLIDARITY, b""), from_s, (step.share_ppm, step.helped), time_s)
        case GridFeesSet():
            if list(step.fees_u_kwh) != sorted(step.fees_u_kwh, reverse=True):
                return Verdict.PARAMETER_CONTRADICTS
            return _put(state, (GRID_FEES, b""), from_s, step.fees_u_kwh, time_s)
        case LocationSet():
            if step.account not in state.accounts or state.accounts[step.account].left_s:
                return Verdict.UNKNOWN_ACCOUNT
            return _put(state, (LOCATION, step.account), from_s, step.levels, time_s)
        case CapSet():
            low, high = (NOT_SET if one is None else one for one in (step.floor_u_kwh, step.cap_u_kwh))
            if high != NOT_SET and low > high:
                return Verdict.PARAMETER_CONTRADICTS
            return _put(state, (PRICE_CAPS, b""), from_s, (low, high), time_s)
        case CompensationSet():
            return _put(state, (COMPENSATION, b""), from_s, (step.applies,), time_s)
        case IncentiveSet():
            rest_ppm = MAX_SHARE_PPM - step.producers_ppm - step.consumers_ppm
            if rest_ppm < 0 or (step.incentive_u_kwh and bool(rest_ppm) != bool(step.fund)):
                return Verdict.PARAMETER_CONTRADICTS
            values = (step.incentive_u_kwh, step.producers_ppm, step.consumers_ppm, step.fund or "")
            return _put(state, (INCENTIVE, b""), from_s, values, time_s)


# --- what is in force


def tariff(state: State, start_s: int, binding: Tariff) -> Tariff:
    """The tariff of a period: the binding's, with what was set for it."""
    changes: dict[str, Any] = {}
    solidarity = _at(state, SOLIDARITY, b"", start_s)
    if solidarity is not None and solidarity[0]:
        changes["solidarity"] = Solidarity(*solidarity)
    charged = charges(state, start_s, binding)
    if charged.grid_fees is not None:
        changes["locations"] = locations(state, start_s)
    compensation = _at(state, COMPENSATION, b"", start_s)
    if compensation is not None:
        changes["compensation"] = bool(compensation[0])
    incentive = _at(state, INCENTIVE, b"", start_s)
    if incentive is not None:
        changes["hourly_incentive"] = _incentive(*incentive) if incentive[0] else None
    return msgspec.structs.replace(charged, **changes) if changes else charged


def charges(state: State, start_s: int, binding: Tariff) -> Tariff:
    """Of a period's tariff what each kWh costs: all but where members are, and what becomes of their earnings."""
    changes: dict[str, Any] = {}
    prices = _at(state, COMMUNITY_PRICES, b"", start_s)
    if prices is not None:
        names = ("grid_price_u_kwh", "feed_in_price_u_kwh")
        changes |= {name: one[0] for name, one in zip(names, prices, strict=True) if one}
    levies = [(name, values) for name, values in _all_at(state, LEVY, start_s) if values[1]]
    if levies:
        changes["levies"] = tuple(Levy(fund_account(name.decode()), *values) for name, values in levies)
    fees = _at(state, GRID_FEES, b"", start_s)
    if fees:
        changes["grid_fees"] = GridFees(fees)
    return msgspec.structs.replace(binding, **changes) if changes else binding


def on_top_u_kwh(state: State, starts_s: Iterable[int], binding_of: Callable[[int], Tariff]) -> dict[int, int]:
    """The most that a kWh that is ordered costs beyond its price, in each of some periods, as far as it is known now.

    Args:
        starts_s: of the periods.
        binding_of: the tariff of the binding that is in force in a period.
    """
    begins = {from_s for from_s, _ in state.schedule.items()}
    for what in _CHARGING:
        begins |= {from_s for (_, _, from_s), _ in state.parameters.range((what, b"", 0), (what + 1, b"", 0))}
    ordered = sorted(begins)
    costs: dict[int, int] = {}
    known: dict[int, int] = {}
    for start_s in starts_s:
        # From one beginning until the next all periods cost the same.
        same = bisect_right(ordered, start_s)
        if same not in known:
            known[same] = charges(state, start_s, binding_of(start_s)).on_top_u_kwh
        costs[start_s] = known[same]
    return costs


def locations(state: State, start_s: int) -> tuple[tuple[bytes, Location], ...]:
    """Where members are connected in a period, by account; who is not placed is left out."""
    return tuple(_all_at(state, LOCATION, start_s))


def prices(state: State, start_s: int) -> dict[bytes, Prices]:
    """What members sell and buy at in a period, as far as the law allows it then; who does neither is left out."""
    newest = {account: row for (account, from_s), row in state.prices.items() if from_s <= start_s}
    low, high = caps(state, start_s)

    def allowed(price_u_kwh: int) -> int:
        outside = (low is not None and price_u_kwh < low) or (high is not None and price_u_kwh > high)
        return NOT_SET if outside else price_u_kwh

    found = {
        account: msgspec.structs.replace(row, sell_u_kwh=allowed(row.sell_u_kwh), buy_u_kwh=allowed(row.buy_u_kwh))
        for account, row in newest.items()
    }
    return {account: row for account, row in found.items() if (row.sell_u_kwh, row.buy_u_kwh) != (NOT_SET, NOT_SET)}


def changes_of(state: State, account: bytes) -> list[tuple[int, Prices]]:
    """The prices of a member that the ledger still knows, with those to come: (from_s, prices) in order."""
    return [(from_s, row) for (_, from_s), row in state.prices.range((account, 0), (account, _NEVER_S))]


def set_so_far(state: State) -> list[tuple[int, bytes, int, tuple[Any, ...]]]:
    """The other parameters that the ledger still knows, with those to come: (what, of whom, from_s, values)."""
    return [(what, subject, from_s, row.values) for (what, subject, from_s), row in state.parameters.items()]


def caps(state: State, at_s: int) -> tuple[int | None, int | None]:
    """(floor, cap) that the law sets at a time."""
    found = _at(state, PRICE_CAPS, b"", at_s)
    low, high = (NOT_SET, NOT_SET) if found is None else found
    return None if low == NOT_SET else low, None if high == NOT_SET else high


def book(state: State, start_s: int, rules: BookRules) -> BookRules:
    """What orders of a period are held to: the narrower of what binding and law allow."""
    low, high = caps(state, start_s)
    floors = [one for one in (rules.floor_u_kwh, low) if one is not None]
    ceilings = [one for one in (rules.cap_u_kwh, high) if one is not None]
    if not floors and not ceilings:
        return rules
    return msgspec.structs.replace(rules, floor_u_kwh=max(floors, default=None), cap_u_kwh=min(ceilings, default=None))


def cap_begins(state: State, after_s: int, until_s: int) -> bool:
    """Whether other price caps came into force after one time and until another."""
    low, high = (PRICE_CAPS, b"", after_s + 1), (PRICE_CAPS, b"", until_s + 1)
    return any(True for _ in state.parameters.range(low, high))


def forget(state: State, final_s: int) -> None:
    """Periods up to a time are final: what was in force in none of the others is not needed any more."""
    _drop_replaced(state.prices, final_s)
    _drop_replaced(state.parameters, final_s)


def _incentive(u_kwh: int, producers_ppm: int, consumers_ppm: int, fund: str) -> Incentive:
    return Incentive(u_kwh, producers_ppm, consumers_ppm, fund_account(fund) if fund else b"")


def _put(state: State, subject: tuple[int, bytes], from_s: int, values: tuple[Any, ...], time_s: int) -> Verdict:
    key = (*subject, from_s)
    if key not in state.parameters and (
        _ahead(state.parameters, (*subject, time_s), (*subject, _NEVER_S)) >= MAX_CHANGES
    ):
        return Verdict.TOO_MANY_CHANGES
    state.parameters.put(key, Row(values))
    return Verdict.ACCEPTED


def _ahead(table: Table[Any, Any], low: Any, high: Any) -> int:
    return sum(1 for _ in table.range(low, high))


def _at(state: State, what: int, subject: bytes, start_s: int) -> tuple[Any, ...] | None:
    """The newest values of one parameter that are in force in a period."""
    found = state.parameters.last((what, subject, 0), (what, subject, start_s + 1))
    return None if found is None else found[1].values


def _all_at(state: State, what: int, start_s: int) -> Iterator[tuple[bytes, tuple[Any, ...]]]:
    """The newest values of every subject of a parameter, by subject."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for (_, subject, from_s), row in state.parameters.range((what, b"", 0), (what + 1, b"", 0)):
        if from_s <= start_s:
            found[subject] = row.values
    yield from found.items()


def _drop_replaced(table: Table[Any, Any], final_s: int) -> None:
    """Of each subject the settings before the one that is in force at a time."""
    before: Any = None
    for key, _ in table.items():
        if before is not None and before[:-1] == key[:-1] and key[-1] <= final_s:
            table.delete(before)
        before = key
