"""Carried: which sentences of the catalogue the state machine does not carry out yet.

Their facts are in `zencode.terms` all the same. A name leaves these tables in the change that makes the
machine act on it; what stands here is told to whoever founds with a binding.
"""

from __future__ import annotations

from zencode import sentences as s

#: Sentences that have facts which nothing acts on.
NOT_CARRIED = frozenset(
    (
        *(s.TIME_ZONE, s.ZONE_DATA, s.MECHANISM, s.MAY_PAUSE),
        *(s.SUBSTATION, s.PLANT, s.BATTERY, s.BAND, s.INCENTIVE, s.COLLECTING),
        *(s.CHARGING_POINT, s.FEEDER, s.DEVICE_METER, s.CRITICAL, s.CONNECTION, s.BAND_ON, s.BAND_SHARE, s.RANK),
        *(s.GRID_FEED, s.GRID_PRICE_IN_BAND, s.GRID_PRICE_FROM, s.FEED_IN_IN_BAND, s.FEED_IN_FROM, s.GRID_FEE),
        *(s.LEGAL_CAP, s.LEGAL_FLOOR, s.LEGAL_CAP_FROM, s.SHARED_PRICE, s.VAT_RATE, s.VAT_CATEGORY),
        *(s.ASSET_IS, s.ISSUER, s.CASHIER, s.ISSUER_BURNS, s.STORED_ENERGY, s.EFFICIENCY, s.STORAGE_PRICE),
        *(s.STORAGE_ACCESS, s.CONTRIBUTION),
        *(s.CAR_CHARGES, s.BATTERY_DELIVERS, s.BATTERY_STORES, s.INJECTED, s.REDEEMED, s.IMPLAUSIBLE),
        *(s.VOTE_OPENS, s.EVIDENCE_FOUND, s.GRID_LOST, s.FEEDER_LOSES),
        *(s.CREDIT_LIMIT, s.MIN_ORDER, s.NO_OWN_PRICES, s.NO_PARTNERS, s.LIMIT_CHARGING),
        *(s.BY_RANK, s.MOVE_NOTHING, s.LEVY, s.SOLIDARITY, s.FEE_PER_PERIOD, s.STORAGE_FEE),
        *(s.SESSION_PRICE, s.SESSION_FEE, s.SESSION_ENERGY, s.SESSION_SILENCE),
        *(s.MINT, s.BURN, s.ROUTE, s.PAY_WITH, s.MAX_STORED, s.VOTE_TIME, s.TURNOUT, s.PUBLISH, s.SEAL),
    )
)
#: (event, condition or action) that are carried out together in a case; a case is carried out when all of
#: its parts are here with its event.
IN_CASES: frozenset[tuple[int, int]] = frozenset()
