"""OBIS: the names of meter values, and the line grammar `A-B:C.D.E*F(value*unit)`.

The names (IEC 62056-61) are used by every codec; the lines (IEC 62056-21,
data sets) by DSMR P1, meters that push in mode D and, later, the
optical request modes. Numbers stay exact: an integer and a power of ten.
Nothing here knows telegrams, checksums or time.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

# The longest data set seen is the Belgian list of 13 monthly peaks (about 700
# characters); DSMR allows a text message of 2048 characters in one data set.
MAX_LINE: Final = 4096
# 13 monthly peaks are 2 + 1 + 3 * 13 items.
MAX_ITEMS: Final = 128
# 18 digits always fit an int64; the finest meter seen prints 15.
MAX_DIGITS: Final = 18


class Obis(msgspec.Struct, frozen=True):
    """One OBIS name: medium `a`, channel `b`, quantity `c`, kind `d`, tariff `e`, storage `f`.

    `f` is 255 ("current value") when the telegram leaves it out.
    """

    a: int
    b: int
    c: int
    d: int
    e: int
    f: int = 255

    @property
    def cde(self) -> tuple[int, int, int]:
        """Quantity, kind and tariff: what a value is, whatever channel it was read on."""
        return self.c, self.d, self.e

    def __str__(self) -> str:
        return f"{self.a}-{self.b}:{self.c}.{self.d}.{self.e}*{self.f}"


class Number(msgspec.Struct, frozen=True):
    """The exact decimal `digits * 10**exponent` in `unit` ("" when the telegram gives none)."""

    digits: int
    exponent: int = 0
    unit: str = ""

    def decimal(self) -> str:
        """The value in plain decimal notation, exact: "-12.50", "4000"."""
        if self.exponent >= 0:
            return str(self.digits * _power_of_ten(self.exponent))
        sign = "-" if self.digits < 0 else ""
        text = str(abs(self.digits)).rjust(1 - self.exponent, "0")
        return f"{sign}{text[: self.exponent]}.{text[self.exponent :]}"

    def scaled(self, power: int) -> int:
        """The integer part of value * 10**power; what is cut off is cut towards zero."""
        shift = self.exponent + power
        if shift >= 0:
            return self.digits * _power_of_ten(shift)
        whole = abs(self.digits) // _power_of_ten(-shift)
        return -whole if self.digits < 0 else whole


class DataSet(msgspec.Struct, frozen=True):
    """One line: a name and the texts between its parentheses, in order."""

    code: Obis
    items: tuple[str, ...]


def parse_line(line: bytes) -> DataSet | None:
    """The data set on one line (without line end), or None if it is not one.

    Only printable ASCII is accepted: a byte that lost its parity or gained a
    bit must not turn into another number.
    """
    if len(line) > MAX_LINE or (match := _LINE.fullmatch(line)) is None:
        return None
    items = tuple(item.decode("ascii") for item in _ITEM.findall(match["items"]))
    if len(items) > MAX_ITEMS or (code := parse_code(match["code"].decode("ascii"))) is None:
        return None
    return DataSet(code, items)


def parse_code(text: str) -> Obis | None:
    """The name written `A-B:C.D.E` or `A-B:C.D.E*F`, or None if `text` is not one."""
    if (match := _CODE.fullmatch(text)) is None:
        return None
    a, b, c, d, e = (int(group) for group in match.groups()[:5])
    f = int(match["f"]) if match["f"] is not None else 255
    return Obis(a, b, c, d, e, f) if max(a, b, c, d, e, f) <= 255 else None


def parse_number(item: str) -> Number | None:
    """The number in `12.34*kWh` or `12.34`, or None if `item` is no number within `MAX_DIGITS`."""
    if (match := _NUMBER.fullmatch(item)) is None:
        return None
    fraction = match["fraction"] or ""
    digits = match["whole"] + fraction
    if len(digits) > MAX_DIGITS:
        return None
    sign = -1 if match["sign"] else 1
    return Number(sign * int(digits), -len(fraction), match["unit"] or "")


def _power_of_ten(power: int) -> int:
    ten: int = 10**power  # an int, since `power` is never negative here
    return ten


_LINE: Final = re.compile(rb"(?P<code>[0-9:.*\-]{5,23})(?P<items>(?:\([\x20-\x27\x2a-\x7e]*\))+)")
_ITEM: Final = re.compile(rb"\(([^()]*)\)")
_CODE: Final = re.compile(r"([0-9]{1,3})-([0-9]{1,3}):([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})(?:\*(?P<f>[0-9]{1,3}))?")
_NUMBER: Final = re.compile(
    r"(?P<sign>-)?(?P<whole>[0-9]{1,18})(?:\.(?P<fraction>[0-9]{1,17}))?(?:\*(?P<unit>[A-Za-z][A-Za-z0-9]{0,7}))?"
)
