"""Metered: what one member's meter counted in one period, and how well that is known.

Also here: estimating a period that no reading came for, and how complete a
period is. Signatures and register arithmetic are done before.
"""

import enum
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from meshnode.amounts import ENERGY_MAX_WH, PPM

ESTIMATE_DAYS: Final = 8
"""How many days at most an estimate looks at: the median of 4 to 8 similar days follows the season and
is not moved by one holiday."""


class Quality(enum.IntEnum):
    """How well a value is known; a higher one is better. Codes are stored."""

    ESTIMATED = 1
    CORRECTED = 2
    MEASURED = 3


class Metered(msgspec.Struct, frozen=True):
    """One member's energy in one period, summed over its meters.

    Fields:
        account: the member.
        import_wh, export_wh: rise of the two registers at the connection point; both may
            rise in one period.
        produced_wh: own production where it has a meter, else None.
        quality: of the worst of the values.
    """

    account: bytes
    import_wh: int
    export_wh: int
    produced_wh: int | None = None
    quality: Quality = Quality.MEASURED

    def __post_init__(self) -> None:
        for name in ("import_wh", "export_wh", "produced_wh"):
            found = getattr(self, name)
            if found is not None and not 0 <= found <= ENERGY_MAX_WH:
                raise ValueError(
                    f"metered energy of account {self.account.hex()}: {name} is {found}, expected 0 to {ENERGY_MAX_WH}"
                )

    @property
    def own_wh(self) -> int:
        """What was produced and used behind the meter: production - export, where production is metered.

        Never below zero: a battery may export what it stored in an earlier period.
        """
        return max(0, self.produced_wh - self.export_wh) if self.produced_wh is not None else 0

    @property
    def consumption_wh(self) -> int:
        """What the home used: own + import."""
        return self.own_wh + self.import_wh


def completeness_ppm(metered: Iterable[Metered]) -> int:
    """The share of members whose values are measured or corrected, in ppm; the whole when there are none."""
    known = [entry.quality is not Quality.ESTIMATED for entry in metered]
    return PPM * sum(known) // len(known) if known else PPM


def estimate(
    account: bytes,
    period: int,
    history: Iterable[tuple[int, Metered]],
    periods_per_day: int,
    days: int = ESTIMATE_DAYS,
) -> Metered:
    """Fill in a period that no reading came for, from the same time of earlier days.

    Each register is the median over the latest `days` days of the history that have a real
    value in the same slot of the day; the middle of two is rounded down. Estimates are
    never made from estimates.

    Args:
        account: the member; other members' history is ignored.
        period: the missing period's number.
        history: (period number, values) in any order; the caller leaves out days that are
            not similar (a working day for a Sunday).
        periods_per_day: 96 for quarter-hours.
        days: how many days to look at, 1 or more.
    Returns:
        Values with quality ESTIMATED; all zero without a usable history, production
        known only when it was known on one of those days.
    Raises:
        ValueError: `periods_per_day` or `days` below 1, or a period twice in the history.
    """
    if periods_per_day < 1 or days < 1:
        raise ValueError(f"{periods_per_day} periods per day and {days} days, expected 1 or more of each")
    usable: dict[int, Metered] = {}
    for past, metered in history:
        same_slot = past < period and (period - past) % periods_per_day == 0
        if metered.account != account or not same_slot or metered.quality is Quality.ESTIMATED:
            continue
        if past in usable:
            raise ValueError(f"period {past} twice in the history of account {account.hex()}, expected once")
        usable[past] = metered
    latest = [usable[past] for past in sorted(usable, reverse=True)[:days]]
    produced = [metered.produced_wh for metered in latest if metered.produced_wh is not None]
    return Metered(
        account=account,
        import_wh=_median([metered.import_wh for metered in latest]),
        export_wh=_median([metered.export_wh for metered in latest]),
        produced_wh=_median(produced) if produced else None,
        quality=Quality.ESTIMATED,
    )


def _median(numbers: Sequence[int]) -> int:
    """The middle number; of an even count the mean of the middle two, rounded down; 0 of none."""
    if not numbers:
        return 0
    ordered = sorted(numbers)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2
