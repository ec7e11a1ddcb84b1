"""Parameters: the records that set prices, levies, grid fees and price caps from a settlement period on.

None of them ever takes effect in a period that has begun: what was consumed is paid for as it was announced.
Without `from_s` it is the next period after the block that carries the record.
"""

from __future__ import annotations

from typing import Annotated

from protocols.records.delivery import Share
from protocols.records.genesis import MAX_NAME_BYTES
from protocols.records.schema import Field, Int, ListOf, Name, OneOf, Second, Table, Uint, register
from protocols.records.statements import MAX_PRICE_U_KWH, AccountId, Spoken

# Countries' tariffs know up to seven levels between a home and the whole grid, and one for the home itself.
MAX_GRID_LEVELS = 8
# Whom a community helps is a handful of households.
MAX_HELPED = 64
MAX_SHARE_PPM = 1_000_000

# The energy that a levy is on.
LEVY_CONSUMED = 0
LEVY_NEIGHBOURS = 1
LEVY_GRID = 2

Price = Int(0, MAX_PRICE_U_KWH)
AnyPrice = Int(-MAX_PRICE_U_KWH, MAX_PRICE_U_KWH)
Text = Name(MAX_NAME_BYTES)
FROM = Field(1, Second(), "UTC second at which a period begins; the next period's, if none")


class PriceMine(Table, frozen=True, kw_only=True):
    """What the signer sells and buys at, of what its meters show and it did not order; neither, if none is said."""

    from_s: Annotated[int | None, FROM] = None
    sell_u_kwh: Annotated[int | None, Field(2, Price, "sells its surplus at this price or a higher one")] = None
    buy_u_kwh: Annotated[int | None, Field(3, Price, "buys what it needs at this price or a lower one")] = None


class PriceCommunity(Table, frozen=True, kw_only=True):
    """The prices outside the market; what is not said is as the binding says. Set by an administrator."""

    from_s: Annotated[int | None, FROM] = None
    grid_u_kwh: Annotated[int | None, Field(2, AnyPrice, "of energy from the grid")] = None
    feed_in_u_kwh: Annotated[int | None, Field(3, AnyPrice, "what the grid pays")] = None


@register(81)
class PriceSet(Spoken, frozen=True, kw_only=True):
    """A price is set, never backwards; signed by the member key."""

    step: Annotated[
        PriceMine | PriceCommunity,
        Field(3, OneOf(mine=(0, PriceMine), community=(1, PriceCommunity)), "whose"),
    ]


class LevySet(Table, frozen=True, kw_only=True):
    """A levy on energy for a fund; 0 ends it."""

    from_s: Annotated[int | None, FROM] = None
    name: Annotated[str, Field(2, Text, "its name, which is the fund's as well")]
    base: Annotated[int, Field(3, Uint(255), "0 on what a home uses, 1 takes from neighbours, 2 draws from the grid")]
    levy_u_kwh: Annotated[int, Field(4, Price, "micro-units per kWh")]


class SolidaritySet(Table, frozen=True, kw_only=True):
    """A part of what each member earns goes to those whom the community helps; 0 ends it."""

    from_s: Annotated[int | None, FROM] = None
    share_ppm: Annotated[int, Field(2, Uint(MAX_SHARE_PPM), "of what a member earns in a period")]
    helped: Annotated[
        tuple[tuple[bytes, int], ...],
        Field(3, ListOf(Share, MAX_HELPED, ascending=True), "who receives it, with a weight; who is helped gives none"),
    ] = ()


class GridFeesSet(Table, frozen=True, kw_only=True):
    """What the grid takes for energy between two members, by how much of their location they share; none: nothing."""

    from_s: Annotated[int | None, FROM] = None
    fees_u_kwh: Annotated[
        tuple[int, ...],
        Field(2, ListOf(Price, MAX_GRID_LEVELS), "for members that share nothing, the first level, and so on"),
    ] = ()


class LocationSet(Table, frozen=True, kw_only=True):
    """Where in the grid a member is connected; without levels it shares nothing with anybody."""

    from_s: Annotated[int | None, FROM] = None
    account: Annotated[bytes, Field(2, AccountId, "whose")]
    levels: Annotated[
        tuple[str, ...], Field(3, ListOf(Text, MAX_GRID_LEVELS), "from the largest to the smallest: substation, feeder")
    ] = ()


class CapSet(Table, frozen=True, kw_only=True):
    """The prices that the law allows; the binding's own bounds hold beside them."""

    from_s: Annotated[int | None, FROM] = None
    floor_u_kwh: Annotated[int | None, Field(2, Price, "no price below this")] = None
    cap_u_kwh: Annotated[int | None, Field(3, Price, "no price above this")] = None


class CompensationSet(Table, frozen=True, kw_only=True):
    """Whether surplus takes off at most what the bought energy of a billing period costs."""

    from_s: Annotated[int | None, FROM] = None
    applies: Annotated[int, Field(2, Uint(1), "1 it does, 0 it does not")]


class IncentiveSet(Table, frozen=True, kw_only=True):
    """What is paid from outside for energy shared within an hour behind one substation; 0 ends it."""

    from_s: Annotated[int | None, FROM] = None
    incentive_u_kwh: Annotated[int, Field(2, Price, "for each shared kWh")]
    producers_ppm: Annotated[int, Field(3, Uint(MAX_SHARE_PPM), "to who injected, by what each did")] = 0
    consumers_ppm: Annotated[int, Field(4, Uint(MAX_SHARE_PPM), "to who withdrew, by what each did")] = 0
    fund: Annotated[str | None, Field(5, Text, "the fund that gets the rest")] = None


ParameterStep = LevySet | SolidaritySet | GridFeesSet | LocationSet | CapSet | CompensationSet | IncentiveSet


@register(82)
class Parameter(Spoken, frozen=True, kw_only=True):
    """A number that the community's rules leave open is set, never backwards; signed by an administrator."""

    step: Annotated[
        ParameterStep,
        Field(
            3,
            OneOf(
                levy=(0, LevySet),
                solidarity=(1, SolidaritySet),
                grid_fees=(2, GridFeesSet),
                location=(3, LocationSet),
                cap=(4, CapSet),
                compensation=(5, CompensationSet),
                incentive=(6, IncentiveSet),
            ),
            "which",
        ),
    ]
