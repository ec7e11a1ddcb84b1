"""Kinds: the kinds of value that a slot of a sentence can hold, with their units and bounds.

In the tree a value is an int, a str or a tuple of those: energy in Wh, power in
W, money in micro-units, prices in micro-units per kWh, shares in parts per
million, durations in seconds, times of day in seconds after midnight, dates in
days after 1970-01-01.

What a tree may hold is checked here; how a value is read and written is in `values`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from zencode.characters import is_label
from zencode.words import KNOWN_WORDS

Value: TypeAlias = "int | str | tuple[Any, ...]"

#: Room for «Cooperativa Energetica Borgo Verde, sezione di via Roma»; a line of 200 characters holds three.
MAX_NAME = 60
#: A share list longer than this does not fit a line of 200 characters in any language.
MAX_SHARES = 16
#: More digits than any bounded value needs; keeps the conversion of a hostile number cheap.
MAX_DIGITS = 18
WHOLE_PPM = 1_000_000
DAY_S = 86_400
YEAR_S = 365 * DAY_S
#: Ten years: no contract in a community counts in longer months.
MAX_MONTHS = 120
#: Prices move in steps of 0.001 per kWh, so that price x Wh is a whole number of micro-units.
PRICE_TICK_U_KWH = 1_000

#: What kind of tokens a slot takes; the reader may not meet two of the numeric ones in one place.
NAME, COUNT, QUANTITY, TIME, CALENDAR, SHARES = "name", "count", "quantity", "time", "calendar", "shares"


class Unit(Struct, frozen=True):
    """A unit: `factor` makes whole units of the tree, at most `decimals` digits follow the mark.

    A `spoken` unit has its words in `Language.units`; else `symbol` is written as it is.
    """

    symbol: str
    factor: int
    decimals: int = 0
    spoken: bool = False


class Kind(Struct, frozen=True):
    """One kind of value.

    `least` and `most` bound numbers. A name takes a word of `vocabulary` in any
    language as that word; where `closed`, nothing else.
    """

    name: str
    form: str
    meaning: str
    example: Value
    units: tuple[Unit, ...] = ()
    least: int = 0
    most: int = 0
    vocabulary: str | None = None
    closed: bool = False


def _spoken(*factors: tuple[str, int]) -> tuple[Unit, ...]:
    return tuple(Unit(word, factor, spoken=True) for word, factor in factors)


#: Units of a fixed length and of none, each with its factor, shortest first.
SECONDS = (("second", 1), ("minute", 60), ("hour", 3_600), ("day", DAY_S), ("week", 7 * DAY_S))
MONTHS = (("month", 1), ("year", 12))

TEXT = Kind("name", NAME, f"1 to {MAX_NAME} characters between ' and '; '' is an apostrophe", "Bay Coop")
ROLE = Kind("role", NAME, "the name of a role", "member", vocabulary="audience")
VIEW = Kind("view", NAME, "something that can be shown", "all trades", vocabulary="view", closed=True)
ENERGY_SORT = Kind(
    "sort of energy", NAME, "what a fee is charged on", "traded energy", vocabulary="energy", closed=True
)
FEE = Kind("fee", NAME, "something that can be split", "network fee", vocabulary="fee", closed=True)
RECIPIENT = Kind("recipient", NAME, "who receives money", "community fund", vocabulary="recipient")
ASSET_SORT = Kind("sort of asset", NAME, "what an asset is", "money", vocabulary="asset sort", closed=True)
WEEKDAYS = Kind("weekdays", NAME, "days of the week", "Monday to Friday", vocabulary="weekdays", closed=True)
SHARING_KEY = Kind(
    "sharing key",
    NAME,
    "a key that a law or grid operator defines",
    "at-dynamic",
    vocabulary="sharing key",
    closed=True,
)
ENERGY_SOURCE = Kind(
    "source of energy", NAME, "where delivered energy comes from", "common battery",
    vocabulary="energy source", closed=True,
)  # fmt: skip
CURRENCY = Kind("currency", NAME, "3 to 8 capital letters: an ISO 4217 code or the community's own", "EUR")
LANGUAGE = Kind("language", NAME, "the code of a spoken language", "en")
NUMBER = Kind("number", COUNT, "a whole number without unit", 1, least=1, most=1_000)
# As many units as an asset of the ledger can have.
UNITS = Kind("count", COUNT, "how many, a whole number without unit", 1_000_000, least=0, most=10**15)
SHARE = Kind("share", QUANTITY, "0 to 100 %, at most 4 decimals", 600_000, (Unit("%", 10_000, 4),), 0, WHOLE_PPM)
# 1 GWh at the highest price is below 2^63 micro-units x 1000: value() stays in int64.
ENERGY = Kind(
    "energy",
    QUANTITY,
    "Wh, kWh (at most 3 decimals) or MWh (at most 6)",
    20_000,
    (Unit("Wh", 1), Unit("kWh", 1_000, 3), Unit("MWh", 1_000_000, 6)),
    0,
    1_000_000_000,
)
POWER = Kind(
    "power",
    QUANTITY,
    "W, kW (at most 3 decimals) or MW (at most 6)",
    80_000,
    (Unit("W", 1), Unit("kW", 1_000, 3), Unit("MW", 1_000_000, 6)),
    0,
    1_000_000_000,
)
MONEY = Kind(
    "amount of money",
    QUANTITY,
    "in the binding's currency, at most 6 decimals",
    50_000_000,
    (Unit("CURRENCY", 1_000_000, 6),),
    0,
    10**15,
)
PRICE = Kind(
    "price",
    QUANTITY,
    "the binding's currency per kWh, at most 3 decimals",
    320_000,
    (Unit("CURRENCY/kWh", 1_000_000, 3),),
    0,
    1_000_000_000,
)
DURATION = Kind(
    "duration",
    QUANTITY,
    "whole seconds, minutes, hours, days or weeks",
    900,
    _spoken(*SECONDS),
    1,
    10 * YEAR_S,
)
# (months, seconds), one of them 0: a month has no fixed length.
CYCLE = Kind(
    "cycle",
    QUANTITY,
    "a duration, or whole months or years",
    (1, 0),
    _spoken(*SECONDS, *MONTHS),
    1,
    10 * YEAR_S,
)
CLOCK = Kind("time of day", TIME, "hours and minutes, 00:00 to 24:00, local time", 17 * 3_600, least=0, most=DAY_S)
# To the year 2199: no contract is for longer.
DATE = Kind("date", CALENDAR, "year, month and day, 2000-01-01 to 2199-12-31", 20_819, least=10_957, most=84_005)
# ((ppm, recipient), ...) in the order written.
SHARE_LIST = Kind(
    "list of shares",
    SHARES,
    f"up to {MAX_SHARES} shares, each with its recipient",
    ((800_000, "community fund"), (200_000, "node operators")),
    vocabulary="recipient",
)

KINDS = (
    TEXT, ROLE, VIEW, ENERGY_SORT, FEE, RECIPIENT, ASSET_SORT, WEEKDAYS, SHARING_KEY,
    ENERGY_SOURCE, CURRENCY, LANGUAGE, NUMBER, UNITS,
    SHARE, ENERGY, POWER, MONEY, PRICE, DURATION, CYCLE, CLOCK, DATE, SHARE_LIST,
)  # fmt: skip
#: The kinds that need a currency.
PRICED = frozenset((MONEY.name, PRICE.name))


def fault(kind: Kind, value: object) -> str | None:
    """Why `value` cannot stand in a tree as a value of `kind`, or None.

    Accepts exactly what reading can produce: one meaning has one encoding.
    """
    if kind.form == NAME:
        return _name_fault(kind, value)
    if kind.form == SHARES:
        return _shares_fault(kind, value)
    if kind is CYCLE:
        return _cycle_fault(value)
    if type(value) is not int:
        return f"{noun(kind)} is a whole number"
    if not kind.least <= value <= kind.most:
        return f"{noun(kind)} lies between {kind.least} and {kind.most}"
    if kind is PRICE and value % PRICE_TICK_U_KWH:
        return f"a price is a multiple of {PRICE_TICK_U_KWH}"
    if kind is CLOCK and value % 60:
        return "a time of day is whole minutes"
    return None


def _name_fault(kind: Kind, value: object) -> str | None:
    if type(value) is not str or not is_label(value, MAX_NAME):
        return f"a {kind.name} is {TEXT.meaning}"
    if kind is CURRENCY and not is_currency(value):
        return f"a currency has {kind.meaning}"
    return None if kind.vocabulary is None else _word_fault(kind.vocabulary, kind.closed, value)


def _word_fault(vocabulary: str, closed: bool, value: str) -> str | None:
    if any(value == word.canonical for word in KNOWN_WORDS[vocabulary]):
        return None
    # Another language's spelling of a known word is no fault, so that a new language keeps old trees valid.
    return f"'{value}' is no known word for a {vocabulary}" if closed else None


def _shares_fault(kind: Kind, value: object) -> str | None:
    if type(value) is not tuple or not 1 <= len(value) <= MAX_SHARES:
        return f"a list of shares has 1 to {MAX_SHARES} shares"
    for part in value:
        if type(part) is not tuple or len(part) != 2:
            return "a share is (parts per million, recipient)"
        problem = fault(SHARE, part[0]) or _name_fault(TEXT, part[1])
        if problem:
            return problem
    return None


def _cycle_fault(value: object) -> str | None:
    if type(value) is not tuple or len(value) != 2 or any(type(part) is not int for part in value):
        return "a cycle is (months, seconds)"
    months, seconds = value
    if (months == 0) == (seconds == 0) or not 0 <= months <= MAX_MONTHS or not 0 <= seconds <= CYCLE.most:
        return "a cycle has months or seconds, not both"
    return None


def is_currency(text: str) -> bool:
    """Whether `text` can be the code of a currency."""
    return 3 <= len(text) <= 8 and text.isascii() and text.isalpha() and text.isupper()


def noun(kind: Kind) -> str:
    """The kind as the subject of an error: «energy», «a price»."""
    if kind in (ENERGY, POWER, MONEY):
        return "money" if kind is MONEY else kind.name
    return f"a {kind.name}"
