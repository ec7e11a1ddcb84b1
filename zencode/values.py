"""Values: how a value is read from a text and written into one.

Reading is exact: digits are moved, never rounded, and no float appears. What is
written reads as the same value again, in every language.

Which sentence a value stands in is no matter of this module.
"""

from __future__ import annotations

import re
from typing import Any

from zencode.dates import date_of, day_of
from zencode.kinds import (
    CALENDAR,
    COUNT,
    CURRENCY,
    CYCLE,
    DAY_S,
    DURATION,
    ENERGY,
    MAX_DIGITS,
    MAX_MONTHS,
    MAX_NAME,
    MONEY,
    MONTHS,
    NAME,
    POWER,
    PRICE,
    PRICED,
    SECONDS,
    SHARE,
    SHARES,
    TIME,
    Kind,
    Unit,
    Value,
    is_currency,
    noun,
)
from zencode.languages import ENGLISH, Language
from zencode.words import canonical_words, spoken_words

_MONEY_UNIT = re.compile(r"([A-Za-z]{3,8})(/[kK][wW][hH])?")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_NUMBER = {
    ".": re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?"),
    ",": re.compile(r"(-?)([0-9]+)(?:,([0-9]+))?"),
}


class WrongValueError(Exception):
    """A value that is no value of its kind: what was expected, and what to write instead."""

    def __init__(self, expected: str, suggestion: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.suggestion = suggestion


# --- Reading -------------------------------------------------------------------------------------


def read_name(kind: Kind, text: str) -> str:
    """The value of a quoted name, its quotes taken off and its spaces squeezed."""
    if not text:
        raise WrongValueError(f"the {kind.name} is empty", f"write a name such as '{kind.example}'")
    if len(text) > MAX_NAME:
        raise WrongValueError(f"{len(text)} characters, a name has at most {MAX_NAME}")
    if kind is CURRENCY and not is_currency(text):
        raise WrongValueError(f"a currency has {kind.meaning}", f"write '{kind.example}'")
    if kind.vocabulary is None:
        return text
    canonical = canonical_words(kind.vocabulary).get(text.casefold())
    if canonical is None and kind.closed:
        raise WrongValueError(f"no {kind.name} that this catalogue knows")
    return text if canonical is None else canonical


def read_count(kind: Kind, number: str, language: Language) -> int:
    """The value of a whole number without unit."""
    return _within(kind, _scaled(kind, number, Unit("", 1), language))


def read_quantity(kind: Kind, number: str, unit: str, language: Language) -> tuple[Value, str | None]:
    """The value of «number unit», and the currency that it names, if it names one.

    Raises:
        WrongValueError: the unit belongs to another kind or to none, there are too
            many decimals, or the value is out of bounds.
    """
    money = _MONEY_UNIT.fullmatch(unit) if kind.name in PRICED else None
    if money and _unit_owner(unit, language) is None and bool(money[2]) == (kind is PRICE):
        value = _within(kind, _scaled(kind, number, kind.units[0], language))
        return value, money[1].upper()
    found = _find_unit(kind, unit, language)
    if found is None:
        raise WrongValueError(_wrong_unit(kind, unit, language), _for_example(kind, language))
    if kind is CYCLE:
        return _cycle(found, _scaled(kind, number, found, language)), None
    return _within(kind, _scaled(kind, number, found, language)), None


def read_clock(kind: Kind, text: str) -> int:
    """Seconds after midnight of «17:00»."""
    parts = _CLOCK.fullmatch(text)
    seconds = int(parts[1]) * 3_600 + int(parts[2]) * 60 if parts and int(parts[2]) < 60 else DAY_S + 1
    if seconds > DAY_S:
        raise WrongValueError("a time of day lies between 00:00 and 24:00", "write it as 17:00")
    return seconds


def read_date(kind: Kind, text: str) -> int:
    """Days after 1970-01-01 of «2027-01-01»."""
    day = day_of(text)
    if day is None or not kind.least <= day <= kind.most:
        raise WrongValueError("a date is a day of the calendar from 2000-01-01 to 2199-12-31", "write it as 2027-01-01")
    return day


def _scaled(kind: Kind, number: str, unit: Unit, language: Language) -> int:
    parts = _NUMBER[language.decimal_mark].fullmatch(number)
    if parts is None:
        raise WrongValueError(
            f"a number has no thousands marks, and in {language.name} its decimal mark is «{language.decimal_mark}»",
            _respelled(number, language),
        )
    decimals = (parts[3] or "").rstrip("0")
    if len(parts[2]) + len(decimals) > MAX_DIGITS:
        raise WrongValueError(f"a number has at most {MAX_DIGITS} digits")
    if len(decimals) > unit.decimals:
        most = f"at most {unit.decimals} decimals" if unit.decimals else "no decimals"
        place = f" in {spoken_unit(unit, 0, language)}" if unit.symbol and kind.name not in PRICED else ""
        raise WrongValueError(f"{noun(kind)} has {most}{place}")
    value: int = int(parts[2] + decimals) * unit.factor // 10 ** len(decimals)
    return -value if parts[1] else value


def _respelled(number: str, language: Language) -> str:
    other = "," if language.decimal_mark == "." else "."
    if number.count(other) == 1 and language.decimal_mark not in number and not re.search(r"\D\d{3}$", number):
        return f"write {number.replace(other, language.decimal_mark)}"
    return f"write it as 1234{language.decimal_mark}5"


def read_bounds(kind: Kind, least: int, most: int) -> str:
    """What a narrower slot asks of a value of `kind`, in words."""
    if least == most:
        return f"only {_plain_bound(kind, least)} is known here"
    return f"{noun(kind)} here lies between {_plain_bound(kind, least)} and {_plain_bound(kind, most)}"


def _within(kind: Kind, value: int) -> int:
    if not kind.least <= value <= kind.most:
        low, high = (_plain_bound(kind, bound) for bound in (kind.least, kind.most))
        raise WrongValueError(f"{noun(kind)} lies between {low} and {high}")
    return value


def _cycle(unit: Unit, count: int) -> tuple[int, int]:
    if (unit.symbol, unit.factor) in MONTHS:
        if not 1 <= count <= MAX_MONTHS:
            raise WrongValueError(f"a cycle lies between 1 second and {MAX_MONTHS // 12} years")
        return count, 0
    return 0, _within(CYCLE, count)


def _plain_bound(kind: Kind, bound: int) -> str:
    """A bound in words of every language: the error texts are English."""
    if kind is CYCLE:
        return write_value(DURATION, bound, ENGLISH, "")
    if kind.name in PRICED:
        return _decimal(bound, 1_000_000, 0, ENGLISH)
    return write_value(kind, bound, ENGLISH, "")


def _find_unit(kind: Kind, word: str, language: Language) -> Unit | None:
    folded = word.casefold()
    for unit in kind.units:
        spellings = language.units[unit.symbol] if unit.spoken else (unit.symbol,)
        if any(folded == spelling.casefold() for spelling in spellings):
            return unit
    return None


def _unit_owner(word: str, language: Language) -> Kind | None:
    for kind in (SHARE, ENERGY, POWER, DURATION, CYCLE):
        if _find_unit(kind, word, language) is not None:
            return kind
    return None


def _wrong_unit(kind: Kind, unit: str, language: Language) -> str:
    owner = _unit_owner(unit, language)
    if not unit:
        return f"the unit is missing; {noun(kind)} is expected"
    if owner is CYCLE and kind is DURATION:
        return f"«{unit}» has no fixed length; {noun(kind)} is expected"
    if owner is not None:
        return f"this is {_an(owner)}; {noun(kind)} is expected"
    money = _MONEY_UNIT.fullmatch(unit)
    if money and kind.name in PRICED:
        return f"this is {_an(PRICE if money[2] else MONEY)}; {noun(kind)} is expected"
    return f"I do not know the unit «{unit}»; {noun(kind)} is expected"


def _an(kind: Kind) -> str:
    return f"an {kind.name}" if kind.name[0] in "aeiou" else f"a {kind.name}"


def _for_example(kind: Kind, language: Language) -> str:
    return f"write it as {write_value(kind, kind.example, language, 'EUR')}"


# --- Writing -------------------------------------------------------------------------------------


def write_value(kind: Kind, value: Any, language: Language, currency: str) -> str:
    """The canonical spelling of a value of the tree in `language`; reading it gives the value again."""
    if kind.form == NAME:
        return _quoted(_said(kind.vocabulary, value, language))
    if kind.form == TIME:
        return f"{value // 3_600:02}:{value % 3_600 // 60:02}"
    if kind.form == CALENDAR:
        return date_of(value)
    if kind.form == COUNT:
        return str(value)
    if kind.form == SHARES:
        return _write_shares(kind, value, language)
    if kind is CYCLE:
        return _write_cycle(value, language)
    if kind is DURATION:
        return _write_duration(value, SECONDS[:4], language)
    if kind is SHARE:
        return f"{_decimal(value, 10_000, 0, language)} %"
    if kind.name in PRICED:
        per = "/kWh" if kind is PRICE else ""
        return f"{_decimal(value, 1_000_000, 2, language)} {currency}{per}"
    small, large = kind.units[0], kind.units[1]
    if value < large.factor:
        return f"{value} {small.symbol}"
    return f"{_decimal(value, large.factor, 0, language)} {large.symbol}"


def spoken_unit(unit: Unit, count: int, language: Language) -> str:
    """The word written after `count`."""
    if not unit.spoken:
        return unit.symbol
    words = language.units[unit.symbol]
    return words[0] if count == 1 else words[1]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _said(vocabulary: str | None, value: str, language: Language) -> str:
    if vocabulary is None:
        return value
    return spoken_words(vocabulary, language.code).get(value, value)


def _decimal(value: int, factor: int, least: int, language: Language) -> str:
    """`value / factor` exactly; a value that is not whole has at least `least` decimals."""
    whole, part = divmod(value, factor)
    width = len(str(factor)) - 1
    decimals = f"{part:0{width}}".rstrip("0").ljust(least, "0")
    return f"{whole}{language.decimal_mark}{decimals}" if part else str(whole)


def _write_duration(value: int, units: tuple[tuple[str, int], ...], language: Language) -> str:
    word, factor = next((w, f) for w, f in reversed(units) if value % f == 0)
    count = value // factor
    return f"{count} {spoken_unit(Unit(word, factor, spoken=True), count, language)}"


def _write_cycle(value: tuple[int, int], language: Language) -> str:
    months, seconds = value
    return _write_duration(months, MONTHS, language) if months else _write_duration(seconds, SECONDS, language)


def _write_shares(kind: Kind, value: tuple[tuple[int, str], ...], language: Language) -> str:
    parts = [
        f"{write_value(SHARE, ppm, language, '')} {language.share_to} "
        + _quoted(_said(kind.vocabulary, recipient, language))
        for ppm, recipient in value
    ]
    if len(parts) == 1:
        return parts[0]
    return ", ".join(parts[:-1]) + f" {language.list_and} " + parts[-1]
