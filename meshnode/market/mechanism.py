"""Mechanism: a rule, pinned by name and version, that turns orders into trades.

The one interface that every mechanism keeps: to clear one period's orders. What goes on
all the time has more to it: a continuous mechanism opens books, an auction mechanism
runs auctions, and both clear a period by the same code. Then the set of mechanisms that
a node supports; finding installed ones is `meshnode.market.registry`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from meshnode.market.auction import Award, Placed
from meshnode.market.book import Book
from meshnode.market.clearing import Clearing
from meshnode.market.order import Order
from meshnode.market.standing import StandingOrder

# No mechanism has a space in its name.
_STATEMENTS = "statements of"

CallT = TypeVar("CallT", contravariant=True)
EntryT = TypeVar("EntryT")
AuctionT = TypeVar("AuctionT")


class MechanismError(LookupError):
    """A mechanism that is missing, or two that claim one name and version."""


class Terms(msgspec.Struct, frozen=True):
    """What the binding in force says about prices outside the community.

    Fields:
        grid_price_u_kwh: what a member pays the supplier.
        feed_in_price_u_kwh: what a member gets for energy fed into the grid; may be below zero.
    """

    grid_price_u_kwh: int
    feed_in_price_u_kwh: int


@runtime_checkable
class Mechanism(Protocol):
    """A market rule. Contract for implementers:

    1. `clear` is a pure function: no clock, randomness, I/O, floats; equal results for equal
       orders in any sequence, on every machine and Python.
    2. Nobody trades with himself; no trade breaks an order's limit or exceeds its energy.
    3. Whatever changes a result, even by one micro-unit, is a new version. Old versions stay:
       a ledger is executed again with the rules it was made under.
    """

    @property
    def name(self) -> str:
        """The name bindings use, for example `pay-as-clear`."""
        ...

    @property
    def version(self) -> int:
        """Counts from 1."""
        ...

    def clear(self, orders: Sequence[Order], terms: Terms) -> Clearing:
        """Clear one period's orders.

        Args:
            orders: one period's open orders, in any order.
            terms: prices outside the community.
        Raises:
            OrderError: the orders do not belong into one clearing (see `meshnode.market.order.sides`).
        """
        ...


@runtime_checkable
class ContinuousMechanism(Mechanism, Protocol):
    """A mechanism that trades whenever an order comes; what a book of a version does never changes either."""

    def book(self, orders: Sequence[StandingOrder] = ()) -> Book:
        """A book with these orders resting in it; nothing executes."""
        ...


@runtime_checkable
class AuctionMechanism(Mechanism, Protocol[CallT, EntryT, AuctionT]):
    """A mechanism that runs auctions: states that events turn into the next state, with times as data.

    The state is a frozen Struct, to be kept as a row; whoever keeps it closes it when its time is up.
    """

    def open_auction(self, call: CallT, /) -> AuctionT:
        """An auction that nobody has taken part in."""
        ...

    def place(self, auction: AuctionT, entry: EntryT, time_s: int, /) -> Placed[AuctionT, EntryT]:
        """Take a bid or an ask, or say why not."""
        ...

    def close_auction(self, auction: AuctionT, time_s: int, /) -> Award:
        """The end, and who won."""
        ...


class Mechanisms:
    """The mechanisms that a node supports, by name and version; and which packages of statements it has beside."""

    def __init__(self, mechanisms: Iterable[Mechanism], packages: Iterable[tuple[str, int]] = ()) -> None:
        """Raises: MechanismError when two claim the same name and version."""
        self._packages = tuple(sorted(packages))
        self._by_pin: dict[tuple[str, int], Mechanism] = {}
        for mechanism in mechanisms:
            pin = (mechanism.name, mechanism.version)
            if pin in self._by_pin:
                raise MechanismError(
                    f"mechanism {pin[0]} version {pin[1]} is provided twice, by "
                    f"{type(self._by_pin[pin]).__module__} and {type(mechanism).__module__}; "
                    f"uninstall one of them"
                )
            self._by_pin[pin] = mechanism

    def get(self, name: str, version: int) -> Mechanism:
        """The mechanism pinned by name and version.

        Raises:
            MechanismError: the node does not have it; the message names what it has.
        """
        found = self._by_pin.get((name, version))
        if found is None:
            known = ", ".join(f"{known} {number}" for known, number in self.supported()) or "none"
            raise MechanismError(
                f"mechanism {name} version {version} is not installed on this node; it has: {known}; "
                f"upgrade the node or install the package that provides it"
            )
        return found

    def supported(self) -> tuple[tuple[str, int], ...]:
        """All mechanisms, by (name, version), sorted."""
        return tuple(sorted(self._by_pin))

    def declared(self) -> tuple[tuple[str, int], ...]:
        """What a node declares on the ledger: mechanisms, and packages as `ability_of` calls them; sorted."""
        return tuple(sorted([*self._by_pin, *map(ability_of, self._packages)]))

    def without(self, names: Container[str]) -> Mechanisms:
        """The same but for mechanisms of these names."""
        kept = [mechanism for (name, _), mechanism in self._by_pin.items() if name not in names]
        return Mechanisms(kept, self._packages)

    def with_packages(self, packages: Iterable[tuple[str, int]]) -> Mechanisms:
        """The same mechanisms beside these packages of statements."""
        return Mechanisms(self._by_pin.values(), packages)


def ability_of(package: tuple[str, int]) -> tuple[str, int]:
    """How the ledger calls a package of statements among the mechanisms that a node has."""
    name, version = package
    return f"{_STATEMENTS} {name}", version


def ability_text(ability: tuple[str, int]) -> str:
    """What a node has declared, or has not, as it is told to people."""
    name, version = ability
    return f"{name} version {version}" if name.startswith(_STATEMENTS) else f"the mechanism {name} version {version}"
