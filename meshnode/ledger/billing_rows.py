"""Billing rows: what the tables about billing periods and shared hours hold; as `rows`, for those alone."""

from __future__ import annotations

import msgspec


class BillingPeriod(msgspec.Struct, frozen=True):
    """A billing period; the table's key is the start of its first settlement period.

    months, seconds, number: which one it is, counted by months or by seconds of local time.
    last_s: start of its last settlement period so far. until_s: when that ends. entries: how often
    it was posted; 0 while it is open.
    """

    months: int
    seconds: int
    number: int
    last_s: int
    until_s: int
    entries: int = 0


class BillingSum(msgspec.Struct, frozen=True, gc=False):
    """One account's billing period; the table's key is (billing period, account).

    bought_wh, bought_u: from the grid. surplus_wh, surplus_u: given to the grid, or by somebody else for it.
    incentive_u: for energy shared within hours. lost_u, granted_u: as they are posted.
    """

    bought_wh: int = 0
    bought_u: int = 0
    surplus_wh: int = 0
    surplus_u: int = 0
    incentive_u: int = 0
    lost_u: int = 0
    granted_u: int = 0


class SharedHour(msgspec.Struct, frozen=True, gc=False):
    """An hour behind one substation, while it may change; the table's key is (hour, substation).

    billing: the billing period that it counts in. until_s: its end. u_kwh to fund: of its incentive.
    """

    billing: int
    until_s: int
    u_kwh: int
    producers_ppm: int
    consumers_ppm: int
    fund: bytes


class HourPoint(msgspec.Struct, frozen=True, gc=False):
    """What one account injected and withdrew in such an hour; the table's key is (hour, substation, account)."""

    injected_wh: int = 0
    withdrawn_wh: int = 0
