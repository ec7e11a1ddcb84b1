"""Sources: the words for what energy is made from, in which form it comes, and what an installation is."""

from __future__ import annotations

import enum


class Source(enum.IntEnum):
    """What energy was made from. Codes are stored: they are never reused or renumbered."""

    GRID = 0
    """Drawn from outside the community; what it was made from is not known here, so it is never green."""
    UNVERIFIED = 1
    """A member's plant that no administrator has confirmed, or a quantity that was estimated; never green."""
    SOLAR = 2
    WIND = 3
    HYDRO = 4
    BIOMASS = 5
    GEOTHERMAL = 6
    AMBIENT = 7
    WASTE = 8
    FOSSIL = 9


class Carrier(enum.IntEnum):
    """In which form energy is delivered. Codes are stored."""

    ELECTRICITY = 0
    HEAT = 1


class Kind(enum.IntEnum):
    """What an installation does. Codes are stored."""

    PRODUCTION = 0
    STORAGE = 1


GREEN = frozenset((Source.SOLAR, Source.WIND, Source.HYDRO, Source.BIOMASS, Source.GEOTHERMAL, Source.AMBIENT))
"""Renewable, as Directive (EU) 2018/2001, article 2 (1) has it; waste is so in part only and does not count."""

SOURCES = {source.name.lower(): int(source) for source in Source}
CARRIERS = {carrier.name.lower(): int(carrier) for carrier in Carrier}
KINDS = {kind.name.lower(): int(kind) for kind in Kind}
"""The codes by the words that people write."""
