"""Market: orders, the mechanisms that clear them, and the trades that come out.

Pure: integers in, integers out, the same on every node. It knows neither the
ledger nor accounting: holds, payments and delivery are somebody else's.
"""

from meshnode.market.clearing import Clearing, Fill, Trade
from meshnode.market.mechanism import Mechanism, MechanismError, Mechanisms, Terms
from meshnode.market.order import Order, OrderError, Side

__all__ = [
    "Clearing",
    "Fill",
    "Mechanism",
    "MechanismError",
    "Mechanisms",
    "Order",
    "OrderError",
    "Side",
    "Terms",
    "Trade",
]
