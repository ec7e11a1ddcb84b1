"""Facts: what a binding says of one thing - a battery, an asset, a charging point - as typed records.

They are parts of `zencode.terms.Terms`, which says how they come about. Names are those of the
binding; whose account or meter one is, the ledger knows.
"""

from __future__ import annotations

from msgspec import Struct

from zencode.kinds import WHOLE_PPM


class Band(Struct, frozen=True):
    """A part of some days, in local seconds after midnight; with `to_s` before `from_s` it runs over midnight.

    `days` is a canonical word of `zencode.words.WEEKDAYS`, "" for every day. A band has one or more of these.
    """

    name: str
    from_s: int
    to_s: int
    days: str = ""


class PriceStep(Struct, frozen=True):
    """A price inside a band, or from a day (counted from 1970-01-01, beginning at local midnight) on; not both."""

    u_kwh: int
    band: str = ""
    from_day: int | None = None


class Prices(Struct, frozen=True):
    """What changes the standing prices of a binding, and what the law and the grid say."""

    grid: tuple[PriceStep, ...] = ()
    feed_in: tuple[PriceStep, ...] = ()
    legal_floor_u_kwh: int | None = None
    legal_cap_u_kwh: int | None = None
    legal_caps: tuple[PriceStep, ...] = ()
    """From days on."""
    shared_u_kwh: int = 0
    incentive_u_kwh: int = 0
    grid_fees_u_kwh: tuple[int, ...] = ()
    """By how many levels of their connection two members share, from none on; never rising."""
    connections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Member and where it is connected, from the largest element on; sorted by member."""
    vat_rates: tuple[tuple[str, int], ...] = ()
    """Category and rate in ppm."""
    vat_categories: tuple[tuple[str, str], ...] = ()
    """Member and category."""


class Shares(Struct, frozen=True):
    """Shares of a member in a band, and ranks, sorted by member; `ranked` is the mode that uses the ranks."""

    in_bands: tuple[tuple[str, str, int], ...] = ()
    """(band, member, ppm), sorted; each band's shares sum to a million."""
    ranks: tuple[tuple[str, int], ...] = ()
    ranked: str = ""
    """"priority" or the named key that shares by rank; "" where nothing does."""


class Asset(Struct, frozen=True):
    """An asset. `sort` is "money", "energy" or "utility"; `most` is in its smallest unit.

    `mint_wh`: injected energy that makes a unit, 0 if none does. `burn_wh`: energy that a redeemed unit
    releases, 0 if none; `source` is a canonical word of `zencode.words.ENERGY_SOURCES`.
    `pays`: debts are paid with it when a period closes.
    """

    name: str
    sort: str
    most: int
    issuer: str = ""
    cashier: str = ""
    issuer_burns: bool = False
    mint_wh: int = 0
    burn_wh: int = 0
    source: str = ""
    pays: bool = False


class Plant(Struct, frozen=True):
    """A generating plant; `meter` is an id in hexadecimal, "" if unsaid."""

    name: str
    power_w: int
    owner: str
    meter: str = ""


class Battery(Struct, frozen=True):
    """A shared battery, and what storing in it costs.

    `asset`: stored energy, a unit for a Wh. `storage_u_kwh`, `most_cost_u`: what storage costs, and may cost a
    member; 0 if unsaid. `access`: who stores must have this asset. `fee_u_kwh`: for each kWh stored at the end of
    a period. `most_wh`: nobody may have more; None without a bound.
    """

    name: str
    capacity_wh: int
    power_w: int
    owner: str
    meter: str = ""
    asset: str = ""
    efficiency_ppm: int = WHOLE_PPM
    storage_u_kwh: int = 0
    most_cost_u: int = 0
    access: str = ""
    contributions_u: tuple[tuple[str, int], ...] = ()
    fee_u_kwh: int = 0
    most_wh: int | None = None


class ChargingPoint(Struct, frozen=True):
    """A charging point, and what holds for every session there; None where a binding does not say.

    `power_w` and `owner` are of a point that is given, else 0 and "".
    """

    name: str
    power_w: int = 0
    owner: str = ""
    meter: str = ""
    price_u_kwh: int | None = None
    flat_u: int | None = None
    most_wh: int | None = None
    silence_s: int | None = None
    limit_w: int | None = None


class Levy(Struct, frozen=True):
    """A levy on energy; `energy` is "consumed energy", "traded energy" or "grid energy"."""

    recipient: str
    energy: str
    u_kwh: int


class Voting(Struct, frozen=True):
    """How a vote ends, and who may pause matching. `closes_s` None: only the notice ends a vote."""

    closes_s: int | None = None
    turnout_ppm: int = 0
    pause_role: str = ""
    pause_s: int = 0
