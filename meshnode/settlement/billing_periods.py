"""Billing periods: what national rules make of a billing period on the ledger, when its last settlement period closes.

Where the simplified compensation of surplus applies, each member's surplus of the billing period takes off at most
what its bought energy cost; what is beyond goes back to the grid. Where there is an incentive on shared energy, it
is paid from outside for what was shared within each hour behind one substation. Both are posted once, under one id,
when the billing period ends; a later reading posts the difference, until no correction can follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from meshnode.ledger import billing_rows as rows
from meshnode.ledger.state import State
from meshnode.local_time import Zone, date_of, local_day, offset_s
from meshnode.settlement import closing, parameters
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected, PeriodRules
from meshnode.settlement.compensation import HOUR_S, Compensation, Incentive, set_off
from meshnode.settlement.metered import Metered
from meshnode.settlement.period import Tariff
from meshnode.settlement.posting import GRID_ACCOUNT, POOL_ACCOUNT, Entry, Posting, Reason
from protocols.cbor import encode

# The law compensates surplus within a month at most (RD 244/2019, article 14.3); what a binding bills less often
# is still set off month by month. Days are those of the longest month.
MAX_BILLING_S = 31 * 86_400
A_MONTH = 1, 0

_NOTHING = rows.BillingSum()
# Account ids have 16 bytes.
_AFTER_ALL = b"\xff" * 17


class BillingLine(msgspec.Struct, frozen=True):
    """One account's billing period. incentive_u: what it receives for energy shared within hours."""

    account: bytes
    compensation: Compensation
    incentive_u: int


class BillingPosted(msgspec.Struct, frozen=True):
    """A billing period ended, or was corrected; `postings` are what is new, if anything, `lines` how it stands now.

    entry: 0 at its end, then counted by corrections. last_s: start of its last settlement period.
    """

    billing_id: bytes
    first_s: int
    last_s: int
    until_s: int
    entry: int
    lines: tuple[BillingLine, ...]
    postings: tuple[Posting, ...]


class HourShared(msgspec.Struct, frozen=True):
    """An hour behind one substation as it stands now; parts: what each account receives for it."""

    hour_s: int
    substation: str
    injected_wh: int
    withdrawn_wh: int
    shared_wh: int
    incentive_u: int
    parts: tuple[tuple[bytes, int], ...]


class BillingFinal(msgspec.Struct, frozen=True):
    """A billing period can no longer be corrected."""

    first_s: int


Event = BillingPosted | HourShared | BillingFinal


def billing_id(first_s: int) -> bytes:
    """The one id of a billing period, by the start of its first settlement period."""
    return hashlib.sha256(b"meshnode billing\0" + encode([first_s])).digest()


def cycle_of(months: int, seconds: int, zone: Zone, utc_s: int) -> tuple[int, int, int]:
    """(months, seconds, number) of the billing period that a second belongs to, in local time.

    Args:
        months, seconds: how often the binding bills; one of the two is 0. Whatever is longer than a month is
            a month here.
    """
    if 0 < seconds <= MAX_BILLING_S:
        return 0, seconds, (utc_s + offset_s(zone, utc_s)) // seconds
    year, month, _ = date_of(local_day(zone, utc_s))
    return *A_MONTH, 12 * year + month - 1


def closed(state: State, event: PeriodClosed, rules: PeriodRules, zone: Zone) -> list[Event]:
    """Enter a settlement period that was just closed; post the billing period that ends with it."""
    tariff = closing.tariff_of(state, event.start_s, rules)
    end_s = event.start_s + event.length_s
    cycle = cycle_of(rules.billing_months, rules.billing_s, zone, event.start_s)
    events: list[Event] = []
    asset = rules.currency.encode()
    found = _newest(state)
    if found is not None and not found[1].entries and _cycle(found[1]) != cycle:
        # Another binding bills otherwise: what the one before began ends here.
        events.append(_post(state, found[0], asset))
        found = None
    if found is None or found[1].entries:
        if not (tariff.compensation or tariff.hourly_incentive):
            return events
        found = event.start_s, rows.BillingPeriod(*cycle, last_s=event.start_s, until_s=end_s)
    first_s, period = found
    state.billing_periods.put(first_s, msgspec.structs.replace(period, last_s=event.start_s, until_s=end_s))
    postings = event.settlement.postings
    entered = _enter(state, first_s, event.start_s, event.length_s, tariff, postings, event.metered, ())
    events += entered
    # An hour may reach beyond the billing period that it began in, which has ended then.
    for before_s in sorted(_periods_of(state, entered) - {first_s}):
        events += _post_again(state, before_s, asset)
    if cycle_of(rules.billing_months, rules.billing_s, zone, end_s) != cycle:
        events.append(_post(state, first_s, asset))
    return events


def corrected(state: State, found: Sequence[tuple[PeriodCorrected, PeriodRules]]) -> list[Event]:
    """Enter what a reading corrected; post the difference once for each billing period that has ended."""
    hours: dict[tuple[int, str], HourShared] = {}
    touched: dict[int, bytes] = {}
    for event, rules in found:
        first_s = _of(state, event.start_s)
        if first_s is None:
            continue
        tariff = closing.tariff_of(state, event.start_s, rules)
        meters = event.metered, event.metered_before
        entered = _enter(state, first_s, event.start_s, rules.length_s, tariff, event.postings, *meters)
        hours |= {(hour.hour_s, hour.substation): hour for hour in entered}
        touched |= dict.fromkeys((first_s, *_periods_of(state, entered)), rules.currency.encode())
    again = (one for first_s, asset in sorted(touched.items()) for one in _post_again(state, first_s, asset))
    return [*hours.values(), *again]


def finish(state: State, final_s: int) -> list[Event]:
    """Every settlement period before a time is final: so are the hours and the billing periods that ended by then."""
    for (hour_s, substation), hour in state.shared_hours.items():
        if hour.until_s > final_s:
            break
        for key, _ in _points(state, hour_s, substation):
            state.hour_points.delete(key)
        state.shared_hours.delete((hour_s, substation))
    awaited = {hour.billing for _, hour in state.shared_hours.items()}
    events: list[Event] = []
    for first_s, period in state.billing_periods.items():
        if period.until_s > final_s or not period.entries:
            break
        if first_s in awaited:
            continue
        for account, _ in _sums(state, first_s):
            state.billing_sums.delete((first_s, account))
        state.billing_periods.delete(first_s)
        events.append(BillingFinal(first_s))
    return events


def lines(state: State, first_s: int) -> tuple[BillingLine, ...]:
    """A billing period as it stands now, by account."""
    return tuple(BillingLine(account, _compensation(row), row.incentive_u) for account, row in _sums(state, first_s))


def check(state: State) -> None:
    """What is posted is what is due, hours add up, and nothing is kept for a billing period that is gone.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    for (first_s, account), row in state.billing_sums.items():
        period = state.billing_periods[first_s]
        due = (_compensation(row).lost_u, row.incentive_u) if period.entries else (0, 0)
        assert (row.lost_u, row.granted_u) == due, f"billing period of {first_s}, {account.hex()}: {row}, due {due}"
        assert min(row.lost_u, row.incentive_u) >= 0, f"billing period of {first_s}, {account.hex()}: {row}"
    running_u: dict[int, int] = {}
    for (hour_s, substation), hour in state.shared_hours.items():
        earned_u = _hour(state, hour_s, substation, hour).incentive_u
        running_u[hour.billing] = running_u.get(hour.billing, 0) + earned_u
    for first_s, earned_u in running_u.items():
        total_u = sum(row.incentive_u for _, row in _sums(state, first_s))
        assert total_u >= earned_u, (
            f"billing period of {first_s}: {total_u} u of incentive, its last hours earned {earned_u} u"
        )
    for (hour_s, substation, account), point in state.hour_points.items():
        assert (hour_s, substation) in state.shared_hours, f"{account.hex()} has a point in no hour"
        assert min(point.injected_wh, point.withdrawn_wh) >= 0, f"hour {hour_s}, {account.hex()}: {point}"


# --- what a settlement period brings


def _enter(
    state: State,
    first_s: int,
    start_s: int,
    length_s: int,
    tariff: Tariff,
    postings: Iterable[Posting],
    after: Iterable[Metered],
    before: Iterable[Metered],
) -> list[HourShared]:
    if tariff.compensation:
        for account, change in _moved(postings).items():
            _add(state, first_s, account, change)
    unit_s, incentive = max(HOUR_S, length_s), tariff.hourly_incentive
    hour_s = start_s // unit_s * unit_s
    return [
        _enter_hour(state, first_s, (hour_s, substation), hour_s + unit_s, incentive, changes)
        for substation, changes in _by_substation(state, start_s, after, before).items()
        if incentive is not None or (hour_s, substation) in state.shared_hours
    ]


def _moved(postings: Iterable[Posting]) -> dict[bytes, rows.BillingSum]:
    """What postings of a settlement period, or of its correction, add to what each member bought and had over."""
    sums: dict[bytes, rows.BillingSum] = {}
    for posting in postings:
        if posting.reason not in _COUNTED:
            continue
        legs, sign = (posting.debit, posting.credit), 1
        if posting.entry is Entry.REVERSAL:
            legs, sign = legs[::-1], -1
        received = legs[0] in (GRID_ACCOUNT, POOL_ACCOUNT)
        account = legs[received]
        assert legs[not received] in (GRID_ACCOUNT, POOL_ACCOUNT), posting
        amount_u = sign * (posting.amount_u if received else -posting.amount_u)
        if posting.reason is Reason.GRID:
            change = rows.BillingSum(bought_wh=sign * posting.energy_wh, bought_u=-amount_u)
        else:
            # Who is paid at a price above zero, and who pays at one below, is whose surplus it is.
            held = posting.reason is Reason.FEED_IN or received == (posting.price_u_kwh >= 0)
            energy_wh = sign * (posting.energy_wh if held else -posting.energy_wh)
            change = rows.BillingSum(surplus_wh=energy_wh, surplus_u=amount_u)
        sums[account] = _sum(sums.get(account, _NOTHING), change)
    return dict(sorted(sums.items()))


_COUNTED = frozenset({Reason.GRID, Reason.FEED_IN, Reason.SURPLUS})


def _by_substation(
    state: State, start_s: int, after: Iterable[Metered], before: Iterable[Metered]
) -> dict[str, dict[bytes, rows.HourPoint]]:
    """What meters say more than before, by substation; who is connected nowhere shares nothing with anybody."""
    places = dict(parameters.locations(state, start_s))
    energies: dict[bytes, tuple[int, int]] = {}
    for sign, entries in ((1, after), (-1, before)):
        for one in entries:
            known = energies.get(one.account, (0, 0))
            energies[one.account] = known[0] + sign * one.export_wh, known[1] + sign * one.import_wh
    found: dict[str, dict[bytes, rows.HourPoint]] = {}
    for account, energy in sorted(energies.items()):
        if places.get(account) and any(energy):
            found.setdefault(places[account][0], {})[account] = rows.HourPoint(*energy)
    return dict(sorted(found.items()))


def _enter_hour(
    state: State,
    first_s: int,
    key: tuple[int, str],
    until_s: int,
    incentive: Incentive | None,
    changes: Mapping[bytes, rows.HourPoint],
) -> HourShared:
    """Add to an hour; what it earns and who receives it counts in the billing period that it began in."""
    hour = state.shared_hours.get(key)
    if hour is None:
        # What holds in its first settlement period holds for the whole hour.
        assert incentive is not None
        hour = rows.SharedHour(first_s, until_s, *msgspec.structs.astuple(incentive))
        state.shared_hours.put(key, hour)
    before = dict(_hour(state, *key, hour).parts)
    for account, change in changes.items():
        known = state.hour_points.get((*key, account)) or rows.HourPoint()
        point = rows.HourPoint(known.injected_wh + change.injected_wh, known.withdrawn_wh + change.withdrawn_wh)
        state.hour_points.put((*key, account), point)
    after = _hour(state, *key, hour)
    for account in sorted(before.keys() | dict(after.parts).keys()):
        more_u = dict(after.parts).get(account, 0) - before.get(account, 0)
        if more_u:
            _add(state, hour.billing, account, rows.BillingSum(incentive_u=more_u))
    return after


def _hour(state: State, hour_s: int, substation: str, hour: rows.SharedHour) -> HourShared:
    """An hour from its points."""
    points = {key[2]: point for key, point in _points(state, hour_s, substation)}
    injected = {account: point.injected_wh for account, point in points.items()}
    withdrawn = {account: point.withdrawn_wh for account, point in points.items()}
    parts = Incentive(hour.u_kwh, hour.producers_ppm, hour.consumers_ppm, hour.fund).of_hour(injected, withdrawn)
    sums = sum(injected.values()), sum(withdrawn.values())
    paid = tuple((account, part_u) for account, part_u in parts.items() if part_u)
    return HourShared(hour_s, substation, *sums, min(sums), sum(parts.values()), paid)


# --- what is posted


def _post(state: State, first_s: int, asset: bytes) -> BillingPosted:
    """The billing period ends."""
    found = [
        _posting(one, Entry.FIRST, asset)
        for account, row in _sums(state, first_s)
        for one in _due(account, row)
        if one[2]
    ]
    return _posted(state, first_s, tuple(found))


def _post_again(state: State, first_s: int, asset: bytes) -> list[Event]:
    """Of a billing period that has ended: what was posted and is due no more goes back, what is due is posted.

    Whoever keeps bills hears of it also where nothing is: what was bought may be more, and cost as much.
    """
    if not state.billing_periods[first_s].entries:
        return []
    found: list[Posting] = []
    for account, row in _sums(state, first_s):
        for old, new in zip(_amounts(account, row.lost_u, row.granted_u), _due(account, row), strict=True):
            if old == new:
                continue
            found += [_posting((old[1], old[0], *old[2:]), Entry.REVERSAL, asset)] if old[2] else []
            found += [_posting(new, Entry.REPLACEMENT, asset)] if new[2] else []
    return [_posted(state, first_s, tuple(found))]


def _periods_of(state: State, entered: Iterable[HourShared]) -> set[int]:
    """The billing periods that hours count in."""
    return {state.shared_hours[(hour.hour_s, hour.substation)].billing for hour in entered}


def _posted(state: State, first_s: int, postings: tuple[Posting, ...]) -> BillingPosted:
    period = state.billing_periods[first_s]
    closing.post(state, postings)
    for account, row in _sums(state, first_s):
        done = msgspec.structs.replace(row, lost_u=_compensation(row).lost_u, granted_u=row.incentive_u)
        if done != row:
            state.billing_sums.put((first_s, account), done)
    state.billing_periods.put(first_s, msgspec.structs.replace(period, entries=period.entries + 1))
    found = lines(state, first_s)
    return BillingPosted(billing_id(first_s), first_s, period.last_s, period.until_s, period.entries, found, postings)


Amount = tuple[bytes, bytes, int, Reason]


def _due(account: bytes, row: rows.BillingSum) -> tuple[Amount, Amount]:
    return _amounts(account, _compensation(row).lost_u, row.incentive_u)


def _amounts(account: bytes, lost_u: int, granted_u: int) -> tuple[Amount, Amount]:
    """(who pays, whom, how much, why) of an account's billing period."""
    return (account, GRID_ACCOUNT, lost_u, Reason.LOST), (GRID_ACCOUNT, account, granted_u, Reason.SHARED_HOURS)


def _posting(amount: Amount, entry: Entry, asset: bytes) -> Posting:
    debit, credit, amount_u, reason = amount
    return Posting(debit, credit, asset, amount_u, 0, 0, reason, entry=entry)


# --- the tables


def _compensation(row: rows.BillingSum) -> Compensation:
    return set_off(row.bought_wh, row.bought_u, row.surplus_wh, row.surplus_u)


def _sum(one: rows.BillingSum, other: rows.BillingSum) -> rows.BillingSum:
    return rows.BillingSum(
        *(a + b for a, b in zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True))
    )


def _add(state: State, first_s: int, account: bytes, change: rows.BillingSum) -> None:
    known = state.billing_sums.get((first_s, account)) or _NOTHING
    state.billing_sums.put((first_s, account), _sum(known, change))


def _sums(state: State, first_s: int) -> list[tuple[bytes, rows.BillingSum]]:
    found = state.billing_sums.range((first_s, b""), (first_s, _AFTER_ALL))
    return [(account, row) for (_, account), row in found]


def _points(state: State, hour_s: int, substation: str) -> list[tuple[tuple[int, str, bytes], rows.HourPoint]]:
    return list(state.hour_points.range((hour_s, substation, b""), (hour_s, substation, _AFTER_ALL)))


def _newest(state: State) -> tuple[int, rows.BillingPeriod] | None:
    first_s = max((first_s for first_s, _ in state.billing_periods.items()), default=None)
    return None if first_s is None else (first_s, state.billing_periods[first_s])


def _of(state: State, start_s: int) -> int | None:
    """The billing period that a settlement period was entered in."""
    for first_s, period in state.billing_periods.items():
        if first_s <= start_s <= period.last_s:
            return first_s
    return None


def _cycle(period: rows.BillingPeriod) -> tuple[int, int, int]:
    return period.months, period.seconds, period.number
