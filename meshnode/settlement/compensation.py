"""Compensation: what national rules pay for a month's surplus and for an hour's shared energy.

Pure sums over many periods: Spain's simplified compensation of surplus, Italy's incentive on
shared energy. Prices are parameters; which ones are in force is the community's to know, and
`meshnode.settlement.billing_periods` works them out on the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from meshnode.amounts import PPM, PRICE_MAX_U_KWH, AmountError, int64, split, value
from meshnode.settlement.sharing import SharingError

HOUR_S: Final = 3600


class Hour(msgspec.Struct, frozen=True):
    """One member's hour under the Spanish rule, after sharing.

    Fields:
        bought_wh: drawn from the grid beyond the member's part.
        surplus_wh: of the member's part, not used.
        bought_u_kwh, surplus_u_kwh: what each is worth in this hour.
    """

    bought_wh: int
    surplus_wh: int
    bought_u_kwh: int
    surplus_u_kwh: int


class Compensation(msgspec.Struct, frozen=True):
    """A member's billing period.

    bought_u - compensated_u is to be paid, and never below zero; compensated_u + lost_u = surplus_u.
    """

    bought_wh: int
    bought_u: int
    surplus_wh: int
    surplus_u: int
    compensated_u: int
    lost_u: int

    @property
    def due_u(self) -> int:
        """What remains to be paid for energy."""
        return self.bought_u - self.compensated_u


def compensate(hours: Iterable[Hour]) -> Compensation:
    """Set a billing period's surplus off against the energy that was bought in it.

    Hours are valued one by one. The surplus takes off at most what the bought energy cost: whatever is
    beyond that is lost, nothing is carried over and nothing is paid out.

    Args:
        hours: of one member and at most one month.
    Source: Real Decreto 244/2019, article 14 (simplified compensation).
    """
    bought_wh = bought_u = surplus_wh = surplus_u = 0
    for hour in hours:
        bought_wh += hour.bought_wh
        bought_u += value(hour.bought_u_kwh, hour.bought_wh)
        surplus_wh += hour.surplus_wh
        surplus_u += value(hour.surplus_u_kwh, hour.surplus_wh)
    return set_off(bought_wh, bought_u, surplus_wh, surplus_u)


def set_off(bought_wh: int, bought_u: int, surplus_wh: int, surplus_u: int) -> Compensation:
    """Set sums of a billing period off: as `compensate`, of hours that are added up already."""
    # A price below zero makes a surplus that costs something; there is nothing to limit about that.
    compensated_u = min(int64("value of surplus", surplus_u), max(0, int64("value of bought energy", bought_u)))
    return Compensation(bought_wh, bought_u, surplus_wh, surplus_u, compensated_u, surplus_u - compensated_u)


def passed_on(fed_in_wh: Mapping[bytes, int], surplus_wh: Mapping[bytes, int]) -> dict[bytes, int]:
    """Whose surplus somebody else feeds in: what each holds beyond what it feeds in itself, below zero the other way.

    A share of nobody who takes part stays with those who feed in, in proportion to what they do.

    Args:
        fed_in_wh: what each member feeds in.
        surplus_wh: what each holder of a share has left of it; the sums are equal.
    Returns:
        Wh by account, without those of zero; the sum is zero.
    """
    nobodys_wh = sum(wh for account, wh in surplus_wh.items() if account not in fed_in_wh)
    kept_wh = split(nobodys_wh, fed_in_wh.items()) if nobodys_wh else {}
    beyond_wh = {
        account: surplus_wh.get(account, 0) + kept_wh.get(account, 0) - wh for account, wh in sorted(fed_in_wh.items())
    }
    return {account: wh for account, wh in beyond_wh.items() if wh}


PRODUCERS: Final = b"producers"
CONSUMERS: Final = b"consumers"
# Account ids have 16 bytes, so that no group is one.


class Incentive(msgspec.Struct, frozen=True):
    """What is paid for energy shared within an hour behind one primary substation, and who receives it.

    Fields:
        u_kwh: for each shared kWh, 0 or more.
        producers_ppm: of it to who injected in the hour, by what each injected.
        consumers_ppm: to who withdrew, by what each withdrew.
        fund: account that receives the rest; empty only without a rest.
    """

    u_kwh: int
    producers_ppm: int
    consumers_ppm: int
    fund: bytes = b""

    def __post_init__(self) -> None:
        rest_ppm = PPM - self.producers_ppm - self.consumers_ppm
        if not 0 <= self.u_kwh <= PRICE_MAX_U_KWH or min(self.producers_ppm, self.consumers_ppm, rest_ppm) < 0:
            raise AmountError(
                f"incentive of {self.u_kwh} u/kWh, {self.producers_ppm} and {self.consumers_ppm} ppm: expected "
                f"0 to {PRICE_MAX_U_KWH}, and at most {PPM} together"
            )
        if rest_ppm and not self.fund:
            raise AmountError(f"incentive: {rest_ppm} ppm are nobody's; name a fund for them")

    def of_hour(self, injected_wh: Mapping[bytes, int], withdrawn_wh: Mapping[bytes, int]) -> dict[bytes, int]:
        """What each receives for an hour behind one substation, by account; the sum is what `shared_hours` earns."""
        earned_u = value(self.u_kwh, min(sum(injected_wh.values()), sum(withdrawn_wh.values())))
        parts = {PRODUCERS: self.producers_ppm, CONSUMERS: self.consumers_ppm}
        parts[self.fund] = PPM - self.producers_ppm - self.consumers_ppm
        groups = {PRODUCERS: injected_wh, CONSUMERS: withdrawn_wh}
        return divide_incentive(earned_u, {name: ppm for name, ppm in parts.items() if ppm}, groups)


class Point(msgspec.Struct, frozen=True):
    """What one connection point injected and withdrew in one period.

    Fields:
        start_s: of the period, UTC.
        account: whose it is.
        substation: the primary substation that it hangs on.
    """

    start_s: int
    account: bytes
    substation: str
    injected_wh: int
    withdrawn_wh: int


class SharedHour(msgspec.Struct, frozen=True):
    """An hour behind one substation: shared_wh = min(injected, withdrawn)."""

    start_s: int
    substation: str
    injected_wh: int
    withdrawn_wh: int
    shared_wh: int
    incentive_u: int


def shared_hours(points: Iterable[Point], incentive_u_kwh: int) -> tuple[SharedHour, ...]:
    """What was shared in every hour behind every primary substation, and what it earns.

    Periods shorter than an hour are added up first: within the hour injection and withdrawal need not
    coincide. Energy is never shared between two substations.

    Args:
        points: of any connection points, any order; periods do not cross the hour.
        incentive_u_kwh: paid for each shared kWh.
    Returns:
        By hour, then by substation.
    Source: decreto legislativo 199/2021, article 8; ARERA 727/2022/R/eel, annex A.
    """
    sums: dict[tuple[int, str], list[int]] = {}
    for one in points:
        hour = sums.setdefault((one.start_s // HOUR_S * HOUR_S, one.substation), [0, 0])
        hour[0] += one.injected_wh
        hour[1] += one.withdrawn_wh
    found = []
    for (start_s, substation), (injected_wh, withdrawn_wh) in sorted(sums.items()):
        shared_wh = min(injected_wh, withdrawn_wh)
        earned_u = value(incentive_u_kwh, shared_wh)
        found.append(SharedHour(start_s, substation, injected_wh, withdrawn_wh, shared_wh, earned_u))
    return tuple(found)


def divide_incentive(
    incentive_u: int,
    parts: Mapping[bytes, int],
    groups: Mapping[bytes, Mapping[bytes, int]],
) -> dict[bytes, int]:
    """Divide an incentive among groups and, inside a group, by what each contributed.

    Args:
        incentive_u: of an hour or of a month.
        parts: ppm by group or by account; together the whole.
        groups: members of a group with their weights, for example the Wh that consumers used or
            producers injected. A part that is no group is an account of its own. A group in which nobody
            has a weight leaves its part to the others.
    Returns:
        Money by account; the sum is the incentive.
    Raises:
        SharingError: nobody at all to give it to.
    """
    receiving = {name: ppm for name, ppm in parts.items() if name not in groups or any(groups[name].values())}
    if incentive_u and not any(receiving.values()):
        raise SharingError((f"{incentive_u} u of incentive and nobody to receive it: name a fund",))
    received_u: dict[bytes, int] = {}
    for name, amount_u in split(incentive_u, receiving.items()).items():
        shares_u = split(amount_u, groups[name].items()) if name in groups else {name: amount_u}
        for account, share_u in shares_u.items():
            received_u[account] = received_u.get(account, 0) + share_u
    return dict(sorted(received_u.items()))
