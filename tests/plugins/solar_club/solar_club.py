"""Solar club: a package of two statements and a mechanism, as anybody can write one.

One statement pays a bonus to whoever shares energy; the other has orders matched by this package's mechanism.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from meshnode.amounts import value
from meshnode.market import Order, Terms
from meshnode.market.clearing import Clearing, by_merit, cross, match, summed_up
from meshnode.plugins import Charge, PeriodFacts, fund_account
from zencode.additions import action
from zencode.kinds import PRICE, TEXT
from zencode.packages import Package
from zencode.sentences import ORDER, PERIOD_CLOSES, Slot

NAME, VERSION = "solar-club", 1
BONUS, ASKED = 1, 2


class Effects:
    """What the statements of this package charge."""

    def charges(self, number: int, slots: tuple[Any, ...], period: PeriodFacts) -> Iterable[Charge]:
        """The bonus: a fund pays each home for what it gave to its neighbours."""
        price_u_kwh, fund = slots
        for home in period.homes:
            yield Charge(fund_account(fund), home.account, value(price_u_kwh, home.sold_wh))


class PayAsAsked:
    """One period's double auction in which every seller gets what it asked for."""

    name, version = "pay-as-asked", 1

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Pair the dearest bid with the cheapest offer, at the offer's price."""
        bought, sold, _, _ = cross(*by_merit(orders))
        trades, fills = match(bought, sold, lambda bid, offer: offer.price_u_kwh)
        return summed_up(self.name, self.version, trades, fills)


PAY_AS_ASKED = PayAsAsked()

_ROWS = (
    action(
        NAME,
        VERSION,
        BONUS,
        "sunshine bonus",
        words={
            "en": "pay a sunshine bonus of {price} from {fund}",
            "it": "paga un premio sole di {price} da {fund}",
            "es": "paga una prima solar de {price} de {fund}",
            "de": "zahle einen Sonnenbonus von {price} aus {fund}",
        },
        slots=(Slot("price", PRICE), Slot("fund", TEXT)),
        example=(10_000, "sunshine fund"),
        under=(PERIOD_CLOSES,),
        meaning="Whoever gives energy to neighbours gets this for each kWh of it, from the fund.",
    ),
    action(
        NAME,
        VERSION,
        ASKED,
        "pay as asked",
        words={
            "en": "match orders at what sellers ask",
            "it": "abbina gli ordini a quanto chiede chi vende",
            "es": "casa las órdenes a lo que pide quien vende",
            "de": "führe Aufträge zum Preis der Verkäufer zusammen",
        },
        under=(ORDER,),
        meaning="All bids and offers of a settlement period are matched at its end; each seller gets what it asked.",
    ),
)

PACKAGE = Package(NAME, VERSION, _ROWS, {_ROWS[1].id: (PAY_AS_ASKED.name, PAY_AS_ASKED.version)}, Effects())
