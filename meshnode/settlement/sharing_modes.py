"""Sharing modes: the rules of sharing by the names that laws, grid operators and bindings give them.

A table from name to rule. Each row says which text it follows; what that text leaves to
a community (the shares, the ranks) comes in as weights. Sources, as they stood in 2025:

- Spain: Real Decreto 244/2019, annex I (coefficients that add up to 1 for each hour; what exceeds a
  member's use in the hour is that member's surplus) and article 14 (simplified compensation, see
  `meshnode.settlement.compensation`); Orden TED/1247/2021 (another coefficient for each hour).
- Italy: decreto legislativo 199/2021, articles 8 and 31; ARERA 727/2022/R/eel, annex A (TIAD): shared is,
  hour by hour and for each primary substation, the smaller of what was injected and withdrawn. How
  the community divides it among its members is its own agreement; by use is what is taken here.
- Austria: ElWOG 2010, sections 16a and 16e: for each quarter of an hour, at most the consumption in it, by an
  agreed fixed share (static) or in proportion to consumption (dynamic); the rest is the plant's surplus.
- Germany: EnWG sections 42b (supply of a building) and 42c (energy sharing): by an agreed key, for each
  quarter of an hour, at most what was generated and what was consumed in it.
- France: code de l'energie, articles D315-1 to D315-6: production times a coefficient, at most the consumption;
  without coefficients in proportion to consumption (default dynamic); coefficients of the organiser
  for each step (simple dynamic) or for each pair of producer and consumer (full dynamic).
- Belgium: Sibelga's methods for Brussels (fixed in one round or in several, in proportion, both one after the
  other); CWaPE's standard keys for Wallonia (fixed and equal, fixed and agreed, in proportion).
- Luxembourg: law of 1 August 2007, articles 8ter and 8quater; reglement ILR/E21/32: in proportion unless
  the group agrees on percentages or on priorities.

Legal texts change and have exceptions: what binds a community is its adviser's reading, not this table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from meshnode.market.mid_market import NAME as MID_MARKET_RATE
from meshnode.settlement.sharing import Key, Rule, Weighing

ANY_LENGTH: Final = 0
QUARTER_S: Final = 900
HOUR_S: Final = 3600

_STATIC: Final = Rule((Key.STATIC,), Weighing.SHARES)
_EQUAL: Final = Rule((Key.STATIC,), Weighing.EQUAL)
_BY_USE: Final = Rule((Key.PRO_RATA,))
_REOFFERED: Final = Rule((Key.STATIC, Key.PRO_RATA), Weighing.SHARES)
_ROUNDS: Final = Rule((Key.WATERFILL,), Weighing.SHARES)
_RANKED: Final = Rule((Key.PRIORITY,), Weighing.RANKS)


class Mode(msgspec.Struct, frozen=True):
    """One named way to share.

    Fields:
        name: as commands and tariffs say it.
        place: where it is in use; empty for the general ones.
        rule: what the allocator does.
        period_s: the length of the periods that it is defined for; `ANY_LENGTH` for the general ones.
        meaning: in a sentence.
        source: law or standard, and its section.
    """

    name: str
    place: str
    rule: Rule
    period_s: int
    meaning: str
    source: str


_GENERAL: Final = (
    (MID_MARKET_RATE, _BY_USE, "In proportion to use, paid at the middle between grid price and feed-in price."),
    ("pro-rata", _BY_USE, "In proportion to use."),
    ("static", _STATIC, "By fixed shares; what a member cannot use is left over."),
    ("static-reoffered", _REOFFERED, "By fixed shares; what is left over again, in proportion to use."),
    ("equal", _EQUAL, "The same part for everybody; what a member cannot use is left over."),
    ("waterfill", _ROUNDS, "By shares, round after round, until nothing is left or nobody needs more."),
    ("equal-waterfill", Rule((Key.WATERFILL,), Weighing.EQUAL), "The same for everybody, round after round."),
    ("priority", _RANKED, "By rank: the first whole, then the next."),
)

_NATIONAL: Final = (
    Mode("es-static", "Spain", Rule((Key.STATIC,), Weighing.SHARES, own_surplus=True), HOUR_S,
         "Fixed coefficients; what a member's part exceeds its use is that member's surplus.",
         "RD 244/2019, annex I"),
    Mode("es-hourly", "Spain", Rule((Key.STATIC,), Weighing.SHARES, own_surplus=True), HOUR_S,
         "As es-static, with other coefficients for each hour.",
         "RD 244/2019, annex I, as amended by Orden TED/1247/2021"),
    Mode("it-cer", "Italy", _BY_USE, HOUR_S,
         "Shared is the smaller of injected and withdrawn in the hour; by use among the members.",
         "D.Lgs. 199/2021, articles 8 and 31; ARERA 727/2022/R/eel, TIAD"),
    Mode("at-static", "Austria", _STATIC, QUARTER_S,
         "Agreed shares; what a member cannot use is the community's surplus.", "ElWOG 2010, sections 16a and 16e"),
    Mode("at-dynamic", "Austria", _BY_USE, QUARTER_S,
         "In proportion to consumption.", "ElWOG 2010, sections 16a and 16e"),
    Mode("de-42b-static", "Germany", _STATIC, QUARTER_S,
         "A building's plant by agreed shares.", "EnWG section 42b"),
    Mode("de-42b-dynamic", "Germany", _BY_USE, QUARTER_S,
         "A building's plant in proportion to consumption.", "EnWG section 42b"),
    Mode("de-42c-static", "Germany", _STATIC, QUARTER_S,
         "Plants of a balancing area by agreed shares.", "EnWG section 42c"),
    Mode("de-42c-dynamic", "Germany", _BY_USE, QUARTER_S,
         "Plants of a balancing area in proportion to consumption.", "EnWG section 42c"),
    Mode("fr-static", "France", _STATIC, QUARTER_S,
         "Coefficients that stay the same.", "code de l'energie, article D315-6"),
    Mode("fr-default-dynamic", "France", _BY_USE, QUARTER_S,
         "In proportion to consumption, where no coefficients are given.", "code de l'energie, article D315-6"),
    Mode("fr-simple-dynamic", "France", _STATIC, QUARTER_S,
         "Coefficients of the organiser, others for each step.", "code de l'energie, article D315-6"),
    Mode("fr-full-dynamic", "France", Rule((Key.STATIC,), Weighing.SHARES, by_source=True), QUARTER_S,
         "Coefficients for each pair of producer and consumer, others for each step.",
         "code de l'energie, article D315-6; Enedis, full dynamic keys"),
    Mode("be-fixed", "Belgium", _STATIC, QUARTER_S,
         "Fixed shares in one round.", "Sibelga, methods of distribution; CWaPE, fixed and agreed key"),
    Mode("be-equal", "Belgium", _EQUAL, QUARTER_S,
         "The same part for everybody in one round.", "CWaPE, standard keys: fixed and equal"),
    Mode("be-rounds", "Belgium", _ROUNDS, QUARTER_S,
         "Fixed shares in rounds: what is left goes to those who still need some.", "Sibelga, methods of distribution"),
    Mode("be-pro-rata", "Belgium", _BY_USE, QUARTER_S,
         "In proportion to consumption.", "Sibelga, methods of distribution; CWaPE, dynamic key"),
    Mode("be-hybrid", "Belgium", _REOFFERED, QUARTER_S,
         "A round of fixed shares, then the rest in proportion to consumption.", "Sibelga, methods of distribution"),
    Mode("lu-pro-rata", "Luxembourg", _BY_USE, QUARTER_S,
         "In proportion to consumption, the standard model.", "Law of 1 August 2007, article 8quater; ILR/E21/32"),
    Mode("lu-percentage", "Luxembourg", _STATIC, QUARTER_S,
         "Agreed percentages.", "Law of 1 August 2007, article 8quater; ILR/E21/32"),
    Mode("lu-priority", "Luxembourg", _RANKED, QUARTER_S,
         "An agreed order.", "Law of 1 August 2007, article 8quater; ILR/E21/32"),
)  # fmt: skip


def _by_name(modes: Iterable[Mode]) -> dict[str, Mode]:
    return {mode.name: mode for mode in modes}


MODES: Final = _by_name(
    (*(Mode(name, "", rule, ANY_LENGTH, meaning, "general") for name, rule, meaning in _GENERAL), *_NATIONAL)
)
"""Every mode by its name, the general ones first. Names are stored in tariffs: a row's rule never changes,
another rule is another name."""
