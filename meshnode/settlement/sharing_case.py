"""Sharing case: periods that somebody wants shared out, read from plain values, and the answer in plain values.

For trying rules on one's own data: the very allocator that settles the ledger, without
accounts and without money but for the two national sums that need several periods. The format
is described in the README; `read` says everything that is wrong with a case at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from meshnode.amounts import ENERGY_MAX_WH, PPM, PRICE_MAX_U_KWH
from meshnode.local_time import Zone, by_day, date_of, local_month, spelled
from meshnode.settlement.compensation import Hour, Point, compensate, shared_hours
from meshnode.settlement.period import MEMBERS_MAX
from meshnode.settlement.sharing import (
    RANK_MAX,
    Allocation,
    SharingError,
    Weighing,
    allocate,
    allocate_by_source,
)
from meshnode.settlement.sharing_modes import ANY_LENGTH, Mode

PERIODS_MAX: Final = 366 * 96
"""Periods in one case: a leap year of quarter-hours."""
TIME_MAX_S: Final = 2**32
"""In the year 2106. Milliseconds, which somebody may have taken for seconds, are far larger."""
FAULTS_SHOWN: Final = 50
"""Mistakes that are told; somebody whose file has more has made one mistake many times."""

# Before a name, so that no account's digits are found in a number by chance when a fault is told by name.
_PREFIX: Final = b"named in case "

_CASE_KEYS: Final = ("period_s", "zone", "members", "periods", "substations", "prices")
_MEMBER_KEYS: Final = ("share_ppm", "rank", "from_s")
_PERIOD_KEYS: Final = ("start_s", "consumed_wh", "generated_wh", "share_ppm")
_PRICE_KEYS: Final = ("bought_u_kwh", "surplus_u_kwh", "incentive_u_kwh")


class CaseError(ValueError):
    """A case that cannot be shared out; `faults` has every mistake with its place."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Member(msgspec.Struct, frozen=True):
    """A consumer. It takes part in periods that begin at `from_s` or later: nobody joins inside one."""

    share_ppm: int | None = None
    rank: int | None = None
    from_s: int = 0


class Period(msgspec.Struct, frozen=True):
    """One period's energies by name; shares of this period alone, by member or by source and member."""

    start_s: int
    consumed_wh: dict[str, int]
    generated_wh: dict[str, int]
    share_ppm: dict[str, Any] | None = None


class Case(msgspec.Struct, frozen=True):
    """What is to be shared out; names instead of accounts, prices in micro-units per kWh."""

    period_s: int
    members: dict[str, Member]
    periods: tuple[Period, ...]
    substations: dict[str, str]
    prices: dict[str, int]


def read(value: Any, mode: Mode) -> Case:
    """Check a case that was read from JSON.

    Raises:
        CaseError: with everything that is wrong with it under this mode.
    """
    reader = _Reader(mode)
    case = reader.case(value)
    if reader.faults:
        raise CaseError(tuple(reader.faults))
    return case


def run(case: Case, mode: Mode, zone: Zone = ()) -> dict[str, Any]:
    """Share out every period of a case.

    Args:
        zone: offsets of local time, for showing times and for grouping days and months.
    Returns:
        Plain values: `mode`, `source`, `periods`, `days`, `members` and `total` (sums over all periods), and
        where prices were given `compensation` (by month and member) or `incentive` (by hour and substation).
    Raises:
        CaseError: weights that do not fit the mode, with the period.
    """
    faults: list[str] = []
    allocations: list[tuple[Period, Allocation]] = []
    for number, period in enumerate(case.periods):
        try:
            allocations.append((period, _allocate(case, mode, period)))
        except SharingError as error:
            faults += [f"periods[{number}]: {_with_names(fault, case, period)}" for fault in error.faults]
    if faults:
        raise CaseError(tuple(faults[:FAULTS_SHOWN]))
    periods = [_told(mode, zone, period, found) for period, found in allocations]
    value: dict[str, Any] = {
        "mode": mode.name,
        "place": mode.place,
        "meaning": mode.meaning,
        "source": mode.source,
        "period_s": case.period_s,
        "periods": periods,
        "days": _days(zone, periods),
        "members": _members(case, periods),
        "total": _sums(periods),
    }
    if mode.rule.own_surplus and {"bought_u_kwh", "surplus_u_kwh"} <= case.prices.keys():
        value["compensation"] = _compensation(case, zone, allocations)
    if "incentive_u_kwh" in case.prices:
        value["incentive"] = _incentive(case, zone)
    return value


def _account(name: str) -> bytes:
    return _PREFIX + name.encode()


def _name(account: bytes) -> str:
    return account.removeprefix(_PREFIX).decode()


def _by_account(numbers: Mapping[str, int]) -> dict[bytes, int]:
    return {_account(name): number for name, number in numbers.items()}


def _allocate(case: Case, mode: Mode, period: Period) -> Allocation:
    present = {name: member for name, member in case.members.items() if member.from_s <= period.start_s}
    consumed = _by_account({name: period.consumed_wh.get(name, 0) for name in present})
    generated = _by_account(period.generated_wh)
    given = period.share_ppm
    if mode.rule.by_source:
        shares = {_account(source): _by_account(one) for source, one in (given or {}).items()}
        return allocate_by_source(consumed, generated, shares)
    weights: dict[bytes, int] = {}
    if mode.rule.weighing is Weighing.SHARES:
        agreed = {name: member.share_ppm or 0 for name, member in case.members.items()} if given is None else given
        weights = _by_account({name: ppm for name, ppm in agreed.items() if ppm})
    elif mode.rule.weighing is Weighing.RANKS:
        weights = _by_account({name: one.rank for name, one in present.items() if one.rank is not None})
    if not case.substations:
        return allocate(mode.rule, consumed, generated, weights)
    parts = [
        allocate(
            mode.rule,
            {one: wh for one, wh in consumed.items() if case.substations.get(_name(one), "") == substation},
            {one: wh for one, wh in generated.items() if case.substations.get(_name(one), "") == substation},
        )
        for substation in sorted({"", *case.substations.values()})
    ]
    return Allocation(
        *(
            dict(sorted((one, wh) for part in parts for one, wh in getattr(part, field).items()))
            for field in ("taken_wh", "given_wh", "surplus_wh")
        )
    )


def _told(mode: Mode, zone: Zone, period: Period, found: Allocation) -> dict[str, Any]:
    members = {}
    for name, consumed_wh in sorted(period.consumed_wh.items()):
        shared_wh = found.taken_wh.get(_account(name), 0)
        members[name] = {"consumed_wh": consumed_wh, "shared_wh": shared_wh, "grid_wh": consumed_wh - shared_wh}
    if mode.rule.own_surplus:
        for account, wh in found.surplus_wh.items():
            line = members.setdefault(_name(account), {"consumed_wh": 0, "shared_wh": 0, "grid_wh": 0})
            line["surplus_wh"] = wh
    sources = {}
    for name, generated_wh in sorted(period.generated_wh.items()):
        sources[name] = {"generated_wh": generated_wh, "given_wh": found.given_wh[_account(name)]}
        if not mode.rule.own_surplus:
            sources[name]["surplus_wh"] = found.surplus_wh[_account(name)]
    return {
        "start_s": period.start_s,
        "local": spelled(zone, period.start_s),
        "generated_wh": sum(period.generated_wh.values()),
        "shared_wh": sum(found.taken_wh.values()),
        "surplus_wh": sum(found.surplus_wh.values()),
        "grid_wh": sum(line["grid_wh"] for line in members.values()),
        "members": members,
        "sources": sources,
    }


_SUMMED: Final = ("generated_wh", "shared_wh", "surplus_wh", "grid_wh")


def _sums(periods: list[dict[str, Any]]) -> dict[str, int]:
    return {"periods": len(periods), **{key: sum(one[key] for one in periods) for key in _SUMMED}}


def _days(zone: Zone, periods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    by_start = {one["start_s"]: one for one in periods}
    told = []
    for day, starts in by_day(zone, by_start).items():
        year, month, number = date_of(day)
        told.append({"date": f"{year:04}-{month:02}-{number:02}", **_sums([by_start[start] for start in starts])})
    return told


def _members(case: Case, periods: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    told: dict[str, dict[str, int]] = {}
    for name in sorted(case.members):
        lines = [one["members"][name] for one in periods if name in one["members"]]
        keys = [
            "consumed_wh",
            "shared_wh",
            "grid_wh",
            *(["surplus_wh"] if any("surplus_wh" in x for x in lines) else []),
        ]
        told[name] = {key: sum(line.get(key, 0) for line in lines) for key in keys}
    return told


def _compensation(case: Case, zone: Zone, allocations: list[tuple[Period, Allocation]]) -> list[dict[str, Any]]:
    months: dict[tuple[tuple[int, int], str], list[Hour]] = {}
    for period, found in allocations:
        for name in case.members:
            account = _account(name)
            bought_wh = period.consumed_wh.get(name, 0) - found.taken_wh.get(account, 0)
            hour = Hour(
                bought_wh,
                found.surplus_wh.get(account, 0),
                case.prices["bought_u_kwh"],
                case.prices["surplus_u_kwh"],
            )
            months.setdefault((local_month(zone, period.start_s), name), []).append(hour)
    return [
        {
            "month": f"{month[0]:04}-{month[1]:02}",
            "member": name,
            **msgspec.structs.asdict(sums),
            "due_u": sums.due_u,
        }
        for (month, name), hours in sorted(months.items())
        for sums in (compensate(hours),)
    ]


def _incentive(case: Case, zone: Zone) -> list[dict[str, Any]]:
    points = [
        Point(period.start_s, _account(name), case.substations.get(name, ""), *energies)
        for period in case.periods
        for name, energies in (
            *(
                (name, (0, wh))
                for name, wh in period.consumed_wh.items()
                if case.members[name].from_s <= period.start_s
            ),
            *((name, (wh, 0)) for name, wh in period.generated_wh.items()),
        )
    ]
    return [
        {"local": spelled(zone, hour.start_s), **msgspec.structs.asdict(hour)}
        for hour in shared_hours(points, case.prices["incentive_u_kwh"])
    ]


def _with_names(fault: str, case: Case, period: Period) -> str:
    for name in sorted((*case.members, *period.generated_wh, *(period.share_ppm or {})), key=len, reverse=True):
        fault = fault.replace(_account(name).hex(), name)
    return fault


class _Reader:
    """Reads a case and collects what is wrong with it."""

    def __init__(self, mode: Mode) -> None:
        self.faults: list[str] = []
        self._mode = mode

    def case(self, value: Any) -> Case:
        fields = self._object("the case", value, _CASE_KEYS, ("members", "periods"))
        own = self._mode.period_s
        period_s = self._number("period_s", fields.get("period_s", own or 900), 1, 86_400)
        if own != ANY_LENGTH and period_s != own:
            self._fault("period_s", f"found {period_s}, but {self._mode.name} counts in periods of {own} s; add up")
        listed = self._named("members", fields.get("members", {}))
        members = {name: self._member(f"members.{name}", one) for name, one in listed}
        if len(members) > MEMBERS_MAX:
            self._fault("members", f"found {len(members)}, the limit is {MEMBERS_MAX}")
        periods = fields.get("periods", [])
        if not isinstance(periods, list):
            self._fault("periods", f"found {_kind(periods)}, expected a list")
            periods = []
        if len(periods) > PERIODS_MAX:
            self._fault("periods", f"found {len(periods)}, the limit is {PERIODS_MAX}; cut the case up")
        read = [self._period(f"periods[{n}]", one, members, period_s) for n, one in enumerate(periods[:PERIODS_MAX])]
        starts: set[int] = set()
        for number, one in enumerate(read):
            if one.start_s in starts:
                self._fault(f"periods[{number}].start_s", f"found {one.start_s} a second time; a period stands once")
            starts.add(one.start_s)
        substations = dict(self._named("substations", fields.get("substations", {})))
        for name, place in substations.items():
            if not isinstance(place, str):
                self._fault(f"substations.{name}", f"found {_kind(place)}, expected a name")
        if substations and self._mode.rule.weighing is not Weighing.NONE:
            self._fault("substations", f"{self._mode.name} shares by weights of all; run a case for each substation")
        prices = {
            name: self._number(f"prices.{name}", one, -PRICE_MAX_U_KWH, PRICE_MAX_U_KWH)
            for name, one in self._object("prices", fields.get("prices", {}), _PRICE_KEYS).items()
        }
        return Case(period_s, members, tuple(read), substations, prices)

    def _member(self, place: str, value: Any) -> Member:
        fields = self._object(place, value, _MEMBER_KEYS)
        bounds = {"share_ppm": PPM, "rank": RANK_MAX, "from_s": TIME_MAX_S}
        read = {key: self._number(f"{place}.{key}", one, 0, bounds[key]) for key, one in fields.items()}
        wanted = {Weighing.SHARES: "share_ppm", Weighing.RANKS: "rank"}.get(self._mode.rule.weighing)
        for key in ("share_ppm", "rank"):
            if key in fields and (key != wanted or self._mode.rule.by_source):
                self._fault(f"{place}.{key}", f"{self._mode.name} takes none here ({self._mode.rule.weighing.value})")
        if wanted == "rank" and "rank" not in fields:
            self._fault(place, f"no rank; {self._mode.name} needs one of everybody")
        return Member(**read)

    def _period(self, place: str, value: Any, members: Mapping[str, Member], period_s: int) -> Period:
        fields = self._object(place, value, _PERIOD_KEYS, ("start_s", "consumed_wh", "generated_wh"))
        start_s = self._number(f"{place}.start_s", fields.get("start_s", 0), 0, TIME_MAX_S)
        if period_s and start_s % period_s:
            self._fault(f"{place}.start_s", f"found {start_s}, which is no multiple of {period_s} s of UTC")
        energies = {
            key: {
                name: self._number(f"{place}.{key}.{name}", one, 0, ENERGY_MAX_WH)
                for name, one in self._named(f"{place}.{key}", fields.get(key, {}))
            }
            for key in ("consumed_wh", "generated_wh")
        }
        for name in energies["consumed_wh"]:
            self._known(f"{place}.consumed_wh.{name}", name, members)
        shares = self._shares(f"{place}.share_ppm", fields.get("share_ppm"), members, energies["generated_wh"])
        return Period(start_s, energies["consumed_wh"], energies["generated_wh"], shares)

    def _shares(
        self, place: str, value: Any, members: Mapping[str, Member], sources: Mapping[str, int]
    ) -> dict[str, Any] | None:
        rule = self._mode.rule
        if value is None:
            if rule.by_source and any(sources.values()):
                self._fault(place, f"not given; {self._mode.name} needs shares of each source in every period")
            return None
        if rule.weighing is not Weighing.SHARES:
            self._fault(place, f"{self._mode.name} takes no shares ({rule.weighing.value})")
            return None
        if not rule.by_source:
            return self._one_set(place, value, members)
        return {source: self._one_set(f"{place}.{source}", one, members) for source, one in self._named(place, value)}

    def _one_set(self, place: str, value: Any, members: Mapping[str, Member]) -> dict[str, int]:
        read = {}
        for name, one in self._named(place, value):
            self._known(f"{place}.{name}", name, members)
            read[name] = self._number(f"{place}.{name}", one, 0, PPM)
        return read

    def _known(self, place: str, name: str, members: Mapping[str, Member]) -> None:
        if name not in members:
            self._fault(place, "is not under members; correct the name or add it there")

    def _object(self, place: str, value: Any, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> dict[str, Any]:
        fields = dict(self._named(place, value))
        for key in [key for key in fields if key not in known]:
            self._fault(place, f"unknown key {key!r}; expected {', '.join(known)}")
            del fields[key]
        for key in needed:
            if key not in fields:
                self._fault(place, f"no key {key!r}")
        return fields

    def _named(self, place: str, value: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(value, dict):
            self._fault(place, f"found {_kind(value)}, expected an object with names as keys")
            return
        for name, one in value.items():
            if name and name.isprintable():
                yield name, one
            else:
                self._fault(place, f"found the name {name!a}, expected one that can be printed")

    def _number(self, place: str, value: Any, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self._fault(place, f"found {_kind(value)}, expected a whole number")
            return low
        if not low <= value <= high:
            self._fault(place, f"found {value}, expected {low} to {high}")
            return low
        return value

    def _fault(self, place: str, text: str) -> None:
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(f"{place}: {text}")


_KINDS: Final[tuple[tuple[type, Callable[[Any], str]], ...]] = (
    (str, lambda value: f"the text {value!r}"),
    (dict, lambda value: "an object"),
    (list, lambda value: "a list"),
)


def _kind(value: Any) -> str:
    for kind, spell in _KINDS:
        if isinstance(value, kind):
            return spell(value)
    return f"{value}" if value is not None else "null"
