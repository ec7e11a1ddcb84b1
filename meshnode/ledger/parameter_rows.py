"""Parameter rows: what the tables of credit limits, prices and other parameters hold; as `rows`, for those alone."""

from __future__ import annotations

import msgspec

# What is not set.
NOT_SET = -1


class CreditLimit(msgspec.Struct, frozen=True):
    """How far an account may go; the table's key is (account, who says so).

    The community's limit is said by nobody in particular (empty), everybody's is nobody's in particular.
    """

    limit_u: int


class Prices(msgspec.Struct, frozen=True):
    """What a member buys and sells at, from a period on; the table's key is (account, from_s).

    NOT_SET where it does not. height, position: of the record that says so, which is its turn among equals.
    """

    sell_u_kwh: int
    buy_u_kwh: int
    record_id: bytes
    height: int
    position: int


# What a parameter is of; the first part of its table's key.
COMMUNITY_PRICES = 0
LEVY = 1
SOLIDARITY = 2
GRID_FEES = 3
LOCATION = 4
PRICE_CAPS = 5
COMPENSATION = 6
INCENTIVE = 7


class Parameter(msgspec.Struct, frozen=True):
    """A parameter from a period on; the table's key is (what, of whom or which, from_s).

    values: COMMUNITY_PRICES ((grid price) or (), (feed-in price) or ()); LEVY (base, u_kwh);
    SOLIDARITY (ppm, ((account, weight), ...)); GRID_FEES (u_kwh, ...); LOCATION (level, ...);
    PRICE_CAPS (floor or NOT_SET, cap or NOT_SET); COMPENSATION (0 or 1,);
    INCENTIVE (u_kwh, ppm of producers, ppm of consumers, name of the fund of the rest or "").
    """

    values: tuple[int | str | tuple[int | tuple[bytes, int], ...], ...]
