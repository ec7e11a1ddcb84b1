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

CARRIED: Final = MEMBERS | MARKET | ENERGY | WHOLE


def not_carried(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements that nothing carries out, in order."""
    return tuple(statement for statement in statements if statement.id not in CARRIED)
