"""Mechanisms: what the sentences of orders and sharing choose, by the names that the market knows.

No mechanism is here: a name is carried out by whoever installs it.
"""

from __future__ import annotations

from zencode import sentences as s

ORDER_MECHANISMS = {
    s.PAY_AS_CLEAR: "pay-as-clear",
    s.ORDER_BOOK: "continuous-order-book",
    s.FALLING: "falling-auction",
    s.PAY_AS_BID: "pay-as-bid",
}
SHARING_MECHANISMS = {
    s.MID_MARKET: "mid-market-rate",
    s.FIXED_SHARES: "static",
    s.BY_USE: "pro-rata",
    s.EQUAL_PARTS: "equal",
    s.ROUNDS: "waterfill",
    s.EQUAL_ROUNDS: "equal-waterfill",
}
#: What sharing by rank chooses; it needs ranks and not shares.
BY_RANK = "priority"
#: Sentences that match orders, and that share; of each event one can act.
MATCHING = (*ORDER_MECHANISMS, s.RISING)
SHARING = (*SHARING_MECHANISMS, s.BY_RANK, s.NAMED_KEY)

#: Named keys that need a share of every member, and those that need ranks.
KEYS_WITH_SHARES = frozenset(
    (
        *("es-static", "es-hourly", "at-static", "de-42b-static", "de-42c-static", "fr-static", "fr-simple-dynamic"),
        *("be-fixed", "be-rounds", "be-hybrid", "lu-percentage"),
    )
)
KEYS_WITH_RANKS = frozenset(("lu-priority",))
#: Keys that are defined for hours; the others are for quarters of an hour.
HOURLY_KEYS = frozenset(("es-static", "es-hourly", "it-cer"))
