"""Facts: what is known when an event happens, for the conditions of the binding's blocks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an event. None, or no entry: not known, so that no condition on it is answered.

    Fields:
        time_s: the UTC second that bands are asked for; of energy, the beginning of its settlement period.
        roles: of the member whom the event is about.
        credentials: that its request shows, each checked.
        substations: whose area the member's metering points lie in.
        shared_ppm: of what was injected in the period, how much was shared.
        grid_price_u_kwh: in force in the period.
        balance_u: what the member is owed less what it owes, with what it has of the asset that debts are paid with.
        units: of the assets that the member has, by name; without an entry it has none of it.
        charge_ppm: state of charge of batteries, by name.
        is_sale: whether the order is an offer.
    """

    time_s: int | None = None
    roles: frozenset[str] | None = None
    credentials: frozenset[str] | None = None
    substations: frozenset[str] | None = None
    shared_ppm: int | None = None
    grid_price_u_kwh: int | None = None
    balance_u: int | None = None
    units: Mapping[str, int] | None = None
    charge_ppm: Mapping[str, int] = _NOTHING
    is_sale: bool | None = None
