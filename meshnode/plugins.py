"""Plugins: what other packages add to a node - mechanisms and statements - found by entry point, once at its start.

    [project.entry-points."meshnode.mechanisms"]
    sealed-bids = "solar_club:SEALED_BIDS"

    [project.entry-points."meshnode.statements"]
    solar-club = "solar_club:PACKAGE"

A mechanism keeps `meshnode.market.Mechanism`. A package of statements is a `zencode.packages.Package`: its rows, made
with `zencode.additions.action`, say in every language of the catalogue what a binding may say; each either
chooses a mechanism for orders (`mechanisms`, under a member's order) or charges something when a
settlement period closes (`effect`, which keeps `Effect` below). Mechanisms and packages are pinned by
name and version: what a binding uses of them is part of its hash, and a node that lacks it says so and stops.
Several versions may be installed side by side, each with an entry point of its own.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from meshnode.market import Mechanisms
from meshnode.market.registry import installed_mechanisms
from meshnode.settlement import fund_account
from meshnode.settlement.additions import Charge, Effect, Home, PeriodFacts
from zencode.additions import enroll
from zencode.packages import Package, PackageError, enrolled
from zencode.sentences import ORDER, PERIOD_CLOSES

GROUP: Final = "meshnode.statements"

__all__ = ["GROUP", "Charge", "Effect", "Home", "PeriodFacts", "fund_account", "install", "load"]


def install() -> Mechanisms:
    """Make everything known that is installed: call it where a program begins, before it reads a binding.

    Raises:
        PackageError: a package of statements that cannot be used, or two that contradict one another.
        MechanismError: the same of mechanisms.
    """
    found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
    enroll([load(entry) for entry in found])
    return installed_mechanisms().with_packages(enrolled())


def load(entry: EntryPoint) -> Package:
    """Import one entry point and check that it is a package of statements that do something.

    Raises:
        PackageError: it is none.
    """
    place = f"statements {entry.name} ({entry.value})"
    try:
        loaded = entry.load()
    except (ImportError, AttributeError) as error:
        raise PackageError(f"{place} cannot be imported: {error}; reinstall or remove its package") from error
    if not isinstance(loaded, Package):
        raise PackageError(f"{place}: a {type(loaded).__name__}, expected a zencode.packages.Package")
    for row in loaded.rows:
        chooses = row.id in loaded.mechanisms
        if not chooses and not isinstance(loaded.effect, Effect):
            raise PackageError(f"{place}, «{row.name}»: does nothing; it needs an effect, or chooses a mechanism")
        event = ORDER if chooses else PERIOD_CLOSES
        if row.under != (event,):
            raise PackageError(
                f"{place}, «{row.name}»: stands under {row.under}; what chooses a mechanism stands under {ORDER}, "
                f"what charges under {PERIOD_CLOSES}"
            )
    return loaded
