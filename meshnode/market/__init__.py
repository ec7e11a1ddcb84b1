"""Market: orders, the mechanisms that clear them, and the trades that come out.

Two families in the same words: orders of energy in one settlement period, cleared together at its close
(`Order`, `Mechanism.clear`), and standing orders, which trade whenever they meet (`StandingOrder`, `Book`).

Pure: integers in, integers out, the same on every node. It knows neither the
ledger nor accounting: holds, payments and delivery are somebody else's.
"""

from meshnode.market.auction import Award, Placed, Refusal
from meshnode.market.book import Book, Quote
from meshnode.market.clearing import Clearing, Fill, Trade
from meshnode.market.mechanism import (
    AuctionMechanism,
    ContinuousMechanism,
    Mechanism,
    MechanismError,
    Mechanisms,
    Terms,
)
from meshnode.market.order import Order, OrderError, Side
from meshnode.market.standing import Band, Effects, Leaving, Left, StandingOrder, TimeInForce

__all__ = [
    "AuctionMechanism",
    "Award",
    "Band",
    "Book",
    "Clearing",
    "ContinuousMechanism",
    "Effects",
    "Fill",
    "Leaving",
    "Left",
    "Mechanism",
    "MechanismError",
    "Mechanisms",
    "Order",
    "OrderError",
    "Placed",
    "Quote",
    "Refusal",
    "Side",
    "StandingOrder",
    "Terms",
    "TimeInForce",
    "Trade",
]
