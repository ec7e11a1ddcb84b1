"""Load: a seeded file of operations on a continuous book, and what this project's book makes of it.

The operations are such that other libraries know them too: limit orders that rest, and
cancellations. Buyers and sellers are different members, because those libraries let
members trade with themselves.
"""

import time
from random import Random

from meshnode.market import Side
from meshnode.market.book import Book
from meshnode.market.standing import StandingOrder

OPERATIONS = 20_000
CANCELS_PERCENT = 20
# A cancellation is mostly of an order that was placed lately.
LATELY = 400
MEMBERS = 100
MIDDLE_U_KWH = 200_000
TICK_U_KWH = 1_000

# ("buy" | "sell", order number, member, Wh, price) or ("cancel", order number)
Operation = tuple[str, int, int, int, int] | tuple[str, int]
# (number of the order that came in, number of the one that rested, price, Wh)
Deal = tuple[int, int, int, int]


def operations(seed: int, count: int = OPERATIONS) -> list[Operation]:
    """The same operations for the same seed: exactly 20 % cancellations, and about as many bids as offers."""
    random = Random(seed)
    kinds = ["cancel"] * (count * CANCELS_PERCENT // 100)
    kinds += [("buy", "sell")[number % 2] for number in range(count - 1 - len(kinds))]
    random.shuffle(kinds)
    kinds.insert(0, "buy")  # there is something to cancel from the second operation on
    made: list[Operation] = []
    placed = 0
    for kind in kinds:
        if kind == "cancel":
            made.append((kind, random.randrange(max(0, placed - LATELY), placed)))
            continue
        sign = 1 if kind == "buy" else -1
        # Most stay a little behind the middle, some go beyond it.
        price = MIDDLE_U_KWH + sign * TICK_U_KWH * round(random.gauss(-8, 12))
        member = random.randrange(MEMBERS) + (0 if kind == "buy" else MEMBERS)
        made.append((kind, placed, member, random.randrange(1, 5_000), price))
        placed += 1
    return made


def run(load: list[Operation]) -> tuple[list[Deal], float, Book]:
    """The trades of this project's book, the seconds that it took, and the book."""
    book = Book()
    deals: list[Deal] = []
    begun = time.perf_counter()
    for position, operation in enumerate(load):
        number = operation[1]
        order_id = number.to_bytes(32, "big")
        if len(operation) == 2:
            if order_id in book:
                book.cancel(order_id)
            continue
        kind, _, member, energy_wh, price_u_kwh = operation
        side = Side.BUY if kind == "buy" else Side.SELL
        order = StandingOrder(
            order_id, member.to_bytes(16, "big"), side, energy_wh, energy_wh, price_u_kwh, (1, position)
        )
        for trade in book.place(order).trades:
            other = trade.sell_order if side is Side.BUY else trade.buy_order
            deals.append((number, int.from_bytes(other, "big"), trade.price_u_kwh, trade.energy_wh))
    return deals, time.perf_counter() - begun, book
