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

MEMBERS: Final = frozenset(
    {
        *(ids.ROLE_IS, ids.SUBSTATION, ids.JOIN, ids.LEAVE, ids.SHOWS, ids.BEHIND),
        *(ids.ACCEPT, ids.REFUSE, ids.ASK, ids.DEPOSIT, ids.CREDIT_LIMIT, ids.KEEP_OPEN),
        *(ids.ROUNDING, ids.CURRENCY_IS, ids.BILLING, ids.COLLECTING, ids.VAT_RATE, ids.VAT_CATEGORY, ids.BILL_DUE),
        *(ids.FEE_PER_CYCLE, ids.FEE_PER_PERIOD, ids.NET, ids.COLLECT),
        *(ids.METER_SILENT, ids.EVIDENCE_FOUND, ids.WARN, ids.PAY_BACK, ids.FREEZE),
        *(ids.LET, ids.HIDE, ids.PUBLISH, ids.SEAL),
        *(ids.IMPLAUSIBLE, ids.REFUSE_READING, ids.TIME_ZONE, ids.ZONE_DATA),
    }
)
"""Joining, leaving, bills, credit, governance and who sees what."""
MARKET: Final = frozenset[int]()
"""Orders, mechanisms, prices, assets, and coins for energy."""
ENERGY: Final = frozenset(
    {
        *(ids.PERIOD, ids.GRACE, ids.CORRECTIONS, ids.ALLOCATION, ids.BAND_SHARE, ids.RANK, ids.SHARED_PRICE),
        *(ids.PERIOD_CLOSES, ids.MID_MARKET, ids.FIXED_SHARES, ids.BY_USE, ids.REOFFER, ids.EQUAL_PARTS, ids.BY_RANK),
        *(ids.ROUNDS, ids.EQUAL_ROUNDS, ids.NAMED_KEY, ids.MOVE_NOTHING, ids.SERVE_FIRST),
        *(ids.INCENTIVE, ids.FEE_PER_KWH, ids.SPLIT, ids.LEVY, ids.SOLIDARITY, ids.ESTIMATE),
        *(ids.PLANT, ids.BATTERY, ids.DEVICE_METER, ids.STORED_ENERGY, ids.EFFICIENCY, ids.STORAGE_PRICE),
        *(ids.STORAGE_ACCESS, ids.CONTRIBUTION, ids.BATTERY_DELIVERS, ids.BATTERY_STORES, ids.STORAGE_FEE),
        *(ids.CHARGED_ABOVE, ids.CHARGED_BELOW, ids.MAX_STORED),
        *(ids.CHARGING_POINT, ids.CAR_CHARGES, ids.SESSION_PRICE, ids.SESSION_FEE, ids.SESSION_ENERGY),
        *(ids.SESSION_SILENCE, ids.LIMIT_CHARGING, ids.FEEDER, ids.FEEDER_LOSES, ids.CRITICAL, ids.GRID_FEED),
        *(ids.GRID_LOST, ids.CRITICAL_FIRST, ids.RATION),
    }
)
"""Sharing, fees, levies, batteries, charging, meters and emergencies."""
GOVERNANCE: Final = frozenset(
    {ids.CHANGES, ids.MECHANISM, ids.MAY_PAUSE, ids.VOTE_OPENS, ids.VOTE_TIME, ids.TURNOUT, ids.PAUSE}
)
"""How the binding changes, and when the matching of orders stops."""
WHOLE: Final = frozenset(
    {ids.LANGUAGE_RULE, ids.VERSION, ids.CATALOGUE, ids.IN_BAND, ids.BAND, ids.BAND_ON, *CONDITIONS}
)
"""What holds for every part: the text itself, and when conditions hold."""

EARLIER: Final = frozenset(
    {
        *(ids.PERIOD, ids.GRACE, ids.CORRECTIONS, ids.GRID_PRICE, ids.FEED_IN),
        *(ids.ALLOCATION, ids.ORDER, ids.PERIOD_CLOSES, ids.PAY_AS_CLEAR, ids.FLOOR, ids.CAP, ids.MAX_ORDER),
        *(ids.MID_MARKET, ids.FIXED_SHARES, ids.BY_USE, ids.REOFFER, ids.FEE_PER_KWH, ids.SPLIT, ids.ESTIMATE),
        *(ids.PAY_AS_BID, ids.EQUAL_PARTS, ids.ROUNDS, ids.EQUAL_ROUNDS, ids.NAMED_KEY),
    }
)
"""Carried out where they hold always, since before every one had to be proved."""

CARRIED: Final = MEMBERS | MARKET | ENERGY | GOVERNANCE | WHOLE | EARLIER


def not_carried(statements: Iterable[Statement]) -> tuple[Statement, ...]:
    """The statements that nothing carries out, in order."""
    return tuple(statement for statement in statements if statement.id not in CARRIED)
