"""Additions: what statements of other packages charge in a settlement period.

The door through which a package's statement acts on money: it is shown what a period came to, and says who pays
whom how much. Whoever settles writes the postings: so nothing is made or lost, whatever a package
says, a correction takes back what it must, and every node does the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import msgspec

from meshnode.settlement.posting import is_fund

MAX_CHARGES = 8
"""Of one statement in one period, for each member: enough for a few funds; each is a posting on every node."""

CHARGE_MAX_U = 10**15
"""As much as a kWh at the highest price, a million times over; sums of all members' still fit into 64 bits."""


class AdditionError(ValueError):
    """What a package's statement said cannot be done: its own bug, the same on every node."""


class Home(msgspec.Struct, frozen=True):
    """One member's period.

    own_wh + neighbours_wh + grid_wh = consumption_wh; sold_wh + fed_in_wh is what was exported.
    """

    account: bytes
    own_wh: int
    neighbours_wh: int
    grid_wh: int
    consumption_wh: int
    sold_wh: int
    fed_in_wh: int


class PeriodFacts(msgspec.Struct, frozen=True):
    """What a period came to before any statement of a package.

    Attributes:
        start_s, length_s: of the period.
        homes: by account id.
        grid_price_u_kwh, feed_in_price_u_kwh: that were in force in it.
    """

    start_s: int
    length_s: int
    homes: tuple[Home, ...]
    grid_price_u_kwh: int
    feed_in_price_u_kwh: int


class Charge(msgspec.Struct, frozen=True):
    """One payment. payer, payee: members of the period, or funds (`fund_account`). amount_u: 1 or more."""

    payer: bytes
    payee: bytes
    amount_u: int


@runtime_checkable
class Effect(Protocol):
    """What a package's statements do. Contract for implementers:

    1. `charges` is a pure function: no clock, randomness, I/O, floats, or order of a set; equal results for equal
       facts on every machine and Python. Times and prices are in the facts.
    2. Whatever changes a result, even by one micro-unit, is a new version of the package. Old versions stay: a ledger
       is executed again with the rules it was made under.
    3. It never raises; what it cannot charge, it does not.
    """

    def charges(self, number: int, slots: tuple[Any, ...], period: PeriodFacts) -> Iterable[Charge]:
        """Who pays whom because of one statement of a binding.

        Args:
            number: of the row in its package.
            slots: the statement's values, in the units of the catalogue.
        """
        ...


class Chosen(msgspec.Struct, frozen=True):
    """A statement of a package that a binding has. number: of its row in the package. effect: what it does."""

    package: str
    version: int
    number: int
    slots: tuple[Any, ...]
    length_s: int
    effect: Effect


def charges(chosen: Chosen, period: PeriodFacts) -> list[Charge]:
    """What a statement charges, those of nothing left out.

    Raises:
        AdditionError: a payment that cannot be made, or too many of them.
    """
    place = f"package {chosen.package} version {chosen.version}, statement {chosen.number}"
    members = {home.account for home in period.homes}
    most = MAX_CHARGES * len(members)
    found: list[Charge] = []
    for charge in chosen.effect.charges(chosen.number, chosen.slots, period):
        for end in (charge.payer, charge.payee):
            if end not in members and not is_fund(end):
                raise AdditionError(f"{place}: {end.hex()} pays or is paid, and is neither a member nor a fund")
        if charge.payer == charge.payee:
            raise AdditionError(f"{place}: {charge.payer.hex()} pays itself")
        if type(charge.amount_u) is not int or not 0 <= charge.amount_u <= CHARGE_MAX_U:
            raise AdditionError(f"{place}: a payment of {charge.amount_u!r} u, expected 0 to {CHARGE_MAX_U}")
        if len(found) >= most:
            raise AdditionError(f"{place}: more than {most} payments in a period of {len(members)} members")
        if charge.amount_u:
            found.append(charge)
    return found
