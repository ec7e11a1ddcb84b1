"""Carried: which statements this version carries out, and which part of it does.

One entry for a statement that has an effect; what stands nowhere here is told to whoever checks or founds with a
binding. Tests hold that each entry has a proof.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from meshnode.effects.blocks import CONDITIONS
from zencode.binding import Statement
from zencode.catalogue import ids

MEMBERS: Final = frozenset[int]()
"""Joining, leaving, bills, credit, governance and who sees what."""
MARKET: Final = frozenset[int]()
"""Orders, mechanisms, prices, assets, and coins for energy."""
ENERGY: Final = frozenset[int]()
"""Sharing, fees, levies, batteries, charging, meters and emergencies."""
WHOLE: Final = frozenset(
    {ids.LANGUAGE_RULE, ids.VERSION, ids.CATALOGUE, ids.IN_BAND, ids.BAND, ids.BAND_ON, *CONDITIONS}
)
"""What holds for every part: the text itself, and when conditions hold."""

EARLIER: Final = frozenset(
    {
        *(ids.ROUNDING, ids.CURRENCY_IS, ids.PERIOD, ids.GRACE, ids.CORRECTIONS, ids.GRID_PRICE, ids.FEED_IN),
        *(ids.ALLOCATION, ids.JOIN, ids.LEAVE, ids.ORDER, ids.PERIOD_CLOSES, ids.BILL_DUE, ids.METER_SILENT),
        *(ids.ACCEPT, ids.PAY_AS_CLEAR, ids.FLOOR, ids.CAP, ids.MAX_ORDER),
        *(ids.MID_MARKET, ids.FIXED_SHARES, ids.BY_USE, ids.REOFFER, ids.FEE_PER_KWH, ids.SPLIT, ids.ESTIMATE),
        *(ids.LET, ids.HIDE),
    }
)
"""Carried out where they hold always, since before every one had to be proved."""

CARRIED: Final = MEMBERS | MARKET | ENERGY | WHOLE | EARLIER


def not_carried(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements that nothing carries out, in order."""
    return tuple(statement for statement in statements if statement.id not in CARRIED)
