"""Grid fees: what the grid takes for energy between two members, by the level at which they are connected.

Energy that stays below one transformer uses less of the grid than energy across the
town. The fee comes on top of a trade's price and is the buyer's; limits are prices
without it, so it never changes who trades with whom.
"""

from typing import Final

import msgspec

from meshnode.amounts import PRICE_MAX_U_KWH

LEVELS_MAX: Final = 8
"""Levels between a home and the whole grid: countries' tariffs know up to seven, and one for the home itself."""

Location = tuple[str, ...]  # from the largest to the smallest: ("substation 4", "transformer 17", "feeder 2")


class GridFeeError(ValueError):
    """A table of fees, or a location, that cannot be."""


class GridFees(msgspec.Struct, frozen=True):
    """Fees by how much of their location two members share.

    Fields:
        fees_u_kwh: the fee, in micro-units per kWh, for members that share nothing of their location,
            the first element of it, the first two, and so on; 0 or more, never rising.
    """

    fees_u_kwh: tuple[int, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.fees_u_kwh) <= LEVELS_MAX:
            raise GridFeeError(f"{len(self.fees_u_kwh)} levels of grid fees, expected 1 to {LEVELS_MAX}")
        if list(self.fees_u_kwh) != sorted(self.fees_u_kwh, reverse=True) or not (
            self.fees_u_kwh[-1] >= 0 and self.fees_u_kwh[0] <= PRICE_MAX_U_KWH
        ):
            raise GridFeeError(
                f"grid fees {', '.join(map(str, self.fees_u_kwh))}: expected 0 to {PRICE_MAX_U_KWH}, none higher than "
                "the one before it; closer members use less of the grid"
            )


def shared_levels(one: Location, other: Location) -> int:
    """How many elements, from the largest on, two locations have in common."""
    levels = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        levels += 1
    return levels


def grid_fee(fees: GridFees, buyer: Location, seller: Location) -> int:
    """The fee for energy from seller to buyer, in micro-units per kWh; beyond the last level, that of the last."""
    return fees.fees_u_kwh[min(shared_levels(buyer, seller), len(fees.fees_u_kwh) - 1)]
